"""`oltr predict` on files of which some cannot be read."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.flows.conftest import run


@pytest.fixture
def inbox(looped, tmp_path):
    """A folder of two images and a broken one."""
    images = sorted((looped.layout.exports / "0001" / "images").iterdir())[:2]
    for name, image in zip(("a.png", "c.png"), images, strict=True):
        shutil.copyfile(image, tmp_path / name)
    (tmp_path / "b.png").write_text("no image")
    return tmp_path


def test_a_broken_file_in_a_folder_is_named_and_the_others_are_answered(looped, inbox):
    done = run(looped.layout, "oltr", "predict", str(inbox))
    assert done.returncode == 0, done.stderr
    first, broken, last = done.stdout.splitlines()
    assert "probability" in first
    assert "probability" in last
    assert broken.startswith(f"{inbox / 'b.png'}: could not be read: not an image")
    assert done.stderr.splitlines()[-1] == "oltr: 1 of 3 images could not be read"
    rows = json.loads(run(looped.layout, "oltr", "predict", "--json", str(inbox)).stdout)
    assert [row["error"] is None for row in rows] == [True, False, True]
    assert rows[1]["label"] is rows[1]["probability"] is rows[1]["score"] is None
    assert [row["generation"] for row in rows] == ["0001"] * 3


def test_only_if_no_image_can_be_read_the_exit_code_is_two(looped, inbox):
    done = run(looped.layout, "oltr", "predict", str(inbox / "b.png"))
    assert done.returncode == 2
    assert "could not be read" in done.stdout
    assert done.stderr.splitlines()[-1] == "oltr: 1 of 1 images could not be read"


def test_a_path_where_nothing_is_is_refused_before_anything_is_computed(looped, inbox):
    done = run(looped.layout, "oltr", "predict", str(inbox / "a.png"), str(inbox / "gone.png"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert (
        done.stderr == f"oltr: {inbox / 'gone.png'}: expected an image or a folder of images, and there is nothing\n"
    )
