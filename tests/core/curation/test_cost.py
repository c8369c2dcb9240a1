"""What a batch cost: answers as people gave them, minutes where they are known, accuracy by chance."""

from datetime import UTC, datetime

import polars as pl
import pytest

from oltr_core import schema
from oltr_core.curation.cost import answers, per_batch


def rows(*of: tuple) -> pl.DataFrame:
    """Image, label, second of the minute; and where given the annotator, the batch and the person's time."""
    made = []
    for image, label, second, *rest in of:
        annotator, batch, seconds = (*rest, *("anna", "0000", 2.0)[len(rest) :])
        made.append({
            "image_id": image, "verdict": "label", "label": label, "annotator": annotator, "batch_id": batch,
            "answered_at": datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC), "seconds": seconds,
        })  # fmt: skip
    return pl.DataFrame(schema.from_rows(schema.ANNOTATIONS, made))


CLUSTERS = {"a": 1, "b": 1, "c": 1, "d": 2}


def test_a_cluster_named_in_one_moment_is_one_answer_and_its_exceptions_one_each():
    at_once = [("a", "boar", 1), ("b", "boar", 1), ("c", "deer", 2), ("d", "boar", 1), ("e", "boar", 1)]
    assert answers(rows(*at_once), CLUSTERS) == 4, "cluster 1 and its exception, cluster 2, an image of no cluster"
    one_by_one = [("a", "boar", 1), ("b", "boar", 2), ("c", "boar", 3)]
    assert answers(rows(*one_by_one), CLUSTERS) == 3
    by_two = [("a", "boar", 1), ("b", "boar", 1), ("a", "boar", 1, "ben"), ("b", "boar", 1, "ben")]
    assert answers(rows(*by_two), CLUSTERS) == 2, "each person's answers are their own"
    assert answers(rows(*at_once), {}) == 5


def test_a_batch_is_a_row_with_its_images_answers_minutes_and_accuracy():
    said = rows(
        ("a", "boar", 1), ("b", "boar", 1), ("c", "deer", 2), ("a", "boar", 3, "ben"),
        ("d", "deer", 4, "ben", "0010", None), ("e", "deer", 5, "ben", "0010", 30.0),
        ("f", "elk", 6, "ben", "0009", 60.0),
    )  # fmt: skip
    drawn = {"suggested": {"a": "boar", "c": "boar"}, "classes": ["boar"]}
    found = per_batch(said, {"0000": {"clusters": CLUSTERS, "drawn": drawn}}, {})
    assert [row["generation"] for row in found] == ["0000", "0009", "0010"]
    first, second, third = found
    assert (first["images"], first["answers"], first["untimed"]) == (3, 3, 0)
    assert first["minutes"] == pytest.approx(8 / 60)
    assert (first["accuracy"], first["drawn"]) == (0.5, 2)
    assert first["accuracy_low"] < 0.5 < first["accuracy_high"]
    assert second["minutes"] == pytest.approx(1)
    assert (third["minutes"], third["untimed"]) == (None, 1)
    assert "accuracy" not in third
    assert per_batch(said.clear(), {}, {}) == []
