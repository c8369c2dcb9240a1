from __future__ import annotations

import json

import pytest

from oltr_core import digest, ledger
from oltr_core.layout import Layout
from oltr_core.ledger import Event
from oltr_core.settings.operations import Gate
from tasks import gate

AT = "2026-01-01T00:00:00+00:00"
TOLERANCES = {"closed/overall": 0.05, "open/auroc": 0.1}


@pytest.mark.parametrize(
    ("challenger", "champion", "absent", "reasons"),
    [
        ({"closed/overall": 0.90, "open/auroc": 0.8}, {"closed/overall": 0.94, "open/auroc": 0.9}, {}, 0),
        ({"closed/overall": 0.88, "open/auroc": 0.8}, {"closed/overall": 0.94, "open/auroc": 0.9}, {}, 1),
        ({"closed/overall": 0.10, "open/auroc": 0.1}, {}, {}, 0),
        ({"closed/overall": 0.94}, {"closed/overall": 0.94, "open/auroc": 0.9}, {}, 1),
        ({"closed/overall": 0.94}, {"closed/overall": 0.94, "open/auroc": 0.9}, {"open/auroc": "none left"}, 0),
        ({"closed/overall": 0.1, "open/auroc": 0.1}, {"closed/overall": 0.94, "open/auroc": 0.9}, {}, 2),
    ],
)
def test_a_challenger_is_refused_for_what_fell_too_far_and_for_nothing_else(challenger, champion, absent, reasons):
    assert len(gate.reasons_against(challenger, champion, TOLERANCES, absent)) == reasons


@pytest.fixture
def layout(tmp_path) -> Layout:
    """Two sealed generations; the second is worse."""
    layout = Layout(tmp_path)
    for number, overall in enumerate((0.9, 0.5)):
        name = f"{number:04d}"
        sealed = layout.generation(name)
        sealed.folder.mkdir(parents=True)
        sealed.metrics.write_text(json.dumps({"closed/overall": overall}))
        sealed.metrics_absent.write_text("{}")
        parent = "genesis" if number == 0 else "0000"
        ledger.append(layout.ledger, Event("opened", name, name, AT, {"parent": parent, "mode": "train"}))
        ledger.append(layout.ledger, Event("sealed", name, digest.of_folder(sealed.folder), AT, {"parent": parent}))
    return layout


def test_a_verdict_is_written_once_with_its_reasons(layout):
    rule = Gate(tolerances=TOLERANCES)
    assert gate.judge(layout, rule, "0000", AT) == ("promoted", [])
    verdict, reasons = gate.judge(layout, rule, "0001", AT)
    assert verdict == "refused"
    assert reasons == ["closed/overall fell from 0.9000 to 0.5000, by more than 0.05"]
    lines = layout.ledger.read_text()
    assert gate.judge(layout, rule, "0001", "later") == (verdict, reasons)
    assert layout.ledger.read_text() == lines
    assert ledger.replay(ledger.read(layout.ledger)).champion == "0000"


def test_a_person_may_promote_what_the_gate_refused_but_nothing_that_was_edited(layout):
    rule = Gate(tolerances=TOLERANCES)
    gate.judge(layout, rule, "0000", AT)
    gate.judge(layout, rule, "0001", AT)
    gate.move(layout, "0001", "promoted", "better at night", AT)
    assert ledger.replay(ledger.read(layout.ledger)).champion == "0001"
    layout.generation("0000").metrics.write_text("{}")
    with pytest.raises(ValueError, match="was changed"):
        gate.move(layout, "0000", "rolled_back", "x", AT)


def test_nothing_is_judged_before_it_is_sealed(layout):
    with pytest.raises(ValueError, match="0007 is not sealed"):
        gate.judge(layout, Gate(), "0007", AT)
    with pytest.raises(ValueError, match="expected a sealed generation"):
        gate.move(layout, "0007", "promoted", "x", AT)
