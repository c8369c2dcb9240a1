"""Kinds of bad input: what happens with each, and what is said. `python -m tests.reliability` writes them as a table.

test_cases.py runs every kind; docs/reliability.md has what the product said when the table was made.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

QUARANTINED = "goes to quarantine, the rest is taken"
LEFT_OUT = "is left out, all other answers are taken"
REFUSED = "is refused, nothing is changed"
NOBODY = 65534


@dataclass(frozen=True)
class Case:
    """One kind of bad input. `run` makes it in an empty folder and returns what was said, or raises it."""

    area: str  # images, answers, parameters, tampering
    kind: str
    happens: str
    said: str  # how the sentence begins, or a part of it: a regular expression
    run: Callable[[Path], object]

    def __call__(self) -> str:
        """What is said. Raises AssertionError where it is something else."""
        folder = Path(tempfile.mkdtemp(prefix="oltr-case-"))
        folder.chmod(0o755)  # some cases run as nobody
        try:
            try:
                said = self.run(folder)
            except ValueError as error:
                said = error
            sentence = str(said).replace(f"{folder.resolve()}/", "").replace(f"{folder}/", "")
        finally:
            shutil.rmtree(folder)
        assert re.search(self.said, sentence), f"{self.kind}: {sentence!r} is not {self.said!r}"
        assert "Traceback" not in sentence
        return sentence


@contextlib.contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Permissions hold for root too, inside; everything below `folder` belongs to nobody."""
    if os.geteuid():
        yield
        return
    for path in (folder, *folder.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def cases() -> list[Case]:
    from tests.reliability import answers, images, parameters, tampering

    return [*images.CASES, *answers.CASES, *parameters.CASES, *tampering.CASES]
