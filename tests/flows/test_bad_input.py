"""What a user can get wrong, in this process: each answer is one sentence that says where, what and what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from flows import answers, examining, plan, steps, workspace
from oltr_core import ledger, schema
from oltr_core.layout import Layout
from oltr_core.params import load_params
from oltr_core.settings.whole import load_settings
from oltr_core.stages import code
from tasks import workspace as files
from tasks.dvc import stages
from tests.flows.worlds import called, computed, edit, shorten


def write_images(folder: Path, count: int, hue: int, seed: int) -> None:
    """Small noisy pictures of one colour."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        pixels = rng.integers(0, 90, (12, 12, 3), dtype=np.uint8)
        pixels[:, :, hue % 3] += np.uint8(60 + 40 * (hue // 3))
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Layout:
    """A workspace on a folder of a user's own photos: three classes, and a pool with a fourth."""
    layout = Layout(tmp_path / "world")
    files.create(layout.root)
    for number, name in enumerate(("ant", "bee", "cow")):
        write_images(layout.root / "photos" / name, 14, number, number)
    write_images(layout.root / "unseen", 12, 4, 9)
    sources = [{"name": "folder", "path": "photos"}, {"name": "unlabelled", "path": "unseen"}]

    def point(params: dict) -> None:
        shorten(params)
        params["sources"] = [{"batch": "first", "sources": sources}]
        params["annotator"] = {"name": "folder", "path": "data/inbox"}

    edit(layout, point)
    return layout


def ingest_and_open(layout: Layout) -> None:
    settings = load_settings(layout)
    for batch in steps.pending_batches(layout, settings, "0000"):
        steps.ingest(layout, batch)
    steps.open_generation(layout, "0000")
    code.run(code.Parameters(), layout)  # which the stages that tests begin depend on


def generation(layout: Layout) -> None:
    ingest_and_open(layout)
    computed(layout)
    steps.seal(layout, "0000")
    steps.judge(layout, "0000")
    steps.export_batch(layout, "0000")


def sentence_of(caught: pytest.ExceptionInfo) -> str:
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert "Traceback" not in sentence
    return sentence


def test_a_class_with_one_image_is_refused_before_any_training(photos):
    for image in sorted((photos.root / "photos" / "cow").iterdir())[1:]:
        image.unlink()
    ingest_and_open(photos)
    with pytest.raises(stages.StageFailed) as caught:
        steps.run_stage(photos, "curate")
    assert caught.value.kind == "user"
    assert "cow" in sentence_of(caught)


def test_an_empty_class_goes_to_quarantine_with_its_reason(photos):
    (photos.root / "photos" / "dog").mkdir()
    ingest_and_open(photos)
    reasons = schema.read(photos.batch("first").quarantine, schema.QUARANTINE).column("reason").to_pylist()
    assert any("empty class" in reason and "dog" in reason for reason in reasons)
    steps.run_stage(photos, "curate")


def test_an_unreadable_image_goes_to_quarantine_and_the_rest_goes_on(photos):
    (photos.root / "photos" / "ant" / "000.png").write_bytes(b"not an image")
    ingest_and_open(photos)
    table = schema.read(photos.batch("first").quarantine, schema.QUARANTINE).to_pylist()
    assert [Path(row["address"]).name for row in table] == ["000.png"]
    assert schema.read(photos.batch("first").index, schema.INDEX).num_rows == 3 * 14 - 1 + 12


def test_a_folder_that_is_not_there_is_named(photos):
    shutil.rmtree(photos.root / "photos")
    with pytest.raises(ValueError, match="expected a folder of images") as caught:
        ingest_and_open(photos)
    sentence_of(caught)
    lines, fit = examining.examine(photos)
    assert not fit
    assert any("photos is not here" in line for line in lines)


def test_what_came_into_the_folder_of_an_ingested_batch_is_said_and_a_folder_that_went_is_no_fault(photos):
    steps.ingest(photos, "first")
    edit(photos, lambda p: p["sources"].append({"batch": "second", "sources": [{"name": "digits"}]}))
    write_images(photos.root / "photos" / "ant" / "later", 2, 0, 78)
    lines, fit = examining.examine(photos)
    assert fit
    assert "✓ sources   first, second (not ingested yet)" in lines
    assert any(line.startswith("! sources   first is ingested and never changes: 2 images") for line in lines), lines
    shutil.rmtree(photos.root / "photos")
    lines, fit = examining.examine(photos)
    assert fit
    assert not any("photos is not here" in line or line.startswith("! sources") for line in lines)


def test_without_a_pool_a_generation_is_made_and_nobody_is_asked(photos):
    edit(photos, lambda p: p["sources"][0]["sources"].pop())
    generation(photos)
    assert "sealed" in [e.event for e in ledger.read(photos.ledger)]
    assert plan.next_step(photos, 2) == plan.Step("make", "0001"), "there is no answer to wait for"


def test_without_open_images_a_generation_is_made_and_says_what_it_could_not_measure(photos):
    edit(photos, lambda p: p["sources"][0]["sources"][1].update(path="more"))
    write_images(photos.root / "more", 12, 0, 77)
    generation(photos)
    import json

    absent = json.loads(photos.generation("0000").metrics_absent.read_text())
    assert "open/auroc" in absent
    assert plan.next_step(photos, 2) == plan.Step("annotate", "0000")
    refused_annotations_leave_nothing_behind(photos)
    annotations_of_people_come_in(photos)


def refused_annotations_leave_nothing_behind(photos: Layout) -> None:
    """An annotation of an image that was never selected, typing errors, and no annotation yet."""
    inbox = photos.data / "inbox"
    inbox.mkdir()
    assert answers.import_annotations(photos, "0000") is None
    rows = (photos.exports / "0000" / "batch.csv").read_text().splitlines()
    asked = [line.split(",")[1] for line in rows[1:]]
    for text, sentence in (
        (f"{'f' * 64},label,ant", "this image was never selected"),
        (f"{asked[0]},label,amt", "no class is called 'amt'; did you mean 'ant'"),
        (f"{asked[0]},lable,ant", "there is no verdict 'lable'; did you mean 'label'"),
        (f"{asked[0]},new_class,", "needs a label"),
    ):
        (inbox / "0000.csv").write_text(f"image_id,verdict,label\n{text}\n")
        with pytest.raises(ValueError, match=sentence) as caught:
            answers.import_annotations(photos, "0000", partial=True)
        sentence_of(caught)
    (inbox / "0000.csv").write_text(f"image_id,verdict,label\n{asked[0]},label,ant\n{asked[0]},label,bee\n")
    with pytest.raises(ValueError, match=r"0000.csv:2: folder answers this image twice \(.*\n.*0000.csv:3: folder"):
        answers.import_annotations(photos, "0000", partial=True)
    status = called(photos, "oltr", "annotate", "status")
    assert status.returncode == 0, status.stderr
    assert "0000.csv:3: folder answers this image twice" in status.stdout
    (inbox / "0000.csv").write_text(f"image_id,verdict,label\n{asked[0]},new_class,{'x' * 200_000}\n")
    assert "0000.csv:2: expected a row of a CSV table, found none" in said(photos, "annotate import 0000")
    assert not list(photos.annotations.glob("0000/*.parquet"))
    assert "imported" not in [e.event for e in ledger.read(photos.ledger)]


def annotations_of_people_come_in(photos: Layout) -> None:
    """Some at first, which is not enough to go on by itself; then all; nothing is lost or counted twice."""
    rows = (photos.exports / "0000" / "batch.csv").read_text().splitlines()
    asked = [line.split(",")[1] for line in rows[1:]]
    file = photos.data / "inbox" / "0000.csv"
    file.write_text("image_id,verdict,label,annotator\n" + f"{asked[0]},,ant,eve\n")
    assert answers.import_annotations(photos, "0000") is None
    assert answers.import_annotations(photos, "0000", partial=True) == 1
    file.write_text("image_id,verdict,label,annotator\n" + "".join(f"{i},,ant,eve\n" for i in asked))
    assert answers.import_annotations(photos, "0000") == len(asked)
    assert answers.import_annotations(photos, "0000") == len(asked)
    assert len(list(photos.annotations.glob("0000/*.parquet"))) == 2
    assert plan.next_step(photos, 2) == plan.Step("make", "0001")


@pytest.mark.parametrize(
    ("section", "key", "sentence"),
    [
        ("budget", "share_of_arivals", "budget: there is no key 'share_of_arivals' here; did you mean 'share_of"),
        ("train", "epocs", "train: there is no key 'epocs' here"),
        ("select", "strategi", "select: there is no key 'strategi' here; did you mean 'strategy'"),
    ],
)
def test_a_misspelt_key_in_params_is_one_sentence_with_its_neighbour(photos, section, key, sentence):
    edit(photos, lambda p: p[section].update({key: 1}))
    with pytest.raises(ValueError, match=sentence) as caught:
        load_params(photos)
    assert sentence_of(caught).startswith("params.yaml: ")


COMMANDS = ["ingest", "annotate status", "annotate export", "annotate import", "loop --generations 1", "check"]


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_refuses_a_slip_that_would_do_nothing(photos, words):
    """A misspelt key of a source, of which there is a second batch; two batches of one name; one key twice."""
    edit(photos, lambda p: p["sources"].append({"batch": "second", "sources": [{"name": "folder", "pathe": "x"}]}))
    assert "there is no key 'pathe' here; did you mean 'path'?" in said(photos, words)
    edit(photos, lambda p: p["sources"][1].update(batch="first"))
    assert "2 batches are called 'first'; give each a name of its own" in said(photos, words)
    photos.params.write_text(photos.params.read_text() + "curate: {}\n")
    assert "the key 'curate' a second time; keep one of the two" in said(photos, words)


def test_a_gate_on_no_figure_is_refused_before_anything_is_taken_in(photos):
    edit(photos, lambda p: p["gate"].update(tolerances={"known_acuracy": 0.1}))
    for words in ("ingest", "check"):
        assert "no figure is called 'known_acuracy'; did you mean 'known_accuracy'?" in said(photos, words)
    assert not photos.batches


def said(layout: Layout, words: str) -> str:
    """What a command prints that ends with exit code 2."""
    done = called(layout, "oltr", *words.split())
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_the_sources_of_a_batch_that_is_in_cannot_change(photos):
    ingest_and_open(photos)
    edit(photos, lambda p: p["sources"][0]["sources"].pop())
    with pytest.raises(ValueError, match="a batch never changes"):
        steps.ingest(photos, "first")


def test_a_broken_pipeline_file_is_named(photos):
    ingest_and_open(photos)
    pipeline = yaml.safe_load(photos.dvc_yaml.read_text())
    pipeline["stages"]["curate"]["deps"].append("nowhere.txt")
    photos.dvc_yaml.write_text(yaml.safe_dump(pipeline, sort_keys=False))
    with pytest.raises(stages.StageFailed, match=r"nowhere\.txt"):
        steps.run_stage(photos, "curate")


def test_init_refuses_a_folder_with_other_files_and_completes_a_workspace(tmp_path, photos):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").write_text("mine")
    with pytest.raises(ValueError, match="expected an empty or new folder"):
        workspace.create(tmp_path / "full")
    photos.dvc_yaml.unlink()
    assert "added dvc.yaml" in workspace.create(photos.root)
    assert "nothing was missing" in workspace.create(photos.root)
    assert examining.examine(photos)[1]
    photos.dvc_yaml.write_text(photos.dvc_yaml.read_text() + "# edited\n")
    lines, fit = examining.examine(photos)
    assert not fit
    assert any("run `oltr upgrade`" in line for line in lines)
