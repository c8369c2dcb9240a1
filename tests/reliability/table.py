"""The table of docs/reliability.md between its two marker lines."""

from __future__ import annotations

import re

from oltr_core.files import write_atomically
from tests.architecture.imports import ROOT
from tests.reliability import Case

PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- bad input: begin, by python -m tests.reliability -->", "<!-- bad input: end -->"
LENGTH = 150  # characters of a sentence
NEW = f"""# Reliability

## Bad input

What happens with input that is wrong, and what is said: the product's sentence in the run that wrote this table
(`python -m tests.reliability`), cut at {LENGTH} characters. Every row is a test of `tests/reliability`.

{BEGIN}
{END}
"""


def write(found: list[tuple[Case, str]]) -> None:
    rows = [f"| {' | '.join(row(case, said))} |" for case, said in found]
    table = "\n".join(["| area | kind | what happens | what is said |", "|---|---|---|---|", *rows])
    before, _, rest = (PAGE.read_text() if PAGE.exists() else NEW).partition(BEGIN)
    write_atomically(PAGE, f"{before}{BEGIN}\n{table}\n{END}{rest.partition(END)[2]}")


def row(case: Case, said: str) -> tuple[str, str, str, str]:
    return case.area, case.kind, case.happens, _short(said)


def written() -> list[tuple[str, str, str, str]]:
    """Area, kind, what happens and what is said, of every row."""
    part = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \| (.+) \|$", part, re.MULTILINE)
    return [row for row in rows if row[0] != "area"]


def lasting(said: str) -> str:
    """What is said without digests, long numbers and a word that is cut: the same in every run."""
    return re.sub(r"[0-9a-f]{12,}|\d{6,}", "#", re.sub(r"\S*…$", "…", said))


def _short(said: str) -> str:
    line = " ".join(said.split()).replace("|", "\\|")
    return line if len(line) <= LENGTH else f"{line[: LENGTH - 1]}…"
