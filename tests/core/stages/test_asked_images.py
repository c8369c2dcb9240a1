"""Which images are asked about once more, and in which order, worked out by hand."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
import torch

from oltr_core import schema
from oltr_core.interfaces import Outputs
from oltr_core.stages import adjudication, select

CLASSES = [
    {"class_id": 0, "name": "pig", "aliases": [], "status": "split", "successor": None, "parent": None},
    {"class_id": 1, "name": "deer", "aliases": [], "status": "active", "successor": None, "parent": None},
    {"class_id": 2, "name": "hog", "aliases": [], "status": "merged", "successor": 0, "parent": None},
]
ROWS = [
    ("e", "train", 0),
    ("d", "test", 2),
    ("c", "val", 0),
    ("b", "pool", None),
    ("a", "test", 0),
    ("f", "train", 1),
]
DISPUTED = [
    {"image_id": "b", "votes": {"boar": ["ann"], "hog": ["bob", "cy"]}, "asked_again": False},
    {"image_id": "f", "votes": {"deer": ["ann"], "roe": ["bob"]}, "asked_again": True},
    {"image_id": "e", "votes": {"pig": ["ann"], "hog": ["bob"]}, "asked_again": False},
]


@pytest.fixture(scope="module")
def manifest() -> pa.Table:
    same = {"batch": "b", "shard": 0, "row": 0, "width": 8, "height": 8, "source": "table"}
    rows = [same | {"image_id": image, "split": split, "class_id": of} for image, split, of in ROWS]
    return schema.from_rows(schema.MANIFEST, rows)


SPLIT = [(image, "its class 'pig' was split: into which?", "split") for image in "adce"]  # one was merged into it
AGAIN = [("b", "3 people disagree: boar, hog", "adjudicate")]


@pytest.mark.parametrize("budget", [0, 2, 4, 5, 9])
def test_test_images_of_a_split_class_come_first_then_what_people_disagree_about_within_the_budget(manifest, budget):
    """Of a split class by split and id; what was asked again already, or has a split class, is no dispute."""
    rows, picks = adjudication.waiting(manifest, CLASSES, DISPUTED, budget)
    found = list(zip(rows.column("image_id").to_pylist(), picks.reasons, picks.shares or [], strict=True))
    assert found == [*SPLIT, *AGAIN][:budget]
    assert picks.indices.tolist() == list(range(len(found)))
    assert picks.merit.tolist() == [1.0] * len(found)


def test_images_of_split_classes_are_those_of_classes_merged_into_one_too(manifest):
    assert adjudication.of_split_classes(manifest, CLASSES).column("image_id").to_pylist() == ["e", "d", "c", "a"]
    assert adjudication.of_split_classes(manifest, CLASSES[1:2]).num_rows == 0


def outputs(*of: float) -> Outputs:
    value = torch.tensor(of)[:, None, None]
    return Outputs(logits=value, features=value, embeddings=value)


def test_what_was_picked_among_pool_and_labelled_images_stands_in_the_order_of_the_picks():
    pool, labelled = outputs(0, 1, 2), outputs(10, 11)

    def found(*indices: int, of: Outputs | None = labelled) -> list[float]:
        return select.picked(pool, of, torch.tensor(indices, dtype=torch.long)).logits[:, 0, 0].tolist()

    assert found(4, 0, 3, 2) == [11, 0, 10, 2]
    assert found(1, 3) == [1, 10]
    assert found(2, 0) == [2, 0]
    assert found(3) == [10]
    assert found() == []
    assert found(2, 0, of=None) == [2, 0]


def test_a_selection_has_the_rank_the_measures_and_the_best_class_of_each_image(manifest):
    def of(**more: Any) -> list[dict]:
        logits = torch.tensor([[0.0, 2.0, 1.0], [3.0, 0.0, 0.0]])[:, None]
        distances = torch.tensor([[4.0, 1, 3], [2, 8, 4]])[:, None]
        said = Outputs(logits=logits, features=logits, embeddings=logits, distances=distances)
        picks = select.Picks(torch.tensor([3, 1]), ["far", "near"], torch.tensor([0.75, 0.25]), **more)
        found = select.selection(manifest.take([3, 1]), picks, said, ["pig", "deer", "hog"], "random").to_pylist()
        assert [row["u_open"] for row in found] == [1, 2], "the distance to the nearest class"
        assert [row["u_info"] for row in found] == pytest.approx([1 / 3, 1 / 2]), "over that to the second"
        return [{k: v for k, v in row.items() if not k.startswith("u_")} for row in found]

    first = {"image_id": "b", "rank": 0, "merit": 0.75, "reason": "far", "suggested": "deer", "strategy": "random"}
    second = {"image_id": "d", "rank": 1, "merit": 0.25, "reason": "near", "suggested": "pig", "strategy": "random"}
    nothing = {"share": None, "cluster": None}
    assert of() == [first | nothing, second | nothing]
    shares = of(shares=["audit", "discover"], clusters=[None, 7])
    assert shares == [first | {"share": "audit", "cluster": None}, second | {"share": "discover", "cluster": 7}]
