"""What a model says of image files: an answer for each, or the reason why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from oltr_core import checkpoint
from oltr_core.images.decode import Limits
from oltr_core.images.shards import Shards
from oltr_core.ingest.record import SourceAccess
from oltr_core.prediction import decoding, images_at, predict, predict_files
from tests.core.stages import loop_world as world


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Generation 0, computed and sealed: its checkpoint, and three of its images as files."""
    layout = world.make(tmp_path_factory.mktemp("predict"))
    world.compute(layout)
    world.seal(layout, "0000")
    folder = tmp_path_factory.mktemp("images")
    batch = layout.batches[0].folder.name
    for row in range(3):
        Image.fromarray(Shards(layout.raw).read(batch, 0, row)).save(folder / f"{row}.png")
    return checkpoint.load(layout.generation("0000").model), folder


def test_a_file_that_cannot_be_read_is_answered_with_the_reason_and_the_others_as_without_it(model, tmp_path):
    network, folder = model
    good = sorted(folder.iterdir())
    alone = list(predict_files(good, network, "0000"))
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").touch()
    half = good[0].read_bytes()
    (tmp_path / "half.png").write_bytes(half[: len(half) // 2])
    broken = [tmp_path / "text.png", tmp_path / "empty.png", tmp_path / "half.png", tmp_path / "gone.png", tmp_path]
    mixed = [broken[0], good[0], *broken[1:3], good[1], *broken[3:], good[2]]
    for batch_size in (2, 64):
        found = list(predict_files(mixed, network, "0000", batch_size))
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


def test_a_folder_of_broken_files_alone_is_answered_too(model, tmp_path):
    (tmp_path / "a.png").write_text("no image")
    (found,) = predict(at(tmp_path), model[0], "0000")
    assert found.error
    assert found.label is None


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
