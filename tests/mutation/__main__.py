"""A sample of wrong changes, one at a time, against the fast tests of the area: which went unnoticed?

    python -m tests.mutation                                  # 200 of all areas, seed 0
    python -m tests.mutation oltr_core/losses --sample 0      # every change of one package
    python -m tests.mutation oltr_core/scores/knn.py --tests tests/core/equations/test_scores.py
    python -m tests.mutation --by-hand                        # the changes of by_hand.txt
    python -m tests.mutation --again LOG --log OTHER          # what survived there, against slow tests too

Changes that change nothing are listed with their reasons in equivalent.txt, and are left out of the score.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections import Counter, defaultdict
from pathlib import Path

from tests.mutation.areas import AREAS, area_of
from tests.mutation.mutants import Mutant, mutants
from tests.mutation.runner import Copy, preload

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
WHOLE_LOOP = ("tests/flows/test_loop.py",)
COLUMNS = ("changes", "killed", "timeout", "survived", "equivalent")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="*", default=list(AREAS), help="folders or files; default: every area")
    parser.add_argument("--tests", nargs="+", help="in place of the area's own")
    parser.add_argument("--sample", type=int, default=200, help="so many changes, 0 for all")
    parser.add_argument("--of-each", type=int, default=0, help="in place of --sample: so many changes of every file")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--by-hand", action="store_true", help="the list of by_hand.txt in place of a sample")
    parser.add_argument("--again", type=Path, help="what survived in this log, slow tests and a loop too")
    parser.add_argument("--log", type=Path, help="one JSON line per change; those in it are not run again")
    asked = parser.parse_args()
    if asked.again:
        chosen = survivors(asked.again)
    else:
        chosen = by_hand() if asked.by_hand else sample(asked.paths, asked.sample, asked.seed, asked.of_each)
    return report(tried(chosen, asked.tests, asked.log, slow=bool(asked.again)))


def tried(chosen: list[Mutant], tests: list[str] | None, log: Path | None, slow: bool = False) -> list[dict]:
    """One row per change. Exits where the tests of an area fail without any."""
    lines = log.read_text().splitlines() if log and log.exists() else []
    logged = [json.loads(line) for line in lines]
    before = {row["key"]: row for row in logged if "key" in row}
    limits = {tuple(row["tests"]): row["limit"] for row in logged if "tests" in row}
    preload()
    copy, rows = Copy(ROOT, slow), []

    def note(row: dict) -> None:
        if log:
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")

    try:
        for number, mutant in enumerate(chosen, 1):
            if mutant.key in before:
                rows.append(before[mutant.key])
                continue
            area, source = area_of(mutant.path), (ROOT / mutant.path).read_text()
            mine = tuple(tests or [*AREAS[area or ""], *(WHOLE_LOOP if slow else ())])
            if mine not in limits:
                outcome, spent = copy.run(mutant.path, source, mine, 3600)
                if outcome != "survived":
                    sys.exit(f"{area}: its tests fail without a change\n{copy.output()[-3000:]}")
                limits[mine] = max(15.0, 4 * spent)
                note({"tests": mine, "limit": limits[mine]})
            outcome, spent = copy.run(mutant.path, mutant.applied(source), mine, limits[mine])
            print(f"{number}/{len(chosen)} {outcome:8s} {spent:5.1f}s line {mutant.line}: {mutant.key}", flush=True)
            rows.append({"key": mutant.key, "area": area, "line": mutant.line, "outcome": outcome})
            note(rows[-1])
    finally:
        copy.close()
    return rows


def sample(paths: list[str], count: int, seed: int, of_each: int = 0) -> list[Mutant]:
    """Changes drawn evenly from all of these files, or `of_each` from every one of them."""
    files = [f for path in paths for f in ([ROOT / path] if path.endswith(".py") else (ROOT / path).rglob("*.py"))]
    names = sorted({f.relative_to(ROOT).as_posix() for f in files})
    drawn = random.Random(seed)
    by_file = [list(mutants(name, (ROOT / name).read_text())) for name in names]
    if of_each:
        some = [mutant for mine in by_file for mutant in drawn.sample(mine, min(of_each, len(mine)))]
        return drawn.sample(some, len(some))  # a run that is cut off has seen files of every folder
    every = [mutant for mine in by_file for mutant in mine]
    return every if not count else drawn.sample(every, min(count, len(every)))


def survivors(log: Path) -> list[Mutant]:
    """The changes of a log that no test noticed and that are not equivalent; each must still be one of its file's."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    keys = {row["key"] for row in rows if row.get("outcome") == "survived"} - equivalent().keys()
    files = sorted({key.partition(" ")[0] for key in keys})
    found = [mutant for name in files for mutant in mutants(name, (ROOT / name).read_text()) if mutant.key in keys]
    return list({mutant.key: mutant for mutant in found}.values())


def by_hand() -> list[Mutant]:
    out, path, before = [], "", ""
    for line in (HERE / "by_hand.txt").read_text().splitlines():
        mark, text = line[:2], line[2:]
        if mark == "- ":
            before = text
        elif mark == "+ ":
            source = (ROOT / path).read_text()
            start = source.find(before)
            if start < 0:
                raise ValueError(f"by_hand.txt: {path} has no {before!r}")
            end = start + len(before)
            out.append(Mutant(path, "by hand", source[:start].count("\n") + 1, before, text, start, end))
        elif line and mark != "# ":
            path = line
    return out


def equivalent() -> dict[str, str]:
    """key -> reason; a reason follows its key, indented."""
    reasons, key = {}, ""
    for line in (HERE / "equivalent.txt").read_text().splitlines():
        if line.startswith("    "):
            reasons[key] = line.strip()
        elif line.strip() and not line.startswith("#"):
            key = line.strip()
    return reasons


def report(rows: list[dict]) -> int:
    """A table per area, and what survived."""
    same, by_area = equivalent(), defaultdict(Counter)
    for row in rows:
        outcome = "equivalent" if row["outcome"] == "survived" and row["key"] in same else row["outcome"]
        by_area[str(row["area"])].update((outcome, "changes"))
    by_area["all"] = sum(by_area.values(), Counter())
    print(f"\n| area | {' | '.join(COLUMNS)} | score | 95 % interval |\n|{'---|' * 8}")
    for area, counts in by_area.items():
        found, total = counts["killed"] + counts["timeout"], counts["changes"] - counts["equivalent"]
        low, high = wilson(found, total)
        score = f"{100 * found / max(1, total):.0f} | {100 * low:.0f}-{100 * high:.0f}"
        print(f"| {area} | {' | '.join(str(counts[name]) for name in COLUMNS)} | {score} |")
    survivors = [row for row in rows if row["outcome"] == "survived" and row["key"] not in same]
    print("\nsurvivors:", *(f"line {row['line']}: {row['key']}" for row in survivors), sep="\n  ")
    return 0


def wilson(found: int, total: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson, 1927)."""
    if not total:
        return 0.0, 1.0
    z, p = 1.96, found / total
    middle, half = p + z * z / (2 * total), z * math.sqrt(p * (1 - p) / total + z * z / (4 * total**2))
    return (middle - half) / (1 + z * z / total), (middle + half) / (1 + z * z / total)


if __name__ == "__main__":
    sys.exit(main())
