"""What somebody with photographs of their own meets first: `oltr init --like` and `oltr check`."""

from __future__ import annotations

import pytest
import yaml
from click.testing import CliRunner

from flows import cli, examining, workspace
from oltr_core.layout import Layout
from oltr_core.params import load_params
from oltr_core.profiles import PROFILES
from oltr_core.settings.kinds import KINDS
from tests.core.data_world import picture


@pytest.fixture
def photos(tmp_path) -> Layout:
    """A workspace like small_photos with images of 60 x 40 pixels where its example looks for them."""
    seed = 0
    for name, number in {"roe deer": 40, "fox": 20, "lynx": 10}.items():
        for n in range(number):
            picture(tmp_path / "images" / "labelled" / name / f"{n}.png", seed := seed + 1, (60, 40))
    for n in range(12):
        picture(tmp_path / "images" / "unlabelled" / f"{n}.png", seed := seed + 1, (60, 40))
    workspace.create(tmp_path / "w", "small_photos")
    (tmp_path / "images").rename(tmp_path / "w" / "images")
    return Layout(tmp_path / "w")


def change(layout: Layout, **sections) -> None:
    found = yaml.safe_load(layout.params.read_text())
    for section, values in sections.items():
        found[section] |= values
    layout.params.write_text(yaml.safe_dump(found))


def lines_of(layout: Layout) -> tuple[str, bool]:
    lines, fit = examining.examine(layout)
    return "\n".join(lines), fit


def test_help_and_the_first_answer_say_which_kinds_there_are_and_when_to_take_which(tmp_path):
    shown = CliRunner().invoke(cli.oltr, ["init", "--help"]).output
    answer = workspace.create(tmp_path / "w")
    for name, when in KINDS.items():
        assert f"  {name:<13} {when}" in shown
        assert f"  {name:<13} {when}" in answer


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "digits"])
def test_a_workspace_for_images_of_ones_own_has_sources_to_edit_and_people_who_annotate(tmp_path, kind):
    answer = workspace.create(tmp_path, kind)
    assert f"point `sources` in {tmp_path / 'params.yaml'} at your images" in answer
    profile = PROFILES[kind]()
    named = profile.workspace.model_copy(update={"name": tmp_path.name})
    assert load_params(Layout(tmp_path)) == profile.model_copy(update={"workspace": named})
    text = (tmp_path / "params.yaml").read_text()
    assert "path: images/" in text
    assert "name: folder              # truth | folder" in text
    lines, fit = lines_of(Layout(tmp_path))
    assert not fit
    assert f"is not here; correct its `path`, which starts at {tmp_path}" in lines


def test_the_kind_photos_shows_the_line_for_weights_on_disk(tmp_path):
    workspace.create(tmp_path, "photos")
    text = (tmp_path / "params.yaml").read_text()
    assert "weights: ''\n" in text
    assert "# or read them from this safetensors file; phases fine-tune them, or leave them alone with freeze" in text
    assert "# trunk, shared, branches" in text


def test_a_kind_that_there_is_not_is_answered_with_those_there_are(tmp_path):
    with pytest.raises(ValueError, match="there is no profile 'photo'; did you mean 'photos'.*digits.*faces"):
        workspace.create(tmp_path, "photo")


def test_check_describes_the_images_advises_and_says_how_long_a_training_takes(photos):
    lines, fit = lines_of(photos)
    assert fit
    assert "✓ images    82 images in batch-0: 3 classes to train (1 medium, 2 few-shot), 49 images of them" in lines
    assert "60 x 40 pixels, and the network sees 32" in lines
    assert "! images    no test image is of an unknown class" in lines
    assert "✓ training  a full training takes about " in lines


def test_check_names_the_size_that_does_not_fit_and_stays_fit(photos):
    change(photos, train={"transform": {"size": 16}}, curate={"hold_out_classes": ["fox"]})
    lines, fit = lines_of(photos)
    assert fit
    assert "! images    your images are 60 x 40 pixels (median), and the network sees 16 x 16" in lines
    assert "unknown class," not in lines


def test_check_says_nothing_of_images_that_it_did_not_look_at(photos):
    found = yaml.safe_load(photos.params.read_text())
    found["sources"][0]["sources"][0]["path"] = "s3://bucket/photos"
    photos.params.write_text(yaml.safe_dump(found))
    lines, fit = lines_of(photos)
    assert fit
    assert "s3://bucket/photos is not looked at before it is ingested" in lines
    assert "! images" not in lines
    assert "training " not in lines


def test_check_refuses_what_would_stop_the_loop(photos):
    change(photos, curate={"hold_out_classes": ["wolf"]})
    lines, fit = lines_of(photos)
    assert not fit
    assert "✗ images    params.yaml: curate.hold_out_classes: no image is labelled 'wolf'" in lines
    photos.params.write_text(photos.params.read_text().replace("wolf", "fox"))
    found = yaml.safe_load(photos.params.read_text()) | {"annotator": {"name": "truth"}}
    photos.params.write_text(yaml.safe_dump(found))
    lines, fit = lines_of(photos)
    assert not fit
    assert "✗ images    the annotator `truth` cannot name images that came without a label" in lines


def test_check_looks_for_a_file_of_weights_where_the_stages_will(photos, monkeypatch):
    import timm
    from safetensors.torch import save_file

    backbone = {"name": "timm", "model": "test_resnet", "weights": "published.safetensors"}
    change(photos, train={"network": {"backbone": backbone}})
    assert "✗ images    backbone.weights: published.safetensors is not a file" in lines_of(photos)[0]
    save_file(timm.create_model("test_resnet").state_dict(), photos.root / "published.safetensors")
    assert lines_of(photos)[1]


def test_reading_params_alone_looks_at_no_image(photos, monkeypatch):
    monkeypatch.setattr("oltr_core.preflight.images.look", lambda *_: pytest.fail("it looked"))
    done = CliRunner().invoke(cli.oltr, ["--workspace", str(photos.root), "check", "--params-only"])
    assert (done.exit_code, done.output) == (0, "")


@pytest.mark.parametrize("words", [["promote", "0000"], ["classes", "retire", "fox"]])
@pytest.mark.parametrize("reason", ["", "  "])
def test_a_reason_that_says_nothing_is_refused(photos, words, reason):
    done = CliRunner().invoke(cli.oltr, ["--workspace", str(photos.root), *words, "--reason", reason])
    assert done.exit_code == 2
    assert "'--reason': expected a sentence for the ledger, found nothing" in " ".join(done.output.split())
    assert not photos.ledger.exists()
