"""From a class to its parents, until one is sure enough."""

import pytest

from oltr_core.roll_up import line, rolled_up

PARENTS = {"boar": "sus", "warty pig": "sus", "sus": "suidae", "peccary": "tayassuidae"}
NAMES = ["boar", "warty pig", "peccary", "sus"]


@pytest.mark.parametrize(
    ("probabilities", "sure", "expected"),
    [
        ([0.7, 0.1, 0.1, 0.1], 0.7, ("boar", 0.7)),
        ([0.5, 0.2, 0.2, 0.1], 0.7, ("sus", 0.8)),
        ([0.5, 0.1, 0.3, 0.1], 0.71, ("suidae", 0.7)),
        ([0.2, 0.2, 0.5, 0.1], 0.6, ("tayassuidae", 0.5)),
        ([0.2, 0.2, 0.5, 0.1], 0.0, ("peccary", 0.5)),
    ],
)
def test_the_answer_is_the_first_of_the_line_that_is_sure_enough_or_the_last(probabilities, sure, expected):
    name, probability = rolled_up(NAMES, probabilities, PARENTS, sure)
    assert name == expected[0]
    assert probability == pytest.approx(expected[1])


def test_a_class_without_a_parent_stays_what_it_is():
    assert rolled_up(["a", "b"], [0.4, 0.6], {}, 0.9) == ("b", 0.6)


def test_a_line_ends_where_a_name_comes_again():
    assert line("boar", PARENTS) == ["boar", "sus", "suidae"]
    assert line("a", {"a": "b", "b": "a"}) == ["a", "b"]


def test_there_is_a_probability_per_class():
    with pytest.raises(ValueError, match="longer"):
        rolled_up(NAMES[:2], [0.5, 0.2, 0.3], PARENTS, 0.9)


def test_of_equally_probable_classes_the_first_is_named():
    assert rolled_up(["b", "a"], [0.5, 0.5], {}, 0.5) == ("b", 0.5)
