"""A generation from its number to its seal, in a real repository of git and DVC, without a training."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import yaml
from click.testing import CliRunner

from flows import annotation, answers, examining, generation, plan, steps
from oltr_core import digest, ledger, schema
from oltr_core.ingest.record import SourceAccess
from oltr_core.layout import IMPORTED, Layout
from oltr_core.pipeline import KEPT, STAGES
from oltr_core.settings.annotator import FolderAnnotator, HumanAnnotator, TruthAnnotator
from oltr_core.settings.reading import Run, load_run
from oltr_core.settings.whole import load_settings
from tasks.annotator import batch, collecting, register, returned, truth
from tasks.dvc import batches, environment, git, inputs, pointers, remotes, repository, reproduce, sealing, stages
from tasks.dvc import objects as stored
from tests.tasks import waiting_world as world


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Layout:
    """0000 opened and data/work whole: every stage is recorded by DVC as done."""
    layout = world.make(tmp_path_factory.mktemp("filled") / "world")
    remotes.set_remote(layout, "")
    repository.add(layout, layout.batch("b").folder)
    repository.push(layout, layout.batch("b").folder)
    inputs.record(layout, "b", world.AT)
    layout.annotations.mkdir(exist_ok=True)
    with repository.opened(layout) as repo:
        for stage in STAGES:
            repo.commit(target=stage, force=True)
    return layout


@pytest.fixture
def copied(filled, tmp_path) -> Layout:
    shutil.copytree(filled.root, tmp_path / "world", symlinks=True)
    return Layout(tmp_path / "world")


@pytest.fixture(scope="module")
def sealed(filled, tmp_path_factory) -> Layout:
    root = tmp_path_factory.mktemp("sealed") / "world"
    shutil.copytree(filled.root, root, symlinks=True)
    sealing.seal(Layout(root), world.AT)
    return Layout(root)


@pytest.fixture
def asked(sealed, tmp_path) -> Layout:
    """A copy of it that a test may change."""
    shutil.copytree(sealed.root, tmp_path / "world", symlinks=True)
    return Layout(tmp_path / "world")


def events(layout: Layout) -> list[str]:
    return [e.event for e in ledger.read(layout.ledger) if e.event != "ingested"]


def test_dvc_reads_the_number_of_a_generation_as_text():
    """It reads YAML 1.2, where 0008 is a number, and looked for the parent in data/generations/8."""
    from dvc.utils.serialize import parse_yaml

    run = {"generation": "0009", "parent": "0008", "mode": "update"}
    assert parse_yaml(pointers.as_yaml(run), "run.yaml") == run
    assert pointers.as_yaml({"generation": "0001", "parent": "genesis"}) == "generation: '0001'\nparent: genesis\n"


# --- opening ----------------------------------------------------------------------------------------------------
def test_opening_writes_the_run_and_the_ledger_and_again_changes_neither(copied):
    assert load_run(copied) == Run(generation="0000", parent="genesis", mode="train")
    (opened,) = (e for e in ledger.read(copied.ledger) if e.event != "ingested")
    assert (opened.event, opened.generation, opened.at) == ("opened", "0000", world.AT)
    assert opened.details == {"parent": "genesis", "mode": "train"}
    stamp, lines = copied.run.stat().st_mtime_ns, copied.ledger.read_text()
    sealing.open_generation(copied, "0000", "genesis", "train", "later")
    assert (copied.run.stat().st_mtime_ns, copied.ledger.read_text()) == (stamp, lines)
    assert copied.timing("train").exists(), "the times of the run in progress stay"


def test_after_a_crash_the_run_is_what_the_ledger_says(copied):
    copied.run.write_text("generation: '0009'\nparent: '0008'\nmode: update\n")
    assert (
        sealing.reopen(copied, "0000") == load_run(copied) == Run(generation="0000", parent="genesis", mode="train")
    )
    assert events(copied) == ["opened"]


def test_a_generation_is_opened_with_the_looks_before_it_and_has_these_when_it_is_opened_again(asked, monkeypatch):
    def look(at: str) -> None:
        seen = {"at": world.AT, "batch": at, "unknown_rate": [0.2, 0.1, 0.3], "drift": "too few", "places": []}
        with asked.monitored.open("a") as file:
            file.write(json.dumps(seen) + "\n")

    for at in ("b", "c", "d"):
        look(at)
    monkeypatch.setattr(sealing, "LOOKS", 2)
    run = sealing.open_generation(asked, "0001", "0000", "update", world.AT)
    assert run.looks == [
        {"at": world.AT, "batch": at, "unknown_rate": [0.2, 0.1, 0.3], "drift": "too few"} for at in ("c", "d")
    ]
    assert ledger.read(asked.ledger)[-1].details["looks"] == 3
    text, history = asked.run.read_text(), asked.ledger.read_text()
    look("e")
    assert sealing.reopen(asked, "0001") == run
    assert (asked.run.read_text(), asked.ledger.read_text()) == (text, history)


def test_the_next_generation_starts_with_no_times_of_the_one_before(asked):
    sealing.open_generation(asked, "0001", "0000", "update", world.AT)
    assert load_run(asked).mode == "update"
    assert not asked.timings.exists()
    inputs.verify_parent(asked)
    asked.generation("0000").report.write_text("better")
    with pytest.raises(ValueError, match="was changed"):
        inputs.verify_parent(asked)


def test_a_parent_that_was_edited_or_never_sealed_is_none(asked):
    with pytest.raises(ValueError, match="the ledger knows no sealed generation"):
        sealing.open_generation(asked, "0001", "0007", "update", world.AT)
    asked.generation("0000").report.write_text("better")
    with pytest.raises(ValueError, match="was changed"):
        sealing.open_generation(asked, "0001", "0000", "update", world.AT)
    assert load_run(asked).generation == "0000"
    assert events(asked) == ["opened", "sealed"]


def test_a_folder_that_another_history_left_is_not_taken_for_the_new_generation(asked):
    history, run = asked.ledger.read_text(), asked.run.read_text()
    left = asked.generation("0001").folder
    shutil.copytree(asked.generation("0000").folder, left)  # as after `git checkout HEAD~1 && dvc checkout`
    for do in (
        lambda: sealing.open_generation(asked, "0001", "0000", "update", world.AT),
        lambda: examining._history(asked),
    ):
        with pytest.raises(ValueError, match="expected generations that the ledger names, found 0001"):
            do()
    assert (asked.ledger.read_text(), asked.run.read_text()) == (history, run)
    left.rename(asked.root / "elsewhere")
    sealing.open_generation(asked, "0001", "0000", "update", world.AT)
    left.mkdir()  # a generation that was cut off before its seal
    sealing.reopen(asked, "0001")
    assert examining._history(asked).startswith("1 sealed generations")


def test_settings_that_are_changed_while_stages_run_make_these_run_again_before_the_seal(copied, monkeypatch):
    """One generation has one params.yaml: the one that it keeps is the one that its stages have read."""
    done: list[str] = []

    def run_stage(layout: Layout, stage: str) -> None:
        if stage == "report" and not done.count("report"):
            text = layout.params.read_text()
            layout.params.write_text(text.replace("target_tpr: 0.95", "target_tpr: 0.9"))
            assert text != layout.params.read_text()
        elif done.count("report"):
            with repository.opened(layout) as repo:
                repo.commit(target=stage, force=True)  # as DVC does after it ran
        done.append(stage)

    monkeypatch.setattr(generation, "run_stage", run_stage)
    monkeypatch.setattr(generation, "validate", Mock())
    assert stages.stale(copied) == []
    generation._compute(copied, "0000")
    assert done == [*STAGES, *STAGES]
    assert stages.stale(copied) == []
    sealing.seal(copied, world.AT)
    sealed = copied.generation("0000")
    locked = yaml.safe_load(sealed.dvc_lock.read_text())["stages"]["update"]["params"]["params.yaml"]["update"]
    assert locked == yaml.safe_load(sealed.params.read_text())["update"]
    assert locked["target_tpr"] == 0.9


# --- sealing ----------------------------------------------------------------------------------------------------
def test_a_generation_that_was_never_opened_is_not_sealed(copied):
    copied.run.write_text("generation: '0001'\nparent: genesis\nmode: train\n")
    with pytest.raises(ValueError, match="generation 0001 was never opened; `oltr loop` opens one"):
        sealing.seal(copied, world.AT)
    assert not copied.generation("0001").folder.exists()
    assert events(copied) == ["opened"]


@pytest.mark.parametrize("name", KEPT)
def test_a_generation_with_a_result_missing_is_not_sealed(copied, name):
    path = copied.work.folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(ValueError, match=f"{name}: this result is missing, so 0000 cannot be sealed"):
        sealing.seal(copied, world.AT)
    assert not copied.generation("0000").folder.exists()
    assert events(copied) == ["opened"]


def test_a_sealed_generation_is_the_results_the_recipe_and_what_it_was_made_with(sealed, filled):
    final = sealed.generation("0000")
    for name in KEPT:
        path = filled.work.folder / name
        if path.is_file():
            assert (final.folder / name).read_bytes() == path.read_bytes()
        else:
            assert digest.of_folder(final.folder / name) == digest.of_folder(path)
    assert not (final.folder / "base.safetensors").exists()
    for copy, source in ((final.run, filled.run), (final.params, filled.params), (final.dvc_yaml, filled.dvc_yaml)):
        assert copy.read_bytes() == source.read_bytes()
    assert set(yaml.safe_load(final.dvc_lock.read_text())["stages"]) == set(STAGES)
    assert json.loads(final.metrics.read_text())["closed/overall"] == 0.75
    assert json.loads(final.metrics_absent.read_text())["open/auroc"] == "no open image"
    assert json.loads(final.timings.read_text()) == {"train": 12.5}
    made = json.loads(final.environment.read_text())
    assert made["python"].startswith("3.")
    assert made["compute"]["device"] == "cpu"
    assert made["code"]["version"]
    assert not sealed.unsealed("0000").folder.exists()


def test_the_environment_names_every_input_by_its_version(sealed):
    inputs = json.loads(sealed.generation("0000").environment.read_text())["inputs"]
    pointed = yaml.safe_load((sealed.raw / "b.dvc").read_text())["outs"][0]
    assert inputs["data/raw/b"] == {k: pointed[k] for k in ("md5", "size", "nfiles")}
    assert inputs["data/generations/genesis"] == {"sealed": ""}
    run = Run(generation="0001", parent="0000", mode="update")
    parent = environment.inputs(sealed, run)["data/generations/0000"]
    assert parent["sealed"] == ledger.read(sealed.ledger)[-1].digest
    assert parent["md5"].endswith(".dir")


def test_the_seal_is_the_digest_of_the_folder_and_is_written_once(asked):
    event = ledger.read(asked.ledger)[-1]
    assert (event.event, event.generation, event.at) == ("sealed", "0000", world.AT)
    assert event.digest == digest.of_folder(asked.generation("0000").folder)
    assert (event.details["parent"], event.details["mode"]) == ("genesis", "train")
    assert event.details["metrics"]["closed/overall"] == 0.75
    assert event.details["intervals"] == {"closed/overall": [0.5, 0.875]}
    assert sealing.seal(asked, "later") == event.digest
    assert events(asked) == ["opened", "sealed"]
    ledger.verify_sealed(asked.ledger, asked.generation("0000").folder)


def test_what_is_sealed_is_kept_by_dvc_and_pushed_with_the_results_of_stages(asked):
    folder = asked.generation("0000").folder
    kept = pointers.pointer(folder)
    assert kept["nfiles"] == sum(p.is_file() for p in folder.rglob("*"))
    remote = asked.remote / "files" / "md5"
    names = stored.named(asked, folder)
    assert len(names) > len(KEPT)
    assert all((remote / n[:2] / n[2:]).exists() for n in names)
    base_model = yaml.safe_load(asked.dvc_lock.read_text())["stages"]["train"]["outs"]
    (md5,) = [out["md5"] for out in base_model if out["path"].endswith("base.safetensors")]
    assert (remote / md5[:2] / md5[2:]).exists(), "what is not sealed is what `dvc pull` has to restore"
    shutil.rmtree(folder)
    shutil.rmtree(asked.root / ".dvc" / "cache")
    repository.pull(asked, folder)
    ledger.verify_sealed(asked.ledger, folder)


def test_check_names_the_data_and_the_results_that_the_remote_does_not_have(asked):
    lock = yaml.safe_load(asked.dvc_lock.read_text())
    del lock["stages"]["report"]
    asked.dvc_lock.write_text(yaml.safe_dump(lock))
    assert examining._remote(asked).startswith("it has all of "), "a stage that did not run has nothing to copy"
    outs = [out for s in yaml.safe_load(asked.dvc_lock.read_text())["stages"].values() for out in s["outs"]]
    md5s = {Path(out["path"]).name: out["md5"] for out in outs}
    (asked.remote / "files" / "md5" / md5s["base.safetensors"][:2] / md5s["base.safetensors"][2:]).unlink()
    then = "; the next seal copies what is here, `dvc push` at once"
    assert examining._remote(asked) == f"! the remote does not have all of dvc.yaml:train{then}"
    for store in (asked.remote, asked.dvc_cache):  # nobody knows what was in the folder
        (store / "files" / "md5" / md5s["plots"][:2] / md5s["plots"][2:]).unlink()
    raw = pointers.pointer(asked.batch("b").folder)["md5"]
    (asked.remote / "files" / "md5" / raw[:2] / raw[2:]).unlink()
    found = examining._remote(asked)
    assert found.startswith("! the remote does not have all of data/raw/b.dvc, dvc.yaml:")
    assert "dvc.yaml:train" in found
    assert "dvc.yaml:evaluate" in found
    assert found.endswith(then)


def test_a_seal_that_was_cut_off_before_the_name_starts_over_and_after_it_goes_on(copied):
    part = copied.unsealed("0000").folder
    part.mkdir(parents=True)
    (part / "rubbish").write_text("of a run that was killed")
    sealing.seal(copied, world.AT)
    folder = copied.generation("0000").folder
    assert not (folder / "rubbish").exists()
    lines = copied.ledger.read_text().splitlines(keepends=True)
    copied.ledger.write_text("".join(lines[:-1]))
    ledger.write_head(copied.ledger)
    copied.work.report.write_text("of a later run")
    sealing.seal(copied, world.AT)
    assert events(copied) == ["opened", "sealed"]
    assert (folder / "report.html").read_text() == "the report.html of 0000\n"


def test_the_seconds_of_a_stage_that_was_skipped_are_not_there(copied):
    sealing.seal(copied, world.AT)
    assert json.loads(copied.generation("0000").timings.read_text()) == {"train": 12.5}


def test_an_imported_model_has_its_name_when_it_is_whole_and_what_a_kill_left_of_one_is_removed(copied):
    part, final = copied.unsealed(IMPORTED).folder, copied.generation(IMPORTED).folder
    part.mkdir(parents=True)
    sealing.discard_model(copied)
    assert not part.exists()
    part.mkdir()
    (part / "model").write_bytes(b"weights")
    sealed = sealing.take_in_model(copied, {"classes": 3}, world.AT)
    assert (final / "model").read_bytes() == b"weights"
    assert not part.exists()
    event = ledger.read(copied.ledger)[-1]
    assert (event.event, event.generation, event.at) == ("imported_model", IMPORTED, world.AT)
    assert event.digest == sealed == digest.of_folder(final)
    assert event.details == {"classes": 3, "dvc": pointers.of(copied, final)}
    remote = copied.remote / "files" / "md5"
    assert all((remote / n[:2] / n[2:]).exists() for n in stored.named(copied, final))
    sealing.discard_model(copied)  # as where the ledger has nothing of it
    assert not final.exists()


# --- what DVC keeps ---------------------------------------------------------------------------------------------
def test_a_remote_that_is_named_stays_until_another_is_wished_for(copied, tmp_path):
    def named() -> str:
        return remotes.read_config(copied.dvc_config)['remote "default"']["url"]

    assert named() == "../.oltr/remote", "its own, wherever the workspace lies"
    remotes.set_remote(copied, "s3://bucket/x")
    assert named() == "s3://bucket/x"
    remotes.set_remote(copied, "")
    assert named() == "s3://bucket/x"
    remotes.set_remote(copied, "else")
    assert named() == "../else"
    remotes.set_remote(copied, str(tmp_path))
    assert named() == str(tmp_path)


def test_what_is_dropped_is_gone_from_the_cache_and_from_the_remote(asked):
    folder = asked.generation("0000").folder
    one = pointers.pointer(folder)["md5"]
    places = [s / "files" / "md5" / one[:2] / one[2:] for s in (asked.remote, asked.root / ".dvc" / "cache")]
    assert stored.drop(asked, {one}) == 0, "a pointer names it"
    assert all(place.exists() for place in places)
    folder.with_name("0000.dvc").unlink()
    assert stored.drop(asked, {one, "0" * 32}) == 1
    assert not any(place.exists() for place in places)


def test_what_dvc_refuses_is_one_sentence(copied):
    with pytest.raises(ValueError, match="^DVC in .*none") as caught:
        repository.add(copied, copied.root / "none")
    assert "\n" not in str(caught.value)
    assert pointers.pointer(copied.root / "none") == {}


# --- people's answers -------------------------------------------------------------------------------------------
def test_answers_are_checked_before_they_are_stored_and_a_wrong_one_is_left_out(asked, monkeypatch, capsys):
    mine = batch.asked(asked, "0000")
    rows = truth.collect(asked, None, "0000", world.AT)  # pyright: ignore[reportArgumentType]
    wrong = {**rows[0], "image_id": "f" * 64}
    monkeypatch.setattr(truth, "collect", lambda *arguments: [*rows[:2], wrong])
    with pytest.raises(ValueError, match="^batch 0000:3: image_id: this image was never selected"):
        answers.import_annotations(asked, "0000")
    assert not list(asked.annotations_of("0000").glob("*.parquet")), "the loop waits for them, so nothing is taken"
    assert "imported" not in events(asked)
    monkeypatch.setattr(truth, "collect", lambda *arguments: [*rows, wrong])
    assert answers.import_annotations(asked, "0000") == len(mine)
    assert "batch 0000:4: image_id: this image was never selected" in capsys.readouterr().err
    event = ledger.read(asked.ledger)[-1]
    kept = {"data/annotations/0000": pointers.pointer(asked.annotations_of("0000"))}
    audit = digest.of_file(asked.audit_of("0000"))
    assert event.event == "imported"
    assert event.details == {"annotations": 3, "annotator": "truth", "audit": audit, "dvc": kept}
    assert sorted(row["image_id"] for row in returned.imported(asked, "0000")) == sorted(mine)
    assert pointers.pointer(asked.annotations_of("0000"))["nfiles"] == 2
    assert json.loads(asked.audit_of("0000").read_text())["select/budget"] == 3


def test_answers_that_are_not_all_there_wait_unless_part_of_them_is_wanted(asked, monkeypatch):
    rows = truth.collect(asked, None, "0000", world.AT)[:2]  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(truth, "collect", lambda *arguments: rows)
    assert answers.import_annotations(asked, "0000") is None
    assert not list(asked.annotations_of("0000").glob("*.parquet"))
    new = collecting.found(asked, TruthAnnotator(), "0000", world.AT).new
    path, _ = collecting.store(asked, TruthAnnotator(), "0000", new, world.AT)  # and then a kill
    assert answers.import_annotations(asked, "0000", partial=True) == 2
    assert [e.digest for e in ledger.read(asked.ledger) if e.event == "imported"] == [path.stem]


def by_people(layout: Layout, days: float = 0.0, each: int = 1, share: float = 1.0) -> None:
    """Its batch went out at world.AT to people who have so long; of `each` image so many answers are wanted."""
    params = yaml.safe_load(layout.params.read_text())
    waiting = {"deadline_days": days, "answers_per_image": each, "share": share}
    params["annotator"] = {"name": "folder", **waiting}
    layout.params.write_text(yaml.safe_dump(params, sort_keys=False))
    ledger.append(layout.ledger, ledger.Event("exported", "0000", "x", world.AT, {"images": world.ASKED}))


def put(layout: Layout, *rows: str, file: str = "0000.csv") -> None:
    path = layout.root / "data" / "inbox" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["image_id,verdict,label,answered_at", *rows, ""]))


def imports(layout: Layout) -> list[int]:
    """How many answers each import added."""
    return [e.details["annotations"] for e in ledger.read(layout.ledger) if e.event == "imported"]


def test_what_can_be_imported_is_and_the_rest_when_it_is_corrected_and_again_nothing(asked):
    by_people(asked)
    one, two, three = batch.asked(asked, "0000")
    put(asked, f"{one},,cat,2026-01-02", f"{two},,cta,2026-01-02", f"{three},,dog,2026-01-02")
    put(asked, f"{two},,dgo,2026-01-02", file="0000-ben.csv")
    with pytest.raises(ValueError, match="^2 annotations of the batch of 0000 are imported; correct") as caught:
        answers.import_annotations(asked, "0000", partial=True)
    lines = str(caught.value).splitlines()[1:]
    assert [line.partition(": label")[0].rpartition("/")[2] for line in lines] == ["0000.csv:3", "0000-ben.csv:2"]
    assert imports(asked) == [2]
    put(asked, f"{one},,cat,2026-01-02", f"{two},,cat,2026-01-02", f"{three},,dog,2026-01-03", file="0000.csv")
    (asked.root / "data" / "inbox" / "0000-ben.csv").unlink()
    assert answers.import_annotations(asked, "0000", partial=True) == 3
    assert imports(asked) == [2, 1]
    before = asked.ledger.read_bytes(), sorted(asked.annotations_of("0000").iterdir())
    assert answers.import_annotations(asked, "0000", partial=True) == 3
    put(asked, f"{one},,cat,2026-01-02", file="0000-again.csv")
    (asked.root / "data" / "inbox" / "0000-again.csv").rename(asked.root / "data" / "inbox" / "0000 (1).csv")
    assert answers.import_annotations(asked, "0000") == 3
    assert (asked.ledger.read_bytes(), sorted(asked.annotations_of("0000").iterdir())) == before


def cut_off(layout: Layout, monkeypatch) -> None:
    """An import whose answers cannot be copied to the remote."""

    def refused(*arguments: object, **named: object) -> None:
        raise ConnectionError("the remote does not answer")

    with monkeypatch.context() as during:
        during.setattr(repository, "push", refused)
        with pytest.raises(ConnectionError, match="does not answer"):
            answers.import_annotations(layout, "0000", partial=True)


def test_after_an_import_that_was_cut_off_the_next_takes_in_what_it_left_and_more(asked, monkeypatch):
    by_people(asked)
    one, two, _ = batch.asked(asked, "0000")
    put(asked, f"{one},,cat,2026-01-02")
    cut_off(asked, monkeypatch)
    put(asked, f"{one},,cat,2026-01-02", f"{two},,dog,2026-01-02")
    assert answers.import_annotations(asked, "0000", partial=True) == 2
    assert imports(asked) == [2]
    (recorded,) = asked.annotations_of("0000").glob("*.parquet")
    put(asked, f"{one},,dog,2026-01-03", f"{two},,dog,2026-01-02")
    cut_off(asked, monkeypatch)
    assert len(list(asked.annotations_of("0000").glob("*.parquet"))) == 2
    put(asked, f"{one},,cat,2026-01-02", f"{two},,dog,2026-01-02")  # they have thought better of it
    assert answers.import_annotations(asked, "0000", partial=True) == 2
    assert list(asked.annotations_of("0000").glob("*.parquet")) == [recorded]
    kept = ledger.pointers(ledger.read(asked.ledger))["data/annotations/0000"]
    assert pointers.pointer(asked.annotations_of("0000")) == kept
    inputs.verify(asked)


def test_what_an_import_that_was_cut_off_left_stays_where_the_annotator_has_it_no_more(asked, monkeypatch):
    by_people(asked)
    one, two, _ = batch.asked(asked, "0000")
    put(asked, f"{one},,cat,2026-01-02")
    answers.import_annotations(asked, "0000", partial=True)
    (recorded,) = asked.annotations_of("0000").glob("*.parquet")
    put(asked, f"{one},,dog,2026-01-03")
    cut_off(asked, monkeypatch)
    (left,) = set(asked.annotations_of("0000").glob("*.parquet")) - {recorded}
    put(asked, f"{two},,dog,2026-01-03")  # the inbox was emptied meanwhile
    with pytest.raises(ValueError, match=f"{left.name}: expected files .* names, found this one; .* annotate import"):
        answers.import_annotations(asked, "0000", partial=True)
    assert left.exists()
    assert recorded.exists()


def test_with_two_answers_per_image_the_loop_waits_for_another_person(asked, capsys):
    by_people(asked, each=2)
    one, two, three = batch.asked(asked, "0000")
    rows = [f"{image},,cat,2026-01-02" for image in (one, two, three)]
    put(asked, *rows)
    put(asked, rows[0], file="0000-ben.csv")
    put(asked, rows[1], file="0000-cy.csv")
    assert answers.import_annotations(asked, "0000") is None
    said = "1 of 3 images of the batch of 0000 have fewer than 2 answers yet"
    assert said in capsys.readouterr().err
    put(asked, *rows[1:], file="0000-cy.csv")
    assert answers.import_annotations(asked, "0000") == 6


def test_the_status_counts_images_with_answers_of_enough_people_and_what_the_ledger_knows(asked, monkeypatch):
    def status() -> list[str]:
        said = CliRunner().invoke(annotation.status, obj=asked, catch_exceptions=False).stdout
        return said.splitlines()[1].split()

    by_people(asked, each=2)
    one, two, three = batch.asked(asked, "0000")
    put(asked, f"{one},,cat,2026-01-02", f"{two},,cat,2026-01-02", f"{three},,cta,2026-01-02")
    put(asked, f"{one},,cat,2026-01-02", file="0000-ben.csv")
    cut_off(asked, monkeypatch)
    assert status() == ["0000", "3", "1", "0", "1"]
    with pytest.raises(ValueError, match="3 annotations of the batch of 0000 are imported"):
        answers.import_annotations(asked, "0000", partial=True)
    assert status() == ["0000", "3", "1", "2", "1"]


def test_at_the_share_of_its_images_that_is_wanted_the_loop_goes_on_and_late_answers_land(asked, capsys):
    by_people(asked, share=0.6)
    ledger.append(asked.ledger, ledger.Event("promoted", "0000", "x", world.AT))
    one, two, three = batch.asked(asked, "0000")
    put(asked, f"{one},,cat,2026-01-02")
    assert answers.import_annotations(asked, "0000") is None, "a third is less than 0.6"
    put(asked, f"{one},,cat,2026-01-02", f"{two},new_class,wild bore,2026-01-02")
    assert answers.import_annotations(asked, "0000") == 2
    said = "1 of 3 images of the batch of 0000 have no answer, as annotator.share allows: the loop goes on"
    assert said in capsys.readouterr().err
    assert plan.next_step(asked, 2) == plan.Step("make", "0001")
    put(asked, f"{three},new_class,Wild  Bore,2026-01-02", file="0000-ben.csv")
    answers.import_late(asked)
    assert imports(asked) == [2, 1]
    assert {row["label"] for row in returned.imported(asked, "0000")} == {"cat", "wild bore"}
    assert "new class" not in capsys.readouterr().err


def test_a_new_class_whose_name_is_nearly_that_of_another_is_told_of_and_taken(asked, capsys):
    by_people(asked)
    one, two, three = batch.asked(asked, "0000")
    new = [(one, "wild boar"), (two, "Wild Boar"), (three, "sea cow")]
    put(asked, *(f"{image},new_class,{label},2026-01-02" for image, label in new))
    assert answers.import_annotations(asked, "0000") == 3
    assert "new class" not in capsys.readouterr().err, "they differ in capitals alone, and are one"
    put(asked, *(f"{image},new_class,{label},2026-01-03" for image, label in [(two, "wild bore"), (three, "cat")]))
    answers.import_annotations(asked, "0000", partial=True)
    told = (
        "new class 'wild bore'; a class 'wild boar' exists: answer again, or later `oltr classes merge 'wild bore' "
    )
    assert f"{told}'wild boar' --reason ...`" in capsys.readouterr().err
    labels = [row["label"] for row in returned.imported(asked, "0000")]
    assert sorted(labels[:3]) == ["sea cow", "wild boar", "wild boar"]
    assert sorted(labels[3:]) == ["cat", "wild bore"]


def test_where_the_right_answer_is_marked_no_other_person_is_waited_for(asked, monkeypatch):
    rows = [dict(row) for row in truth.collect(asked, TruthAnnotator(), "0000", world.AT)]
    monkeypatch.setattr(truth, "collect", lambda *arguments: rows)
    monkeypatch.setattr(collecting, "patience", lambda settings: HumanAnnotator(answers_per_image=2))
    assert collecting.found(asked, TruthAnnotator(), "0000", world.AT).missing == 3
    rows[0]["settled"] = True
    rows[1] |= {"settled": True, "problem": "wrong"}
    assert collecting.found(asked, TruthAnnotator(), "0000", world.AT).missing == 2


def test_at_the_deadline_the_loop_goes_on_and_says_how_many_answers_are_missing(asked, monkeypatch, capsys):
    by_people(asked, days=7)
    one, two, three = batch.asked(asked, "0000")
    ledger.append(asked.ledger, ledger.Event("promoted", "0000", "x", world.AT))
    put(asked, f"{one},,cat,2026-01-02", f"{two},,cta,2026-01-02")
    monkeypatch.setattr(steps.clock, "now", lambda: "2026-01-07T23:59:59+00:00")
    with pytest.raises(ValueError, match="no class is called 'cta'"):
        answers.import_annotations(asked, "0000")
    put(asked, f"{one},,cat,2026-01-02")
    assert answers.import_annotations(asked, "0000") is None
    said = "2 of 3 images of the batch of 0000 have no answer"
    assert f"{said} yet; from 2026-01-08 00:00 UTC on the loop goes on without them" in capsys.readouterr().err
    assert plan.next_step(asked, 2) == plan.Step("annotate", "0000")
    monkeypatch.setattr(steps.clock, "now", lambda: "2026-01-08T00:00:00+00:00")
    put(asked, f"{one},,cat,2026-01-02", f"{two},,cta,2026-01-02")
    assert answers.import_annotations(asked, "0000") == 1
    told = capsys.readouterr().err
    assert f"{said} at its deadline, 2026-01-08 00:00 UTC: the loop goes on" in told
    assert "0000.csv:3: label: no class is called 'cta'" in told
    assert plan.next_step(asked, 2) == plan.Step("make", "0001")
    put(asked, f"{one},,cat,2026-01-02", f"{two},,dog,2026-01-09", f"{three},,cta,2026-01-09")
    steps.open_generation(asked, "0001")  # what has come since is learned by it, and a wrong row stops nothing
    assert imports(asked) == [1, 1]
    assert events(asked)[-2:] == ["imported", "opened"]
    assert "1 answers to the batch of 0000 cannot be imported" in capsys.readouterr().err
    put(asked, f"{three},,dog,2026-01-10", file="0000-late.csv")
    (asked.root / "data" / "inbox" / "0000.csv").unlink()
    assert answers.import_annotations(asked, "0000") == 3, "a later generation is open"
    inputs.verify(asked, read_all=True)


def test_a_batch_that_nobody_answered_in_time_is_left_and_learned_when_answers_come(asked, monkeypatch, capsys):
    by_people(asked, days=0.5)
    ledger.append(asked.ledger, ledger.Event("promoted", "0000", "x", world.AT))
    monkeypatch.setattr(steps.clock, "now", lambda: "2026-01-01T12:00:00+00:00")
    assert answers.import_annotations(asked, "0000") == 0
    assert "3 of 3 images of the batch of 0000 have no answer at its deadline" in capsys.readouterr().err
    assert plan.next_step(asked, 2) == plan.Step("make", "0001")
    inputs.verify(asked, read_all=True)
    steps.repair(asked)
    steps.open_generation(asked, "0001")
    assert imports(asked) == [0]
    put(asked, f"{batch.asked(asked, '0000')[0]},,cat,2026-01-02")
    answers.import_late(asked)
    assert imports(asked) == [0, 1]
    inputs.verify(asked, read_all=True)


def test_a_late_answer_may_use_the_names_of_now_and_an_older_one_stays_what_it_is(asked):
    """eel was found after the batch went out, cat renamed, and both dog and eel merged into it."""
    by_people(asked)
    ledger.append(asked.ledger, ledger.Event("promoted", "0000", "x", world.AT))
    assert set(batch.names_meant(asked, "0000")) == {"cat", "dog"}
    put(asked, f"{batch.asked(asked, '0000')[0]},new_class,eel,2026-01-02")
    answers.import_annotations(asked, "0000", partial=True)
    register.store(asked, [{"operation": "renamed", "class_id": 0, "name": "house cat"}], world.AT, {})
    eel = {"operation": "added", "class_id": 2, "name": "eel", "generation": "0000"}
    register.store(asked, [eel], world.AT, {})
    register.store(asked, [{"operation": "merged", "class_id": i, "successor": 0} for i in (1, 2)], world.AT, {})
    names = ("cat", "dog", "eel", "house cat")
    assert batch.names_meant(asked, "0000") == {name: name for name in names}
    assert set(batch.class_names(asked, "0000")) == {"cat", "dog"}, "what the page of that batch shows"
    assert collecting.found(asked, FolderAnnotator(), "0000", world.AT).new == []
    assert answers.import_annotations(asked, "0000", partial=True) == 1


# --- made again -------------------------------------------------------------------------------------------------
def test_results_made_again_are_compared_file_by_file(sealed, tmp_path):
    again = Layout(tmp_path / "again")
    shutil.copytree(sealed.work.folder, again.work.folder)
    found = {c.file: c for c in reproduce.compare(sealed.generation("0000"), again)}
    assert set(found) == {
        "base.parquet", "manifest.parquet", "classes.parquet", "predictions.parquet", "selection.parquet",
        "model.safetensors", "metrics.json", "metrics_absent.json",
    }  # fmt: skip
    assert all(c.equal and c.sealed for c in found.values())
    again.work.model.unlink()
    again.work.selection.write_bytes(b"x")
    changed = json.loads(again.work.metrics("evaluate").read_text()) | {"closed/overall": 0.5}
    again.work.metrics("evaluate").write_text(json.dumps(changed))
    found = reproduce.compare(sealed.generation("0000"), again)
    assert {c.file for c in found if not c.equal} == {"model.safetensors", "selection.parquet", "metrics.json"}
    assert {c.file: c.again for c in found}["model.safetensors"] == ""


def test_a_generation_is_made_again_by_dvc_elsewhere_from_what_it_was_made_from(sealed, tmp_path, monkeypatch):
    again, ran, run = Layout(tmp_path / "again"), [], subprocess.run

    def stopped(command, **how):
        if command[0] != sys.executable:
            return run(command, **how)
        ran.append((command[1:], how["cwd"]))
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(subprocess, "run", stopped)
    with pytest.raises(ValueError, match="0000: making it again in .*again failed; the reason is in the lines above"):
        reproduce.reproduce(sealed, "0000", again.root)
    assert ran == [(["-P", "-m", "dvc", "repro", "--force"], again.root)]
    final = sealed.generation("0000")
    for copy, source in ((again.run, final.run), (again.params, final.params), (again.dvc_yaml, final.dvc_yaml)):
        assert copy.read_bytes() == source.read_bytes()
    assert digest.of_folder(again.batch("b").folder) == digest.of_folder(sealed.batch("b").folder)
    assert digest.of_folder(again.generation("genesis").folder) == digest.of_folder(
        sealed.generation("genesis").folder
    )
    assert again.ledger.read_bytes() == sealed.ledger.read_bytes()
    assert pointers.pointer(again.batch("b").folder) == pointers.pointer(sealed.batch("b").folder)


def test_what_a_generation_was_made_from_comes_from_the_cache_where_the_remote_is_gone(copied, tmp_path):
    sealing.seal(copied, world.AT)
    history = copied.ledger.read_bytes()
    ledger.append(copied.ledger, ledger.Event("promoted", "0000", "x", world.AT))
    remotes.set_remote(copied, str(tmp_path / "gone"))
    (copied.dvc / "tmp" / "of another process").touch()
    again = Layout(tmp_path / "again")
    reproduce.restore(copied, "0000", again)
    assert not (again.dvc / "tmp" / "of another process").exists()
    assert not (again.dvc / "cache").exists(), "it is that of this workspace"
    assert again.ledger.read_bytes() == history, "as it was when the generation was sealed"
    assert events(again) == ["opened", "sealed"]
    assert ledger.head_of(again.ledger).exists()
    own = remotes.read_config(again.dvc_config_local)
    assert Path(own["cache"]["dir"]) == copied.dvc_cache.resolve()
    assert (own["core"]["no_scm"], own['remote "default"']["url"]) == ("true", str(tmp_path / "gone"))


def test_a_generation_that_was_edited_is_not_made_again(asked, tmp_path):
    asked.generation("0000").metrics.write_text("{}")
    with pytest.raises(ValueError, match="was changed"):
        reproduce.reproduce(asked, "0000", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_an_input_whose_version_is_not_known_cannot_be_restored(copied, tmp_path):
    sealing.seal(copied, world.AT)
    kept = copied.generation("0000").environment
    found = json.loads(kept.read_text())
    found["inputs"]["data/raw/b"] = {}
    kept.write_text(json.dumps(found))
    with pytest.raises(ValueError, match=r"b: environment.json has no version of it"):
        reproduce.restore(copied, "0000", Layout(tmp_path / "again"))


def test_the_selection_of_a_generation_is_its_tables_order(sealed):
    rows = schema.read(sealed.generation("0000").selection, schema.SELECTION).to_pylist()
    assert batch.asked(sealed, "0000") == [row["image_id"] for row in sorted(rows, key=lambda row: row["rank"])]


def test_the_folder_of_the_code_is_the_one_that_runs():
    assert (environment.CODE / "oltr_core" / "__init__.py").is_file()
    assert Path(environment.__file__).is_relative_to(environment.CODE)


# --- stages through DVC -----------------------------------------------------------------------------------------
def test_a_stage_whose_inputs_are_as_they_were_does_not_run(copied):
    copied.failure("report").parent.mkdir(parents=True)
    copied.failure("report").write_text("of an earlier run")
    assert stages.bring_up_to_date("report", copied) == stages.Outcome(False, 0.0)
    assert not copied.failure("report").exists()
    assert copied.work.report.read_text() == "the report.html of 0000\n"


def test_what_dvc_shows_of_the_results_makes_no_stage_stale_and_its_older_form_neither(copied):
    pipeline = yaml.safe_load(copied.dvc_yaml.read_text())
    assert pipeline["artifacts"]["model"]["path"] == "data/work/model.safetensors"
    files = {file for entry in pipeline["plots"] for of in entry.values() for file in of["y"]}
    assert {path.split("/")[-1] for path in files} == {
        *("training.csv", "closed_overall.csv", "now_overall.csv", "open_auroc.csv", "open_unknown_recall.csv"),
        *("per_class.csv", "confusion.csv"),
        *("roc.csv", "risk.csv", "reliability.csv"),
    }
    for section in ("metrics", "plots", "artifacts"):
        del pipeline[section]
    pipeline["stages"]["curate"]["outs"].remove("data/work/metrics/curate.json")
    pipeline["stages"]["curate"]["metrics"] = ["data/work/metrics/curate.json"]
    copied.dvc_yaml.write_text(yaml.safe_dump(pipeline))
    for stage in STAGES[1:]:
        assert not stages.bring_up_to_date(stage, copied).ran, stage


def test_dvc_gets_the_model_of_the_last_promoted_generation_by_the_name_of_its_artifact(asked, tmp_path, monkeypatch):
    from dvc.repo.artifacts import Artifacts

    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "tests")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "tests@oltr")
    git.commit(asked, "0000", "generation 0000: promoted", promoted=True)
    sealed = asked.generation("0000").model.read_bytes()
    git.commit(asked, "0001", "generation 0001: refused")
    for name in ("newest", "by version"):
        version = None if name == "newest" else "v0.0.0"
        got = Artifacts.get(str(asked.root), "model", version=version, out=str(tmp_path / name))
        assert got == (1, str(tmp_path / name))
        assert (tmp_path / name).read_bytes() == sealed


def test_results_that_are_gone_come_back_from_the_cache_without_a_run(copied):
    copied.work.report.unlink()
    assert stages.bring_up_to_date("report", copied) == stages.Outcome(False, 0.0)
    assert copied.work.report.read_text() == "the report.html of 0000\n"


def test_a_stage_runs_alone_and_its_seconds_are_those_inside_it(copied):
    outcome = stages.bring_up_to_date("code", copied)
    assert outcome.ran
    assert outcome.seconds == json.loads(copied.timing("code").read_text())["seconds"] > 0
    assert copied.work.code("train").read_text() != "{}"
    assert copied.work.report.read_text() == "the report.html of 0000\n", "what depends on it waits for its turn"


def test_a_stage_that_fails_is_told_in_its_own_words(copied):
    copied.work.predictions.write_text("no table, and not what it was")
    with pytest.raises(stages.StageFailed, match="predictions.parquet: expected a Parquet file") as caught:
        stages.bring_up_to_date("report", copied)
    assert (caught.value.stage, caught.value.kind) == ("report", "user")
    assert not stages.worth_retrying(caught.value)


def test_a_stage_runs_in_this_process_and_leaves_its_time_or_its_reason(copied, monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    assert stages.run_stage("code", copied) == 0
    assert json.loads(copied.timing("code").read_text())["stage"] == "code"
    copied.work.predictions.write_text("no table")
    assert stages.run_stage("report", copied) == 2
    assert json.loads(copied.failure("report").read_text())["kind"] == "user"

    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("oltr_core.stages.run", stopped)
    assert stages.run_stage("code", copied) == 130


# --- raw batches ------------------------------------------------------------------------------------------------
def test_a_batch_is_pending_until_it_is_here_and_kept(copied):
    def pending() -> list[str]:
        return steps.pending_batches(copied, load_settings(copied), "0000")

    assert pending() == []
    pointer = copied.raw / "b.dvc"
    kept = pointer.read_text()
    pointer.unlink()
    assert pending() == ["b"]
    pointer.write_text(kept)
    shutil.rmtree(copied.batch("b").folder)
    assert pending() == ["b"]


def test_a_batch_is_taken_in_once_kept_with_its_truth_and_pushed(copied):
    settings, access = load_settings(copied), SourceAccess(copied.root)
    copied.batch("other").folder.mkdir()
    copied.batch("other").card.write_text("torn")  # which is for whoever reads that one
    card = batches.take_in(copied, settings, "b", access, world.AT)
    assert card["images"] == 12
    remote = copied.remote / "files" / "md5"
    for path in (copied.batch("b").folder, copied.truth_of("b")):
        names = stored.named(copied, path)
        assert names
        assert all((remote / n[:2] / n[2:]).exists() for n in names)
    before = digest.of_folder(copied.batch("b").folder)
    shutil.rmtree(copied.batch("b").folder)
    shutil.rmtree(copied.root / "known")
    copied.truth_of("b").unlink()
    assert batches.take_in(copied, settings, "b", access, world.AT) == card, (
        "a clone has the batch, and not its sources"
    )
    assert digest.of_folder(copied.batch("b").folder) == before
    assert copied.truth_of("b").exists()
