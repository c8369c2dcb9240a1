"""The page of a table: spreads, goals, paired intervals, what differs in the settings, and which code computed it."""

from __future__ import annotations

import re

import pytest
from scipy import stats

from oltr_core.benchmark.cell import Method
from oltr_core.benchmark.difference import difference
from oltr_core.benchmark.page import AFTER, BEFORE, END, _lengths, page
from oltr_core.benchmark.paired import paired
from oltr_core.benchmark.provenance import in_short
from oltr_core.benchmark.records import Records, digest_of_method
from oltr_core.benchmark.spread import difference as difference_of
from oltr_core.benchmark.table import TABLES, Table
from oltr_core.losses import LDAM, BalancedSoftmax
from oltr_core.training import Phase, Train

OURS, PLAIN, _ = TABLES["digits"].methods(0)
CODE = {OURS.name: "code of ours", PLAIN.name: "code of plain"}


def records(
    values: dict[tuple[str, int], dict[str, float]],
    code: dict[str, str] | dict[str, None] = CODE,
    data: str | None = "x",
) -> Records:
    rows = {m.name: m for m in (OURS, PLAIN)}
    cells = {
        (name, seed): {
            "method": name,
            "seed": seed,
            "spec": digest_of_method(rows[name]),
            "code": code[name],
            "data": data,
            "note": "",
            "diverged": "",
            "figures": figures,
            "compute": {"device": "cpu", "threads": 2, "with": "torch 0"},
        }
        for (name, seed), figures in values.items()
    }
    return Records(cells, {digest_of_method(m): m.model_dump(mode="json") for m in rows.values()})


def closed(overall: float, auroc: float = 0.5) -> dict[str, float]:
    return {"closed/overall": overall, "mixed pool/0/open/auroc": auroc}


THREE = records(
    {
        (OURS.name, 0): closed(0.96),
        (OURS.name, 1): closed(0.98),
        (PLAIN.name, 0): closed(0.9),
        (PLAIN.name, 1): closed(0.94),
        (OURS.name, 100): closed(0.5),
    }
)


def written(found: Records = THREE, before: str = "", table: Table = TABLES["digits"]) -> str:
    return page(table, "oltr bench digits", 0, [OURS, PLAIN], found, CODE, before)


def test_the_page_has_both_groups_of_seeds_with_their_spread_and_the_goals():
    published, tuning = written().split("## Tuning seeds: 100")
    assert "## Published seeds: 0-1" in published
    assert "| OLTR++ | 97.0 ± 1.0 |" in published
    assert "| plain softmax | 92.0 ± 2.0<br>-5.0 [-17.7, 7.7] |" in published
    assert "| *goal of OLTR++* | 95.5 |" in published
    assert "- Mixed pool: generation 0, the same for all 2 rows: AUROC 50.0 ± 0.0 (goal 91.0)." in published
    assert "| OLTR++ | 50.0 |" in tuning


def test_a_paired_interval_equals_a_hand_computation():
    # differences 2, 4, 9: mean 5, deviation sqrt(13), t with two degrees of freedom 4.303
    found = paired({0: 12.0, 1: 14.0, 2: 19.0, 7: 1.0}, {0: 10.0, 1: 10.0, 2: 10.0})
    assert found is not None
    assert found.mean == pytest.approx(5)
    assert found.half_width == pytest.approx(4.303 * 13**0.5 / 3**0.5, abs=1e-3)
    assert not found.excludes_zero
    assert paired({0: 1.0, 1: 1.0}, {1: 0.5}) is None


@pytest.mark.parametrize("seeds", [2, 5, 10, 31])
def test_a_paired_interval_is_that_of_scipy(seeds):
    row = {seed: float((7 * seed) % 11) for seed in range(seeds)}
    first = {seed: float((5 * seed) % 3) for seed in range(seeds)}
    found = paired(row, first)
    assert found is not None
    expected = stats.ttest_rel(list(row.values()), list(first.values())).confidence_interval(0.95)
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx(tuple(expected), abs=2e-2)


def test_differences_are_paired_and_bold_only_beyond_their_interval():
    text = written()
    # -6 and -4: mean -5, deviation sqrt(2), half width 12.706
    assert "| plain softmax | 92.0 ± 2.0<br>-5.0 [-17.7, 7.7] |" in text
    clear = {(m, s): closed(0.9 - 0.1 * (m == PLAIN.name) + 0.001 * s * (m == PLAIN.name)) for m in (OURS.name, PLAIN.name) for s in (0, 1)}  # fmt: skip # noqa: E501
    assert "<br>**-9.9 [-10.6, -9.3]** |" in written(records(clear))


def test_a_row_that_equals_the_first_on_all_seeds_has_nodifference_of():
    assert difference_of({0: 1.0, 1: 2.0, 7: 3.0}, {0: 1.0, 1: 2.0}) == ""
    assert difference_of({0: 1.0, 1: 2.0}, {0: 2.0, 1: 1.0}) == "+0.0 [-12.7, 12.7]"


def test_one_seed_has_no_interval_and_the_page_says_so():
    text = written(records({(OURS.name, 0): closed(0.96), (PLAIN.name, 0): closed(0.9)}))
    assert "<br>" not in text
    assert "no difference between rows is established" in text


def test_settings_are_told_once_and_then_what_differs():
    configuration = written().split("## Configuration")[1].split("## Computed")[0]
    assert "- **OLTR++**, against the defaults of `params.yaml`: no difference." in configuration
    plain = next(
        line for line in configuration.splitlines() if line.startswith("- **plain softmax**, against OLTR++")
    )
    for change in ("update.score.name: msp", "select.strategy: least_confidence", "train.network.head: linear"):
        assert f"`{change}`" in plain
    assert "backbone" not in plain


def test_differences_of_phases_losses_and_keys_that_came_later():
    one = Train(phases=[Phase(name="all", epochs=9, losses=[BalancedSoftmax()])])
    two = Train(phases=[*one.phases, Phase(name="late", epochs=9, losses=[LDAM(scale=20)])])
    before, after = one.model_dump(mode="json"), two.model_dump(mode="json")
    assert difference(before, before) == []
    changes = difference(before, after)
    assert changes[:2] == ["phases: 2 in the place of 1", "phases[1].name: late"]
    assert changes[2].startswith("phases[1].losses: [ldam(")
    assert difference(after, before) == ["phases: 1 in the place of 2"]
    assert difference({"name": "a", "new": 1}, {"name": "a"}, "learner") == ["learner.new: not there"]
    assert difference({"name": "a", "new": False}, {"name": "a"}, "learner") == []
    one, other = {"name": "first", "epochs": 3, "new": False}, {"name": "all", "epochs": 4}
    assert difference([one], [other], "phases") == ["phases[0].name: all", "phases[0].epochs: 4"]
    assert difference({"head": {"name": "linear"}}, {"head": {"name": "cosine", "scale": 0.5}}) == [
        "head: cosine(scale=0.5)"
    ]


def test_cells_of_todays_code_and_of_other_code_are_told_apart():
    assert "5 cells (seeds 0, 1, 100) by today's code; cpu, 2 threads, float32, torch 0." in written()
    one = {(OURS.name, 0): closed(0.9)}
    old = written(THREE._replace(cells=records(one, code={OURS.name: CODE[PLAIN.name]}).cells))
    assert "1 cells (seeds 0) by **other code than today's**; cpu" in old
    unknown = written(THREE._replace(cells=records(one, code={OURS.name: None}, data=None).cells))
    assert "by **other code than today's**, whose digest was not recorded; the digest of the data" in unknown


def test_cells_of_other_settings_stay_on_the_page_and_are_named():
    changed = Method(name=OURS.name, train=Train(precision="bfloat16"))
    text = page(TABLES["digits"], "oltr bench digits", 0, [changed, PLAIN], THREE, CODE, "")
    assert "**with other settings than today's**" in text
    assert "| OLTR++ | 97.0 ± 1.0 |" in text
    assert "float32" in text


def test_a_row_that_is_no_longer_in_the_table_stays_on_the_page():
    text = page(TABLES["digits"], "oltr bench digits", 0, [OURS], THREE, CODE, "")
    assert "| plain softmax | 92.0 ± 2.0<br>" in text


def test_notes_stand_before_and_after_the_tables():
    by_hand = [f"{BEFORE}\nFirst this.\n{END}", f"{AFTER}\nThen that.\n{END}"]
    page = written(before="# An older page\n\n" + "\n\n| x |\n\n".join(by_hand))
    before, _, after = page.partition("### Known classes")
    assert by_hand[0] in before
    assert by_hand[1] in after
    assert "older" not in page
    assert "| x |" not in page
    assert written(before=page) == page
    assert END not in written()
    empty = written(Records({}, {}), before=page)
    assert [part in empty for part in (*by_hand, "Not run yet: `oltr bench digits`.")] == [True] * 3


def test_figures_published_elsewhere_stand_beside_ours():
    text = written(table=TABLES["digits"]._replace(published={"theirs": {"closed/overall": 39.1}}))
    assert text.count("| *published: theirs* | 39.1 |") == 2  # published and tuning seeds
    alone = records({(OURS.name, 0): closed(0.96)})
    of_rows = {f"{PLAIN.name}, theirs": {"closed/overall": 39.1}, f"{OURS.name}, theirs": {"closed/overall": 39.2}}
    text = written(alone, table=TABLES["digits"]._replace(published=of_rows))
    assert "39.2" in text
    first, empty, theirs = (
        "| OLTR++ | 96.0 |",
        "| plain softmax |  |",
        "| *published: plain softmax, theirs* | 39.1 |",
    )
    assert [text.count(line) for line in (first, empty, theirs)] == [1, 1, 1], "empty: in the first group"


def test_tuning_seeds_show_what_was_measured_on_them_alone():
    text = written(
        records({(OURS.name, 0): closed(0.9), (PLAIN.name, 0): closed(0.9), (OURS.name, 100): closed(0.8)})
    )
    assert "| plain" not in text.split("## Tuning seeds: 100")[1].split("## Configuration")[0]


def test_a_table_without_cells_has_empty_rows_beside_what_is_published():
    text = written(Records({}, {}), table=TABLES["digits"]._replace(published={"theirs": {"closed/few": 39.1}}))
    assert "| | few |\n|---|---:|\n| OLTR++ |  |\n| plain softmax |  |\n| *goal of OLTR++* | 92.0 |" in text
    assert "| *published: theirs* | 39.1 |" in text
    assert "##" not in text.split("###")[0]


def test_streams_of_chosen_metrics_stand_side_by_side():
    figures = {f"{share} % asked/{g}/loop/{of}": g / 2 + share / 100 for share in (10, 20) for g in (1, 2) for of in ("known_accuracy", "unknown_accuracy")}  # fmt: skip # noqa: E501
    table = TABLES["digits"]._replace(metrics=("1/loop/unknown_accuracy",))
    text = written(records({(OURS.name, 0): figures}), table=table)
    assert "| | 10 % asked: gen. 1 unknown | 20 % asked: gen. 1 unknown |" in text
    assert "| OLTR++ | 60.0 | 70.0 |" in text
    assert "gen. 2" not in text


def test_scores_stand_in_lines_beside_what_is_published_of_them():
    theirs = {"msp (Table 5)": {"far/msp/fpr95": 82.2}, "tuned": {"far/msp, tuned/fpr95": 44.3}}
    found = records({(OURS.name, 0): {"far/odin/error": 0.25, "far/msp/fpr95": 0.8, "far/untrained/auroc": 0.5}})
    text = written(found, table=TABLES["digits"]._replace(published=theirs, by_score=True))
    assert "OLTR++: AUROC" not in written(records({(OURS.name, 0): {"far/odin/error": 0.25}}), table=TABLES["digits"]._replace(by_score=True))  # fmt: skip # noqa: E501
    part = text.split("### Known or unknown: far\n\n")[1].split("\n\n")[0].splitlines()
    assert part[0] == "| | OLTR++: AUROC | OLTR++: FPR95 | OLTR++: error | published FPR95 |"
    assert part[2:] == [
        "| msp |  | 80.0 |  | 82.2 |",
        "| odin |  |  | 25.0 |  |",
        "| untrained | 50.0 |  |  |  |",
        "| msp, tuned |  |  |  | 44.3 |",
    ]
    assert "| | msp, FPR95 | untrained, AUROC |" in written(found), "in the rows: not all scores, and no errors"


def test_seconds_alone_make_no_table():
    same = {"closed/overall": 0.5}
    two = records({(OURS.name, 0): same | {"seconds/train": 3.0}, (PLAIN.name, 0): same | {"seconds/train": 4.0}})
    assert "training, s" not in written(two)


def test_methods_of_one_training_are_one_row_where_they_do_not_differ():
    after = {"mixed pool/1/loop/known_accuracy": 0.75}
    two = records({(OURS.name, 0): closed(0.9) | after, (PLAIN.name, 0): closed(0.9) | {next(iter(after)): 0.5}})
    text = written(two)
    assert "- Known classes, the same for all 2 rows: overall 90.0 (goal 95.5)." in text
    assert "| OLTR++ | 75.0 |" in text
    assert "| plain softmax | 50.0 |" in text
    apart = records({(OURS.name, 0): closed(0.9), (PLAIN.name, 0): closed(0.901)})
    assert "the same for all 2 rows: overall" not in written(apart)


def test_a_published_figure_stands_under_the_row_that_its_name_begins_with():
    published = {"plain softmax, 200 epochs": {"closed/overall": 91.0}, "another": {"closed/overall": 50.0}}
    lines = written(table=TABLES["digits"]._replace(published=published)).splitlines()
    at = lines.index("| *published: plain softmax, 200 epochs* | 91.0 |")
    assert lines[at - 1].startswith("| plain softmax | 92.0")
    assert lines[lines.index("| *published: another* | 50.0 |") - 1].startswith("| *goal of OLTR++*")


def test_second_stages_that_come_on_top_are_named():
    (phase,) = Train(phases=[Phase(name="all", epochs=9)]).phases
    rows = [Method(name=f"{n}", train=Train(phases=[phase] * n)) for n in (1, 2)]
    assert (
        _lengths(rows) == "All rows train their trunk for 9 epochs; second stages train a head alone, for 9 at most."
    )
    assert _lengths(rows[:1]) == "All rows train for the same number of epochs."


def test_rows_of_a_block_are_compared_with_its_first():
    rows = [Method(name=name, train=OURS.train) for name in "abcd"]
    of = {"a": 0.9, "b": 0.8, "c": 0.5, "d": 0.7}
    cell = next(iter(THREE.cells.values()))
    cells = {(row, seed): cell | {"method": row, "seed": seed, "figures": closed(value + seed / 100)} for row, value in of.items() for seed in (0, 1)}  # fmt: skip # noqa: E501
    text = page(TABLES["digits"]._replace(block=2), "", 0, rows, THREE._replace(cells=cells), CODE, "")
    assert "| a | 90.5 ± 0.5 |" in text
    assert "| b | 80.5 ± 0.5<br>**-10.0 [-10.0, -10.0]** |" in text
    assert "| c | 50.5 ± 0.5 |" in text
    assert "| d | 70.5 ± 0.5<br>**+20.0 [20.0, 20.0]** |" in text
    assert "from the first of each 2 rows" in text


def test_a_row_without_a_figure_of_a_later_group_has_no_row_in_it_unless_it_diverged():
    cells = {key: dict(cell) for key, cell in THREE.cells.items()}
    cells[OURS.name, 0]["figures"] = closed(0.96) | {"with the router/overall": 0.9}
    (group,) = re.findall("### with the router\n\n(.*?)\n\n", written(THREE._replace(cells=cells)), re.DOTALL)
    assert group.splitlines()[2:] == [f"| {OURS.name} | 90.0 |"]
    cells[PLAIN.name, 1] |= {"diverged": "loss", "figures": {}}
    (group,) = re.findall("### with the router\n\n(.*?)\n\n", written(THREE._replace(cells=cells)), re.DOTALL)
    assert [line.split("|")[1].strip() for line in group.splitlines()[2:]] == [
        OURS.name,
        f"{PLAIN.name} (diverged on seed 1)",
    ]


def test_seeds_in_a_row_are_told_by_the_ends_and_others_one_by_one():
    told = {
        (): "",
        (5,): "5",
        (0, 1): "0-1",
        (2, 0, 1, 1): "0-2",
        (0, 2): "0, 2",
        (100, 102, 101, 104): "100, 101, 102, 104",
    }
    assert {seeds: in_short(seeds) for seeds in told} == told
