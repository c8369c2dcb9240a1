"""Every score of the slot is measured against open images, fitted as the pipeline fits it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from oltr_core.benchmark.cell import trained
from oltr_core.benchmark.open_sets import against, told_apart
from oltr_core.benchmark.outputs import predict
from oltr_core.class_statistics import measure
from oltr_core.inference import with_distances
from oltr_core.models.heads import Linear
from oltr_core.operating.rejection import operating_point, reference_from_statistics
from oltr_core.scores import MEMBERS, Mahalanobis, Msp, Odin, OpenMax
from oltr_core.training import direct_features
from tests.core.benchmark.conftest import tiny_data
from tests.core.training.worlds import recipe, world

DATA = replace(tiny_data(), val=(tiny_data().test[::2], tiny_data().test_labels[::2]))


@pytest.fixture(scope="module")
def network():
    return trained(recipe(), DATA)


@pytest.fixture(scope="module")
def figures(network):
    return against(network, DATA, recipe(), predict(network, DATA.test, recipe()))


def test_every_score_has_three_figures(figures):
    of = {f"inverted/{member().name}/{figure}" for member in MEMBERS for figure in ("auroc", "fpr95", "error")}
    assert figures.keys() == of | {"inverted/untrained/auroc"}
    assert all(0 <= value <= 1 for value in figures.values())
    # inverted images are far from all that the network knows
    assert min(figures["inverted/mahalanobis/auroc"], figures["inverted/reachability/auroc"]) > 0.8


@pytest.mark.parametrize("score", [Mahalanobis(), OpenMax()], ids=lambda score: score.name)
def test_a_score_is_fitted_on_what_the_pipeline_keeps(network, figures, score):
    features = direct_features(network, world()[0], recipe())
    statistics = measure(features, DATA.train_labels, 4)
    held_out = with_distances(predict(network, DATA.val[0], recipe()), statistics)
    reference = reference_from_statistics(network, statistics, 0)
    state = operating_point(score, reference, held_out, held_out, DATA.val[1], 0.95).state
    sides = (predict(network, images, recipe()) for images in DATA.open_sets["inverted"])
    expected = told_apart(*(score(side, state) for side in sides))
    assert {name: figures[f"inverted/{score.name}/{name}"] for name in expected} == expected


def test_the_known_side_of_a_pair_is_its_own_and_not_the_test_images(network):
    known, unknown = DATA.open_sets["inverted"]
    swapped = replace(DATA, open_sets={"inverted": (unknown, known)})
    found = against(network, swapped, recipe(), predict(network, DATA.test, recipe()))
    expected = told_apart(*(Msp()(predict(network, side, recipe()), {}) for side in (unknown, known)))
    assert {name: found[f"inverted/msp/{name}"] for name in expected} == expected


def test_a_score_that_moves_images_sees_them_moved(network, figures):
    train, seen = recipe(), []
    for images in DATA.open_sets["inverted"]:
        batch = train.transform(images)
        with torch.no_grad():
            seen.append(network(Odin().perturb(network, batch)).mean_logits / 1000)
    expected = told_apart(*((1 - z.double().softmax(1).amax(1)).float() for z in seen))
    assert figures["inverted/odin/auroc"] == pytest.approx(expected["auroc"], abs=1e-6)
    assert not torch.equal(
        predict(network, images, train).logits, predict(network, images, train, score=Odin()).logits
    )


def test_without_a_memory_or_validation_images_the_scores_that_need_them_have_no_figure():
    first, _ = recipe().phases
    plain = recipe(network=recipe().network.model_copy(update={"head": Linear(), "normalise": False}), phases=[first])
    data = replace(DATA, val=None)
    network = trained(plain, data)
    found = against(network, data, plain, predict(network, data.test, plain))
    without = {"openmax", "reachability", "u_product"}
    assert {name.split("/")[1] for name in found} == {m().name for m in MEMBERS} - without | {"untrained"}
