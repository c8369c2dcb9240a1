"""Agreement between people against published and hand numbers, and answers behind theirs where one errs."""

from __future__ import annotations

import polars as pl
import pytest

from oltr_core.curation.agreement import alpha, by_annotator, dawid_skene
from oltr_core.measured import share

NOBODY = pl.DataFrame(schema={"image_id": pl.String, "annotator": pl.String, "answer": pl.String})
#: four observers of twelve units; "Computing Krippendorff's alpha-reliability" (2011) gives 0.743 for nominal data
KRIPPENDORFF = (
    ("A", "1 2 3 3 2 1 4 1 2 . . ."),
    ("B", "1 2 3 3 2 2 4 1 2 5 . 3"),
    ("C", ". 3 3 3 2 3 4 2 2 5 1 ."),
    ("D", "1 2 3 3 2 4 4 1 2 5 1 ."),
)


def votes(*rows: tuple[str, str]) -> pl.DataFrame:
    """One row per person: a word per image, a point where it was not answered."""
    found = [
        {"image_id": f"{i:02d}", "annotator": who, "answer": word}
        for who, line in rows
        for i, word in enumerate(line.split())
        if word != "."
    ]
    return pl.DataFrame(found, schema=NOBODY.schema)


def test_alpha_is_the_published_one_of_the_published_example():
    assert alpha(votes(*KRIPPENDORFF)) == pytest.approx(0.743, abs=5e-4)


def test_alpha_is_one_for_agreement_below_zero_for_contradiction_and_absent_without_a_choice():
    assert alpha(votes(("a", "x y x"), ("b", "x y x"))) == 1
    assert alpha(votes(("a", "x y"), ("b", "y x"))) == pytest.approx(-0.5)
    assert alpha(votes(("a", "x x"), ("b", "x x"))) is None
    assert alpha(votes(("a", "x y"))) is None
    assert alpha(NOBODY) is None


#: c calls every lynx a cat; of images 8 to 11 two people answered, of the last two others than before
TRUTH = "lynx deer cat deer lynx cat deer lynx lynx deer lynx cat lynx cat".split()
C = " ".join("cat" if word == "lynx" else word for word in TRUTH)
CARELESS = (
    ("a", " ".join(TRUTH[:12]) + " . ."),
    ("b", " ".join(TRUTH[:8]) + " . . . . cat lynx"),
    ("c", C),
)


def naive(rows: list[tuple[str, str, str]], known: dict[str, str], rounds: int = 100) -> dict[tuple[str, str], float]:
    """Image and answer -> probability, vote by vote in plain loops, as the docstring of `dawid_skene` says."""
    answers = {a for *_, a in rows}
    choices = {(i, a) for i, _, a in rows if i not in known} | set(known.items())
    of = {i: [(p, a) for j, p, a in rows if j == i] for i, *_ in rows}
    belief = {(i, j): float(i in known) or sum(a == j for _, a in of[i]) / len(of[i]) for i, j in choices}
    for _ in range(rounds):
        new = {}
        for i, j in choices:
            if i in known:
                new[i, j] = 1.0
                continue
            open_ = {(n, k): b for (n, k), b in belief.items() if n not in known}
            mass = sum(b for (_, k), b in open_.items() if k == j) / sum(open_.values())
            for person, vote in of[i]:
                other = [
                    (k, a, belief[n, k]) for n, p, a in rows if p == person for (m, k) in choices if m == n
                    and (n, k) != (i, j)
                ]  # fmt: skip
                share = (sum(b for k, a, b in other if k == a) + 1) / (sum(b for *_, b in other) + 2)
                expected = share if vote == j else (1 - share) / (len(answers) - 1)
                there = sum(b for k, a, b in other if (k, a) == (j, vote))
                mass *= (there + 4 * expected) / (sum(b for k, _, b in other if k == j) + 4)
            new[i, j] = mass
        totals = {i: sum(m for (n, _), m in new.items() if n == i) for i, _ in new}
        belief = {(i, j): m / totals[i] for (i, j), m in new.items()}
    return belief


@pytest.mark.parametrize("lines", [KRIPPENDORFF, CARELESS])
@pytest.mark.parametrize("known", [{}, {"03": "lynx", "07": "2", "00": "deer", "05": "cat"}], ids=["none", "gold"])
def test_dawid_and_skene_equal_plain_loops(lines, known):
    some = votes(*lines)
    belief = naive(list(some.iter_rows()), known)
    right = pl.DataFrame(list(known.items()), {"image_id": pl.String, "answer": pl.String}, orient="row")
    found = dawid_skene(some, right)
    assert found["image_id"].to_list() == sorted({i for i, _ in belief} - set(known))
    for image, answer, probability in found.iter_rows():
        assert probability == pytest.approx(belief[image, answer], abs=1e-4)
        assert probability >= max(b for (i, _), b in belief.items() if i == image) - 1e-4


def test_whom_the_others_contradict_on_one_class_loses_a_draw_on_it_alone():
    found = dawid_skene(votes(*CARELESS))
    assert found["answer"].to_list()[:12] == TRUTH[:12], "the last four of them are one vote against one"
    assert found["probability"].to_list()[8:12] == pytest.approx([0.98] * 4, abs=0.03)


def test_two_careless_people_lose_to_the_one_whom_everybody_else_agrees_with():
    """d and e take every lynx for a cat; on the last two images they are the majority."""
    truth = "lynx deer cat lynx deer cat lynx lynx deer cat lynx lynx".split()
    wrong = " ".join("cat" if word == "lynx" else word for word in truth)
    some = votes(
        ("a", " ".join(truth)), ("b", " ".join(truth[:10]) + " . ."), ("c", " ".join(truth[:10]) + " . ."),
        ("d", wrong), ("e", wrong),
    )  # fmt: skip
    assert some.filter(image_id="10")["answer"].to_list() == ["lynx", "cat", "cat"]
    assert dawid_skene(some)["answer"].to_list() == truth
    assert min(dawid_skene(some)["probability"].to_list()) > 0.8


def test_without_disagreement_the_answer_is_that_of_the_votes_and_a_tie_is_unsure():
    assert dawid_skene(votes(("a", "x y x"), ("b", "x y ."))).rows() == [
        ("00", "x", 1),
        ("01", "y", 1),
        ("02", "x", 1),
    ]
    assert dawid_skene(votes(("a", "x"), ("b", "y"))).rows() == [("00", "x", 0.5)]
    assert dawid_skene(NOBODY).is_empty()


def test_of_two_people_nothing_tells_who_is_right():
    found = dawid_skene(votes(("a", "lynx lynx cat cat cat"), ("b", "cat cat cat cat cat")))
    assert found["probability"].to_list() == [0.5, 0.5, 1, 1, 1]


def test_gold_items_tell_which_of_two_people_is_right_and_are_not_settled_themselves():
    some = votes(("a", "lynx lynx cat cat deer lynx"), ("b", "cat cat cat cat deer cat"))
    gold = pl.DataFrame({"image_id": ["00", "01", "02", "04"], "answer": ["lynx", "lynx", "cat", "deer"]})
    found = dawid_skene(some, gold)
    assert found.select("image_id", "answer").rows() == [("03", "cat"), ("05", "lynx")]
    assert found["probability"][1] > 0.7
    nobody_named = pl.DataFrame({"image_id": ["00", "01", "77"], "answer": ["elk", "lynx", "lynx"]})
    assert dawid_skene(some, nobody_named)["image_id"].to_list() == ["02", "03", "04", "05"]


def test_the_order_of_the_votes_is_of_no_account():
    some = votes(*KRIPPENDORFF)
    assert dawid_skene(some.sample(fraction=1, shuffle=True, seed=0)).equals(dawid_skene(some))


def test_each_persons_agreement_is_of_images_that_others_answered_too_and_that_are_settled():
    some = votes(("a", "x y x z"), ("b", "x x . ."), ("c", "x y x ."))
    agreed = pl.DataFrame({"image_id": ["00", "01", "03"], "answer": ["x", "y", "w"]})
    assert by_annotator(some, agreed).rows() == [("a", 4, 2, 2), ("b", 2, 2, 1), ("c", 3, 2, 2)]
    assert by_annotator(votes(("a", "x")), agreed).rows() == [("a", 1, 0, 0)]


def test_the_interval_of_a_share_is_wilsons():
    z, n, p = 1.959964, 8, 2 / 8
    middle, half = p + z * z / 16, z * (p * (1 - p) / n + z * z / 4 / n / n) ** 0.5
    assert share(2, 8)[1:] == pytest.approx([(middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)])


def test_thousands_of_votes_on_one_image_do_not_underflow():
    found = dawid_skene(votes(*((f"{n:04d}", "x" if n < 800 else "y") for n in range(1500))))
    assert found.rows() == [("00", "x", pytest.approx(1.0, abs=0.5))]


def test_a_share_has_the_interval_that_scipy_computes():
    from scipy.stats import binomtest

    for of in (1, 7, 40, 333):
        for part in range(of + 1):
            low, high = binomtest(part, of).proportion_ci(method="wilson")
            assert share(part, of) == [part / of, low, high]
