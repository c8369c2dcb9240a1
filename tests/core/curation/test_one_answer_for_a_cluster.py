"""An answer to `cluster-N` is one to each of its images but those that the same person answers alone."""

from __future__ import annotations

import pytest

from oltr_core.curation.clusters import expand, group, typed

CLUSTERS = {"a": 0, "b": 0, "c": 0, "d": 1, "e": None}


def said(image: str, label: str | None, annotator: str = "ann", **more) -> dict:
    return {
        "image_id": image,
        "verdict": "label" if label else "unsure",
        "label": label,
        "annotator": annotator,
        **more,
    }


def pairs(rows) -> list[tuple]:
    return [(r["image_id"], r["label"], r["annotator"]) for r in rows]


def test_one_answer_names_every_image_of_the_cluster_and_no_other():
    rows = expand([said("cluster-0", "boar", where="f:2")], CLUSTERS)
    assert pairs(rows) == [("a", "boar", "ann"), ("b", "boar", "ann"), ("c", "boar", "ann")]
    assert {row["where"] for row in rows} == {"f:2"}


def test_exceptions_stand_before_or_after_it_and_are_the_same_persons():
    answers = [said("a", "deer"), said("cluster-0", "boar"), said("c", None), said("b", "fox", "ben")]
    assert pairs(expand(answers, CLUSTERS)) == [
        ("a", "deer", "ann"), ("b", "boar", "ann"), ("c", None, "ann"), ("b", "fox", "ben"),
    ]  # fmt: skip


def test_time_is_divided_among_the_images_that_the_answer_names():
    answers = [said("a", "deer", seconds="1"), said("cluster-0", "boar", seconds="6.0")]
    assert [row["seconds"] for row in expand(answers, CLUSTERS)] == ["1", 3.0, 3.0]
    for unclear in (None, "", "soon"):
        assert {row["seconds"] for row in expand([said("cluster-0", "x", seconds=unclear)], CLUSTERS)} == {unclear}


def test_a_cluster_that_there_is_not_is_refused_with_those_there_are():
    (row,) = expand([said("cluster-7", "boar", where="f:9")], CLUSTERS)
    assert row["problem"] == "image_id: there is no cluster-7 in this batch (there are: cluster-0, cluster-1)"
    (row,) = expand([said("cluster-0", "boar")], {"a": None})
    assert row["problem"] == "image_id: there is no cluster-0 in this batch (there are: no clusters)"


def test_of_two_answers_to_a_cluster_none_is_taken_and_another_persons_is():
    answers = [
        said("cluster-1", "x", where="f:2"),
        said("cluster-1", "y", where="f:3"),
        said("cluster-1", "y", "ben"),
    ]
    one, two, three = expand(answers, CLUSTERS)
    assert one["problem"] == "ann answers cluster-1 twice (f:3 too); keep one row"
    assert two["problem"] == "ann answers cluster-1 twice (f:2 too); keep one row"
    assert pairs([three]) == [("d", "y", "ben")]
    again = [said("cluster-1", "x", where="f:2"), said("cluster-1", "x", where="g:2")]
    assert pairs(expand(again, CLUSTERS)) == [("d", "x", "ann")]


def test_an_answer_to_a_cluster_waits_for_the_lines_of_its_file_that_may_be_exceptions():
    answers = [said("cluster-1", "x", where="f:2"), {"where": "f:3", "problem": "no row"}]
    one, two = expand(answers, CLUSTERS)
    assert one["problem"].startswith("cluster-1: a line of this file cannot be read and may be an exception")
    assert two["problem"] == "no row"
    assert pairs(expand([{**answers[0], "where": "g:2"}, answers[1]], CLUSTERS)[:1]) == [("d", "x", "ann")]
    wrong = said("a", "foz", where="f:3", problem="no class is called 'foz'")
    assert pairs(expand([said("cluster-0", "fox", where="f:2"), wrong], CLUSTERS)) == [
        ("b", "fox", "ann"), ("c", "fox", "ann"), ("a", "foz", "ann"),
    ]  # fmt: skip


@pytest.mark.parametrize("image", ["cluster", "cluster-", "cluster--1", "cluster-1x", "Cluster-1", None])
def test_what_is_no_cluster_is_left_for_the_check(image):
    row = {**said("x", "boar"), "image_id": image}
    assert expand([row], CLUSTERS) == [row]


def test_a_row_that_is_wrong_already_stays_as_it_is():
    row = said("cluster-0", "boar", problem="no class is called so")
    assert expand([row], CLUSTERS) == [row]


def test_grouped_answers_are_the_fewest_and_expand_to_the_same():
    answers = [said("a", "boar"), said("b", "deer"), said("c", "boar"), said("d", "fox"), said("e", "boar")]
    grouped = group(answers, CLUSTERS)
    assert pairs(grouped) == [
        ("cluster-0", "boar", "ann"), ("b", "deer", "ann"), ("cluster-1", "fox", "ann"), ("e", "boar", "ann"),
    ]  # fmt: skip
    assert sorted(pairs(expand(grouped, CLUSTERS))) == sorted(pairs(answers))
    assert len(grouped) == typed((row["label"] for row in answers), CLUSTERS.values())


def test_typed_answers_are_one_per_cluster_and_one_per_exception():
    assert typed([], []) == 0
    assert typed("xyz", [None, None, None]) == 3
    assert typed("xxxxy", [0, 0, 0, 0, 0]) == 2
    assert typed("xyzxx", [0, 0, 0, 1, None]) == 3 + 1 + 1
