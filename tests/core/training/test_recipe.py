"""The `train` section: written out in full, and refused with a sentence where it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from oltr_core.benchmark import methods, two_stages
from oltr_core.spec import parse
from oltr_core.training import Train

PARAMS = Path(__file__).parents[3] / "params.yaml"


def _section() -> dict:
    return yaml.safe_load(PARAMS.read_text())["train"]


def test_params_yaml_holds_every_default_of_a_training():
    def sort(value):
        return {k: sort(v) for k, v in sorted(value.items())} if isinstance(value, dict) else value

    assert sort(_section()) == sort(Train().model_dump(mode="json"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda t: t["phases"][0].update(epochz=3), r"phases\[0\]: there is no key 'epochz' here; did you mean"),
        (lambda t: t["network"].update(head={"name": "cosin"}), "there is no 'cosin'; did you mean 'cosine'"),
        (lambda t: t["phases"][1]["losses"].append({"name": "focl"}), "there is no 'focl'; did you mean 'focal'"),
        (lambda t: t["phases"][1]["sampler"].update(name="balanced"), r"there is no 'balanced'.*class_aware"),
        (lambda t: t["network"]["backbone"].update(name="resnet23"), "'resnet23'; did you mean 'resnet32'"),
        (lambda t: t["phases"][0].update(freeze=["stem"]), "'trunk', 'shared'"),
        (lambda t: t.update(phases=[]), "at least 1 item"),
    ],
)  # fmt: skip
def test_a_mistake_is_answered_with_the_key_and_what_there_is(change, sentence):
    section = _section()
    change(section)
    with pytest.raises(ValueError, match=sentence):
        parse(Train, section, "params.yaml: train")


def with_ldam(**change):
    """A recipe whose second phase has the loss under a head of scale 20."""
    section = _section()
    section["network"]["head"] = {"name": "meta_embedding", "scale": 20.0}
    section["phases"][1].update({"losses": [{"name": "ldam", "scale": 20.0}]} | change)
    return section


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"losses": [{"name": "ldam"}]},
            r"phases\[1\] \(meta_embedding\): ldam has scale: 30 .*found scale: 20",
        ),
        ({"head": {"name": "cosine", "scale": 16.0}}, "ldam has scale: 20 .*found scale: 16 in the cosine head"),
        ({"head": {"name": "cosine", "scale": 20.0, "learn_scale": True}}, "fixed scale, found learn_scale: true"),
        ({"head": {"name": "linear"}}, "margins in cosines.*found linear"),
    ],
)
def test_ldam_over_a_head_of_another_scale_is_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        parse(Train, with_ldam(**change), "params.yaml: train")


def test_ldam_over_a_head_of_its_scale_and_every_published_recipe_are_accepted():
    assert parse(Train, with_ldam(), "params.yaml: train").phases[1].losses[0].scale == 20
    for recipe in [*methods.cifar(10), *two_stages.strong(10), *two_stages.variants(10), *methods.ablation(10)]:
        assert Train.model_validate(recipe.train.model_dump(mode="json")) == recipe.train
