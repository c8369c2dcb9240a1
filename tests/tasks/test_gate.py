from __future__ import annotations

import json

import pytest

from oltr_core import digest, ledger
from oltr_core.layout import Layout
from oltr_core.ledger import Event
from oltr_core.settings.operations import Gate
from tasks import gate

AT = "2026-01-01T00:00:00+00:00"
METRICS = {"closed/overall": 0.9, "closed/few": 0.8, "open/auroc": 0.9}


def figure(champion: float, challenger: float, low: float, high: float, images: int = 100) -> dict[str, float]:
    difference = challenger - champion
    return {"champion": champion, "challenger": challenger, "difference": difference, "low": low, "high": high,
            "images": images}  # fmt: skip


def page(champion: str = "0000", absent: dict[str, str] | None = None, **figures: dict[str, float]) -> dict:
    return {"champion": champion, "images": 100, "held_apart": True, "classes": 8, "metrics": figures,
            "absent": absent or {}}  # fmt: skip


def learned(right: float, low: float, images: int = 20) -> dict[str, float]:
    return figure(0.0, right, low, min(1.0, right + 0.2), images)


@pytest.mark.parametrize(
    ("name", "of", "refused"),
    [
        ("known_accuracy", figure(0.94, 0.90, -0.06, -0.02), False),  # certain, and within the tolerance
        ("known_accuracy", figure(0.94, 0.88, -0.10, -0.02), True),
        ("known_accuracy", figure(0.94, 0.88, -0.14, 0.02), False),  # it may be chance
        ("known_accuracy", figure(0.94, 0.70, -0.60, 0.12, 8), True),  # so far that chance is no excuse
        ("few_accuracy", figure(0.94, 0.86, -0.10, -0.02), False),  # a tolerance of its own
        ("few_accuracy", figure(0.94, 0.80, -0.20, -0.02), True),
        ("auroc", figure(0.94, 0.80, -0.20, -0.08), True),
        ("auroc", figure(0.80, 0.95, 0.10, 0.20), False),
        ("unknown_recall", figure(0.9, 0.1, -0.9, -0.7), False),  # nobody has asked
        ("learned_accuracy", learned(0.10, 0.01), True),
        ("learned_accuracy", learned(0.40, 0.15), False),
        ("learned_accuracy", learned(0.40, 0.10), True),  # of eight classes chance names an eighth
        ("learned_accuracy", learned(0.50, 0.01, 2), True),  # an interval that spans everything shows nothing learned
        ("learned_accuracy", learned(1.0, 0.03, 1), False),  # more than all cannot be asked
    ],
)
def test_a_challenger_is_refused_for_a_fall_or_for_learning_nothing_and_for_nothing_else(layout, name, of, refused):
    write(layout, page(**{name: of}))
    verdict, reasons = judged(layout)
    assert verdict == ("refused" if refused else "promoted")
    assert len(reasons) == refused
    assert all(reason.startswith(name) and f"{of['challenger']:.3f}" in reason for reason in reasons)


@pytest.fixture
def layout(tmp_path) -> Layout:
    """Two generations, the first sealed and champion."""
    layout = Layout(tmp_path)
    sealed(layout, "0000", "genesis")
    assert gate.judge(layout, Gate(), "0000", AT) == ("promoted", [])
    return layout


@pytest.mark.parametrize(
    ("metrics", "ends", "words"),
    [
        ({"closed/overall": 0.077}, (0.0, 0.2), ["is 0.077 (95 % interval 0.000 to 0.200), not above chance"]),
        ({"closed/overall": 0.3}, (0.2, 0.4), []),
        ({"closed/overall": 0.3}, (0.05, 0.5), ["(0.077)"]),
        ({"closed/overall": 0.5, "open/known_accuracy": 0.0}, (0.4, 0.6), ["no known test image is accepted"]),
        ({"closed/overall": 1.0, "open/known_accuracy": 0.1}, (0.05, 1.0), []),
    ],
)
def test_a_first_generation_that_is_useless_is_promoted_with_a_warning(tmp_path, metrics, ends, words):
    layout = Layout(tmp_path)
    layout.generation("0000").folder.mkdir(parents=True)
    layout.generation("0000").intervals.write_text(json.dumps({"figures": {"closed/overall": ends}}))
    sealed(layout, "0000", "genesis", {"data/classes": 13.0, **metrics})
    assert gate.judge(layout, Gate(), "0000", AT) == ("promoted", [])
    told = ledger.read(layout.ledger)[-1].details["warnings"]
    assert len(told) == len(words)
    assert all(word in sentence for word, sentence in zip(words, told, strict=True))


def sealed(
    layout: Layout,
    name: str,
    parent: str,
    metrics: dict[str, float] | None = None,
    absent: dict[str, str] | None = None,
) -> None:
    generation = layout.generation(name)
    generation.folder.mkdir(parents=True, exist_ok=True)
    generation.metrics.write_text(json.dumps(METRICS | (metrics or {})))
    generation.metrics_absent.write_text(json.dumps(absent or {}))
    ledger.append(layout.ledger, Event("opened", name, name, AT, {"parent": parent, "mode": "train"}))
    ledger.append(layout.ledger, Event("sealed", name, digest.of_folder(generation.folder), AT, {"parent": parent}))


def write(layout: Layout, compared: dict) -> None:
    """0001, sealed with this gate.json."""
    generation = layout.generation("0001")
    generation.folder.mkdir(parents=True)
    generation.gate.write_text(json.dumps(compared))
    sealed(layout, "0001", "0000")


def judged(layout: Layout, **rule) -> tuple[str, list[str]]:
    return gate.judge(layout, Gate(**rule), "0001", AT)


def test_a_reason_is_a_sentence_with_figures_interval_and_images(layout):
    write(
        layout, page(known_accuracy=figure(0.94, 0.85, -0.14, -0.04, 120), learned_accuracy=learned(0.1, 0.012, 30))
    )
    assert judged(layout)[1] == [
        "learned_accuracy is 0.100 (95 % interval 0.012 to 0.300, 30 images), less than 0.25",
        "known_accuracy fell from 0.940 to 0.850, by more than 0.05 (difference -0.090, 95 % interval -0.140 to "
        "-0.040, 120 images)",
    ]


def test_a_verdict_is_written_once_with_its_reasons_and_the_comparison(layout):
    compared = page(absent={"auroc": "no open image"}, known_accuracy=figure(0.9, 0.5, -0.5, -0.3))
    write(layout, compared)
    verdict, reasons = judged(layout)
    assert (verdict, len(reasons)) == ("refused", 1)
    event = ledger.read(layout.ledger)[-1]
    assert event.details["comparison"] == compared
    assert event.details["not_compared"] == {"auroc": "no open image"}
    lines = layout.ledger.read_text()
    assert gate.judge(layout, Gate(), "0001", "later") == (verdict, reasons)
    assert layout.ledger.read_text() == lines
    assert ledger.replay(ledger.read(layout.ledger)).champion == "0000"


def test_the_names_that_tolerances_had_in_version_0_1_still_hold(layout):
    write(layout, page(known_accuracy=figure(0.94, 0.90, -0.06, -0.02)))
    verdict, reasons = judged(layout, tolerances={"closed/overall": 0.03})
    assert verdict == "refused"
    assert reasons[0].startswith("known_accuracy fell from 0.940 to 0.900, by more than 0.03")


def test_a_class_may_have_a_tolerance_of_its_own(layout):
    write(layout, page(**{"class/lynx": figure(0.9, 0.6, -0.5, -0.1), "class/deer": figure(0.9, 0.2, -0.9, -0.5)}))
    verdict, reasons = judged(layout, tolerances={"class/lynx": 0.1, "class/elk": 0.1})
    assert (verdict, [reason.split(" ")[0] for reason in reasons]) == ("refused", ["class/lynx"])
    missing = ledger.read(layout.ledger)[-1].details["not_compared"]
    assert missing == {"class/elk": "no image of a class of this name that both know"}


def test_nothing_need_be_learned_where_the_setting_says_so(layout):
    write(layout, page(learned_accuracy=learned(0.0, 0.0)))
    assert judged(layout, min_learned_accuracy=0) == ("promoted", [])


def test_a_tolerance_for_another_metric_compares_the_sealed_metrics(layout):
    generation = layout.generation("0001")
    generation.folder.mkdir(parents=True)
    generation.gate.write_text(json.dumps(page(known_accuracy=figure(0.9, 0.9, 0, 0))))
    sealed(layout, "0001", "0000", {"closed/overall": 0.1, "closed/few": 0.7})
    rule = {"tolerances": {"known_accuracy": 0.05, "open/auroc": 0.1, "closed/few": 0.2}}
    assert judged(layout, **rule)[0] == "promoted"  # closed/overall is gated on the same images alone


def test_what_the_sealed_metrics_cannot_compare_is_no_part_of_the_comparison(layout):
    compared = page(absent={"auroc": "no open image"}, known_accuracy=figure(0.9, 0.9, 0, 0))
    generation = layout.generation("0001")
    generation.folder.mkdir(parents=True)
    generation.gate.write_text(json.dumps(compared))
    sealed(layout, "0001", "0000", {"closed/overall": 0.9}, {"closed/few": "no class is small"})
    assert judged(layout, tolerances={"closed/few": 0.2})[0] == "promoted"
    details = ledger.read(layout.ledger)[-1].details
    assert details["comparison"] == compared
    assert details["not_compared"] == {"auroc": "no open image", "closed/few": "no class is small"}


def test_where_the_champion_was_moved_by_hand_the_sealed_metrics_are_compared(layout):
    """0001 was compared with 0000; then 0002 became champion, against which its metrics have fallen."""
    write(layout, page(known_accuracy=figure(0.9, 0.95, 0.0, 0.1), learned_accuracy=learned(0.1, 0.0)))
    sealed(layout, "0002", "0000", {"closed/overall": 0.99})
    gate.move(layout, "0002", "promoted", "by hand", "eve", AT)
    verdict, reasons = judged(layout)
    assert verdict == "refused"
    assert [reason.split(" ")[0] for reason in reasons] == ["learned_accuracy", "closed/overall"]
    assert "comparison" not in ledger.read(layout.ledger)[-1].details


@pytest.mark.parametrize(
    ("metrics", "absent", "reasons"),
    [
        ({"closed/overall": 0.86, "open/auroc": 0.81}, {}, 0),
        ({"closed/overall": 0.84}, {}, 1),
        ({"closed/overall": 0.1, "closed/few": 0.1, "open/auroc": 0.1}, {}, 3),
        ({"open/auroc": 0.1}, {"open/auroc": "none is left"}, 0),
    ],
)
def test_a_generation_that_version_0_1_sealed_is_judged_by_its_metrics(layout, metrics, absent, reasons):
    sealed(layout, "0001", "0000", metrics, absent)
    verdict, found = judged(layout)
    assert (verdict, len(found)) == ("refused" if reasons else "promoted", reasons)
    assert all(reason.startswith(("closed/", "open/")) for reason in found)
    assert ledger.read(layout.ledger)[-1].details["not_compared"] == absent


def test_a_metric_that_is_missing_for_no_reason_speaks_against_a_challenger():
    found = gate.fallen_metrics({}, {"open/auroc": 0.9}, {"open/auroc": 0.1, "closed/few": 0.1}, {})
    assert found == ["open/auroc was not measured; the champion's is 0.9000"]


def test_a_metric_that_is_better_when_smaller_may_rise_by_its_tolerance():
    before = {"open/fpr95": 0.5, "calibration/ece": 0.1, "loop/forgetting": 0.0, "open/auroc": 0.9}
    rule = dict.fromkeys(before, 0.05)
    better = {"open/fpr95": 0.1, "calibration/ece": 0.0, "loop/forgetting": -0.2, "open/auroc": 0.99}
    assert gate.fallen_metrics(better, before, rule, {}) == []
    worse = {"open/fpr95": 0.56, "calibration/ece": 0.14, "loop/forgetting": 0.06, "open/auroc": 0.8}
    assert gate.fallen_metrics(worse, before, rule, {}) == [
        "loop/forgetting rose from 0.0000 to 0.0600, by more than 0.05",
        "open/auroc fell from 0.9000 to 0.8000, by more than 0.05",
        "open/fpr95 rose from 0.5000 to 0.5600, by more than 0.05",
    ]


def test_every_error_rate_among_the_metrics_is_better_when_smaller():
    from oltr_core.metrics import evaluation

    of = {name.rpartition("/")[2] for name in evaluation.names(["energy"])}
    larger = {n for n in of if n.startswith(("aupr", "f_measure")) or n in ("many", "medium", "few", "overall")}
    larger |= {
        "macro_f1",
        "top5",
        "auroc",
        "oscr",
        "unknown_recall",
        "known_accuracy",
        "unknown_accuracy",
        "harmonic_mean",
    }
    larger |= {"known_with_rejection", "average_incremental", "backward_transfer"}
    assert of - larger - {"temperature", "threshold", "classes"} == {*gate.SMALLER} - {"gap"}, "that of a slice"


def test_a_person_may_promote_what_the_gate_refused_but_nothing_that_was_edited(layout):
    write(layout, page(known_accuracy=figure(0.9, 0.5, -0.5, -0.3)))
    assert judged(layout)[0] == "refused"
    gate.move(layout, "0001", "promoted", "better at night", "eve", AT)
    assert ledger.replay(ledger.read(layout.ledger)).champion == "0001"
    layout.generation("0000").metrics.write_text("{}")
    with pytest.raises(ValueError, match="was changed"):
        gate.move(layout, "0000", "rolled_back", "x", "eve", AT)


def test_nothing_is_judged_before_it_is_sealed(layout):
    with pytest.raises(ValueError, match="0007 is not sealed"):
        gate.judge(layout, Gate(), "0007", AT)
    with pytest.raises(ValueError, match="expected a sealed generation"):
        gate.move(layout, "0007", "promoted", "x", "eve", AT)


@pytest.mark.parametrize("event", ["promoted", "rolled_back"])
def test_a_generation_that_a_person_made_champion_before_it_was_judged_is_not_judged_any_more(layout, event):
    """A kill between seal and gate leaves one."""
    write(layout, page(known_accuracy=figure(0.9, 0.5, -0.5, -0.3)))
    gate.move(layout, "0001", event, "checked by hand", "eve", AT)
    before = layout.ledger.read_text()
    assert judged(layout) == ("promoted", ["checked by hand"])
    assert layout.ledger.read_text() == before
