"""What a stage measured: flat numbers in one file, the reasons for what could not be measured in another."""

from __future__ import annotations

import json
import math
from pathlib import Path

from oltr_core.layout import Layout


def write(layout: Layout, stage: str, values: dict[str, float], absent: dict[str, str]) -> None:
    """Write data/work/metrics/<stage>.json and <stage>.absent.json.

    A metric is in one of the two: finite, or absent with its reason; never NaN.
    """
    for name, value in values.items():
        assert math.isfinite(value), f"{name} is {value}: leave it out and say why"
        assert name not in absent, name
    path = layout.work.metrics(stage)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")
    layout.work.absent(stage).write_text(json.dumps(absent, indent=1, sort_keys=True) + "\n")


def merge(folder: Path) -> tuple[dict[str, float], dict[str, str]]:
    """Every stage's metrics below `folder`, and every reason for an absent one."""
    values: dict[str, float] = {}
    absent: dict[str, str] = {}
    for path in sorted(folder.glob("*.json")):
        (absent if path.name.endswith(".absent.json") else values).update(json.loads(path.read_text()))
    return values, absent
