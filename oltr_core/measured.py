"""What was measured: numbers by name, and a reason for each that could not be computed; as a value and as files."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from oltr_core.layout import Layout

OF_CLASS = "class/"  # before the name of a class: the figure of its images
OF_SLICE = "slice/"  # before the name of an attribute, and a value of it or `worst`
#: the last part of the names of figures that are better when smaller
SMALLER = ("ece", "fpr95", "fpr95_unknown_positive", "forgetting", "gap")

#: what a generation is compared by: name, heading, meaning
HEADLINE = (
    ("closed/overall", "closed, overall", "classes of generation 0 among themselves"),
    ("closed/many", "many at 0", "those of generation 0 that had 100 or more training images then"),
    ("closed/medium", "medium at 0", "those that had 21 to 99"),
    ("closed/few", "few at 0", "those that had 20 or fewer"),
    ("now/overall", "known now", "every class known now, all competing, nothing rejected"),
    ("now/few", "few now", "those of them that have 20 or fewer training images now"),
    ("open/auroc", "open AUROC", "does the score rank unknown images above known ones"),
    ("open/unknown_recall", "unknown recall", "unknown images rejected at the operating threshold"),
    ("open/known_accuracy", "known, with rejection", "known images accepted and named rightly"),
    ("loop/known_accuracy", "loop, known", "classes of generation 0, all known classes competing"),
    ("loop/unknown_accuracy", "loop, unknown", "open classes that could have been found, named rightly"),
)
#: what DVC shows: names short enough for all of them to stand in a terminal of 100 columns
SUMMARY = ("now/overall", "now/few", "open/auroc", "open/oscr", "loop/harmonic_mean")


def counted(number: int, what: str) -> str:
    """A number and what it counts, given as a plural: 1 image, 0 classes, 1,200 images of the pool."""
    first, space, rest = what.partition(" ")
    one = {"classes": "class", "copies": "copy"}.get(first, first.removesuffix("s"))
    return f"{number:,} {one if number == 1 else first}{space}{rest}"


@dataclass
class Measured:
    """A metric is in one of the two: a finite number in `values`, or a reason in `absent`; never NaN."""

    values: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: float | str) -> None:
        """Record a number, or the reason why there is none."""
        if isinstance(value, str):
            self.absent[name] = value
        else:
            assert math.isfinite(value), f"{name} is {value}: say why it is absent instead"
            self.values[name] = float(value)

    def put_estimate(self, name: str, of: Sequence[float] | str) -> None:
        """Record value, low and high as `name`, `name_low` and `name_high`, or the reason why there are none."""
        if isinstance(of, str):
            self.absent[name] = of
        else:
            for end, value in zip(("", "_low", "_high"), of, strict=True):
                self.put(f"{name}{end}", value)

    def with_prefix(self, group: str) -> Measured:
        """The same with `group/` before every name."""
        return Measured(
            {f"{group}/{name}": value for name, value in self.values.items()},
            {f"{group}/{name}": reason for name, reason in self.absent.items()},
        )

    def __or__(self, other: Measured) -> Measured:
        return Measured(self.values | other.values, self.absent | other.absent)

    def write(self, layout: Layout, stage: str) -> None:
        """Write data/work/metrics/<stage>.json and <stage>.absent.json."""
        for name, value in self.values.items():
            assert math.isfinite(value), f"{name} is {value}: leave it out and say why"
            assert name not in self.absent, f"{name} is there and absent"
        path = layout.work.metrics(stage)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.values, indent=1, sort_keys=True) + "\n")
        layout.work.absent(stage).write_text(json.dumps(self.absent, indent=1, sort_keys=True) + "\n")


def share(part: int, of: int) -> list[float]:
    """The share, and the ends of its 95 % interval (Wilson, 1927)."""
    from scipy.stats import binomtest  # which reading figures does not need

    low, high = binomtest(part, of).proportion_ci(method="wilson")
    return [part / of, float(low), float(high)]


def write_table(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Write a table of figures as CSV, in a folder that is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *rows])


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a table of figures; none where a version that did not write it made the generation."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def read_intervals(path: Path) -> dict[str, tuple[float, float]]:
    """Name of a figure -> low and high, of a file intervals.json; empty where version 0.1 made the generation."""
    return json.loads(path.read_text())["figures"] if path.exists() else {}


def read_all(folder: Path) -> Measured:
    """Every stage's metrics below `folder`, and every reason for an absent one."""
    merged = Measured()
    for path in sorted(folder.glob("*.json")):
        into = merged.absent if path.name.endswith(".absent.json") else merged.values
        into.update(json.loads(path.read_text()))
    return merged
