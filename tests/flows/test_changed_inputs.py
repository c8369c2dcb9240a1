"""What was changed after it came in is found, learned by nobody, adopted by no pointer, and restored as advised."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import polars as pl
import pytest
import yaml

from flows import answers, steps
from oltr_core import digest, ledger, schema, verification
from oltr_core.layout import Layout
from tasks.dvc import inputs, pointers, repository, sealing, stages
from tests.core.data_world import picture
from tests.flows.worlds import called, commit, environment, run, stages_run


def unlocked(path: Path) -> Path:
    path.chmod(0o644)
    return path


def a_byte_of_a_shard(layout: Layout) -> Path:
    path = unlocked(layout.batch("batch-0").shard(0))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    return path


def labels_that_nobody_was_asked_for(layout: Layout) -> Path:
    (path,) = layout.annotations_of("0000").glob("*.parquet")
    rows = pl.read_parquet(unlocked(path))
    asked = set(steps.batches_of_questions.asked(layout, "0000"))
    pool = pl.read_parquet(layout.generation("0000").manifest).filter(split="pool")["image_id"]
    more = pl.concat([rows.head(1)] * 20).with_columns(image_id=pl.Series([i for i in pool if i not in asked][:20]))
    schema.write(path, pl.concat([rows, more]).to_arrow(), schema.ANNOTATIONS)
    return path


def an_audit(layout: Layout) -> Path:
    path = unlocked(layout.audit_of("0000"))
    path.write_text(path.read_text().replace("0.", "0.9", 1))
    return path


def a_file_of_the_sealed_parent(layout: Layout) -> Path:
    path = unlocked(layout.generation("0000").classes)
    path.write_bytes(path.read_bytes() + b"x")
    return path


def follow(sentence: str) -> None:
    """Do what the sentence advises, as a person would: by copying it."""
    advice = re.search(
        r"`(dvc checkout --force \S+)` in (\S+) restores it(?:, after `(git checkout \S+)`)?", sentence
    )
    assert advice is not None, sentence
    dvc, folder, git = advice.groups()
    for command in filter(None, (git, dvc)):
        done = subprocess.run(
            command.split(), cwd=folder, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


def moved_pointers(layout: Layout) -> str:
    return run(layout, "git", "status", "--porcelain", "--", "*.dvc").stdout


@pytest.mark.parametrize(
    "change",
    [a_byte_of_a_shard, labels_that_nobody_was_asked_for, an_audit, a_file_of_the_sealed_parent],
    ids=lambda change: change.__name__,
)
def test_a_changed_input_is_refused_before_dvc_takes_it_up_and_the_advice_restores_it(world, looped, change):
    path = change(world)
    tracked = path.parent
    original = (looped.layout.root / path.relative_to(world.root)).read_bytes()
    named = tracked if tracked.parent == world.generations else path  # a sealed folder has one digest
    with pytest.raises(stages.StageFailed, match="was changed") as caught:  # the loop
        steps.run_stage(world, "curate")
    assert caught.value.kind == "user"
    assert str(named) in caught.value.sentence
    assert moved_pointers(world) == ""
    checked = called(world, "oltr", "check")
    assert checked.returncode == 2
    assert f"{named}: " in checked.stdout
    made = run(world, "dvc", "repro")
    assert made.returncode != 0
    assert stages_run(made.stdout) == ["code", "curate"]
    assert f"oltr curate: {named}: " in made.stdout + made.stderr
    assert moved_pointers(world) == "", "dvc repro has taken the changed copy for a new version"
    assert path.read_bytes() != original
    follow(next(line for line in (made.stdout + made.stderr).splitlines() if "oltr curate: /" in line))
    assert path.read_bytes() == original
    again = run(world, "dvc", "repro")
    assert again.returncode == 0, again.stderr
    assert stages_run(again.stdout) == ["code"]
    assert run(world, "git", "status", "--porcelain").stdout == ""
    inputs.verify(world, read_all=True)


def test_truth_that_was_set_to_one_class_answers_nothing(world, looped):
    path = unlocked(world.truth_of("batch-0"))
    original = path.read_bytes()
    schema.write(path, pl.read_parquet(path).with_columns(label=pl.lit("7")).to_arrow(), schema.TRUTH)
    before = world.ledger.read_bytes()
    with pytest.raises(ValueError, match=r"batch-0\.parquet: this file was changed after it came in") as caught:
        answers.import_annotations(world, "0001")
    assert world.ledger.read_bytes() == before
    assert not world.annotations_of("0001").exists()
    assert called(world, "oltr", "check").returncode == 2
    follow(str(caught.value))
    assert path.read_bytes() == original
    assert answers.import_annotations(world, "0001") == 83


def test_a_partial_import_does_not_give_dvc_an_older_file_that_was_changed(world, looped):
    labels_that_nobody_was_asked_for(world)
    rows = [{"image_id": i, "verdict": "unsure", "label": None, "annotator": "me", "answered_at": "2026-01-01",
             "batch_id": "0000"} for i in steps.batches_of_questions.asked(world, "0000")[:3]]  # fmt: skip
    answered = [",".join(("image_id", "verdict", "label")), *(f"{row['image_id']},unsure," for row in rows)]
    inbox = world.data / "inbox" / "0000.csv"
    inbox.parent.mkdir()
    inbox.write_text("\n".join(answered) + "\n")
    text = world.params.read_text()
    world.params.write_text(re.sub(r"annotator:\n(  .*\n)+", "annotator: {name: folder, path: data/inbox}\n", text))
    with pytest.raises(ValueError, match="this file was changed after it came in"):
        answers.import_annotations(world, "0000", partial=True)
    assert moved_pointers(world) == ""


def as_an_older_version_left_it(layout: Layout) -> None:
    """No event of a batch, no pointer and no audit in the ledger, no head."""
    events = ledger.read(layout.ledger)
    layout.ledger.unlink()
    ledger.head_of(layout.ledger).unlink()
    for e in events:
        if e.event != "ingested":
            for newer in ("dvc", "audit"):
                e.details.pop(newer, None)
            ledger.append(layout.ledger, e)
    ledger.head_of(layout.ledger).unlink()
    commit(layout, "as an older version left it")


def test_a_workspace_of_an_older_version_is_verified_by_card_and_pointer_and_gets_its_events(world, looped):
    as_an_older_version_left_it(world)
    inputs.verify(world)
    truth, shard = world.truth_of("batch-1"), world.batch("batch-0").shard(0)
    original = shard.read_bytes(), truth.read_bytes()
    schema.write(unlocked(truth), pl.read_parquet(truth).with_columns(label=pl.lit("7")).to_arrow(), schema.TRUTH)
    with pytest.raises(ValueError, match=r"batch-1\.parquet: this was changed after it was given to DVC") as caught:
        inputs.verify(world)
    follow(str(caught.value))
    a_byte_of_a_shard(world)
    made = run(world, "dvc", "repro")
    assert made.returncode != 0
    assert "batch-0.dvc" in moved_pointers(world), "nothing but git knows the original"
    follow(next(line for line in made.stderr.splitlines() if "oltr curate: /" in line))
    assert moved_pointers(world) == ""
    assert (shard.read_bytes(), truth.read_bytes()) == original
    sealing.reopen(world, "0001")
    recorded = verification.ingested(ledger.read(world.ledger))
    assert set(recorded) == {"batch-0", "batch-1"}
    assert recorded["batch-1"].details["truth"] == digest.of_file(truth)
    sealing.reopen(world, "0001")
    assert len([e for e in ledger.read(world.ledger) if e.event == "ingested"]) == 2, "once each"


def test_a_batch_that_comes_after_those_of_an_older_version_is_the_newest_whatever_its_name(world, looped):
    as_an_older_version_left_it(world)
    params = yaml.safe_load(world.params.read_text())
    params["sources"].append({"batch": "a-newer", "sources": [{"name": "unlabelled", "path": "new"}]})
    world.params.write_text(yaml.safe_dump(params))
    for number in range(3):
        picture(world.root / "new" / f"{number}.png", number)
    done = run(world, "oltr", "ingest", "a-newer")
    assert done.returncode == 0, done.stderr
    assert list(verification.ingested(ledger.read(world.ledger))) == ["batch-0", "batch-1", "a-newer"]
    done = run(world, "oltr", "monitor")
    assert done.stdout.startswith("a-newer: 3 images without a label"), done.stdout + done.stderr


def test_a_model_that_was_edited_before_its_seal_was_written_down_is_not_sealed(world):
    events = ledger.read(world.ledger)
    lines = world.ledger.read_bytes().splitlines(keepends=True)
    sealed = next(i for i, e in enumerate(events) if (e.event, e.generation) == ("sealed", "0001"))
    world.ledger.write_bytes(b"".join(lines[:sealed]))
    with pytest.raises(ValueError, match="lines were cut off its end"):
        steps.seal(world, "0001")
    ledger.write_head(world.ledger)  # a kill between the pointer and the event leaves the same
    model = unlocked(world.generation("0001").model)
    original = model.read_bytes()
    model.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    with pytest.raises(ValueError, match="0001: this was changed after it was given to DVC") as caught:
        steps.seal(world, "0001")
    assert moved_pointers(world) == ""
    assert "0001" not in ledger.replay(ledger.read(world.ledger)).sealed
    follow(str(caught.value))
    assert model.read_bytes() == original
    assert steps.seal(world, "0001") == events[sealed].digest


def test_a_kill_between_the_pointer_of_a_batch_and_its_event_leaves_nothing_unverified(world):
    """The pointer says that the batch is in, so nobody takes it in again: opening the generation writes the event."""
    events = ledger.read(world.ledger)
    last = max(i for i, e in enumerate(events) if e.event == "ingested")
    world.ledger.write_bytes(b"".join(world.ledger.read_bytes().splitlines(keepends=True)[:last]))
    ledger.write_head(world.ledger)
    shutil.rmtree(world.generation("0001").folder)
    steps.open_generation(world, "0001")
    assert [e.event for e in ledger.read(world.ledger)][last:] == ["ingested", "opened"]
    assert verification.ingested(ledger.read(world.ledger))["batch-1"].key == events[last].key


def test_generations_marks_a_sealed_folder_whose_metrics_were_edited(world):
    path = unlocked(world.generation("0000").metrics)
    before = called(world, "oltr", "generations").stdout
    for text in (path.read_text().replace("0.", "0.9", 1), "torn"):
        path.write_text(text)
        shown = called(world, "oltr", "generations")
        assert shown.returncode == 0, shown.stderr
        assert shown.stdout.startswith(before.rstrip("\n")), "the figures of the ledger"
        assert f"{path}: this file was changed after it was sealed" in shown.stdout
    entries = json.loads(called(world, "oltr", "generations", "--json").stdout)
    assert [bool(entry["edited"]) for entry in entries] == [True, False]
    shutil.rmtree(path.parent)
    assert called(world, "oltr", "generations").stdout == before


def test_a_pointer_that_names_another_copy_than_the_ledger_names_the_original_again(world):
    pointer = world.batch("batch-0").folder.with_name("batch-0.dvc")
    before = pointer.read_bytes()
    assert pointers.restore_pointers(world) == []
    a_byte_of_a_shard(world)
    repository.add(world, world.batch("batch-0").folder)
    assert pointer.read_bytes() != before
    with pytest.raises(ValueError, match=r"data/raw/batch-0\.dvc named another copy, and names the original"):
        inputs.verify(world)
    assert pointer.read_bytes() == before
