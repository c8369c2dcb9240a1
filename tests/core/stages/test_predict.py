"""What a model says of image files: an answer for each, or the reason why there is none."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from flows.cli import oltr
from oltr_core import checkpoint, engine, ledger, schema
from oltr_core.images.decode import Limits
from oltr_core.images.shards import Shards
from oltr_core.ingest.record import SourceAccess
from oltr_core.layout import Layout
from oltr_core.prediction import (
    decoding,
    files,
    gallery,
    images_at,
    ingested,
    predict,
    predict_batch,
    predict_rows,
    predictions,
)
from oltr_core.prediction.ingested import sequences
from oltr_core.prediction.requests import content
from tests.core.stages import loop_world as world


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """Generation 0, computed and sealed; images of the batch are said to be of sequences of three or fewer."""
    layout = world.make(tmp_path_factory.mktemp("predict"))
    world.compute(layout)
    world.seal(layout, "0000")
    (batch,) = layout.batches
    rows = schema.read(batch.index, schema.INDEX).to_pylist()
    for number, row in enumerate(sorted(rows, key=lambda row: row["address"])):
        row["attributes"] = json.dumps({"seq_id": number // 3}) if number % 7 else None
    schema.write(batch.index, schema.from_rows(schema.INDEX, rows), schema.INDEX)
    return layout


@pytest.fixture(scope="module")
def model(sealed, tmp_path_factory):
    """Its checkpoint, and three of its images as files."""
    layout = sealed
    folder = tmp_path_factory.mktemp("images")
    batch = layout.batches[0].folder.name
    for row in range(3):
        Image.fromarray(Shards(layout.raw).read(batch, 0, row)).save(folder / f"{row}.png")
    return checkpoint.load(layout.generation("0000").model), folder


def test_a_file_that_cannot_be_read_is_answered_with_the_reason_and_the_others_as_without_it(model, tmp_path):
    network, folder = model
    good = sorted(folder.iterdir())
    alone = list(predict(map(str, good), network, "0000"))
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").touch()
    half = good[0].read_bytes()
    (tmp_path / "half.png").write_bytes(half[: len(half) // 2])
    broken = [tmp_path / "text.png", tmp_path / "empty.png", tmp_path / "half.png", tmp_path / "gone.png", tmp_path]
    mixed = [broken[0], good[0], *broken[1:3], good[1], *broken[3:], good[2]]
    for batch_size in (2, 64):
        found = list(predict(map(str, mixed), network, "0000", batch_size))
        assert [p.path for p in found] == [str(path) for path in mixed]
        answered = [p for p in found if p.error is None]
        assert [p.label for p in answered] == [p.label for p in alone]
        assert [p.score for p in answered] == pytest.approx([p.score for p in alone], abs=1e-5)
        failed = [p for p in found if p.error is not None]
        assert (
            [p.label for p in failed] == [p.probability for p in failed] == [p.nearest for p in failed] == [None] * 5
        )
        for prediction, why in zip(
            failed, ("not an image", "empty", "truncated", "No such", "directory"), strict=True
        ):
            assert why in prediction.error


def test_a_row_of_a_request_is_an_image_in_bytes_base64_or_pixels_or_a_path_and_one_of_them(model):
    network, folder = model
    files = sorted(folder.iterdir())
    alone = list(predict(map(str, files), network, "0000", top_k=2))
    pixels = np.array(Image.open(files[2]))
    text = base64.encodebytes(files[1].read_bytes()).decode()  # in lines
    rows = [{"path": str(files[0]), "image": None}, {"path": float("nan"), "image": text}, {"image": pixels}]
    rows += [{"image": files[0].read_bytes()}, {"image": pixels.tolist()}]
    rows += [{}, {"path": "x", "image": b"x"}, {"image": "no base64!"}, {"image": b"text"}, {"path": "gone.png"}]
    reasons = ["found neither", "found both", "not base64", "not an image", "No such file"]
    for bad, why in (
        ([*pixels.tolist()[:1], [[1, 2, 3]]], "different lengths"),
        (pixels[..., :1], f"[height, width, 3], found uint8 [{len(pixels)}, {len(pixels)}, 1]"),
        (pixels[0], "found uint8"),
        (pixels / 255, "found float64"),
        (pixels[:0], "found uint8 [0,"),
        ([[[-1, 0, 0]]], "from 0 to 255, found -1 to 0"),
        ([[[256, 0, 0]]], "from 0 to 255, found 0 to 256"),
        (3, "found int64 []"),
    ):
        rows.append({"image": bad})
        reasons.append(why)
    for batch_size in (2, 64):
        found = list(predict_rows(rows, network, "0000", 2, batch_size))
        for one, same in zip(found, [*alone, alone[0], alone[2]], strict=False):
            assert (one.label, one.error, one.score) == (same.label, None, pytest.approx(same.score, abs=1e-5))
            assert [t["label"] for t in one.top] == [t["label"] for t in same.top]
        for one, why in zip(found[5:], reasons, strict=True):
            assert why in one.error
            assert (one.label, one.score, one.top) == (None, None, None)
    (one,) = predict_rows(rows[:1], network, "0000", 1)
    assert one.top == [{"label": one.nearest, "probability": one.probability}], "a request for one class has it"
    assert content([[[0, 255, 7]]]).tolist() == [[[0, 255, 7]]]
    with pytest.raises(ValueError, match="top_k: expected 1 or more, found 0"):
        predict_rows([], network, "0000", 0)


def test_a_folder_of_broken_files_alone_is_answered_too(model, tmp_path):
    (tmp_path / "a.png").write_text("no image")
    (found,) = predict(at(tmp_path), model[0], "0000")
    assert found.error
    assert found.label is None
    (part,) = decoding.decoded(at(tmp_path), model[0].card.transform, 8, 0)
    size = model[0].card.transform.size
    assert (part.images.shape, part.images.dtype) == ((0, 3, size, size), torch.uint8)


def test_a_path_where_nothing_is_and_a_folder_without_images_are_refused_before_anything_is_computed(model, tmp_path):
    for path, sentence in ((tmp_path / "gone.png", "expected an image or a folder"), (tmp_path, "no image here")):
        with pytest.raises(ValueError, match=sentence):
            at(model[1], path)


def test_images_below_a_folder_come_in_the_order_of_their_paths_and_links_to_folders_are_not_followed(tmp_path):
    names = ["b.png", "a/z.JPG", "a/b/c.jpeg", "a.png", "a-b/x.webp", "a/.hidden.png", "note.txt", "c/empty.txt"]
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "in" / "a.png")
    wanted = [p for p in sorted((tmp_path / "in").rglob("*")) if p.is_file() and p.suffix != ".txt"]
    assert at(tmp_path / "in") == [str(path) for path in wanted]
    assert len(wanted) == 7


def test_a_list_names_an_image_per_line_and_a_prefix_has_the_objects_that_look_like_images():
    listed = ["s3://b/k/1.png", "s3://b/k/2.txt", "s3://b/k/3.JPG"]
    access = SourceAccess(Path(), list=lambda uri: [name for name in listed if name.startswith(uri)])
    lines = [b"one.png\r\n", b"\n", b"caf\xe9.png\n", b"s3://b/x"]
    found = list(images_at(["s3://b/k/", "-"], access, lines))
    assert found == ["s3://b/k/1.png", "s3://b/k/3.JPG", "one.png", "caf\udce9.png", "s3://b/x"]
    with pytest.raises(ValueError, match="-: no line on standard input"):
        images_at(["-"], access, [b"\n"])
    with pytest.raises(ValueError, match="s3://b/other/: no image here"):
        images_at(["s3://b/other/"], access)
    with pytest.raises(ValueError, match="name it once"):
        images_at(["-", "-"], access, lines)


def test_a_path_of_a_list_is_answered_when_nothing_is_there_and_its_odd_bytes_are_escaped(model):
    (found,) = predict(["caf\udce9.png"], model[0], "0000")
    assert found.path == "caf\\udce9.png"
    assert found.error == "No such file or directory"


def test_objects_are_fetched_a_missing_one_is_a_row_and_a_store_that_is_gone_is_an_end(model):
    network, folder = model
    good = sorted(folder.iterdir())

    def fetch(uri: str, most: int | None) -> bytes:
        assert most == Limits().max_bytes
        if uri.endswith("down.png"):
            raise ConnectionError(f"{uri}: nobody there")
        return good[int(uri[-5])].read_bytes()  # FileNotFoundError is what a store says of a missing object

    def missing(uri: str, most: int | None) -> bytes:
        if uri.endswith("9.png"):
            raise FileNotFoundError(f"{uri}: no such object")
        return fetch(uri, most)

    names = ["s3://b/1.png", "s3://b/9.png", str(good[2]), "s3://b/0.png"]
    found = list(predict(names, network, "0000", fetch=missing))
    assert found[1].error == "s3://b/9.png: no such object"
    alone = list(predict(map(str, good), network, "0000"))
    for said, of in ((found[0], alone[1]), (found[2], alone[2]), (found[3], alone[0])):
        assert (said.label, said.nearest) == (of.label, of.nearest)
        assert said.score == pytest.approx(of.score, abs=1e-5)
    with pytest.raises(ConnectionError, match="down.png: nobody there"):
        list(predict([*names, "s3://b/down.png"], network, "0000", fetch=missing))
    (unread,) = predict(["s3://b/1.png"], network, "0000")
    assert unread.error == "nothing here reads this kind of address"


def test_the_best_classes_are_those_of_the_largest_probabilities_and_the_first_is_the_nearest(model):
    network, folder = model
    path = str(sorted(folder.iterdir())[0])
    (plain,), (found,), (every,) = (list(predict([path], network, "0000", top_k=k)) for k in (1, 3, 99))
    assert plain.top is None
    assert "top" not in plain.row()
    assert found.top == every.top[:3]
    assert len(every.top) == len(network.card.class_names)
    assert found.top[0] == {"label": plain.nearest, "probability": plain.probability}
    probabilities = [row["probability"] for row in every.top]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)
    assert sorted(row["label"] for row in every.top) == sorted(network.card.class_names)


def test_of_an_endless_list_no_more_is_read_than_a_batch_and_what_is_ahead(model):
    drawn = []

    def endless():
        while True:
            drawn.append(1)
            yield "gone.png"

    found = predict(endless(), model[0], "0000", batch_size=8)
    assert not drawn[decoding.FEW :]
    for _ in range(decoding.FEW + 20):
        next(found)
    assert len(drawn) <= decoding.FEW + 20 + 8


def test_a_model_file_answers_on_the_device_that_is_asked_for_which_has_to_be_here(model, sealed):
    file, folder = sealed.generation("0000").model, model[1]
    found = list(predictions(file, [folder], "0000"))
    assert [one.path for one in found] == at(folder)
    assert {one.generation for one in found} == {"0000"}
    with pytest.raises(ValueError, match="the device: expected one of cpu.*, found 'abacus'"):
        predictions(file, [folder], "0000", "abacus")


class Elsewhere:
    """An engine whose workers might be on other machines, and are not."""

    remote = True

    def map(self, function, units, threads, gpu, isolated):
        with engine.using(None):  # there, none is in use
            return [function(unit) for unit in units]


# --- an ingested batch, its sequences, and the nearest labelled images --------------------------------------------
def test_an_ingested_batch_is_answered_like_its_images_as_files(model, sealed):
    network, folder = model
    found = {p.path: p for p in predict_batch(sealed, "batch-0", network, "0000")}
    index = schema.read(sealed.batches[0].index, schema.INDEX).to_pylist()
    assert list(found) == sorted(row["address"] for row in index)
    places = {(row["shard"], row["row"]): row["address"] for row in index}
    for row, alone in enumerate(predict(map(str, sorted(folder.iterdir())), network, "0000")):
        same = found[places[0, row]]
        assert (same.label, same.nearest, same.sequence) == (alone.label, alone.nearest, None)
        assert same.score == pytest.approx(alone.score, abs=1e-5)
        assert "sequence" not in same.row()
    with pytest.raises(ValueError, match="no ingested batch 'batch-1'; did you mean 'batch-0'"):
        next(predict_batch(sealed, "batch-1", network, "0000"))


def test_a_sequence_has_the_answer_of_the_means_over_its_images(model, sealed):
    network = model[0]
    rows = list(predict_batch(sealed, "batch-0", network, "0000", by="seq_id", top_k=99))
    assert [row.sequence is None for row in rows[:8]] == [True, *[False] * 6, True]
    for number in range(len(rows) // 3):
        mine = [row for row in rows[3 * number : 3 * number + 3] if row.sequence]
        (vote,) = {json.dumps(row.sequence) for row in mine}
        vote = json.loads(vote)
        assert (vote["id"], vote["images"]) == (str(number), len(mine))
        assert len(mine) in (2, 3)
        mean = {
            name: sum(top["probability"] for row in mine for top in row.top if top["label"] == name) / len(mine)
            for name in network.card.class_names
        }
        best, score = max(mean, key=mean.__getitem__), sum(row.score for row in mine) / len(mine)
        assert vote["nearest"] == best
        assert vote["probability"] == pytest.approx(mean[best], abs=1e-6)
        assert vote["score"] == pytest.approx(score, abs=1e-5)
        assert vote["label"] == ("unknown" if vote["score"] > network.card.threshold else best)
    votes = [row.sequence for row in rows if row.sequence]
    assert {vote["label"] == "unknown" for vote in votes} == {True, False}
    assert any(
        vote["nearest"] != row.nearest for vote, row in zip(votes, filter(lambda r: r.sequence, rows), strict=True)
    )


@pytest.mark.parametrize("name", ["Empty", "blank"])
def test_an_image_taken_for_empty_has_no_vote_where_others_of_its_sequence_are_not(model, sealed, name):
    network = model[0]
    names = [name, *network.card.class_names[1:]]
    network = replace(network, card=network.card.model_copy(update={"class_names": names}))
    rows = list(predict_batch(sealed, "batch-0", network, "0000", by="seq_id"))
    seen = set()
    for row in filter(lambda row: row.sequence, rows):
        mine = [other for other in rows if other.sequence and other.sequence["id"] == row.sequence["id"]]
        voters = [other for other in mine if other.nearest != name] or mine
        assert row.sequence["score"] == pytest.approx(sum(v.score for v in voters) / len(voters), abs=1e-5)
        assert row.sequence["images"] == len(mine)
        seen.add((len(mine) > len(voters), row.sequence["nearest"] == name))
    assert {(True, False), (False, True), (False, False)} <= seen


def test_an_attribute_that_no_image_has_is_refused_with_those_that_there_are(model, sealed):
    for by, sentence in (
        ("seqid", r"has 'seqid'; did you mean 'seq_id'\? \(there are: seq_id\)$"),
        ("group", r"has 'group' \(there are: seq_id\)$"),
    ):
        with pytest.raises(ValueError, match=sentence):
            next(predict_batch(sealed, "batch-0", model[0], "0000", by=by))
    rows = schema.read(sealed.batches[0].index, schema.INDEX).to_pylist()
    rows = schema.from_rows(schema.INDEX, [row | {"group_id": "a"} for row in rows])
    with pytest.raises(ValueError, match=r"there are: group, seq_id\)$"):
        sequences(rows, "seqid")


def test_the_nearest_labelled_images_are_named_and_one_of_the_gallery_is_nearest_to_itself(model, sealed, tmp_path):
    network = model[0]
    found = gallery(sealed, "0000", network, number=3)
    manifest = schema.read(sealed.generation("0000").manifest, schema.MANIFEST).to_pylist()
    kept = [row for row in manifest if row["split"] in ("train", "val") and row["class_id"] is not None]
    assert found.addresses == [row["address"] for row in kept]
    assert found.labels == [network.card.class_names[network.card.class_ids.index(row["class_id"])] for row in kept]
    mine = kept[5]
    Image.fromarray(Shards(sealed.raw).read("batch-0", mine["shard"], mine["row"])).save(tmp_path / "same.png")
    (said,) = predict([str(tmp_path / "same.png")], network, "0000", gallery=found)
    first, second, third = said.references
    assert first == {"label": found.labels[5], "path": mine["address"], "distance": pytest.approx(0, abs=1e-3)}
    assert 0.001 < second["distance"] <= third["distance"] < 2
    with engine.using(Elsewhere()):
        assert list(predict([str(tmp_path / "same.png")], network, "0000", gallery=found)) == [said]
    (of_batch,) = [
        p for p in predict_batch(sealed, "batch-0", network, "0000", gallery=found) if p.path == mine["address"]
    ]
    assert [of["path"] for of in of_batch.references] == [of["path"] for of in said.references]
    assert gallery(sealed, "0000", network, number=10**6).number == len(kept)


def test_the_command_answers_a_batch_with_sequences_and_references_in_a_file_and_as_text(model, sealed, tmp_path):
    ledger.append(sealed.ledger, ledger.Event("promoted", "0000", "-", world.AT.isoformat()))

    def called(*options: str):
        return CliRunner().invoke(oltr, ["--workspace", str(sealed.root), "predict", *options])

    asked = "--batch", "batch-0", "--by", "seq_id", "--references", "1"
    for name in ("a.parquet", "a.csv"):
        done = called(*asked, "--output", str(tmp_path / name))
        assert done.exit_code == 0, done.output
    found = list(files.read(tmp_path / "a.parquet"))
    assert found == list(files.read(tmp_path / "a.csv"))
    near = gallery(sealed, "0000", model[0], number=1)
    assert found == list(predict_batch(sealed, "batch-0", model[0], "0000", by="seq_id", gallery=near))
    one = found[1]
    text = called(*asked).stdout.splitlines()[1]
    assert f"generation 0000); like {one.references[0]['path']} ({one.references[0]['label']}, " in text
    assert f"; 0, 2 images: {one.sequence['label']} ({one.sequence['nearest']} " in text
    for wrong in ([], ["a.png", "--batch", "batch-0"], ["a.png", "--by", "seq_id"]):
        assert called(*wrong).exit_code == 2
        assert "give PATHS, or --batch" in called(*wrong).output
    refused = called("--batch", "batch-0", "--workers", "2")
    assert refused.exit_code == 2
    assert "leave it out with --batch" in refused.output


def test_of_whole_pictures_it_is_said_where_most_ingested_images_are_boxes(model, sealed):
    (batch,) = sealed.batches
    before = schema.read(batch.index, schema.INDEX)
    rows = before.to_pylist()
    half = len(rows) // 2
    assert not ingested.of_boxes(sealed)
    assert not ingested.of_boxes(Layout(sealed.root / "empty"))
    command = ["--workspace", str(sealed.root), "predict", str(model[1] / "0.png")]
    try:
        for boxes, said in ((half, False), (half + 1, True)):
            for number, row in enumerate(rows):
                row["attributes"] = json.dumps({"box": [0, 0, 0.5, 1.0]}) if number < boxes else None
            schema.write(batch.index, schema.from_rows(schema.INDEX, rows), schema.INDEX)
            assert ingested.of_boxes(sealed) is said
            assert ("each of PATHS is predicted whole" in CliRunner().invoke(oltr, command).stderr) is said
        of_batch = CliRunner().invoke(oltr, [*command[:3], "--batch", batch.folder.name])
        assert of_batch.exit_code == 0
        assert "predicted whole" not in of_batch.stderr
    finally:
        schema.write(batch.index, before, schema.INDEX)


@pytest.mark.parametrize("kind", ["jsonl", "csv", "parquet"])
def test_the_command_goes_on_with_its_output_where_more_best_classes_are_asked_for_than_there_are(
    model, sealed, tmp_path, kind
):
    ledger.append(sealed.ledger, ledger.Event("promoted", "0000", "-", world.AT.isoformat()))
    first, second, _ = map(str, sorted(model[1].iterdir()))
    asked = "--top-k", "999", "--output", str(tmp_path / f"a.{kind}"), "--resume"
    for paths in ([first], [first, second]):
        done = CliRunner().invoke(oltr, ["--workspace", str(sealed.root), "predict", *paths, *asked])
        assert done.exit_code == 0, done.output
    found = list(files.read(tmp_path / f"a.{kind}"))
    assert [(one.path, len(one.top)) for one in found] == [
        (p, len(model[0].card.class_names)) for p in (first, second)
    ]


@pytest.mark.slow
def test_worker_processes_give_the_same_answers_in_the_same_order(model, monkeypatch):
    network, folder = model
    monkeypatch.setattr(decoding, "FEW", 2)
    paths = [*map(str, sorted(folder.iterdir())), "gone.png"] * 5
    alone = list(predict(paths, network, "0000", batch_size=3))
    found = list(predict(paths, network, "0000", batch_size=3, workers=2))
    assert found == alone
    assert [p.path for p in found] == paths
    with pytest.raises(ConnectionError, match="nobody there"):
        list(predict([*paths, "s3://b/1.png"], network, "0000", batch_size=3, workers=1, fetch=nobody))


def nobody(uri: str, most: int | None) -> bytes:
    raise ConnectionError("nobody there")


def at(*paths: Path) -> list[str]:
    return list(images_at([str(path) for path in paths], SourceAccess(Path())))
