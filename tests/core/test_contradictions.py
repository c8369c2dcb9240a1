"""Settings that are right alone and contradict each other are refused when the whole of params.yaml is read."""

from __future__ import annotations

import pytest
import yaml

from oltr_core.layout import Layout
from oltr_core.params import Params, load_params
from oltr_core.spec import parse


def read(said: dict) -> Params:
    return parse(Params, said, "params.yaml")


def phases(**of_second) -> dict:
    return {"train": {"phases": [{"name": "a", "epochs": 1}, {"name": "b", "epochs": 1} | of_second]}}


def refused(said: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match="^params.yaml: ") as error:
        read(said)
    assert str(error.value) == f"params.yaml: {sentence}"


# --- two of one name --------------------------------------------------------------------------------------------
def test_a_loss_stands_once_in_a_phase():
    twice = [{"name": "cross_entropy", "weight": 5.0}, {"name": "large_margin"}, {"name": "cross_entropy"}]
    refused(
        phases(losses=twice),
        "train.phases[1].losses: cross_entropy stands 2 times, and only the last would count; keep one",
    )
    assert read(phases(losses=twice[:2])).train.phases[1].losses[0].weight == 5


def test_a_score_is_measured_once_for_a_name():
    twice = [{"name": "msp"}, {"name": "prior_aware", "base": "msp"}, {"name": "prior_aware", "base": "energy"}]
    refused(
        {"evaluate": {"scores": twice}},
        "evaluate.scores: prior_aware stands 2 times, and only the last would count; keep one",
    )
    assert len(read({"evaluate": {"scores": twice[:2]}}).evaluate.scores) == 2


# --- numbers that are none ---------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (phases(losses=[{"name": "cross_entropy", "weight": float("nan")}]),
         "train.phases[1].losses[0].weight: expected a finite number, found nan"),
        (phases(learning_rates={"trunk": float("inf")}),
         "train.phases[1].learning_rates.trunk: expected a finite number, found inf"),
        ({"train": {"transform": {"mean": [0.5, float("nan"), 0.5]}}},
         "train.transform.mean[1]: expected a finite number, found nan"),
        ({"update": {"costs": {"confusion": float("inf")}}},
         "update.costs.confusion: expected a finite number, found inf"),
        ({"train": {"transform": {"std": [0.5, 0, 0.5]}}},
         "train.transform.std: expected three numbers above 0, found [0.5, 0.0, 0.5]"),
        ({"train": {"transform": {"std": [0.5, 0.5, -0.1]}}},
         "train.transform.std: expected three numbers above 0, found [0.5, 0.5, -0.1]"),
    ],
)  # fmt: skip
def test_a_number_that_would_end_a_training_in_nan_is_refused_by_its_key(said, sentence):
    refused(said, sentence)


def test_a_key_of_a_member_of_a_union_is_named_as_the_file_has_it(tmp_path):
    layout = Layout(tmp_path)
    for text, said in (
        ("update: {score: {name: knn, k: 0}}", "update.score.k: input"),
        ("evaluate: {scores: [{name: msp}, {name: knn, k: 0}]}", "evaluate.scores[1].k: input"),
        (
            "train: {phases: [{name: a, epochs: 1, head: {name: tau_norm, tau: 2}}]}",
            "train.phases[0].head.tau: input",
        ),
        ("curate: {consensus: {name: dawid_skene, probability: 0.5}}", "curate.consensus.probability: input"),
    ):
        layout.params.write_text(f"{text}\ncompute: {{}}\n")
        with pytest.raises(ValueError, match="^params.yaml: ") as error:
            load_params(layout)
        assert str(error.value).startswith(f"params.yaml: {said}")


# --- a memory that is not there ---------------------------------------------------------------------------------
ENERGY = {"name": "imprint", "weights": "energy"}


@pytest.mark.parametrize(
    ("learner", "key"),
    [
        (ENERGY, "weights"),
        ({"name": "imprint_replay", "imprint": ENERGY}, "imprint.weights"),
        ({"name": "lwf", "imprint": ENERGY}, "imprint.weights"),
    ],
)
def test_weights_by_distances_to_the_memory_need_a_head_with_one(learner, key):
    said = {"update": {"learner": learner}}
    assert read(said)
    said["train"] = {"network": {"head": {"name": "cosine"}}}
    refused(
        said,
        f"update.learner.{key}: energy needs the memory of a meta_embedding head, found the head cosine at the end "
        "of train; take equal",
    )
    assert read(said | {"schedule": {"full_training_every": 1}})
    assert read(said | {"update": {"learner": {"name": "lwf", "imprint": ENERGY, "begin": "random"}}})


# --- nothing to train -------------------------------------------------------------------------------------------
def test_a_training_has_an_epoch():
    none = {"train": {"phases": [{"name": "a", "epochs": 0}, {"name": "b", "epochs": 0}]}}
    refused(none, "train.phases: every phase has epochs: 0, so that nothing is trained; give one an epoch or more")
    assert read(phases(epochs=0)), "a head may be made of the one before without a step"
    made = {"name": "a", "epochs": 0, "head": {"name": "model_regression"}}
    assert read({"train": {"phases": [made]}}), "on a trunk that was trained elsewhere"


def test_validation_and_test_leave_images_to_train_on():
    refused(
        {"curate": {"val_share": 0.6, "test_share": 0.4}},
        "curate.val_share and curate.test_share: expected less than 1 together, found 0.6 and 0.4, which leaves "
        "nothing to train on",
    )
    assert read({"curate": {"val_share": 0.5, "test_share": 0.4}})


# --- tolerances of the gate -------------------------------------------------------------------------------------
def tolerances(folder, **said) -> dict:
    layout = Layout(folder)
    layout.params.write_text(yaml.safe_dump({"gate": {"tolerances": said}, "compute": {}}))
    return load_params(layout).gate.tolerances


@pytest.mark.parametrize(
    "name", ["open/threshold", "open/classes", "calibration/temperature", "open_by_score/msp/threshold"]
)
def test_a_figure_that_is_neither_better_nor_worse_has_no_tolerance(tmp_path, name):
    with pytest.raises(ValueError, match=f"gate.tolerances: {name} is neither better nor worse where it is larger"):
        tolerances(tmp_path, **{name: 0.1})


def test_a_figure_that_is_better_when_smaller_has_one(tmp_path):
    assert tolerances(tmp_path, **{"calibration/ece": 0.1, "open/fpr95": 0.2, "class/threshold": 0.3})


@pytest.mark.parametrize(
    "names", [("known_accuracy", "closed/overall"), ("few_accuracy", "closed/few"), ("auroc", "open/auroc")]
)
def test_two_names_of_one_figure_have_no_tolerance_each(tmp_path, names):
    with pytest.raises(ValueError, match=f"gate.tolerances: {names[0]} and {names[1]} are two names of one figure"):
        tolerances(tmp_path, **dict.fromkeys(names, 0.1))
    assert len(tolerances(tmp_path, **{names[0]: 0.1, "now/overall": 0.1})) == 2


@pytest.mark.parametrize("far", [5.0, float("inf"), 1.001])
def test_a_tolerance_that_no_fall_can_exceed_is_refused(tmp_path, far):
    with pytest.raises(ValueError, match="gate.tolerances.known_accuracy: .*less than or equal to 1, found"):
        tolerances(tmp_path, known_accuracy=far)
    assert tolerances(tmp_path, known_accuracy=1.0), "as good as none, and said so"
