"""What two tables of predictions say of the images that both have, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oltr_core import schema
from oltr_core.metrics.intervals import Rows
from oltr_core.stages import changes

LABEL = [3, 3, 7, -1, -1, 7]
SAID = {
    "predicted": [3, 7, 7, 3, 7, 7], "at_start": [3, 7, 3, 3, 7, 3], "shot": [1, 1, 3, 0, 0, 2],
    "shot_now": [2, 1, 3, 0, 0, 1], "asked": [False, True, False, False, True, False],
    "rejected": [False, False, True, True, False, False], "score": [0.125, 0.25, 1.5, 0.75, 0.5, 0.0],
}  # fmt: skip
ROWS = Rows(label=np.array(LABEL), **{name: np.array(of) for name, of in SAID.items()})


def table(path: Path, names: list[str], rows: Rows, *more: dict[str, Any]) -> Path:
    """A table of predictions whose row i is the image names[i]; `more`: further rows, by what they differ in."""
    columns = {name: of.to_pylist() for name, of in changes.columns(rows).items()}
    made = [
        {"image_id": image, "split": "test", "probability": 0.5, "score": float(rows.score[i])}
        | {name: of[i] for name, of in columns.items()}
        for i, image in enumerate(names)
    ]
    schema.write(
        path, schema.from_rows(schema.PREDICTIONS, [*made, *(made[0] | of for of in more)]), schema.PREDICTIONS
    )
    return path


def test_what_was_written_of_test_images_is_read_in_the_order_of_their_digests(tmp_path):
    others = (
        {"image_id": "x", "split": "gate"},
        {"image_id": "y", "split": "val"},
        {"image_id": "z", "true_class_id": None},
    )
    path = table(tmp_path / "p.parquet", [*"fbdace"], ROWS, *others)
    names, found = changes.read(path)
    assert names == [*"abcdef"]
    order = [3, 1, 4, 2, 5, 0]
    for name, values in ROWS._asdict().items():
        assert getattr(found, name).tolist() == values[order].tolist(), name


def test_a_change_is_that_of_the_shared_images_with_the_classes_that_each_generation_knew(tmp_path):
    before = table(tmp_path / "before.parquet", [*"abcdef"], ROWS)
    better = ROWS._replace(
        predicted=np.array([3, 3, 7, 3, 7, 7]), rejected=np.array([False, False, False, True, True, False])
    )
    # the later one was measured on all of them but f, and on another
    now = table(tmp_path / "now.parquet", [*"abcdeg"], better)
    found = changes.between(before, now, ["now/overall", "open/unknown_recall", "none"])
    assert found["images"] == 5
    assert set(found["figures"]) == {"now/overall", "open/unknown_recall"}
    for name, was, is_, images in (("now/overall", 2 / 3, 1, 3), ("open/unknown_recall", 0.5, 1, 2)):
        of = found["figures"][name]
        assert (of["before"], of["now"], of["images"]) == (pytest.approx(was), is_, images)
        assert of["difference"] == pytest.approx(is_ - was)
    back = changes.between(now, before, ["now/overall"])["figures"]["now/overall"]
    assert back["difference"] == pytest.approx(-1 / 3)
