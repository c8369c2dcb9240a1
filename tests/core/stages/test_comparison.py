"""An update against the champion on the gate's images, by the stages, and the verdict that follows."""

import json
import shutil

import pytest
import torch

from oltr_core import checkpoint, ledger, schema
from oltr_core.layout import Layout
from oltr_core.settings.operations import Gate
from oltr_core.settings.whole import load_settings
from oltr_core.stages import curate, evaluate, ingest, select, update
from oltr_core.stages.comparison import Kinds, Predictions, compare, names
from tasks import gate
from tests.core.stages import loop_world as world
from tests.core.stages.test_recomputed import run_lines

AT = world.AT.isoformat()


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Generation 0, sealed and champion; nothing answered yet."""
    layout = world.make(tmp_path_factory.mktemp("first"), evaluate={"slices": ["source"]})
    world.compute(layout)
    world.seal(layout, "0000")
    assert gate.judge(layout, Gate(), "0000", AT) == ("promoted", [])
    ingest.run(load_settings(layout), layout, "batch-1")
    return layout


def updated(first: Layout, root, said: dict[str, str] | None = None) -> Layout:
    """Generation 1 from these answers, sealed."""
    shutil.copytree(first.root, root, dirs_exist_ok=True)
    layout = Layout(root)
    world.answer(layout, "0000", said)
    world.opened(layout, "0001", "0000", "update")
    world.compute(layout, curate, update, evaluate, select)
    world.seal(layout, "0001")
    return layout


@pytest.fixture(scope="module")
def good(first, tmp_path_factory):
    """An update by the truth."""
    return updated(first, tmp_path_factory.mktemp("good"))


@pytest.fixture(scope="module")
def useless(first, tmp_path_factory):
    """An update that takes pictures of known classes for the two new ones, and the new ones for known ones."""
    truth = world.truth_of(first, "batch-0")
    known = {row["name"] for row in table(first.generation("0000").classes, schema.CLASSES)}
    new, old = sorted(set(truth.values()) - known), sorted(known & set(truth.values()))
    said = {}
    for place, (image, label) in enumerate(sorted(truth.items())):
        said[image] = old[place % len(old)] if label in new else new[place % len(new)]
    return updated(first, tmp_path_factory.mktemp("useless"), said)


def table(path, kind) -> list[dict]:
    return schema.read(path, kind).to_pylist()


def compared(layout: Layout, name: str = "0001") -> dict:
    return json.loads(layout.generation(name).gate.read_text())


def test_every_figure_has_a_paired_difference_on_the_images_that_are_known_or_open_to_both(good):
    page = compared(good)
    of = {"known_accuracy": "now/overall", "auroc": "open/auroc", "unknown_recall": "open/unknown_recall"}
    for name, figure in of.items():
        judged, paired = page["metrics"][name], page["differences"][figure]
        assert (paired["before"], paired["now"]) == pytest.approx((judged["champion"], judged["challenger"]))
        assert paired["low"] <= paired["difference"] <= paired["high"]
    headline = {"f_measure", "oscr", "aupr_known", "aupr_unknown", "fpr95", "known_accuracy"}
    assert {"closed/overall", "closed/macro_f1", *(f"open/{name}" for name in headline)} <= set(page["differences"])


@pytest.mark.parametrize("name", ["0000", "0001"])
def test_the_lines_of_the_documentation_find_the_open_set_figures_of_a_sealed_generation(good, monkeypatch, name):
    monkeypatch.chdir(good.generation(name).folder)
    found, sealed = run_lines(), json.loads(good.generation(name).metrics.read_text())
    told = {name.removeprefix("open/") for name in sealed if name.startswith("open/")}
    left_out = {"threshold", "classes", "many", "medium", "few"}
    assert len(told - left_out) == 10
    assert {n: found[n] for n in told - left_out} == pytest.approx({n: sealed[f"open/{n}"] for n in told - left_out})


def test_changes_since_the_parent_are_on_the_test_images_that_both_generations_were_measured_on(good):
    page = json.loads(good.generation("0001").intervals.read_text())["changes"]
    was, now = (
        {r["image_id"]: r for r in table(good.generation(n).predictions, schema.PREDICTIONS) if r["split"] == "test"}
        for n in ("0000", "0001")
    )
    both = was.keys() & now.keys()
    assert page["images"] == len(both) > 0
    for name, of in (("before", was), ("now", now)):
        known = [of[i]["class_id"] == of[i]["true_class_id"] for i in both if of[i]["true_class_id"] >= 0]
        assert page["figures"]["now/overall"][name] == pytest.approx(sum(known) / len(known))
    sealed = [json.loads(good.generation(n).metrics.read_text()) for n in ("0000", "0001")]
    if both == was.keys() == now.keys():
        for name, of in page["figures"].items():
            assert (of["before"], of["now"]) == pytest.approx((sealed[0][name], sealed[1][name]))
    assert {"closed/overall", "closed/macro_f1", "open/oscr", "open/few"} <= set(page["figures"])
    assert not [name for name in page["figures"] if name.startswith("loop/")], "generation 0 has none"


def test_an_update_that_learned_the_new_classes_is_promoted(good):
    figures = compared(good)["metrics"]
    assert figures["learned_accuracy"]["challenger"] > 0.4
    verdict, reasons = gate.judge(good, Gate(), "0001", AT)
    assert (verdict, reasons) == ("promoted", [])


def test_an_update_that_learned_nothing_is_refused_with_figures_and_interval(useless):
    """Its metrics alone do not show it: `closed/*` masks the new columns, and the champion has no `loop/*`."""
    before, after = (json.loads(useless.generation(n).metrics.read_text()) for n in ("0000", "0001"))
    assert before["closed/overall"] - after["closed/overall"] < 0.05
    assert before["closed/few"] - after["closed/few"] < 0.10
    assert before["open/auroc"] - after["open/auroc"] < 0.10
    assert after["loop/unknown_accuracy"] < 0.2
    verdict, reasons = gate.judge(useless, Gate(), "0001", AT)
    assert verdict == "refused"
    of = compared(useless)["metrics"]["learned_accuracy"]
    assert any(
        reason.startswith(f"learned_accuracy is {of['challenger']:.3f} (95 % interval {of['low']:.3f} to")
        for reason in reasons
    ), reasons
    assert ledger.replay(ledger.read(useless.ledger)).champion == "0000"


def test_new_columns_compete_for_the_images_that_the_champion_knew(useless):
    ids = checkpoint.read_card(useless.generation("0000").model).class_ids
    truth = {row["image_id"]: row["class_id"] for row in table(useless.work.manifest, schema.MANIFEST)}
    judged = [r for r in table(useless.work.predictions, schema.PREDICTIONS) if r["split"] == "gate"]
    said = [(r["class_id"], truth[r["image_id"]]) for r in judged if truth[r["image_id"]] in ids]
    assert sum(predicted not in ids for predicted, _ in said) > 5
    right = sum(predicted == known for predicted, known in said)
    assert compared(useless)["metrics"]["known_accuracy"]["challenger"] == pytest.approx(right / len(said))


def test_the_verdict_in_the_ledger_carries_the_comparison(good):
    gate.judge(good, Gate(), "0001", AT)
    event = next(e for e in ledger.read(good.ledger) if e.event == "promoted" and e.generation == "0001")
    assert event.details["comparison"] == compared(good)
    assert event.details["against"] == "0000"


def test_champion_and_challenger_are_compared_on_images_that_no_report_uses(first, good):
    rows = {row["image_id"]: row for row in table(good.work.manifest, schema.MANIFEST)}
    splits = {row["image_id"]: row["split"] for row in table(good.work.predictions, schema.PREDICTIONS)}
    judged = {image for image, split in splits.items() if split == "gate"}
    assert {rows[image]["split"] for image in judged} == {"test"}
    assert len(judged) == compared(good)["images"] == 90  # nine of the 30 test images of each of ten digits
    ids = checkpoint.read_card(first.generation("0000").model).class_ids
    known = [image for image in judged if rows[image]["class_id"] in ids]
    of = compared(good)["metrics"]["known_accuracy"]
    assert of["images"] == len(known) == 54
    for generation, answer in (("0000", of["champion"]), ("0001", of["challenger"])):
        predicted = table(good.generation(generation).predictions, schema.PREDICTIONS)
        right = [p["class_id"] == rows[p["image_id"]]["class_id"] for p in predicted if p["image_id"] in known]
        assert answer == pytest.approx(sum(right) / 54)


def test_the_gates_images_stay_the_same_from_generation_to_generation(good):
    def of(name: str) -> set[str]:
        predicted = table(good.generation(name).predictions, schema.PREDICTIONS)
        return {row["image_id"] for row in predicted if row["split"] == "gate"}

    assert of("0000") == of("0001")


def test_an_image_is_open_where_neither_model_knows_its_class(good):
    figures = compared(good)["metrics"]
    assert figures["unknown_recall"]["images"] == 18  # two digits; those that were learned are not among them
    assert figures["auroc"]["images"] == 54 + 18
    assert figures["learned_accuracy"]["images"] == 18
    assert figures["learned_accuracy"]["champion"] == 0
    assert figures["few_accuracy"]["images"] == 27  # the three digits of 20, 11 and 6 training images


def test_each_model_rejects_by_its_own_score_and_threshold(good):
    ids = checkpoint.read_card(good.generation("0001").model).class_ids
    classes = {row["image_id"]: row["class_id"] for row in table(good.work.manifest, schema.MANIFEST)}
    of = compared(good)["metrics"]["unknown_recall"]
    thresholds = []
    for generation, recall in (("0000", of["champion"]), ("0001", of["challenger"])):
        thresholds.append(checkpoint.read_card(good.generation(generation).model).threshold)
        predicted = table(good.generation(generation).predictions, schema.PREDICTIONS)
        open_ = [p["score"] for p in predicted if p["split"] == "gate" and classes[p["image_id"]] not in ids]
        assert recall == pytest.approx(sum(score > thresholds[-1] for score in open_) / 18)
    assert thresholds[0] != thresholds[1]


def test_generation_0_has_nobody_to_be_compared_with(first):
    page = compared(first, "0000")
    assert (page["champion"], page["metrics"], page["absent"], page["held_apart"]) == ("genesis", {}, {}, True)
    text = first.generation("0000").gate.read_text()
    assert text.startswith('{\n "champion": "genesis",\n "images": '), "for people to read"


def test_without_a_share_of_its_own_the_gate_judges_on_all_test_images_and_says_so(good, tmp_path):
    shutil.copytree(good.root, tmp_path / "w")
    layout = Layout(tmp_path / "w")
    layout.params.write_text(layout.params.read_text().replace("evaluate:\n", "evaluate:\n  gate_share: 0\n"))
    world.compute(layout, evaluate)
    page = json.loads(layout.work.gate.read_text())
    assert (page["images"], page["held_apart"]) == (300, False)
    assert page["metrics"]["known_accuracy"]["images"] == 180
    assert {row["split"] for row in table(layout.work.predictions, schema.PREDICTIONS)} == {"test", "val", "pool"}


def test_without_a_test_image_of_a_new_class_its_validation_images_are_asked(good, tmp_path):
    shutil.copytree(good.root, tmp_path / "w")
    layout = Layout(tmp_path / "w")
    ids = checkpoint.read_card(layout.generation("0000").model).class_ids
    rows = table(layout.work.manifest, schema.MANIFEST)
    kept = [r for r in rows if not (r["split"] == "test" and r["class_id"] not in ids)]
    schema.write(layout.work.manifest, schema.from_rows(schema.MANIFEST, kept), schema.MANIFEST)
    world.compute(layout, evaluate)
    page = json.loads(layout.work.gate.read_text())
    val = [r for r in rows if r["split"] == "val" and r["class_id"] is not None and r["class_id"] not in ids]
    assert page["metrics"]["learned_accuracy"]["images"] == len(val) > 0
    assert "neither knows" in page["absent"]["auroc"]
    assert page["metrics"]["known_accuracy"]["images"] == 54


def test_without_any_test_image_the_reasons_are_given(good, tmp_path):
    shutil.copytree(good.root, tmp_path / "w")
    layout = Layout(tmp_path / "w")
    rows = [row for row in table(layout.work.manifest, schema.MANIFEST) if row["split"] != "test"]
    schema.write(layout.work.manifest, schema.from_rows(schema.MANIFEST, rows), schema.MANIFEST)
    world.compute(layout, evaluate)
    page = json.loads(layout.work.gate.read_text())
    assert set(page["metrics"]) == {"learned_accuracy"}  # of validation images
    assert page["absent"]["known_accuracy"] == page["absent"]["auroc"] == "no image of a class that both know"
    absent = json.loads(layout.work.absent("evaluate").read_text())
    assert absent["now/overall"] == absent["open/known_accuracy"] == "no test image of a known class"


def test_an_update_without_answers_equals_its_parent_and_is_promoted(first, tmp_path):
    shutil.copytree(first.root, tmp_path / "w")
    layout = Layout(tmp_path / "w")
    world.opened(layout, "0001", "0000", "update")
    world.compute(layout, curate, update, evaluate, select)
    world.seal(layout, "0001")
    page = compared(layout)
    assert all(of["difference"] == 0 for of in page["metrics"].values())
    assert page["absent"] == {"learned_accuracy": "no class was learned that the champion does not know"}
    assert gate.judge(layout, Gate(), "0001", AT) == ("promoted", [])


def test_an_edited_champion_stops_the_comparison(good, tmp_path):
    shutil.copytree(good.root, tmp_path / "w")
    layout = Layout(tmp_path / "w")
    with layout.generation("0000").model.open("ab") as file:
        file.write(b"x")
    with pytest.raises(ValueError, match="sealed generation was changed"):
        world.compute(layout, evaluate)


def test_every_figure_is_of_its_own_images():
    """Four known images (one, two and one of each shot group), two open ones and one that the challenger learned."""

    def mask(text: str) -> torch.Tensor:
        return torch.tensor([letter == "1" for letter in text])

    champion = Predictions(mask("1110000"), torch.tensor([0.1, 0.9, 0.2, 0.3, 0.4, 0.8, 0.0]), 0.5)
    challenger = Predictions(mask("1001001"), torch.tensor([0.1, 0.2, 0.9, 0.3, 0.7, 0.8, 0.0]), 0.6)
    shots = {"many": mask("1000000"), "medium": mask("0110000"), "few": mask("0001000")}
    classes = {"deer": mask("1100000"), "lynx": mask("0011000"), "elk": mask("0000000")}
    kinds = Kinds(mask("1111000"), mask("0000001"), mask("0000110"), shots, classes)
    found = compare(champion, challenger, kinds)
    figures = {name: value for name, value in found.items() if not isinstance(value, str)}
    both = {name: (value.champion, value.challenger, value.images) for name, value in figures.items()}
    assert both == {
        "known_accuracy": (0.75, 0.5, 4),
        "many_accuracy": (1.0, 1.0, 1),
        "medium_accuracy": (1.0, 0.0, 2),
        "few_accuracy": (0.0, 1.0, 1),
        "class/deer": (1.0, 0.5, 2),
        "class/lynx": (0.5, 0.5, 2),
        "known_with_rejection": (0.5, 0.5, 4),
        "auroc": (0.75, 0.75, 6),
        "unknown_recall": (0.5, 1.0, 2),
        "learned_accuracy": (0.0, 1.0, 1),
    }
    nothing = torch.zeros(7, dtype=torch.bool)
    assert all(isinstance(v, str) for v in compare(champion, challenger, Kinds(*[nothing] * 3)).values())


def test_the_names_of_figures_are_those_of_a_comparison_but_for_single_classes():
    assert names() == [
        "known_accuracy", "many_accuracy", "medium_accuracy", "few_accuracy", "known_with_rejection", "auroc",
        "unknown_recall", "learned_accuracy",
    ]  # fmt: skip


def test_the_worst_group_is_the_one_in_which_the_challenger_is_worst_against_the_champion_on_its_images():
    n = 100
    known = torch.arange(n) < 95
    before, after = torch.ones(n).bool(), torch.arange(n) % 2 == 0
    after[:40] = True
    day, night, dusk = torch.arange(n) < 40, (torch.arange(n) >= 40) & (torch.arange(n) < 71), torch.arange(n) >= 71
    none = torch.zeros(n).bool()
    sliced = {"light": {"day": day, "dusk": dusk, "night": night}, "site": {"x": dusk}}
    scores = torch.zeros(n)
    found = compare(
        Predictions(before, scores, 1.0), Predictions(after, scores, 1.0), Kinds(known, none, none, slices=sliced)
    )
    assert found["slice/light/day"][:3] == (1.0, 1.0, 0.0)
    assert found["slice/light/worst"] == found["slice/light/night"]
    assert found["slice/light/night"][:3] == (1.0, 16 / 31, pytest.approx(-15 / 31))
    assert found["slice/light/night"].images == 31
    assert "slice/light/dusk" not in found, "24 images of classes that both know"
    assert found["slice/site/worst"] == "no value of site has 30 images of classes that both know"


def test_the_gate_refuses_a_fall_of_the_worst_group(good):
    page = compared(good)
    worst = page["metrics"]["slice/source/worst"]
    assert worst == page["metrics"]["slice/source/digits"]
    assert worst["images"] == page["metrics"]["known_accuracy"]["images"]
    sealed = json.loads(good.generation("0001").metrics.read_text())
    assert sealed["slice/source/worst"] == sealed["now/overall"]
    page["metrics"]["slice/source/worst"] |= {"difference": -0.3, "low": -0.5, "high": -0.1}
    (reason,) = gate.fallen(page, {"slice/source/worst": 0.1})
    assert reason.startswith("slice/source/worst fell from ")
    rose = gate.fallen_metrics({"slice/site/gap": 0.3}, {"slice/site/gap": 0.1}, {"slice/site/gap": 0.1}, {})
    assert rose == ["slice/site/gap rose from 0.1000 to 0.3000, by more than 0.1"]


def test_what_the_gate_has_no_group_for_is_not_compared(good):
    tolerances = Gate(tolerances={"slice/source/zoo": 0.1, "slice/source/worst": 0.5})
    reasons, grounds = gate.weigh(good, tolerances, "0001", "0000")
    assert reasons == []
    assert grounds["not_compared"]["slice/source/zoo"] == gate.NO_GROUP
    assert "slice/source/worst" not in grounds["not_compared"]
