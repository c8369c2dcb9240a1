"""The same figures per group of test images (a site, a camera, a sex), the worst group and the gap."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from oltr_core.measured import SMALLER, Measured
from oltr_core.metrics.comparison import LEAST_OF_SLICE
from oltr_core.metrics.evaluation import Evaluation
from oltr_core.metrics.intervals import images_of, intervals, of_all, rows_of
from oltr_core.metrics.recognition import OPEN
from oltr_core.shapes import Float, Tensor

LEAST = LEAST_OF_SLICE  # known, or open, test images of a group below which no figure about them is judged
NAMELESS = "(none)"  # the group of images without a value
JUDGED = "now/overall"  # the figure whose worst group and gap are metrics of the generation
_NO_FIGURES = ("threshold", "classes", "temperature")


def slices(
    tested: Evaluation,
    scores: Float[Tensor, "B"],
    threshold: float,
    temperature: float,
    values: Sequence[str | None],
    generator: np.random.Generator,
    learned: bool = False,
) -> dict[str, Any]:
    """`groups`: value of an attribute -> images and figures; `figures`: of each figure, the worst group and the gap.

    `values` [B]: the attribute of each image; with `learned` there has been an update, and figures of `loop/` are
    there too. A figure is there where the group has `LEAST` images of those that this figure is about. `worst` is
    over those groups, `gap` the distance to the best, and not there for a single group.
    """
    groups: dict[str, Any] = {}
    named = [NAMELESS if value is None else value for value in values]
    for value in sorted(set(named)):
        rows = torch.tensor([name == value for name in named])
        part = tested.taken(rows)
        known = int((part.labels != OPEN).sum())
        groups[value] = {"known": known, "open": len(part.labels) - known, "metrics": {}, "intervals": {}}
        if max(known, len(part.labels) - known) >= LEAST:
            every = part.measure(scores[rows], threshold, temperature)
            every |= part.loop(scores[rows], threshold, []) if learned else Measured()
            about = of_all(images_of(rows_of(part, scores[rows], threshold)))
            found = {
                name: value
                for name, value in every.values.items()
                if (about[name].images if name in about else known) >= LEAST
                and name.rpartition("/")[2] not in _NO_FIGURES
            }
            bounds = intervals(part, scores[rows], threshold, found, generator)
            groups[value] |= {"metrics": found, "intervals": bounds}
    return {"least": LEAST, "groups": groups, "figures": _spread(groups)}


def summary(page: Mapping[str, Any]) -> Measured:
    """`worst` and `gap` of the share of known images that are named rightly, all known classes competing."""
    measured, of = Measured(), page["figures"].get(JUDGED, {})
    measured.put("worst", of.get("worst", f"no group has {LEAST} test images of known classes"))
    measured.put("gap", of.get("gap", f"fewer than two groups have {LEAST} test images of known classes"))
    return measured


def _spread(groups: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in sorted({name for group in groups.values() for name in group["metrics"]}):
        figure = {value: group["metrics"][name] for value, group in groups.items() if name in group["metrics"]}
        order = sorted(figure, key=figure.__getitem__, reverse=name.rpartition("/")[2] in SMALLER)
        found[name] = {"group": order[0], "worst": figure[order[0]]}
        if len(order) > 1:
            found[name] |= {"best_group": order[-1], "gap": abs(figure[order[-1]] - figure[order[0]])}
    return found
