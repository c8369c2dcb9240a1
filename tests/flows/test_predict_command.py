"""`oltr predict` on files of which some cannot be read."""

from __future__ import annotations

import json
import shutil

import onnxruntime
import pytest

from tests.flows.worlds import called, run


@pytest.fixture
def inbox(looped, tmp_path):
    """A folder of two images and a broken one."""
    images = sorted((looped.layout.exports / "0001" / "images").iterdir())[:2]
    for name, image in zip(("a.png", "c.png"), images, strict=True):
        shutil.copyfile(image, tmp_path / name)
    (tmp_path / "b.png").write_text("no image")
    return tmp_path


def test_a_broken_file_in_a_folder_is_named_and_the_others_are_predicted(looped, inbox):
    done = run(looped.layout, "oltr", "predict", str(inbox))
    assert done.returncode == 0, done.stderr
    first, broken, last = done.stdout.splitlines()
    assert "probability" in first
    assert "probability" in last
    assert broken.startswith(f"{inbox / 'b.png'}: could not be read: not an image")
    assert done.stderr.splitlines()[-1] == "oltr: 1 of 3 images could not be read"
    rows = json.loads(called(looped.layout, "oltr", "predict", "--json", str(inbox)).stdout)
    assert [row["error"] is None for row in rows] == [True, False, True]
    assert rows[1]["label"] is rows[1]["probability"] is rows[1]["score"] is None
    assert [row["generation"] for row in rows] == ["0001"] * 3


def test_predictions_go_into_a_file_from_folders_and_lists_and_what_it_holds_is_not_done_again(looped, inbox):
    output = inbox / "predictions.jsonl"
    command = ["oltr", "predict", "-", "--output", str(output), "--top-k", "2"]
    listed = "\n".join(str(inbox / name) for name in ("c.png", "b.png", "gone.png"))
    done = called(looped.layout, *command, given=listed)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.splitlines()[-2:] == [
        f"oltr: 3 images predicted: {output}",
        "oltr: 2 of 3 images could not be read",
    ]
    assert called(looped.layout, *command, given=listed).returncode == 2
    command[2] = str(inbox)
    done = called(looped.layout, *command, "--resume")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == f"oltr: 1 image predicted, 3 were before: {output}"
    found = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["path"].split("/")[-1] for row in found] == ["c.png", "b.png", "gone.png", "a.png"]
    assert [len(row["top"]) for row in found if row["error"] is None] == [2, 2]
    text = called(looped.layout, "oltr", "predict", str(inbox / "a.png"), "--top-k", "2").stdout
    assert f"nearest {found[3]['nearest']}, then {found[3]['top'][1]['label']} " in text


def test_options_that_mean_nothing_together_and_a_device_that_is_not_here_are_refused(looped, inbox):
    for options, sentence in (
        (["--resume"], "--resume goes on with the file of --output"),
        (["--json", "--output", "a.jsonl"], "give one of them"),
        (["--device", "tpu"], "oltr: the device: expected one of cpu"),
        (["--output", "a.txt"], r"a.txt: expected a file named *.jsonl, *.csv or *.parquet"),
    ):
        done = called(looped.layout, "oltr", "predict", str(inbox / "a.png"), *options)
        assert done.returncode == 2
        assert sentence in done.stderr


def test_a_prefix_of_an_object_store_is_predicted(looped, inbox, s3, s3_server):
    s3._client().create_bucket(Bucket="inbox")
    for name in ("a.png", "b.png"):
        s3._client().put_object(Bucket="inbox", Key=f"day/{name}", Body=(inbox / name).read_bytes())
    s3._client().put_object(Bucket="inbox", Key="day/notes.txt", Body=b"no image")
    done = called(looped.layout, "oltr", "predict", "s3://inbox/day/", "--json", **s3_server)
    assert done.returncode == 0, done.stderr
    far, broken = json.loads(done.stdout)
    (near,) = json.loads(called(looped.layout, "oltr", "predict", str(inbox / "a.png"), "--json").stdout)
    assert far | {"path": near["path"]} == near
    assert far["path"] == "s3://inbox/day/a.png"
    assert broken["error"].startswith("not an image")


def test_only_if_no_image_can_be_read_the_exit_code_is_two(looped, inbox):
    done = called(looped.layout, "oltr", "predict", str(inbox / "b.png"))
    assert done.returncode == 2
    assert "could not be read" in done.stdout
    assert done.stderr.splitlines()[-1] == "oltr: 1 of 1 images could not be read"


def test_a_path_where_nothing_is_is_refused_before_anything_is_computed(looped, inbox):
    done = called(looped.layout, "oltr", "predict", str(inbox / "a.png"), str(inbox / "gone.png"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert (
        done.stderr == f"oltr: {inbox / 'gone.png'}: expected an image or a folder of images, and there is nothing\n"
    )


def test_a_generation_is_exported_and_one_that_was_never_sealed_is_not(team, tmp_path):
    done = called(team.layout, "oltr", "export", "--onnx", str(tmp_path / "m.onnx"), "--generation", "0000")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{tmp_path / 'm.onnx'}: generation 0000, ")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert session.get_modelmeta().custom_metadata_map["oltr.generation"] == "0000"
    refused = called(team.layout, "oltr", "export", "--onnx", str(tmp_path / "n.onnx"), "--generation", "0009")
    assert refused.returncode == 2
    assert "knows no sealed generation of this name" in refused.stderr
