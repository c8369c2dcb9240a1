"""Which images are looked at between generations and beside which, worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest
import torch

from oltr_core import ledger, schema
from oltr_core.layout import Layout
from oltr_core.measured import share
from oltr_core.metrics import drift
from oltr_core.stages import monitoring
from tests.core.data_world import image_id, index_row, put_batch


def manifest(*rows: dict[str, Any]) -> pa.Table:
    """Rows of the pool of batch `b`, image n being the nth, but for what is said."""
    same = {"batch": "b", "shard": 0, "width": 8, "height": 8, "source": "table", "split": "pool"}
    return schema.from_rows(
        schema.MANIFEST, [same | {"image_id": image_id(n), "row": n} | of for n, of in enumerate(rows)]
    )


def numbers(rows: pa.Table) -> list[int]:
    return rows.column("row").to_pylist()


def test_what_arrived_is_the_newest_batch_without_what_a_source_named_whatever_people_have_said_since(tmp_path):
    rows = manifest(
        {"batch": "batch-2"},
        {"batch": "batch-10"},
        {"batch": "batch-10", "split": "train", "label_source": "source"},
        {"batch": "batch-10", "split": "train", "label_source": "annotator"},
        {"batch": "batch-10", "split": "train"},
        {"batch": "batch-2", "split": "train", "label_source": "annotator"},
        {"batch": "batch-10", "label_source": "source"},
    )
    assert numbers(monitoring.arrived(rows, Layout(tmp_path))) == [1, 3, 6]
    assert monitoring.arrived(manifest(), Layout(tmp_path)).num_rows == 0
    for name in ("batch-10", "batch-2"):  # as the history has it, and not by their names
        event = ledger.Event("ingested", "", name, "2026-01-01", {"batch": name})
        ledger.append(Layout(tmp_path).ledger, event)
    assert numbers(monitoring.arrived(rows, Layout(tmp_path))) == [0, 5]


def test_a_batch_is_looked_at_without_what_the_newest_generation_has_in_quarantine(tmp_path):
    layout = Layout(tmp_path)
    batch = [index_row(0, label="fox"), index_row(1), index_row(2, split="test"), index_row(3)]
    put_batch(layout, "b", batch)
    assert sorted(numbers(monitoring.unlabelled(layout.batch("b"), layout))) == [1, 3]
    sealed = manifest({}, {}, {}, {"split": "quarantine", "reason": "its group is tested"})
    schema.write(layout.generation("0000").manifest, sealed, schema.MANIFEST)
    for event, details in (("opened", {"parent": "genesis", "mode": "train"}), ("sealed", {})):
        ledger.append(layout.ledger, ledger.Event(event, "0000", event, "2026-01-01", details))
    assert numbers(monitoring.unlabelled(layout.batch("b"), layout)) == [1]


def test_they_stand_beside_validation_images_that_were_labelled_before_the_full_training():
    labelled = ["0000", "0001", "0002", None]
    rows = manifest(
        *({"split": "val", "labelled_in": name} for name in labelled), {"split": "train", "labelled_in": "0000"}
    )
    base = manifest(*({"split": "train", "labelled_in": name} for name in ("0000", "0001", None)))
    assert numbers(monitoring.trained_for(rows, base)) == [0, 1]
    assert numbers(monitoring.trained_for(rows, manifest())) == [0, 1, 2, 3], "an imported model has no such images"


def with_attributes(layout: Layout, *of: dict[str, Any] | None) -> pa.Table:
    put_batch(layout, "b", [index_row(n, attributes=told and json.dumps(told)) for n, told in enumerate(of)])
    return manifest(*({} for _ in of))


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (({"station": 3}, {"camera": "x"}, {"camera": 7, "station": 1}), ("camera", [None, "x", "7"])),
        (({"location": "a", "camera": "b"}, None), ("location", ["a", None])),
        (({"location": "a"}, {"site": None}), ("site", [None, None])),
        (({"night": True}, None), (None, [])),
    ],
)
def test_places_are_the_values_of_the_first_attribute_that_any_image_has(tmp_path, of, expected):
    layout = Layout(tmp_path)
    assert monitoring.attribute(with_attributes(layout, *of), layout) == expected


def test_a_place_needs_twenty_images_and_for_its_distance_twenty_in_the_second_half(tmp_path):
    layout, least = Layout(tmp_path), drift.LEAST
    values = ["a"] * (least + 10) + ["b"] * least + ["c"] * (least - 1) + [""]
    rows = with_attributes(layout, *({"site": value} for value in values))
    unknown = torch.tensor([n % 2 == 0 for n in range(len(values))])
    reference = torch.linspace(0, 1, 40, dtype=torch.float64)
    # of those that were drawn, the second half: 20 of a, 19 of b, none of c
    few = torch.arange(len(values)).flip(0)
    second = [*range(least), *range(least + 10, 2 * least + 9)]
    of_pool = torch.linspace(0.5, 2, len(second), dtype=torch.float64)
    halves = drift.Halves(reference, of_pool, torch.tensor([len(values) - 1 - n for n in second]))
    found = monitoring._places(rows, unknown, halves, few, layout)
    assert found["by"] == "site"
    judged = {place["value"]: place for place in found["places"]}
    assert list(judged) == ["a", "b", "c"], "most images first; an empty value is no place"
    assert judged["a"] == {
        "value": "a", "images": 30, "unknown_rate": share(15, 30), "drift": drift.area(reference, of_pool[:least]),
    }  # fmt: skip
    few_images = "too few images to judge"
    assert judged["b"] == {"value": "b", "images": 20, "unknown_rate": share(10, 20), "drift": few_images}
    assert judged["c"] == {"value": "c", "images": 19, "unknown_rate": None, "drift": few_images}
    without = monitoring._places(rows, unknown, "too few", few, layout)["places"]
    assert {place["drift"] for place in without} == {few_images}


def card(counts: Iterable[int]) -> Any:
    return SimpleNamespace(card=SimpleNamespace(output_class_names=list("dcba"), output_class_counts=list(counts)))


def test_classes_whose_share_changed_most_come_first_and_equal_ones_by_name():
    # of 10 images 2 are unknown: a 1, b 1, c 5 and d 1; trained on 40 images
    found = monitoring._classes(torch.tensor([3, 2, 1, 1, 1, 1, 1, 0]), card([4, 16, 4, 16]), 10)
    assert [(of["class"], of["share"][0], of["trained"]) for of in found] == [
        ("a", 0.1, 0.4), ("c", 0.5, 0.4), ("b", 0.1, 0.1), ("d", 0.1, 0.1),
    ]  # fmt: skip
    assert found[0]["share"] == share(1, 10)
    assert [of["trained"] for of in monitoring._classes(torch.tensor([0]), card([0] * 4), 1)] == [0.0] * 4


def test_of_many_classes_twelve_are_shown():
    many: Any = SimpleNamespace(
        card=SimpleNamespace(output_class_names=[f"{n:02}" for n in range(13)], output_class_counts=[1] * 13)
    )
    assert len(monitoring._classes(torch.tensor([0]), many, 1)) == 12


def test_a_sample_is_drawn_without_replacement_in_the_order_of_the_rows():
    rows = manifest(*({} for _ in range(50)))
    drawn = numbers(monitoring._drawn(rows, 20, torch.Generator().manual_seed(0)))
    assert drawn == sorted(set(drawn))
    assert len(drawn) == 20
    assert drawn != list(range(20))
    assert numbers(monitoring._drawn(rows, 50, torch.Generator())) == list(range(50))


def test_figures_of_the_newest_images_have_the_ends_of_their_intervals_or_a_reason():
    found = monitoring.figures({"unknown_rate": [0.25, 0.125, 0.5], "drift": "too few"})
    assert found.values == {
        "pool/unknown_rate": 0.25, "pool/unknown_rate_low": 0.125, "pool/unknown_rate_high": 0.5,
    }  # fmt: skip
    assert found.absent == {"pool/drift": "too few"}
    assert monitoring.figures({"unknown_rate": None, "drift": "few"}).absent["pool/unknown_rate"] == (
        "no image came without a label"
    )
