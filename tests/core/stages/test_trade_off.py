"""What another operating point would cost, of a table of predictions that is counted by hand."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from oltr_core import checkpoint, schema
from oltr_core.checkpoint import Card
from oltr_core.images.transforms import Transform
from oltr_core.layout import Generation, Layout
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import SmallResNet
from oltr_core.models.heads import Linear
from oltr_core.prediction.trade_off import Share, costs
from oltr_core.settings.costs import Costs

#: split, score, best class, true class (-1: of no class that the model knows, None: no label)
VAL = [("val", 0.125, 0, 0), ("val", 0.25, 0, 0), ("val", 0.375, 0, 0), ("val", 0.5, 1, 0), ("val", 1.0, 1, 1)]
UNLISTED = [("val", 0.75, 0, -1)]
KNOWN = [("test", 0.125, 1, 0), ("test", 0.25, 0, 0), ("test", 0.375, 0, 0), ("test", 0.875, 1, 1)]
UNKNOWN = [("test", 0.25, 0, -1), ("test", 0.625, 1, -1), ("test", 0.75, 1, -1)]
OTHERS = [("test", 0.0, 0, None), ("val", 0.0, 0, None), ("pool", 0.0, 0, None), ("pool", 0.0, 0, 0)]
ERRORS = Costs(known_rejected=2, unknown_accepted=7, confusion=3, unknown_share=0.25)


def sealed(root, rows, threshold: float | None = 0.25, balanced: bool = False) -> Generation:
    generation = Layout(root).generation("0000")
    spec = NetworkSpec(backbone=SmallResNet(widths=(4, 4, 4, 4)), attention="none", head=Linear())
    about = {"threshold": threshold, "class_balanced": balanced, "network": spec, "transform": Transform(size=8)}
    generation.folder.mkdir(parents=True)
    checkpoint.save(generation.model, spec(2), Card(class_ids=[0, 1], class_counts=[4, 1], **about))
    names = ("split", "score", "class_id", "true_class_id")
    table = [
        {"image_id": f"{n:03d}", "probability": 0.5, "rejected": row[1] > (threshold or 0)}
        | dict(zip(names, row, strict=True))
        for n, row in enumerate(rows)
    ]
    schema.write(generation.predictions, schema.from_rows(schema.PREDICTIONS, table), schema.PREDICTIONS)
    return generation


def share(count: int, of: int) -> Share:
    low, high = binomtest(count, of).proportion_ci(0.95, "exact")
    return Share(count / of, pytest.approx(low, abs=1e-6), pytest.approx(high, abs=1e-6), of)


def test_shares_and_cost_are_of_test_images_and_one_at_the_threshold_is_accepted(tmp_path):
    now, kept = costs(sealed(tmp_path, [*VAL, *KNOWN, *UNKNOWN, *OTHERS]), [0.8], ERRORS)
    assert (now.name, now.threshold, kept.name, kept.threshold) == ("now", 0.25, "0.8", 0.5)
    assert (now.known_rejected, now.known_named, now.unknown_accepted) == (share(2, 4), share(1, 4), share(1, 3))
    # 3 of 4 known images are no unknown ones: 2 are rejected and 1 is confused; of unknown images 1 of 3 is accepted
    assert now.of_1000_images == pytest.approx(1000 * (0.75 * (2 * 2 + 3 * 1) / 4 + 0.25 * 7 * 1 / 3))
    assert (kept.known_rejected, kept.known_named, kept.unknown_accepted) == (share(1, 4), share(2, 4), share(1, 3))
    assert kept.of_1000_images == pytest.approx(1000 * (0.75 * (2 * 1 + 3 * 1) / 4 + 0.25 * 7 * 1 / 3))


def test_where_classes_count_alike_the_share_to_keep_is_the_mean_of_theirs(tmp_path):
    _, half, more = costs(sealed(tmp_path, [*VAL, *KNOWN], balanced=True), [0.5, 0.8], ERRORS)
    assert (half.threshold, more.threshold) == (0.5, 1.0), "all four of a class, and none or the one of the other"


def test_the_cheapest_point_is_that_of_the_validation_images_and_the_last(tmp_path):
    """Costs at 0, 0.125 ... 0.75, 1: 1.5, 1.2, 0.9, 0.6, 0.75, 2.5 and 2.2."""
    found = costs(sealed(tmp_path, [*VAL, *UNLISTED, *KNOWN, *UNKNOWN]), [1.0], ERRORS)
    assert [(one.name, one.threshold) for one in found] == [("now", 0.25), ("1", 1.0), ("cheapest", 0.375)]


@pytest.mark.parametrize(("rows", "lacks"), [(KNOWN, "unknown"), (UNKNOWN, "known")])
def test_without_known_or_without_unknown_test_images_there_is_no_cost(tmp_path, rows, lacks):
    (now,) = costs(sealed(tmp_path, [*VAL, *rows]), [], ERRORS)
    assert now.of_1000_images is None
    assert [now.known_rejected is None, now.known_named is None] == [lacks == "known"] * 2
    assert (now.unknown_accepted is None) == (lacks == "unknown")


def test_what_cannot_be_weighed_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"model\.safetensors: this model has no threshold yet"):
        costs(sealed(tmp_path / "a", VAL, threshold=None), [], ERRORS)
    for name, rows in (("b", KNOWN), ("c", [*UNLISTED, *KNOWN])):
        with pytest.raises(ValueError, match="expected validation images of known classes, found none"):
            costs(sealed(tmp_path / name, rows), [], ERRORS)
    generation = sealed(tmp_path / "d", VAL)
    old = [row | {"rejected": None} for row in schema.read(generation.predictions, schema.PREDICTIONS).to_pylist()]
    schema.write(generation.predictions, schema.from_rows(schema.PREDICTIONS, old), schema.PREDICTIONS)
    with pytest.raises(ValueError, match=r"version 0\.1 wrote it, without the true classes"):
        costs(generation, [], ERRORS)
