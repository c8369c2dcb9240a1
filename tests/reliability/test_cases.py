"""Every kind of bad input does what the table says, in the words that it quotes."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.reliability import cases, table

CASES = cases()
SAID = {(area, kind): said for area, kind, _, said in table.written()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.area}: {case.kind}")
def test_a_bad_input_is_answered_with_the_sentence_of_the_page_and_nothing_else_happens(case):
    """`python -m tests.reliability` writes the page."""
    *_, said = table.row(case, case())
    assert table.lasting(said) == table.lasting(SAID[case.area, case.kind])


def test_there_are_a_hundred_kinds_sixty_of_answers_and_no_two_are_one():
    names = Counter((case.area, case.kind) for case in CASES)
    assert len(names) >= 100
    assert sum(area == "answers" for area, _ in names) >= 60
    assert max(names.values()) == 1


def test_the_table_of_the_page_is_that_of_these_cases():
    """`python -m tests.reliability` writes it."""
    assert [row[:3] for row in table.written()] == [(case.area, case.kind, case.happens) for case in CASES]
