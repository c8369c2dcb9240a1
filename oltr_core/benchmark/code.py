"""The code that a cell executes, as one digest: a cell that other code has computed is computed again."""

from __future__ import annotations

from collections.abc import Iterator

from oltr_core import digest
from oltr_core.code_closure import closure
from oltr_core.spec import Spec

CELL = "oltr_core.benchmark.cell"


def digest_of_code(settings: Spec, start: str = CELL) -> str:
    """16 hexadecimal digits: of the statements of the module `start` and of what it uses.

    Of the members of a slot these are the ones that `settings` name: another loss is no part of a cell's code.
    """
    return digest.of_value(closure([start, *(type(spec).__module__ for spec in specs_in(settings))]))[:16]


def digest_of_training(train: Spec) -> str:
    """Of the code that the weights of a network of this recipe depend on."""
    return digest_of_code(train, "oltr_core.training.fit")


def specs_in(value: object) -> Iterator[Spec]:
    """Every Spec of settings, at any depth."""
    if isinstance(value, Spec):
        yield value
        for field in type(value).model_fields:
            yield from specs_in(getattr(value, field))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from specs_in(item)
