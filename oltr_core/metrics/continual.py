"""What the loop is for: learning the classes it found without losing those it knew."""

from typing import NamedTuple

from oltr_core.measured import Measured
from oltr_core.shapes import Bool, Tensor


class History(NamedTuple):
    """Accuracy of one class group under one generation's model, over the classes known to it, no rejection."""

    generation: str
    group: str  # the generation in which the classes were first known
    accuracy: float
    images: int


def loop(
    known: Bool[Tensor, "N"], known_kept: Bool[Tensor, "N"], unknown: Bool[Tensor, "M"], history: list[History]
) -> Measured:
    """The `loop/` group after an update; nothing is rejected except in `known_with_rejection`.

    `known`: is each test image of generation 0's classes named correctly, among all classes known now;
    `known_kept`: and accepted; `unknown`: the same as `known` for images of the classes that were open.
    `history`: every generation of this line, oldest first, this one last.
    """
    measured = Measured()
    accuracy = {"known_accuracy": known, "known_with_rejection": known_kept, "unknown_accuracy": unknown}
    for name, correct in accuracy.items():
        what = "class that was open" if name == "unknown_accuracy" else "class of generation 0"
        measured.put(name, float(correct.double().mean()) if len(correct) else f"no test image of a {what}")
    a, b = measured.values.get("known_accuracy"), measured.values.get("unknown_accuracy")
    if a is None or b is None:
        measured.put("harmonic_mean", "it needs both known and unknown accuracy")
    else:
        measured.put("harmonic_mean", 2 * a * b / (a + b) if a + b else 0.0)
    over_time(measured, history)
    return measured


def over_time(measured: Measured, history: list[History]) -> None:
    """`average_incremental forgetting backward_transfer` from the accuracies a[g][j] of group j at generation g.

    average_incremental = mean over g of the accuracy on all classes known at g (Rebuffi et al., 2017);
    forgetting = mean over groups j older than now of max over earlier g of a[g][j] - a[now][j]
    (Chaudhry et al., 2018);
    backward_transfer = mean over the same j of a[now][j] - a[first][j] (Lopez-Paz and Ranzato, 2017).
    """
    generations = list(dict.fromkeys(row.generation for row in history))
    if len(generations) < 2:
        for name in ("average_incremental", "forgetting", "backward_transfer"):
            measured.put(name, "it needs the accuracies of an earlier generation")
        return
    overall = []
    for generation in generations:
        rows = [row for row in history if row.generation == generation]
        overall.append(sum(r.accuracy * r.images for r in rows) / max(1, sum(r.images for r in rows)))
    measured.put("average_incremental", sum(overall) / len(overall))

    now = {row.group: row.accuracy for row in history if row.generation == generations[-1]}
    earlier: dict[str, list[float]] = {}
    for row in history:
        if row.generation != generations[-1] and row.group in now:
            earlier.setdefault(row.group, []).append(row.accuracy)
    if not earlier:
        for name in ("forgetting", "backward_transfer"):
            measured.put(name, "no class group of an earlier generation was tested again")
        return
    measured.put("forgetting", sum(max(a) - now[j] for j, a in earlier.items()) / len(earlier))
    measured.put("backward_transfer", sum(now[j] - a[0] for j, a in earlier.items()) / len(earlier))
