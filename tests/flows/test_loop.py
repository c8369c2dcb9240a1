"""The main job: two generations by one command, and everything that must be true afterwards."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing

import pytest

from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.measured import HEADLINE
from oltr_core.pipeline import KEPT, TABLE
from oltr_core.settings.whole import load_settings
from tests.flows.worlds import called, commit, edit, processor_seconds, run, stages_run


def test_the_ledger_holds_two_sealed_and_promoted_generations_and_its_chain_verifies(looped):
    state = ledger.replay(ledger.read(looped.layout.ledger))
    assert list(state.sealed) == ["0000", "0001"]
    assert state.verdicts == {"0000": "promoted", "0001": "promoted"}
    assert state.champion == "0001"
    assert state.imported == {"0000"}
    assert state.exported == {"0000", "0001"}
    for name in state.sealed:
        ledger.verify_sealed(looped.layout.ledger, looped.layout.generation(name).folder)


def test_a_sealed_folder_holds_every_file_of_the_interface(looped):
    files = {p.name for p in looped.layout.generation("0001").folder.iterdir()}
    wanted = """run.yaml params.yaml dvc.yaml dvc.lock environment.json manifest.parquet base.parquet classes.parquet
        model.safetensors metrics.json metrics.jsonl metrics_absent.json timings.json predictions.parquet
        selection.parquet report.html""".split()
    assert not set(wanted) - files


def test_a_loop_makes_exactly_the_outputs_that_are_declared_and_seals_them(looped):
    declared = {name for stage in TABLE for name in (*stage.writes, *stage.metrics)}
    work = looped.layout.work.folder
    made = {p.relative_to(work).as_posix() for p in work.rglob("*") if p.is_file()}
    inside = {m for m in made if any(m.startswith(f"{d}/") for d in declared)}
    assert made - inside == declared - {"plots", "trends", "code"}
    sealed = looped.layout.generation("0001").folder
    assert all((sealed / name).exists() for name in KEPT)
    assert not (sealed / "base.safetensors").exists()


def test_the_second_generation_learns_the_new_classes_without_training_again(looped):
    first, second = (looped.layout.generation(n) for n in ("0000", "0001"))
    assert "train: nothing was trained: the classifier of 0000 is extended" in looped.progress
    assert second.base.read_bytes() == first.base.read_bytes()
    assert second.training_log.read_bytes() == first.training_log.read_bytes()
    found = json.loads(called(looped.layout, "oltr", "classes", "list", "--json").stdout)
    assert {c["first_generation"] for c in found} == {"0000", "0001"}


def test_the_loop_ends_with_the_table_the_report_the_time_and_the_way_to_the_pages(looped):
    for wanted in (
        *(heading for _, heading, _ in HEADLINE),
        "0000",
        "0001*",
        "report.html",
        "mlflow ui",
        "prefect server start",
        "orchestration",
    ):
        assert wanted in looped.output
    report = re.search(r"report +(/.+report\.html)", looped.output)
    assert report is not None
    assert (looped.layout.root / report[1]).read_text().startswith("<!doctype html")


def test_prefect_shows_the_report_by_an_address_below_its_own_server(looped):
    with closing(sqlite3.connect(looped.layout.prefect_db)) as database:
        ((shown,),) = database.execute("select data from artifact where key = 'digits-generation-0001-report'")
    file = looped.layout.generation("0001").report.resolve()
    assert json.loads(shown) == f"[{file}](/oltr/digits/0001/report.html)"


def test_the_loop_says_which_files_git_should_commit_and_these_are_all(looped):
    line = next(line for line in looped.output.splitlines() if line.startswith("git"))
    assert "data/ledger.jsonl" in line
    assert "data/generations/0001.dvc" in line
    assert run(looped.layout, "git", "status", "--porcelain").stdout == "", "the fixture has committed all of it"


def test_generations_as_json_agrees_with_the_sealed_metrics(looped):
    shown = json.loads(called(looped.layout, "oltr", "generations", "--json").stdout)
    for entry in shown:
        sealed = json.loads(looped.layout.generation(entry["generation"]).metrics.read_text())
        assert entry["metrics"] == sealed
    assert [entry["champion"] for entry in shown] == [False, True]


@pytest.mark.filterwarnings("ignore")  # MLflow's own, at its import
def test_mlflow_agrees_with_the_sealed_metrics_and_names_the_champion(looped):
    from tasks import mlflow as tracking

    settings = load_settings(looped.layout).tracking
    client = tracking.connect(looped.layout, settings)
    runs = {run.data.tags["oltr.generation"]: run for run in tracking.runs(settings)}
    for name in ("0000", "0001"):
        sealed = json.loads(looped.layout.generation(name).metrics.read_text())
        shown = runs[name].data.metrics
        assert {k: shown[k] for k in sealed} == pytest.approx(sealed)
    version = client.get_model_version_by_alias(settings.model, tracking.CHAMPION)
    assert version.tags["oltr.generation"] == "0001"
    run_of = client.get_run(version.run_id)
    assert run_of.data.params["train.seed"] == "0"
    assert run_of.inputs.dataset_inputs[0].dataset.name == "manifest-0001"


@pytest.mark.filterwarnings("ignore")
def test_the_model_that_mlflow_serves_is_the_sealed_file_and_no_pickle(looped, tmp_path):
    import mlflow

    from tasks import mlflow as tracking

    settings = load_settings(looped.layout).tracking
    client = tracking.connect(looped.layout, settings)
    version = client.get_model_version_by_alias(settings.model, tracking.CHAMPION)
    folder = Layout(looped.layout.root).root / "mlartifacts"
    files = [p for p in folder.rglob("*") if p.is_file()]
    assert not [p for p in files if p.suffix in (".pkl", ".pickle", ".pt", ".pth")]
    sealed = looped.layout.generation("0001").model.read_bytes()
    assert any(p.read_bytes() == sealed for p in files if p.name == "model.safetensors")
    images = sorted((looped.layout.exports / "0001" / "images").iterdir())[:3]
    import pandas as pd

    # MLflow takes `#` and `?` in a folder of this machine for parts of an address, so it loads the model elsewhere
    model = mlflow.artifacts.download_artifacts(f"models:/{settings.model}/{version.version}", dst_path=str(tmp_path))
    served = mlflow.pyfunc.load_model(model)
    answers = served.predict(pd.DataFrame({"path": [str(p) for p in images]}))
    ours = json.loads(called(looped.layout, "oltr", "predict", "--json", *map(str, images)).stdout)
    assert answers["label"].tolist() == [row["label"] for row in ours]
    assert {row["generation"] for row in ours} == {"0001"}


def test_the_batch_is_there_for_people_as_a_table_a_sheet_and_images(looped):
    folder = looped.layout.exports / "0001"
    rows = (folder / "batch.csv").read_text().splitlines()
    assert rows[0].startswith("rank,image_id,file,suggested,reason,share,cluster,verdict,label")
    assert len(rows) - 1 == len(list((folder / "images").iterdir())) == 83
    assert (folder / "contact_sheet.png").read_bytes()[:4] == b"\x89PNG"


def test_a_second_loop_has_nothing_to_do_and_starts_no_server(looped):
    with processor_seconds() as spent:
        done = run(looped.layout, "oltr", "loop", "--generations", "2")
    assert done.returncode == 0
    assert "nothing to do" in done.stdout
    assert "Prefect answers" not in done.stderr
    assert spent[0] < 5  # a server's start alone takes longer


def test_plain_dvc_repro_finds_nothing_to_do_in_under_five_seconds(looped):
    with processor_seconds() as spent:
        done = run(looped.layout, "dvc", "repro")
    assert stages_run(done.stdout) == ["code"], done.stdout + done.stderr
    assert spent[0] < 5
    assert run(looped.layout, "git", "status", "--porcelain").stdout == ""


def test_another_machine_makes_no_stage_stale(world):
    """Device, processes, threads, workers, batch sizes: how it computes is no part of what is computed."""
    there = {"device": "cuda", "processes": 4, "threads": 0, "workers": 7, "batch_size": 64, "compile": True}
    edit(world, lambda params: params["compute"].update(there))
    done = run(world, "dvc", "repro")
    assert done.returncode == 0, done.stderr
    assert stages_run(done.stdout) == ["code"]


def test_other_parameters_of_training_run_it_for_nothing_in_an_update_generation(world):
    edit(world, lambda params: params["train"].update(seed=9))
    done = run(world, "dvc", "repro")
    assert done.returncode == 0, done.stderr
    assert stages_run(done.stdout) == ["code", "train"], "its results are equal, so nothing that reads them is stale"
    assert "nothing was trained" in done.stdout + done.stderr


def test_a_fresh_clone_pulls_has_nothing_to_do_and_makes_a_generation_again(looped, tmp_path):
    clone = Layout(tmp_path / "clone")
    assert run(looped.layout, "git", "clone", "--quiet", str(looped.layout.root), str(clone.root)).returncode == 0
    assert "remote of the clone's origin" in run(clone, "oltr", "init", ".").stdout
    pulled = run(clone, "dvc", "pull")
    assert pulled.returncode == 0, pulled.stderr
    assert stages_run(run(clone, "dvc", "repro").stdout) == ["code"]
    assert "nothing to do" in run(clone, "oltr", "loop", "--generations", "2").stdout
    again = run(clone, "oltr", "reproduce", "0001")
    assert again.returncode == 0, again.stderr
    assert "0001 came out equal" in again.stdout


def test_an_edited_file_in_a_sealed_generation_stops_the_next_loop_with_one_sentence(world):
    path = world.generation("0001").metrics
    path.chmod(0o644)
    path.write_text(path.read_text().replace("0.", "0.9", 1))
    for command in (["oltr", "loop", "--more", "1"], ["oltr", "check"], ["oltr", "predict", str(world.exports)]):
        done = called(world, *command)
        assert done.returncode == 2, done.stderr
        assert "was changed" in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert len(ledger.replay(ledger.read(world.ledger)).opened) == 2


def test_a_torn_last_line_of_the_ledger_is_set_aside_and_the_loop_goes_on(world):
    with world.ledger.open("a") as file:
        file.write('{"at": "2026-11-')
    assert json.loads(called(world, "oltr", "generations", "--json").stdout)[1]["champion"]
    done = called(world, "oltr", "rollback", "--reason", "to see", "--by", "eve")
    assert done.returncode == 0, done.stderr
    assert list(world.data.glob("ledger.torn-*"))
    assert ledger.replay(ledger.read(world.ledger)).champion == "0000"


def test_promote_and_rollback_move_the_champion_and_keep_the_reason(world):
    assert called(world, "oltr", "rollback", "--reason", "dust", "--by", "eve").returncode == 0
    assert called(world, "oltr", "promote", "0001", "--reason", "cleaned the lens", "--by", "eve").returncode == 0
    last = ledger.read(world.ledger)[-2:]
    assert [(e.event, e.generation) for e in last] == [("rolled_back", "0000"), ("promoted", "0001")]
    assert [e.details["reasons"] for e in last] == [["dust"], ["cleaned the lens"]]
    assert [line.split()[2:] for line in called(world, "oltr", "generations").stdout.splitlines()[-2:]] == [
        ["eve", "0001", "0000", "dust"],
        ["eve", "0000", "0001", "cleaned", "the", "lens"],
    ]
    again = called(world, "oltr", "promote", "0001", "--reason", "x", "--by", "eve")
    assert again.returncode == 2
    assert "champion already" in again.stderr


def test_two_loops_at_once_are_one_loop_and_one_clear_sentence(world):
    from filelock import FileLock

    with FileLock(world.lock):
        done = run(world, "oltr", "loop", "--more", "1")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "another `oltr loop` is at work" in done.stderr


def test_cleaning_asks_first_and_never_touches_images_of_a_user(world):
    mine = world.root / "photos" / "cat.png"
    mine.parent.mkdir()
    mine.write_bytes(b"mine")
    inbox = world.data / "inbox" / "0001.csv"
    inbox.parent.mkdir()
    inbox.write_text("image_id,verdict,label\n")
    asked = called(world, "oltr", "clean")
    assert asked.returncode != 0, "no answer is no"
    assert world.generation("0000").folder.is_dir()
    assert called(world, "oltr", "clean", "--yes").returncode == 0
    assert mine.read_bytes() == b"mine"
    assert inbox.exists()
    assert not world.ledger.exists()
    assert not world.generation("0000").folder.exists()
    assert (world.generation("genesis").folder / "manifest.parquet").exists()
    commit(world, "forgotten")
    assert "generation 0000, parent genesis" in called(world, "oltr", "check").stdout
