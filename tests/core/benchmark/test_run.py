"""A table computes each of its cells once, and again when its method, code or data have changed."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from oltr_core import code_closure, engine, scores
from oltr_core.benchmark import code, records, rivals, run
from oltr_core.benchmark.cell import Method, Tailed, start
from oltr_core.benchmark.table import TABLES, listing
from oltr_core.layout import Layout
from oltr_core.learners import Ridge
from oltr_core.losses import Range
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import ResNet32
from oltr_core.models.heads import Linear
from oltr_core.operating.learning import Update
from oltr_core.operating.selection import Select
from oltr_core.samplers import SquareRoot
from oltr_core.strategies import Badge
from oltr_core.training import LearningRates, Phase, Train
from oltr_core.training.resume import Place, place_in
from tests.core.benchmark.conftest import tiny_data
from tests.core.elsewhere import Elsewhere
from tests.core.training.worlds import recipe


def computed(layout: Layout, **options) -> list[str]:
    """The cells that a run announces."""
    said: list[str] = []
    assert run.run("tiny", layout, echo=said.append, **options) == 0
    return said[:-1]


def test_finished_cells_are_kept_and_the_page_is_the_same(tmp_path, tiny):
    layout = Layout(tmp_path)
    assert computed(layout) == ["tiny: seed 0, ours", "tiny: seed 1, ours"]
    page = (layout.results / "tiny.md").read_text()
    assert computed(layout) == []
    assert (layout.results / "tiny.md").read_text() == page


def test_cells_that_another_engine_computes_have_the_same_figures(tmp_path, tiny):
    computed(Layout(tmp_path / "here"), seeds=[0])
    used = Elsewhere()
    with engine.using(used):
        run.run("tiny", Layout(tmp_path / "there"), seeds=[0], echo=print)
    assert used.asked == [(1, False)]
    here, there = (records.read(Layout(tmp_path / side).results / "tiny.jsonl").cells for side in ("here", "there"))
    assert list(here) == list(there) == [("ours", 0)]
    for key, cell in here.items():
        assert {**cell["figures"], "seconds/train": 0} == {**there[key]["figures"], "seconds/train": 0}


def test_a_table_that_was_cut_off_goes_on_where_it_stopped(tmp_path, tiny):
    computed(Layout(tmp_path), seeds=[0])
    assert computed(Layout(tmp_path)) == ["tiny: seed 1, ours"]


def test_a_torn_line_is_computed_again(tmp_path, tiny):
    layout = Layout(tmp_path)
    computed(layout)
    path = layout.results / "tiny.jsonl"
    whole = path.read_text()
    path.write_text(whole[:-20])
    assert computed(layout) == ["tiny: seed 1, ours"]
    assert len(path.read_text().splitlines()) == len(whole.splitlines())


def test_the_digest_of_code_is_of_its_statements(tmp_path, monkeypatch):
    module = tmp_path / "module.py"
    monkeypatch.setattr(code_closure, "_file", lambda name: module)

    def digest(text: str) -> str:
        module.write_text(text)
        return code.digest_of_code(Method(name=""))

    whole = '"""Text."""\n\ndef f(x):\n    """Text."""\n    return 2 * x\n'
    assert digest(whole) == digest("def f(x):  # why\n    'other text'\n\n    return (2 * x)\n")
    assert digest(whole) != digest(whole.replace("2", "3"))
    assert digest('class A:\n    """Text."""\n') == digest("class A:\n    pass\n")


def changed_method(tiny, monkeypatch):
    tiny(methods=lambda epochs: [Method(name="ours", train=recipe(precision="bfloat16"))])


def changed_code(tiny, monkeypatch):
    monkeypatch.setattr(run, "digest_of_code", lambda method: "another")


def changed_data(tiny, monkeypatch):
    data = tiny_data()
    darker = dataclasses.replace(data, test=data.test // 2)
    tiny(data=lambda root, seed: darker)


@pytest.mark.parametrize("change", [changed_method, changed_code, changed_data])
def test_a_cell_of_another_method_other_code_or_other_data_is_computed_again(tmp_path, tiny, monkeypatch, change):
    layout = Layout(tmp_path)
    computed(layout, seeds=[0])
    before = records.read(layout.results / "tiny.jsonl").cells["ours", 0]
    change(tiny, monkeypatch)
    assert computed(layout, seeds=[0]) == ["tiny: seed 0, ours"]
    (after,) = records.read(layout.results / "tiny.jsonl").cells.values()
    assert sum(before[digest] != after[digest] for digest in ("spec", "code", "data")) == 1
    assert computed(layout, seeds=[0]) == []


@pytest.mark.parametrize("seeded", [False, True])
def test_data_in_which_the_seed_has_no_part_are_loaded_once(tmp_path, tiny, seeded):
    loaded: list[int] = []

    def data(root, seed):
        loaded.append(seed)
        return tiny_data()

    tiny(data=data, seeded=seeded)
    computed(Layout(tmp_path))
    assert loaded == ([0, 1] if seeded else [0])


def test_how_a_machine_computes_is_recorded_and_no_reason_to_compute_again(tmp_path, tiny):
    layout = Layout(tmp_path)
    computed(layout, seeds=[0])
    (cell,) = records.read(layout.results / "tiny.jsonl").cells.values()
    assert (cell["compute"]["device"], cell["compute"]["threads"]) == ("cpu", 1)
    tiny(threads=0)
    assert computed(layout, seeds=[0]) == []


def code_of(settings: Method) -> set[str]:
    return set(code.closure([code.CELL, *(type(spec).__module__ for spec in code.specs_in(settings))]))


def test_the_code_of_a_cell_is_what_it_imports_and_not_what_writes_the_page():
    modules = code_of(Method(name=""))
    assert {"oltr_core.benchmark.loop", "oltr_core.training.fit", "oltr_core.operating.selection"} <= modules
    assert not {"oltr_core.benchmark.page", "oltr_core.benchmark.methods", "oltr_core.stages"} & modules
    assert "oltr_core.losses.range" not in modules, "which an import of its package would bring"


def test_the_code_of_a_cell_has_of_a_slot_the_members_that_its_settings_name():
    named = Phase(name="all", epochs=1, losses=[Range()], head=Linear(), sampler=SquareRoot())
    changes = Train(phases=[named], network=NetworkSpec(backbone=ResNet32()))
    ours = Method(name="", train=changes, update=Update(learner=Ridge()), select=Select(strategy=Badge()))
    more = "losses.range", "losses.pairs", "samplers.square_root", "learners.ridge", "projection", "strategies.badge"
    assert {f"oltr_core.{name}" for name in more} <= code_of(ours) - code_of(Method(name=""))
    assert "oltr_core.losses.lifted" not in code_of(ours)
    assert {score.__module__ for score in scores.MEMBERS} <= code_of(ours), "all of them are measured"
    assert "oltr_core.losses.pairs" in code_of(ours), "which no settings name: the loss uses it"


def test_a_loss_that_a_cell_does_not_use_is_no_part_of_its_code(monkeypatch):
    before = [code.digest_of_code(method) for method in rivals.cifar100_lt(30)]
    of = code_closure._statements
    monkeypatch.setattr(code_closure, "_statements", lambda text: of(text) + "other" * ("class Range(" in text))
    after = [code.digest_of_code(method) for method in rivals.cifar100_lt(30)]
    changed = [m.name for m, one, other in zip(rivals.cifar100_lt(30), before, after, strict=True) if one != other]
    assert changed == ["range"]


def test_a_page_is_written_from_the_cells_there_are(tmp_path, tiny):
    assert computed(Layout(tmp_path), page_only=True) == []
    assert "Not run yet" in (tmp_path / "docs/results/tiny.md").read_text()


def test_cells_that_end_at_the_same_moment_are_all_kept(tmp_path):
    path, method = tmp_path / "cells.jsonl", Method(name="ours")
    spec = records.digest_of_method(method)

    def add(seed: int) -> None:
        records.add(path, {"method": "ours", "seed": seed, "spec": spec}, method)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(100)))
    assert sorted(seed for _, seed in records.read(path).cells) == list(range(100))


def test_the_settings_of_a_method_are_recorded_once(tmp_path, tiny):
    computed(Layout(tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "docs/results/tiny.jsonl").read_text().splitlines()]
    (settings,) = [line["settings"] for line in lines if "settings" in line]
    assert settings == TABLES["tiny"].methods(0)[0].model_dump(mode="json")
    assert len(lines) == 3


def test_a_choice_is_made_on_validation_images_and_on_a_page_of_its_own(tmp_path, tiny):
    computed(Layout(tmp_path), seeds=[0], validation=True)
    text = (tmp_path / "docs/results/tiny-validation.md").read_text()
    assert "`oltr bench tiny --validation`" in text
    assert "20 images that are neither trained on nor tested" in text
    assert "inverted" not in text  # an open image would tune what must not be tuned on it
    assert not (tmp_path / "docs/results/tiny.md").exists()


def test_validation_without_images_for_it_is_refused(tmp_path, tiny):
    bare = dataclasses.replace(tiny_data(), val=None)
    tiny(data=lambda root, seed: bare)
    with pytest.raises(ValueError, match="--validation: expected images to validate on, found none"):
        run.run("tiny", Layout(tmp_path), validation=True)


def test_one_row_is_computed_alone(tmp_path, tiny):
    rows = [Method(name="ours", train=recipe()), Method(name="theirs", train=recipe(precision="bfloat16"))]
    tiny(methods=lambda epochs: rows, seeds=range(1))
    assert computed(Layout(tmp_path), rows=["theirs"]) == ["tiny: seed 0, theirs"]
    with pytest.raises(ValueError, match="--row: expected some of ours, theirs; found 'mine'"):
        run.run("tiny", Layout(tmp_path), rows=["mine"])


def test_a_shorter_table_is_a_table_of_its_own(tmp_path, tiny):
    tiny(epochs=200, seeds=range(1))
    assert computed(Layout(tmp_path), epochs=5) == ["tiny-5-epochs: seed 0, ours"]
    text = (tmp_path / "docs/results/tiny-5-epochs.md").read_text()
    assert "`oltr bench tiny --epochs 5`" in text
    assert "5 epochs, shorter than the table's 200." in text


def test_a_table_that_trains_as_params_yaml_has_it_refuses_other_epochs(tmp_path):
    with pytest.raises(ValueError, match="oltr bench digits: --epochs: expected none"):
        run.run("digits", Layout(tmp_path), epochs=3)


def test_a_method_that_diverges_is_a_finding_and_not_the_end_of_the_table(tmp_path, tiny):
    wild = [p.model_copy(update={"learning_rates": LearningRates(trunk=1e8, heads=1e8)}) for p in recipe().phases]
    rows = [Method(name="wild", train=recipe(phases=wild)), Method(name="ours", train=recipe())]
    tiny(methods=lambda epochs: rows, seeds=range(1))
    assert len(computed(Layout(tmp_path))) == 2
    text = (tmp_path / "docs/results/tiny.md").read_text()
    assert "| wild (diverged on seed 0) |" in text
    assert "| ours | " in text


@pytest.mark.parametrize(("word", "meant"), [("digit", "digits"), ("cifar10", "cifar10-lt")])
def test_a_misspelt_table_is_answered_with_the_names(tmp_path, word, meant):
    with pytest.raises(ValueError, match=f"no table '{word}'; did you mean '{meant}'"):
        run.run(word, Layout(tmp_path))
    assert listing().startswith("digits")


def test_a_training_that_other_rows_begin_with_is_kept_for_them(tmp_path, tiny):
    """And that of a row with which no other begins is not."""
    whole = recipe()
    first, both = whole.model_copy(update={"phases": whole.phases[:1]}), Method(name="both", train=whole)
    rows = [Method(name="first", train=first), both]
    tiny(methods=lambda epochs: rows, seeds=range(1))
    layout = Layout(tmp_path)
    computed(layout, rows=["first"])
    (kept,) = layout.resume("").iterdir()
    assert place_in(kept) == Place(0, 3, reports=place_in(kept).reports)
    computed(layout)
    assert list(layout.resume("").iterdir()) == [kept]


def test_a_row_of_a_tail_is_trained_on_what_the_tail_keeps(tmp_path, tiny, monkeypatch):
    rows = [Method(name="all", train=recipe()), Tailed(name="ratio 24", train=recipe(), ratio=24)]
    tiny(methods=lambda epochs: rows, seeds=range(1))
    sizes = []
    monkeypatch.setattr(run, "start", lambda train, data, *rest: sizes.append(len(data.train)) or start(train, data))
    layout = Layout(tmp_path)
    run.run("tiny", layout, echo=lambda _: None)
    assert sizes == [24 + 12 + 6 + 2, 24 + 8 + 2 + 1]
    found = records.read(layout.results / "tiny.jsonl")
    whole, thin = found.cells["all", 0], found.cells["ratio 24", 0]
    assert whole["data"] == tiny_data().identity != thin["data"] == tiny_data().thinned(24).identity
    assert found.settings[thin["spec"]]["ratio"] == 24


def test_a_row_of_a_set_that_is_not_here_is_written_as_a_recipe(tmp_path):
    said: list[str] = []
    assert run.run("sun-lt", Layout(tmp_path), rows=["cost-sensitive"], echo=said.append) == 0
    written = yaml.safe_load("".join(said))
    assert written["train"]["phases"][0]["losses"][0]["name"] == "cost_sensitive"
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match=r"sun-lt: expected --row, found none: `oltr loop` trains on this set"):
        run.run("sun-lt", Layout(tmp_path), echo=said.append)
