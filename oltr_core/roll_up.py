"""From a class that a model is not sure of to its genus or family, of which it may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def line(name: str, parents: Mapping[str, str]) -> list[str]:
    """The name, its parent, the parent's parent and so on; a name that comes again ends it."""
    found = [name]
    while (parent := parents.get(found[-1])) is not None and parent not in found:
        found.append(parent)
    return found


def rolled_up(
    names: Sequence[str], probabilities: Sequence[float], parents: Mapping[str, str], sure: float
) -> tuple[str, float]:
    """What to answer, and its probability: the best class, or the first of its line that is at least `sure`.

    The probability of a parent is the sum over the classes of its line, its own among them if it is a class itself.
    Where none is sure enough, the answer is the last of the line, the least specific. `sure` 0: the best class.
    """
    best = max(range(len(names)), key=lambda k: probabilities[k])
    answer, probability = names[best], probabilities[best]
    for name in line(names[best], parents)[1:]:
        if probability >= sure:
            break
        below = [p for n, p in zip(names, probabilities, strict=True) if name in line(n, parents)]
        answer, probability = name, sum(below)
    return answer, probability
