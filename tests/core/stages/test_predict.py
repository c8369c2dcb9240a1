"""What a model says of image files: an answer for each, or the reason why there is none."""

from __future__ import annotations

import pytest
from PIL import Image

from oltr_core import checkpoint
from oltr_core.images.shards import Shards
from oltr_core.inference import predict, predict_files
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
    (found,) = predict([tmp_path], model[0], "0000")
    assert found.error
    assert found.label is None


def test_a_path_where_nothing_is_and_a_folder_without_images_are_refused_before_anything_is_computed(model, tmp_path):
    for path, sentence in ((tmp_path / "gone.png", "no such image or folder"), (tmp_path, "no image in this folder")):
        with pytest.raises(ValueError, match=sentence):
            predict([model[1], path], model[0], "0000")
