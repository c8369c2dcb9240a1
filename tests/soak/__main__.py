"""`python -m tests.soak`: 260 points of failure over two generations, and what came of them.

    python -m tests.soak --points 260 --log soak.jsonl      goes on where a run with the same log stopped
    python -m tests.soak --log soak.jsonl --page            write the result into docs/reliability.md, run nothing

Points are drawn with a seed: changes of files in each process of a command, moments of a whole command, full disks.
Others are services that are down or go down, and an S3 store whose answers fail. Some points follow each other in one
workspace: the command fails at one, is repeated and fails at the next, and is compared when it has ended well.
Exits 1 if one was not survived.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from tests.soak import store
from tests.soak.faults import Fault, changes, expected, suffer

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"
TOGETHER = 5  # points in one workspace
GONE = (("mlflow", 5), ("mlflow", 40), ("prefect", 15), ("prefect", 40))  # servers that end after so many seconds
#: start, command, share of the points
COMMANDS = (("new", "loop", 0.4), ("one", "loop", 0.35), ("two", "forget", 0.15), ("two", "gc --yes", 0.02))


def points(number: int, seed: int) -> list[Fault]:
    """So many faults, the same for the same seed and code; those of one command in the order of its processes."""
    rng = random.Random(seed)
    services = ("remote", "mlflow", "prefect")
    found = store.points()
    found += [Fault("one", "loop", "gone", who, at) for who, at in GONE]
    found += [Fault(start, "loop", "down", who) for start in ("new", "one") for who in services]
    found += [Fault("one", "loop", "size", "ulimit", kib * 1024) for kib in (4, 64, 256, 1024)]
    if len(found) >= number:
        return found[:number]
    for start, command, share in COMMANDS:
        counts = changes(start, command)
        took, order = expected(start, command)[1], list(counts)
        mine: list[tuple[float, Fault]] = []
        for _ in range(round(number * share)):
            kind = rng.random()
            if kind < 0.25:  # the first seconds are when databases are made
                second = round(rng.uniform(0.5, 6 if kind < 0.08 else took), 1)
                fault = Fault(start, command, rng.choice(["alone", "group"]), at=second)
                mine.append((second / took * len(order), fault))
            else:
                who = rng.choices(list(counts), weights=[c**0.5 for c in counts.values()])[0]
                what = "full" if kind > 0.88 else rng.choice(["alone", "group"])
                change = rng.randint(1, counts[who])
                mine.append((order.index(who) + change / counts[who], Fault(start, command, what, who, change)))
        found += in_turn(mine)
    return found[:number]


def in_turn(mine: list[tuple[float, Fault]]) -> list[Fault]:
    """Groups of TOGETHER faults that lie apart, each in the order in which a command comes to them."""
    ordered = [fault for _, fault in sorted(mine, key=lambda pair: pair[0])]
    groups = math.ceil(len(ordered) / TOGETHER)
    return [fault for k in range(groups) for fault in ordered[k::groups]]


def chains(faults: list[Fault]) -> Iterator[list[Fault]]:
    """The next faults for one workspace, TOGETHER at most; a service that is down and a limit of size stand alone."""
    alone = ("down", "size", "gone", *store.WHAT)
    while faults:
        first = faults[0]
        same = [f for f in faults if (f.start, f.command) == (first.start, first.command) and f.what not in alone]
        yield [first] if first.what in alone else same[:TOGETHER]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=260)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--log", type=Path, default=ROOT / ".oltr" / "soak.jsonl", help="one JSON line per point")
    parser.add_argument("--page", action="store_true", help="write the result into docs/reliability.md, run nothing")
    asked = parser.parse_args()
    before = [json.loads(line) for line in asked.log.read_text().splitlines()] if asked.log.exists() else []
    if asked.page:
        write_page(before)
        return 0
    done, begun = {row["key"] for row in before}, time.monotonic()
    failed = sum(bool(row["wrong"]) for row in before)
    left = [fault for fault in points(asked.points, asked.seed) if fault.key not in done]
    asked.log.parent.mkdir(exist_ok=True)
    for chain in chains(left):
        if time.monotonic() - begun > asked.seconds:
            break
        rows = store.suffer(chain) if chain[0].start == "store" else suffer(chain)
        for row in rows:
            row |= {"chain": chain[0].key, "revision": revision(), "date": date.today().isoformat()}
            failed += bool(row["wrong"])
            with asked.log.open("a") as log:
                log.write(json.dumps(row) + "\n")
            print("·" if not row["wrong"] else f"✗ {row['key']}: {row['wrong']}", flush=True)
        tried = {row["key"] for row in rows}
        left[:] = [fault for fault in left if fault.key not in tried]
    return 1 if failed else 0


def revision() -> str:
    return subprocess.check_output(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], text=True).strip()


def write_page(rows: list[dict]) -> None:
    """The table of the points in the log, between the marks of docs/reliability.md."""
    groups: dict[tuple[str, str], list[dict]] = defaultdict(list)
    kinds = {"alone": "SIGKILL of one process", "group": "SIGKILL of all", "full": "no space left",
             "size": "no larger files", "down": "a service down", "gone": "a service that ends meanwhile",
             "500": "a request answered by 500", "hang": "a request that is not answered",
             "cut": "an answer cut off"}  # fmt: skip
    for row in rows:
        fault = json.loads(row["key"])
        where = f"S3: {fault['who']}" if fault["start"] == "store" else f"from {fault['start']}"
        groups[f"{fault['command']}, {where}", kinds[fault["what"]]].append(row)
    lines = [
        BEGIN,
        "",
        "| command, workspace | failure | points | reached | as if nothing had been |",
        "|---|---|---:|---:|---:|",
    ]
    for (command, kind), mine in sorted(groups.items()):
        hit = sum(row["hit"] for row in mine)
        lines.append(f"| {command} | {kind} | {len(mine)} | {hit} | {sum(not row['wrong'] for row in mine)} |")
    revisions = sorted({row["revision"] for row in rows})
    days = sorted({row["date"] for row in rows})
    lines += ["", f"{len(rows)} points, revision {', '.join(revisions)}, {', '.join(days)}.", "", END]
    text = PAGE.read_text()
    PAGE.write_text(text[: text.index(BEGIN)] + "\n".join(lines) + text[text.index(END) + len(END) :])


if __name__ == "__main__":
    sys.exit(main())
