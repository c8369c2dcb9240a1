"""The changes that are tried: each is one place, is valid Python, and the lists name texts that are there."""

from __future__ import annotations

import ast
import json
from pathlib import Path

from tests.mutation.__main__ import ROOT, by_hand, equivalent, report, sample, survivors, wilson
from tests.mutation.areas import AREAS, area_of
from tests.mutation.mutants import mutants

SOURCE = '''
"""Words: 3 of them."""
from typing import Literal
Kind = Literal["a"]
def f(a, b: int = 3, *, c=True):
    """Not this: 1 < 2."""
    assert a < b
    if a < b and not c:
        raise ValueError("no", 4)
    x = g(a, b, key=1)
    x[0] = -a
    a.sort()
    return x + b if a is None else min(x)
'''


def test_every_kind_of_change_is_made_and_types_sentences_and_invariants_are_left():
    found = {(" ".join(m.before.split()), m.after) for m in mutants("f.py", SOURCE)}
    for pair in [
        ("3", "4"),
        ("True", "False"),
        ("a < b", "(a <= b)"),
        ("a < b", "(a >= b)"),
        ("a < b and not c", "(a < b or not c)"),
        ("not c", "(c)"),
        ("g(a, b, key=1)", "(g(b, a, key=1))"),
        ("g(a, b, key=1)", "(g(a, key=1))"),
        ("g(a, b, key=1)", "(g(a, b))"),
        ("x[0] = -a", "pass"),
        ("-a", "(a)"),
        ("a.sort()", "pass"),
        ("x + b", "(x - b)"),
        ("a is None", "(a is not None)"),
        ("min(x)", "(max(x))"),
        ("x + b if a is None else min(x)", "(min(x) if a is None else x + b)"),
        ("return x + b if a is None else min(x)", "return None"),
    ]:
        assert pair in found
    lines = {m.line for m in mutants("f.py", SOURCE)}
    assert not lines & {2, 3, 4, 6, 7, 9}


def test_a_change_is_one_place_and_valid_python():
    some = sample(["oltr_core/losses", "oltr_core/layout.py"], 0, 0)
    assert len({(m.path, m.start, m.end, m.after) for m in some}) == len({m.key for m in some}) == len(some)
    for mutant in some:
        source = (ROOT / mutant.path).read_text()
        assert source[mutant.start : mutant.end] == mutant.before
        ast.parse(mutant.applied(source))


def test_a_sample_is_a_function_of_its_seed():
    one, two, other = (sample(["oltr_core/losses"], 9, seed) for seed in (0, 0, 1))
    assert one == two != other


def test_of_every_file_as_many_are_drawn():
    some = sample(["oltr_core/losses"], 0, 0, 2)
    every = {m.path for m in sample(["oltr_core/losses"], 0, 0)}
    assert {path: sum(m.path == path for m in some) for path in every} == dict.fromkeys(every, 2)


def test_every_file_of_core_and_tasks_has_an_area():
    files = [
        f.relative_to(ROOT).as_posix() for folder in ("oltr_core", "tasks") for f in (ROOT / folder).rglob("*.py")
    ]
    without = [f for f in files if not area_of(f) and any(mutants(f, (ROOT / f).read_text()))]
    assert files
    assert not without, "tests/mutation/areas.py names no test for them"


def test_the_texts_of_by_hand_are_there_and_every_area_has_tests():
    for mutant in by_hand():
        assert area_of(mutant.path)
        ast.parse(mutant.applied((ROOT / mutant.path).read_text()))
    for area, tests in AREAS.items():
        assert (ROOT / area).exists()
        assert all(Path(ROOT, t.partition("::")[0]).exists() for t in tests if not t.startswith("-")), area
        assert not any(t.startswith("tests/flows") for t in tests), f"{area}: all of these are slow"
    assert area_of("oltr_core/training/parallel.py") == "oltr_core/training/parallel.py"
    assert area_of("oltr_core/training/fit.py") == "oltr_core/training"


def test_equivalent_changes_have_a_reason_and_are_left_out_of_the_score(capsys):
    key = next(iter(equivalent()))
    assert all(equivalent().values())
    rows = [{"key": key, "area": "r", "line": 1, "outcome": "survived"}]
    rows += [
        {"key": "k", "area": "r", "line": 2, "outcome": outcome} for outcome in ("killed", "timeout", "survived")
    ]
    report(rows)
    assert "| r | 4 | 1 | 1 | 1 | 1 | 67 | 21-94 |" in capsys.readouterr().out


def test_the_interval_of_a_share_by_hand():
    low, high = wilson(90, 100)
    assert (round(low, 3), round(high, 3)) == (0.826, 0.945)


def test_what_survived_a_log_is_tried_again_and_nothing_else(tmp_path):
    one, two, *_ = sample(["oltr_core/losses"], 0, 0)
    log = tmp_path / "log.jsonl"
    same = next(iter(equivalent()))
    outcomes = [(one.key, "survived"), (two.key, "killed"), (same, "survived")]
    log.write_text("".join(json.dumps({"key": key, "outcome": outcome}) + "\n" for key, outcome in outcomes))
    assert survivors(log) == [one]
