"""Several people per image: gold items, images in conflict and what settles them, and what is measured of people."""

from __future__ import annotations

import json
from types import SimpleNamespace

import polars as pl
import pytest

from oltr_core import schema
from oltr_core.curation import annotator_quality
from oltr_core.curation.annotations import consensus
from oltr_core.curation.replay import overruled, settled, valid_answers
from oltr_core.layout import Layout
from oltr_core.settings.curate import DawidSkene
from tests.core.curation.test_agreement import CARELESS, TRUTH
from tests.core.data_world import answer, configure, image_id, opened, put_annotations, put_batch, run_curate, seal
from tests.core.data_world import index_row as row
from tests.core.data_world import workspace as made

BATCH = [
    *(row(n, label="cat", split="train") for n in range(10)),
    *(row(n, label="dog", split="train") for n in range(10, 16)),
    *(row(n, label="cat", split="val") for n in range(20, 23)),
    *(row(n) for n in range(100, 140)),
]
FIRST = [
    answer(100, "cat"), answer(100, "dog", "bob"),
    answer(101, "cat"), answer(101, "cat", "bob"), answer(102, "cat"),
    answer(2, "dog"), answer(2, "fox", "bob", "new_class"),
    answer(0, "cat"), answer(0, "dog", "bob"), answer(10, None),
    answer(0, "cat", "gil"),
]  # fmt: skip
#: 0 is in doubt too, and that does not make an answer to it as a gold item a correction
AUDIT = {"gold": [image_id(0), image_id(10)], "suspects": [image_id(0), image_id(2)]}
SECOND = [answer(100, "lynx", "cy", "new_class"), answer(2, "dog", "cy"), answer(2, "cat", "dan")]
AGAIN = {"adjudicated": [image_id(2), image_id(100)]}


def read(layout: Layout, number: int) -> tuple[dict, dict, dict]:
    """What the generation says of people, its manifest by image, and curate's metrics."""
    sealed = layout.generation(f"000{number}")
    rows = {r["image_id"]: r for r in pl.read_parquet(sealed.manifest).iter_rows(named=True)}
    return (
        json.loads(sealed.agreement.read_text()),
        rows,
        json.loads((sealed.folder / "metrics/curate.json").read_text()),
    )


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """Two generations of answers: people disagree about 2 and 100, and both come back once."""
    layout = made(tmp_path_factory.mktemp("people"))
    put_batch(layout, "b", BATCH)
    run_curate(layout)
    parent = seal(layout, 0)
    for number, (answers, audit) in enumerate([(FIRST, AUDIT), (SECOND, AGAIN)]):
        put_annotations(layout, f"000{number}", answers, audit)
        opened(layout, number + 1, parent, "update")
        run_curate(layout)
        parent = seal(layout, number + 1)
    return layout


def test_answers_to_gold_items_are_counted_and_neither_learned_nor_corrections(layout):
    found, rows, values = read(layout, 1)
    assert (rows[image_id(0)]["label"], rows[image_id(0)]["label_source"]) == ("cat", "source")
    of = {one["name"]: (one["gold"], one["accuracy"] and one["accuracy"][0]) for one in found["people"]}
    assert of == {"ann": (2, 0.5), "bob": (1, 0.0), "gil": (1, 1.0)}
    assert values["agreement/gold_accuracy"] == pytest.approx(2 / 4)
    assert values["cost/labels"] == len(FIRST), "people's time is spent on them too"


def test_alpha_and_agreement_are_of_images_that_several_people_answered_for_their_own_sake(layout):
    found, _, values = read(layout, 1)
    # n = 6 votes, of cat 3, dog 2, fox 1: expected (36 - 14) / 5, observed 2 + 0 + 2
    assert found["alpha"] == pytest.approx(1 - 4 / (22 / 5))
    assert (values["agreement/alpha"], values["agreement/images"]) == (found["alpha"], 3)
    of = {one["name"]: (one["answers"], one["shared"], one["agreement"]) for one in found["people"]}
    assert of.pop("gil") == (0, 0, None), "gold items alone"
    assert {name: (*said, share[0]) for name, (*said, share) in of.items()} == {
        "ann": (4, 1, 1.0),
        "bob": (3, 1, 1.0),
    }, "what is in conflict has no answer to agree with"


def test_what_people_disagree_about_waits_with_its_votes(layout):
    found, rows, values = read(layout, 1)
    assert (rows[image_id(100)]["label_source"], rows[image_id(100)]["split"]) == ("conflict", "pool")
    assert (rows[image_id(2)]["label"], rows[image_id(2)]["split"]) == ("cat", "train")
    expected = {image_id(100): {"cat": ["ann"], "dog": ["bob"]}, image_id(2): {"dog": ["ann"], "fox": ["bob"]}}
    assert {one["image_id"]: one["votes"] for one in found["disputed"]} == expected
    assert [one["asked_again"] for one in found["disputed"]] == [False, False]
    assert values["agreement/disputed"] == 2


def test_an_answer_to_the_second_question_settles_it_and_another_disagreement_does_not(layout):
    found, rows, values = read(layout, 2)
    lynx = rows[image_id(100)]
    assert (lynx["label"], lynx["label_source"], lynx["split"], lynx["labelled_in"]) == (
        "lynx",
        "cy",
        "train",
        "0002",
    )
    votes = {"cat": ["dan"], "dog": ["ann", "cy"], "fox": ["bob"]}
    assert found["disputed"] == [
        {"image_id": image_id(2), "votes": dict(sorted(votes.items(), key=lambda v: -len(v[1]))), "asked_again": True}
    ]
    assert rows[image_id(2)]["label"] == "cat", "two of the three who said dog said so before"
    assert values["agreement/disputed"] == 1


def test_answers_to_the_second_question_are_not_measured_but_those_before_are_against_them(layout):
    before, after = read(layout, 1)[0], read(layout, 2)[0]
    assert (after["alpha"], after["images"]) == (before["alpha"], before["images"])
    of = {
        one["name"]: (one["answers"], one["shared"], one["agreement"][0])
        for one in after["people"]
        if one["agreement"]
    }
    assert of == {"ann": (4, 2, 0.5), "bob": (3, 2, 0.5)}


def test_without_people_there_are_reasons_and_no_figures(layout):
    found, _, values = read(layout, 0)
    assert found == {"alpha": None, "images": 0, "people": [], "disputed": []}
    assert "agreement/alpha" not in values
    absent = json.loads((layout.generation("0000").folder / "metrics/curate.absent.json").read_text())
    assert "no two people" in absent["agreement/alpha"]
    assert "budget.gold" in absent["agreement/gold_accuracy"]


def test_the_data_card_says_who_answered_and_how_many_images_are_in_conflict(layout):
    card = layout.generation("0001").data_card_text.read_text()
    assert "| ann | 4 | 1 | 100% (21% to 100%) | 2 | 50% (9% to 91%) |" in card
    assert "- People disagree about 2 images; asked about once more: 2." in card
    assert "disagree about 1 image; asked about once more: 0." in layout.generation("0002").data_card_text.read_text()


def table(*rows: dict) -> pl.DataFrame:
    return pl.DataFrame(schema.from_rows(schema.ANNOTATIONS, list(rows)))


def test_only_answers_since_the_second_question_count_and_only_once_there_is_one():
    rows = table(
        answer("a", "cat", batch_id="0003"), answer("a", "dog", "bob", batch_id="0004"),
        answer("a", "elk", "cy", batch_id="0012"), answer("b", "cat", batch_id="0003"), answer("c", "cat"),
    )  # fmt: skip
    asked = pl.DataFrame({"image_id": ["a", "b"], "batch_id": ["0004", "0004"]})
    assert settled(rows, asked)["label"].to_list() == ["dog", "elk", "cat", "cat"]
    assert settled(rows, asked.clear()).equals(rows)


# --- Dawid and Skene ---------------------------------------------------------------------------------------


def careless() -> list[dict]:
    """Image 100 + n: what CARELESS says of image n."""
    lines = [(who, n, word) for who, line in CARELESS for n, word in enumerate(line.split()) if word != "."]
    return [answer(100 + n, word, who, "label" if word == "cat" else "new_class") for who, n, word in lines]


def of_dawid_skene(tmp_path, probability: float):
    """A workspace with generation 0 sealed, whose answers are settled by this rule; and the seal."""
    world = made(tmp_path)
    rule = {"name": "dawid_skene", "probability": probability}
    configure(world, [], annotator={"name": "folder"}, curate={"consensus": rule})
    put_batch(world, "b", BATCH)
    run_curate(world)
    return world, seal(world, 0)


def test_the_rule_of_params_decides_what_is_learned(layout, tmp_path):
    other, parent = of_dawid_skene(tmp_path, 0.9)
    put_annotations(other, "0000", careless())
    opened(other, 1, parent, "update")
    said = {r["image_id"]: (r["label"], r["label_source"]) for r in run_curate(other).iter_rows(named=True)}
    assert [said[image_id(100 + n)][0] for n in range(12)] == TRUTH[:12]
    assert said[image_id(108)] == ("lynx", "a"), "c said cat"
    majority = consensus(table(*careless()), {}).filter(image_id=image_id(108))
    assert majority["verdict"].to_list() == ["conflict"]


def test_below_the_probability_of_params_an_image_stays_in_conflict():
    rows, image = table(*careless()), image_id(108)

    def verdict(probability: float) -> str:
        return consensus(rows, {}, DawidSkene(probability=probability)).filter(image_id=image)["verdict"].item()

    assert (verdict(0.9), verdict(0.999)) == ("label", "conflict")


def test_answers_to_gold_items_settle_a_draw_of_two_people_by_dawid_and_skene_alone():
    rows = table(answer("1", "puss", "a"), answer("1", "dog", "b"))
    asked = [answer(n, word, who) for n in range(2, 8) for who, word in (("a", "cat"), ("b", "dog"))]
    gold = table(*asked, answer("1", "cat", "a"), answer("8", "cat", "a")).with_columns(
        truth=pl.when(pl.col("image_id") != "8").then(pl.lit("puss"))
    )
    names = {"puss": "cat", "cat": "cat", "dog": "dog"}
    found = consensus(rows, names, DawidSkene(probability=0.7), gold)
    assert found.select("image_id", "label", "label_source").rows() == [("1", "cat", "a")]
    assert consensus(rows, names, DawidSkene(probability=0.7))["verdict"].to_list() == ["conflict"]
    assert consensus(rows, names, gold=gold)["verdict"].to_list() == ["conflict"]


def test_curate_judges_people_by_the_gold_items_of_any_batch(tmp_path):
    world, parent = of_dawid_skene(tmp_path, 0.7)
    gold = [answer(n, word, who) for n in range(6) for who, word in (("ann", "cat"), ("bob", "dog"))]
    put_annotations(world, "0000", [*gold, answer(100, "cat", "ann"), answer(100, "dog", "bob")])
    world.audit_of("0000").write_text(json.dumps({"gold": [image_id(n) for n in range(6)]}))
    opened(world, 1, parent, "update")
    said = {r["image_id"]: (r["label"], r["label_source"]) for r in run_curate(world).iter_rows(named=True)}
    assert said[image_id(100)] == ("cat", "ann")


def test_a_bad_image_is_an_answer_like_others_and_a_name_wins_by_its_class():
    rows = table(
        *(answer("1", None, who, "discard") for who in "ab"), answer("1", "cat", "c"),
        *(answer("2", "puss", who) for who in "a"), answer("2", "cat", "b"), answer("2", "dog", "c"),
    )  # fmt: skip
    found = consensus(rows, {"puss": "cat", "cat": "cat", "dog": "dog"}, DawidSkene())
    assert found.select("verdict", "label", "label_source").rows() == [
        ("discard", None, "a+b"),
        ("label", "cat", "a+b"),
    ]


def test_figures_of_people_without_gold_items_have_none():
    found = {"alpha": None, "images": 0, "disputed": [], "people": [{"name": "a", "gold": 0, "accuracy": None}]}
    assert set(annotator_quality.figures(found).absent) == {"agreement/alpha", "agreement/gold_accuracy"}


# --- what counts -------------------------------------------------------------------------------------------
def test_an_image_of_two_split_classes_counts_answers_since_the_later_split():
    rows = table(
        answer("a", "elk", batch_id="0001"), answer("a", "lynx", batch_id="0002"),
        answer("a", "puma", batch_id="0003"),
    )  # fmt: skip
    images, none = pl.DataFrame({"image_id": ["a"], "label": ["cat"]}), rows.clear()
    found = valid_answers(rows, images, none, {"cat": 1, "elk": 3})
    assert found.select("label", "force").rows() == [("puma", True)]
    assert valid_answers(rows, images, none, {"dog": 9})["label"].to_list() == ["elk", "lynx", "puma"]


def test_gold_items_of_a_class_that_is_gone_are_not_counted():
    classes = pl.DataFrame(
        {"class_id": [0, 1], "name": ["cat", "dog"], "aliases": [[], []], "status": ["active", "retired"],
         "successor": [None, None]},
        schema_overrides={"aliases": pl.List(pl.String), "successor": pl.Int64},
    )  # fmt: skip
    manifest = pl.DataFrame({"image_id": ["a", "b"], "class_id": [0, 1]})
    gold = table(answer("a", "cat"), answer("b", "dog"), answer("a", "dog", "bob"))
    found = annotator_quality._right(SimpleNamespace(classes=classes, manifest=manifest), gold)  # pyright: ignore[reportArgumentType]
    assert sorted(found.rows()) == [("ann", 1, 1), ("bob", 1, 0)]


@pytest.mark.parametrize(("last", "taken"), [(4, "lynx"), (5, "fox"), (6, "fox")])
def test_a_correction_yields_to_an_answer_about_a_split_class_only_where_one_came_with_or_after_it(last, taken):
    """Two answers since the split, at 3 and at `last`, and the newest correction at 5."""
    times, before = (pl.Series(of).cast(pl.Datetime) for of in ([3, last], [2, 5]))
    of = {"image_id": "a", "verdict": "label", "seconds": pl.Series([1.0, 1.0], dtype=pl.Float32), "force": True}
    names = {"label": ["cat", "fox"], "annotator": "ann", "answered_at": times, "batch_id": "0001"}
    corrected = {"label": ["boar", "lynx"], "annotator": "bob", "corrected_at": before, "generation": "0002"}
    found = overruled(pl.DataFrame(of | names), pl.DataFrame({"image_id": "a"} | corrected))
    assert found["label"].to_list()[-1] == taken
