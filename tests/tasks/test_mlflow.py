"""MLflow, with a real database: it shows what was sealed, each figure once, and its model answers row by row."""

from __future__ import annotations

import base64
import json
import shutil
import sys
from dataclasses import replace
from importlib import metadata

import pytest
import yaml

from oltr_core import digest, ledger
from oltr_core.layout import Layout
from oltr_core.measured import read_all, read_intervals
from oltr_core.settings.operations import Tracking
from oltr_core.settings.whole import load_settings
from oltr_core.stages import curate, evaluate, ingest, select, train, update
from tasks import mlflow as tracking
from tasks.mlflow import connection, names, replacing
from tests.architecture.closure import modules
from tests.architecture.imports import imports_of
from tests.core.stages import loop_world as world

pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow's own, at its import
SETTINGS = Tracking()


def seal(layout: Layout, name: str, parent: str, mode: str) -> None:
    """What the loop does to data/work, as far as MLflow reads it."""
    final = layout.generation(name)
    shutil.copytree(layout.work.folder, final.folder)
    shutil.copyfile(layout.run, final.run)
    shutil.copyfile(layout.params, final.params)
    final.metrics.write_text(json.dumps(read_all(layout.work.stage_metrics).values))
    final.report.write_text("<!doctype html>")
    final.lineage.write_text("[]")
    final.environment.write_text("{}")
    final.trends.mkdir()
    (final.trends / "training.csv").write_text("epoch,phase,loss,accuracy\n1,representation,0.5,\n2,other,,0.9\n")
    if name == "0001":
        final.timings.write_text('{"curate": 1.5, "update": 2.25}')
    details = {"parent": parent, "mode": mode, "intervals": read_intervals(final.intervals)}
    for event in (
        ledger.Event("opened", name, "x", "2026-01-01T00:00:00+00:00", details),
        ledger.Event("sealed", name, digest.of_folder(final.folder), f"2026-01-01T00:0{1 + int(name)}:00", details),
        ledger.Event("promoted", name, "x", "2026-01-01"),
    ):
        ledger.append(layout.ledger, event)


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> Layout:
    """A full training and a generation that extends it, both shown in MLflow, one after the other."""
    layout = world.make(tmp_path_factory.mktemp("mlflow") / "world")
    world.compute(layout)
    plain = layout.params.read_text()
    layout.params.write_text(f"{plain}\ntracking: {{artifacts: 'https://eve:hunter2@host/x?token=hunter2'}}\n")
    seal(layout, "0000", "genesis", "train")
    layout.params.write_text(plain)
    assert tracking.mirror(layout, SETTINGS) == ["0000"]
    world.answer(layout, "0000")
    ingest.run(load_settings(layout), layout, "batch-1")
    world.opened(layout, "0001", "0000", "update")
    world.compute(layout, curate, train, update, evaluate, select)
    seal(layout, "0001", "0000", "update")
    assert tracking.mirror(layout, SETTINGS) == ["0001"]
    return layout


def runs(layout: Layout) -> dict:
    tracking.connect(layout, SETTINGS)
    return {run.data.tags["oltr.generation"]: run for run in tracking.runs(SETTINGS)}


def test_every_sealed_figure_is_shown(shown):
    for name, run in runs(shown).items():
        sealed = json.loads(shown.generation(name).metrics.read_text())
        assert {key: run.data.metrics[key] for key in sealed} == pytest.approx(sealed)
        seconds = {key: value for key, value in run.data.metrics.items() if key.startswith("cost/seconds/")}
        assert seconds == ({"cost/seconds/curate": 1.5, "cost/seconds/update": 2.25} if name == "0001" else {})
        bounds = json.loads(shown.generation(name).intervals.read_text())["figures"]
        for key, (low, high) in bounds.items():
            assert (run.data.metrics[f"{key}_low"], run.data.metrics[f"{key}_high"]) == pytest.approx((low, high))
        assert "open/auroc" in bounds
        (point,) = tracking.connect(shown, SETTINGS).get_metric_history(run.info.run_id, "closed/overall")
        assert point.step == int(name), "a line over generations"


def test_what_generations_are_judged_by_comes_first_in_the_order_of_mlflows_pages(shown):
    found = runs(shown)["0001"].data.metrics
    shared, *first = sorted(found)[:4]
    assert [shared, *first] == ["0 known now", "1 known accuracy", "2 unknown accuracy", "3 harmonic mean"]
    assert all(run.data.metrics[shared] == run.data.metrics["now/overall"] for run in runs(shown).values())
    loop = [found[f"loop/{name}"] for name in ("known_accuracy", "unknown_accuracy", "harmonic_mean")]
    assert [found[name] for name in first] == loop
    assert len({*loop}) > 1
    assert not [name for name in runs(shown)["0000"].data.metrics if name in first], "no class was unknown before it"


def line_of(layout: Layout):
    """The run that those of the generations are below."""
    client = tracking.connect(layout, SETTINGS)
    (above,) = {run.data.tags["mlflow.parentRunId"] for run in runs(layout).values()}
    return client, client.get_run(above)


def test_generations_are_points_of_one_line_and_last_from_their_opening_to_their_seal(shown):
    client, above = line_of(shown)
    assert (above.info.run_name, above.data.tags["oltr.generations"]) == ("digits: generations", "0000 0001")
    assert above.data.tags["oltr.champion"] == "0001"
    assert not [name for name in above.data.metrics if name.startswith("train/")]
    sealed = [json.loads(shown.generation(name).metrics.read_text()) for name in ("0000", "0001")]
    for name in ("closed/overall", "open/auroc"):
        points = client.get_metric_history(above.info.run_id, name)
        assert [(p.step, p.value) for p in points] == [(i, pytest.approx(of[name])) for i, of in enumerate(sealed)]
        assert points[1].timestamp - points[0].timestamp == 60_000
    minutes = {n: (run.info.end_time - run.info.start_time) / 60_000 for n, run in runs(shown).items()}
    assert minutes == {"0000": 1, "0001": 2}
    assert (above.info.end_time - above.info.start_time, above.info.status) == (120_000, "FINISHED")
    ids = [runs(shown)[name].info.run_id for name in ("0000", "0001")]
    bounds = json.loads(shown.generation("0001").intervals.read_text())["figures"]["open/auroc"]
    for end, value in zip(("low", "high"), bounds, strict=True):
        points = client.get_metric_history(above.info.run_id, f"open/auroc_{end}")
        assert (len(points), points[1].step, points[1].value) == (2, 1, pytest.approx(value))
    number = runs(shown)["0000"].info.experiment_id
    assert tracking.page(shown, SETTINGS) == (
        f"#/compare-runs?runs=%5B%22{ids[0]}%22%2C%22{ids[1]}%22%5D&experiments=%5B%22{number}%22%5D"
        "&workflowType=machine_learning"
    )


def test_the_report_of_a_generation_opens_on_a_tracking_server_and_not_in_a_database(shown, monkeypatch):
    run, found = runs(shown)["0001"].info, tracking.runs(SETTINGS)
    assert tracking.reports(shown, SETTINGS, ["0001"]) == {}
    monkeypatch.setattr(tracking, "runs", lambda _: found)
    server = Tracking(uri="http://eve:hunter2@host:5000/ml/")
    assert tracking.reports(shown, server, ["0001"]) == {
        "0001": f"http://host:5000/ml/#/experiments/{run.experiment_id}/runs/{run.run_id}/artifacts/report.html"
    }
    assert tracking.reports(shown, server, []) == {}


def test_looks_between_generations_are_a_line_of_their_own(shown, tmp_path):
    layout = Layout(tmp_path / "world")
    shutil.copytree(shown.root, layout.root)
    tracking.mirror(layout, SETTINGS)
    seen = {"at": "2026-01-01T00:05:00+00:00", "images": 9, "unknown_rate": [0.2, 0.1, 0.3], "drift": "too few"}
    later = seen | {"at": "2026-01-01T00:06:00+00:00", "drift": [0.75, 0.7, 0.8]}
    for looks in ([seen], [seen, later]):
        layout.monitored.write_text("".join(json.dumps(look) + "\n" for look in looks))
        assert tracking.behind(layout, SETTINGS)
        tracking.mirror(layout, SETTINGS)
    client, above = line_of(layout)
    assert above.data.tags["oltr.looks"] == "2"
    found = {
        n: client.get_metric_history(above.info.run_id, n) for n in above.data.metrics if n.startswith("monitor/")
    }
    at = [1_767_225_900_000, 1_767_225_960_000]
    assert {name: [(p.step, p.timestamp, p.value) for p in points] for name, points in found.items()} == {
        "monitor/images": [(1, at[0], 9), (2, at[1], 9)],
        "monitor/unknown_rate": [(1, at[0], 0.2), (2, at[1], 0.2)],
        "monitor/unknown_rate_low": [(1, at[0], 0.1), (2, at[1], 0.1)],
        "monitor/unknown_rate_high": [(1, at[0], 0.3), (2, at[1], 0.3)],
        "monitor/drift": [(2, at[1], 0.75)],
        "monitor/drift_low": [(2, at[1], 0.7)],
        "monitor/drift_high": [(2, at[1], 0.8)],
    }


def test_a_line_that_a_kill_left_half_done_is_finished_and_has_each_point_once(shown, tmp_path):
    layout = Layout(tmp_path / "world")
    shutil.copytree(shown.root, layout.root)
    tracking.mirror(layout, SETTINGS)
    client, above = line_of(layout)
    client.set_tag(above.info.run_id, "oltr.generations", "0000")  # its points are there, and nothing says so
    client.set_terminated(above.info.run_id, "RUNNING")
    older = runs(layout)["0000"].info.run_id
    client.delete_tag(older, "mlflow.parentRunId")  # as an older version made it
    assert tracking.mirror(layout, SETTINGS) == []
    again = client.get_run(above.info.run_id)
    assert (again.info.status, again.data.tags["oltr.generations"]) == ("FINISHED", "0000 0001")
    assert client.get_run(older).data.tags["mlflow.parentRunId"] == above.info.run_id
    points = client.get_metric_history(above.info.run_id, "closed/overall")
    assert [point.step for point in points] == [0, 1]


def test_pages_plots_lineage_and_environment_are_shown_with_a_generation(shown):
    client = tracking.connect(shown, SETTINGS)
    for name, run in runs(shown).items():
        there = {file.path for file in client.list_artifacts(run.info.run_id)}
        pages = {"report.html", "data_card.html", "lineage.json", "environment.json", "plots", "batch.png"}
        assert pages <= there
        trained = {"training_loss.svg"} if name == "0000" else set()
        drawn = {file for file in there if file.endswith(".svg")}
        assert drawn == {"confusion.svg", "roc.svg", "reliability.svg"} | trained
        picture = (shown.mlflow_artifacts / run.info.run_id / "artifacts" / "confusion.svg").read_text()
        assert f"Generation {name}" in picture
        assert run.data.tags["mlflow.note.content"] == (
            "A full training." if name == "0000" else "Extends the classifier of 0000."
        )


def test_no_secret_of_the_parameters_is_in_the_database(shown):
    """The first generation was sealed with them, as version 0.1 sealed parameters."""
    assert "hunter2" in shown.generation("0000").params.read_text()
    assert runs(shown)["0000"].data.params["tracking.artifacts"] == "https://***@host/x?token=***"
    assert b"hunter2" not in shown.mlflow_db.read_bytes()
    assert not [p for p in shown.mlflow_artifacts.rglob("*") if p.is_file() and b"hunter2" in p.read_bytes()]


def test_a_training_is_shown_once_epoch_by_epoch_and_ends_with_its_sealed_figures(shown):
    client = tracking.connect(shown, SETTINGS)
    found = runs(shown)
    sealed = json.loads(shown.generation("0000").metrics.read_text())
    for name in ("train/loss", "train/cross_entropy", "train/accuracy"):
        history = client.get_metric_history(found["0000"].info.run_id, name)
        assert [point.step for point in history] == [1, 2, 3, 4, 5, 6]
        assert history[-1].value == pytest.approx(sealed[name])
    assert not [name for name in found["0000"].data.metrics if name.startswith("train/loss/")]
    assert not [name for name in found["0001"].data.metrics if name.startswith("train/")]


def test_the_logged_model_shows_its_figures_and_the_version_that_it_is_registered_as(shown):
    client = tracking.connect(shown, SETTINGS)
    experiment = client.get_experiment_by_name(SETTINGS.experiment)
    models = {m.tags["oltr.generation"]: m for m in client.search_logged_models([experiment.experiment_id])}
    for name, version in (("0000", 1), ("0001", 2)):
        figures = {m.key: m.value for m in models[name].metrics}
        assert figures["closed/overall"] == json.loads(shown.generation(name).metrics.read_text())["closed/overall"]
        assert {m.dataset_name for m in models[name].metrics} == {f"manifest-{name}"}
        assert models[name].name == f"generation-{name}"
        assert json.loads(models[name].tags["mlflow.modelVersions"]) == [{"name": SETTINGS.model, "version": version}]
    assert client.get_model_version_by_alias(SETTINGS.model, tracking.CHAMPION).tags["oltr.generation"] == "0001"
    assert client.get_model_version(SETTINGS.model, "1").tags == {
        "oltr.generation": "0000",
        "oltr.verdict": "promoted",
    }


def test_a_generation_whose_names_mlflow_does_not_accept_is_shown_under_others(shown, tmp_path):
    layout = Layout(tmp_path / "world")
    shutil.copytree(shown.root, layout.root)
    final, of_class = layout.generation("0000"), "class/Grévy's zebra (adult)"
    params = yaml.safe_load(final.params.read_text()) | {"gate": {"tolerances": {of_class: 0.1}}}
    final.params.write_text(yaml.safe_dump(params))
    figures = {"slice/camera (site)/worst": 0.25, "slice/camera [site]/worst": 0.75, "slice/../x": 0.5}
    final.metrics.write_text(json.dumps(json.loads(final.metrics.read_text()) | figures))
    assert tracking.mirror(layout, SETTINGS) == ["0000", "0001"]
    _, above = line_of(layout)
    found = runs(layout)["0000"].data
    assert [v for k, v in found.params.items() if k.startswith("gate.tolerances.class/Grévy_s zebra _adult_")] == [
        "0.1"
    ]
    for of in (found.metrics, above.data.metrics):
        assert sorted(v for k, v in of.items() if k.startswith("slice/camera _site_/worst ")) == [0.25, 0.75]
        assert [v for k, v in of.items() if k.startswith("slice/_../x ")] == [0.5]


@pytest.mark.parametrize(
    "name", ["", "/", "a//b", "a/", "./a", "a/..", "..", "...", "a\n", "x" * 300, "x" * 249 + "//"]
)
def test_any_name_becomes_one_that_mlflow_accepts_and_no_other_name_becomes(name):
    from mlflow.utils.validation import MAX_ENTITY_KEY_LENGTH, _validate_metric_name

    (other,) = names.accepted({name: 1})
    _validate_metric_name(other)
    assert len(other) <= names.LONGEST == MAX_ENTITY_KEY_LENGTH
    assert len(names.accepted({name: 1, f"{name}'": 2, f"{name}(": 3})) == 3


def test_a_name_that_mlflow_accepts_stays_as_it_is():
    assert names.accepted({"class/lynx: a-b c_d.é": 1}) == {"class/lynx: a-b c_d.é": 1}


def test_a_generation_that_cannot_be_shown_stops_neither_the_others_nor_the_alias(shown, tmp_path):
    layout = Layout(tmp_path / "world")
    shutil.copytree(shown.root, layout.root)
    log = layout.generation("0000").training_log
    text = log.read_text()
    log.unlink()
    for added in (["0001"], []):
        with pytest.raises(tracking.Incomplete, match=r"^generation 0000: .*No such file") as failure:
            tracking.mirror(layout, SETTINGS)
        assert failure.value.added == added
        champion = tracking.connect(layout, SETTINGS).get_model_version_by_alias(SETTINGS.model, tracking.CHAMPION)
        assert champion.tags["oltr.generation"] == "0001"
        assert tracking.behind(layout, SETTINGS)
    log.write_text(text)
    assert tracking.mirror(layout, SETTINGS) == ["0000"]


def test_a_verdict_and_a_champion_that_change_are_followed(shown, tmp_path):
    layout = Layout(tmp_path / "world")
    shutil.copytree(shown.root, layout.root)
    tracking.mirror(layout, SETTINGS)
    ledger.append(layout.ledger, ledger.Event("rolled_back", "0000", "x", "2026-01-02", {"reasons": ["dust"]}))
    assert tracking.mirror(layout, SETTINGS) == []
    champion = tracking.connect(layout, SETTINGS).get_model_version_by_alias(SETTINGS.model, tracking.CHAMPION)
    assert champion.tags["oltr.generation"] == "0000"


def aliased(layout: Layout, settings: Tracking = SETTINGS) -> str:
    """The generation that is served as the champion; "" where none is."""
    client = tracking.connect(layout, settings)
    (model,) = client.search_registered_models(f"name = '{settings.model}'")
    version = model.aliases.get(tracking.CHAMPION)
    return client.get_model_version(settings.model, version).tags["oltr.generation"] if version else ""


def test_an_experiment_that_somebody_deleted_is_restored_and_the_alias_follows(shown, tmp_path):
    layout = Layout(tmp_path / "world")
    shutil.copytree(shown.root, layout.root)
    tracking.mirror(layout, SETTINGS)
    client = tracking.connect(layout, SETTINGS)
    client.delete_experiment(client.get_experiment_by_name(SETTINGS.experiment).experiment_id)
    ledger.append(layout.ledger, ledger.Event("rolled_back", "0000", "x", "2026-01-02", {"reasons": ["dust"]}))
    assert tracking.mirror(layout, SETTINGS) == []
    assert client.get_experiment_by_name(SETTINGS.experiment).lifecycle_stage == "active"
    assert aliased(layout) == "0000"


def test_a_version_that_somebody_deleted_is_made_again_of_the_same_run_for_the_champion(shown, tmp_path):
    layout = Layout(tmp_path / "world")
    shutil.copytree(shown.root, layout.root)
    tracking.mirror(layout, SETTINGS)
    before = {name: run.info.run_id for name, run in runs(layout).items()}
    client = tracking.connect(layout, SETTINGS)
    (version,) = client.search_model_versions(f"run_id = '{before['0000']}'")
    client.delete_model_version(SETTINGS.model, version.version)
    assert tracking.mirror(layout, SETTINGS) == [], "the champion is another: whoever deleted it wanted that"
    ledger.append(layout.ledger, ledger.Event("rolled_back", "0000", "x", "2026-01-02", {"reasons": ["dust"]}))
    assert tracking.mirror(layout, SETTINGS) == ["0000"]
    assert {name: run.info.run_id for name, run in runs(layout).items()} == before
    assert aliased(layout) == "0000"
    (again,) = client.search_model_versions(f"run_id = '{before['0000']}'")
    assert again.tags == {"oltr.generation": "0000", "oltr.verdict": "promoted"}
    assert again.description == "A full training."


def test_a_champion_whose_model_is_gone_from_mlflow_leaves_no_other_under_the_alias(shown, tmp_path):
    layout = Layout(tmp_path / "world")
    shutil.copytree(shown.root, layout.root)
    tracking.mirror(layout, SETTINGS)
    client, run = tracking.connect(layout, SETTINGS), runs(layout)["0000"].info
    (version,) = client.search_model_versions(f"run_id = '{run.run_id}'")
    client.delete_model_version(SETTINGS.model, version.version)
    of_run = f"source_run_id = '{run.run_id}'"
    (logged,) = client.search_logged_models([run.experiment_id], filter_string=of_run)
    client.delete_logged_model(logged.model_id)
    ledger.append(layout.ledger, ledger.Event("rolled_back", "0000", "x", "2026-01-02", {"reasons": ["dust"]}))
    why = "oltr-classifier has no version of the champion 0000, so it has no alias champion; generation 0000: its run"
    with pytest.raises(tracking.Incomplete, match=f"^{why}"):
        tracking.mirror(layout, SETTINGS)
    assert aliased(layout) == ""
    client.delete_run(run.run_id)
    assert tracking.mirror(layout, SETTINGS) == ["0000"]
    assert aliased(layout) == "0000"


def test_under_another_name_for_the_model_every_generation_is_registered(shown, tmp_path):
    layout, renamed = Layout(tmp_path / "world"), Tracking(model="deer")
    shutil.copytree(shown.root, layout.root)
    tracking.mirror(layout, SETTINGS)
    assert tracking.mirror(layout, renamed) == ["0000", "0001"]
    assert tracking.mirror(layout, renamed) == []
    assert aliased(layout, renamed) == "0001"
    assert len(tracking.runs(renamed)) == 2


def test_the_alias_of_another_workspace_on_the_same_mlflow_is_left_to_it(shown, tmp_path):
    one, two = Layout(tmp_path / "one"), Layout(tmp_path / "two")
    for layout in (one, two):
        shutil.copytree(shown.root, layout.root)
    events = ledger.read(two.ledger)
    two.ledger.unlink()
    ledger.head_of(two.ledger).unlink()
    for event in events:
        ledger.append(two.ledger, replace(event, digest=f"{event.digest} of two"))
    shared = Tracking(uri=f"sqlite:///{tmp_path / 'shared.db'}", artifacts=str(tmp_path / "artifacts"))
    assert tracking.mirror(one, shared) == ["0000", "0001"]
    why = "^the alias champion of oltr-classifier is of another workspace .* another `tracking.model`"
    for added in (["0000", "0001"], []):
        with pytest.raises(tracking.Incomplete, match=why) as failure:
            tracking.mirror(two, shared)
        assert failure.value.added == added
    client = tracking.connect(one, shared)
    of_one = ledger.state_of(one.ledger).sealed["0001"]
    champion = client.get_model_version_by_alias(shared.model, tracking.CHAMPION)
    assert client.get_run(champion.run_id).data.tags["oltr.digest"] == of_one
    ledger.append(one.ledger, ledger.Event("rolled_back", "0000", "x", "2026-01-02", {"reasons": ["dust"]}))
    assert tracking.mirror(one, shared) == []
    assert aliased(one, shared) == "0000"
    client.delete_registered_model_alias(shared.model, tracking.CHAMPION)
    assert tracking.mirror(two, shared) == []
    assert aliased(two, shared) == "0001"


def test_a_copied_workspace_has_its_artifacts_with_it(shown, tmp_path):
    import mlflow

    layout = Layout(tmp_path / "world")
    shutil.copytree(shown.root, layout.root)
    assert tracking.mirror(layout, SETTINGS) == ["0000", "0001"]
    assert tracking.mirror(layout, SETTINGS) == []
    for run in runs(layout).values():
        assert run.info.artifact_uri.startswith(f"{layout.root.resolve().as_uri()}/")
    client = tracking.connect(layout, SETTINGS)
    version = client.get_model_version_by_alias(SETTINGS.model, tracking.CHAMPION)
    place = mlflow.artifacts.download_artifacts(f"models:/{SETTINGS.model}/{version.version}")
    assert str(place).startswith(str(layout.root.resolve()))
    assert set(runs(shown)) == {"0000", "0001"}, "the original is as it was"


def test_a_run_that_a_kill_left_unfinished_is_made_anew(shown, tmp_path, monkeypatch):
    import mlflow

    loaded = []
    monkeypatch.setattr(mlflow.pyfunc, "load_model", lambda *given, **named: loaded.append(given))
    layout = Layout(tmp_path / "world")
    shutil.copytree(shown.root, layout.root)
    tracking.mirror(layout, SETTINGS)
    client, complete = tracking.connect(layout, SETTINGS), runs(layout)["0001"]
    client.set_terminated(complete.info.run_id, "RUNNING")  # what it is while it is made
    other = client.create_run(complete.info.experiment_id, tags={"oltr.digest": "of somebody else's workspace"})
    assert tracking.mirror(layout, SETTINGS) == ["0001"]
    found = client.search_runs([complete.info.experiment_id])
    assert {run.info.run_id for run in found if run.info.status == "RUNNING"} == {other.info.run_id}
    finished = [run.data.tags.get("oltr.generation", "") for run in found if run.info.status == "FINISHED"]
    assert sorted(finished) == ["", "0000", "0001"]
    champion = client.get_model_version_by_alias(SETTINGS.model, tracking.CHAMPION)
    assert champion.run_id == runs(layout)["0001"].info.run_id
    assert not loaded, "this process would import torch, and the modules of the model's code anew"


def test_what_mlflow_may_not_show_yet_is_known_without_asking_it(shown, tmp_path):
    layout = Layout(tmp_path / "world")
    shutil.copytree(shown.root, layout.root)
    assert not tracking.behind(shown, SETTINGS)
    assert tracking.behind(layout, SETTINGS), "a copy has not been shown where it is now"
    tracking.mirror(layout, SETTINGS)
    assert not tracking.behind(layout, SETTINGS)
    assert tracking.behind(layout, Tracking(uri="http://127.0.0.1:1"))
    ledger.append(layout.ledger, ledger.Event("rolled_back", "0000", "y", "2026-01-02", {"reasons": ["dust"]}))
    assert tracking.behind(layout, SETTINGS)
    tracking.mirror(layout, SETTINGS)
    layout.mlflow_db.write_bytes(b"")
    assert tracking.behind(layout, SETTINGS)
    assert tracking.mirror(layout, SETTINGS) == ["0000", "0001"], "made again from the ledger"


def test_what_was_forgotten_goes_from_every_run_of_this_workspace_and_from_its_model(shown, tmp_path):
    layout = Layout(tmp_path / "world")
    shutil.copytree(shown.root, layout.root)
    tracking.mirror(layout, SETTINGS)
    client, of = tracking.connect(layout, SETTINGS), {name: run.info for name, run in runs(layout).items()}
    final, before = layout.generation("0000"), runs(layout)["0000"].data.tags["oltr.digest"]
    thrown = client.create_run(of["0000"].experiment_id, tags={"oltr.digest": before}).info.run_id
    for page in (final.report, final.contact_sheet):
        client.log_artifact(thrown, str(page))
    client.delete_run(thrown)  # by a person: its files stay
    page = final.report.read_text()
    final.model.write_bytes(b"without it")
    final.report.write_text("without it")
    final.contact_sheet.unlink()
    for _ in range(2):
        found = replacing.replace(layout, SETTINGS, {"0000": (before, "now")})
        assert found == ([layout.mlflow_artifacts.resolve()], "")
        for run_id in (of["0000"].run_id, thrown):
            there = layout.mlflow_artifacts / run_id / "artifacts"
            assert (there / "report.html").read_text() == "without it"
            assert not (there / "batch.png").exists()
    assert (layout.mlflow_artifacts / of["0001"].run_id / "artifacts" / "batch.png").exists()
    assert client.get_run(of["0000"].run_id).data.tags["oltr.digest"] == "now"
    for logged in client.search_logged_models([of["0000"].experiment_id]):
        name = logged.tags["oltr.generation"]
        assert (logged.tags["oltr.digest"] == "now") == (name == "0000")
        (kept,) = (layout.mlflow_artifacts / "models" / logged.model_id).rglob(final.model.name)
        assert kept.read_bytes() == layout.generation(name).model.read_bytes()
    theirs = shown.mlflow_artifacts / runs(shown)["0000"].info.run_id / "artifacts"
    assert (theirs / "report.html").read_text() == page, "of the workspace that it was copied from"
    assert (theirs / "batch.png").exists()
    assert replacing.replace(Layout(tmp_path / "new"), SETTINGS, {"0000": (before, "now")}) == ([], "")
    assert not Layout(tmp_path / "new").mlflow_db.exists()


def test_artifacts_of_a_tracking_server_are_left_to_it_unless_params_yaml_names_a_place(tmp_path):
    layout = Layout(tmp_path)
    here = f"{tmp_path.resolve().as_uri()}/"
    for settings, place in (
        (Tracking(uri="http://127.0.0.1:1"), None),
        (Tracking(uri="http://127.0.0.1:1", artifacts="mlflow-artifacts:/oltr"), "mlflow-artifacts:/oltr"),
        (Tracking(artifacts="s3://bucket/prefix"), "s3://bucket/prefix"),
        (Tracking(artifacts="files"), f"{here}files"),
        (Tracking(), f"{here}mlartifacts"),
    ):
        assert connection._artifacts(layout, settings) == place


def test_a_row_that_cannot_be_read_is_answered_with_the_reason_and_the_others_as_ever(shown, tmp_path):
    import mlflow
    import pandas as pd
    from PIL import Image

    from oltr_core.images.shards import Shards

    for row in (0, 1):
        Image.fromarray(Shards(shown.raw).read("batch-0", 0, row)).save(tmp_path / f"{row}.png")
    (tmp_path / "broken.png").write_text("no image")
    tracking.connect(shown, SETTINGS)
    served = mlflow.pyfunc.load_model(f"models:/{SETTINGS.model}@{tracking.CHAMPION}")
    assert [c.name for c in served.metadata.signature.outputs] == [
        "label",
        "probability",
        "score",
        "nearest",
        "label_probability",
        "error",
        "top",
    ]

    def answers(*names: str) -> list[dict]:
        return served.predict(pd.DataFrame({"path": [str(tmp_path / name) for name in names]})).to_dict("records")

    mixed = answers("0.png", "broken.png", "gone.png", "1.png")
    bare = (tmp_path / "0.png").read_bytes()
    given = [base64.b64encode(bare).decode(), bare, Shards(shown.raw).read("batch-0", 0, 0)]
    for found, alone in zip(
        (mixed[0], mixed[3], *served.predict(pd.DataFrame({"image": given})).to_dict("records")),
        answers("0.png", "1.png", "0.png", "0.png", "0.png"),
        strict=True,
    ):
        tops = found.pop("top"), alone.pop("top")
        assert [one["label"] for one in tops[0]] == [one["label"] for one in tops[1]]
        assert len(tops[0]) == 5
        assert found.pop("score") == pytest.approx(alone.pop("score"), abs=1e-5)
        for name in ("probability", "label_probability"):
            assert found.pop(name) == pytest.approx(alone.pop(name), abs=1e-5)
        assert found == alone
        assert found["error"] is None
    for found, why in ((mixed[1], "not an image"), (mixed[2], "No such file")):
        assert why in found.pop("error")
        assert set(found.values()) == {None}
    json.dumps(mixed, allow_nan=False)
    (example,) = served.predict(served.input_example, {"top_k": 2}).to_dict("records")
    assert (example["error"], len(example["top"])) == (None, 2)
    with pytest.raises(ValueError, match="rows with image or path, found neither"):
        served.predict(pd.DataFrame({"photo": [bare]}))


def test_the_model_requires_the_versions_in_use_of_all_that_it_imports():
    required = dict(line.split("==") for line in tracking.model.requirements())
    for name, version in required.items():
        assert version == metadata.version(name).partition("+")[0]
    files = {**modules("oltr_core.inference"), **modules("oltr_core.checkpoint")}.values()
    imported = {i.top for file in files for i in imports_of(file)} - set(sys.stdlib_module_names)
    packages = {"pillow" if name == "PIL" else name for name in imported}
    assert "timm" in packages
    assert packages - set(required) == {"oltr_core", "jaxtyping"}  # which is logged with it, and not needed there


def test_parameters_are_read_from_the_sealed_generation(shown):
    params = yaml.safe_load(shown.generation("0000").params.read_text())
    assert runs(shown)["0000"].data.params["train.seed"] == str(params["train"]["seed"])


@pytest.mark.parametrize(
    ("uri", "place", "folders", "unsearched"),
    [
        ("", "file:///a%20b/mlartifacts", ["/a b/mlartifacts"], ""),
        ("", "/elsewhere", ["/elsewhere"], ""),
        ("", "s3://models/runs", [], "s3://models/runs"),
        ("http://eve:hunter2@host:5000", "mlflow-artifacts:/1", [], "http://***@host:5000"),
        ("http://host:5000", "file:///shared", ["/shared"], ""),
    ],
)
def test_where_files_are_kept_is_a_folder_to_search_or_named_as_not_searched(uri, place, folders, unsearched):
    found = replacing._kept(Tracking(uri=uri), place)
    assert ([str(folder) for folder in found[0]], found[1]) == (folders, unsearched)
