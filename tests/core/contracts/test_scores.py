"""Every score: larger = more unknown, finite at extreme logits, independent of the rest of the batch."""

import pytest
import torch
from pydantic import TypeAdapter

from oltr_core import scores
from oltr_core.interfaces import Outputs
from oltr_core.spec import parse
from tests.core.contracts import worlds

MEMBERS = pytest.mark.parametrize("score", [member() for member in scores.MEMBERS], ids=lambda s: s.name)


@pytest.fixture(scope="module")
def reference():
    return worlds.reference()


@MEMBERS
def test_an_image_far_from_every_class_scores_above_most_known_ones(score, reference):
    state = score.fit(reference)
    known = worlds.outputs(100, seed=7)
    lost = worlds.measured(-3 * worlds.centroids().mean(1)[None], worlds.centroids())
    assert float((score(lost, state) > score(known, state)).float().mean()) > 0.75


@MEMBERS
def test_the_rest_of_the_batch_has_no_say(score, reference):
    state = score.fit(reference)
    batch = worlds.outputs(16, seed=5)
    together = score(batch, state)
    alone = torch.cat([score(batch[i : i + 1], state) for i in range(16)])
    assert together.shape == (16,)
    torch.testing.assert_close(together, alone)


@MEMBERS
@pytest.mark.parametrize("size", [1e-6, 1e4])
def test_extreme_logits_give_finite_scores(score, reference, size):
    batch = worlds.outputs(8, seed=6)
    extreme = Outputs(batch.logits * size, batch.features, batch.embeddings, batch.distances)
    assert torch.isfinite(score(extreme, score.fit(reference))).all()


@MEMBERS
def test_the_state_is_tensors_and_the_fit_is_a_function_of_the_reference(score, reference):
    first, second = score.fit(reference), score.fit(reference)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name])
        assert torch.isfinite(tensor).all()


@MEMBERS
def test_one_reference_image_per_class_is_enough(score):
    few = worlds.reference(num=5)
    assert torch.isfinite(score(worlds.outputs(4), score.fit(few))).all()


def test_the_union_lists_every_member_once_under_its_name():
    by_name = {member().name: member for member in scores.MEMBERS}
    assert len(by_name) == len(scores.MEMBERS)
    for name, member in by_name.items():
        assert isinstance(TypeAdapter(scores.Score).validate_python({"name": name}), member)
        assert f"`{name}`" in scores.__doc__


def test_a_misspelt_score_is_answered_with_the_names():
    with pytest.raises(ValueError, match=r"no 'mps'; did you mean 'msp'\?.*reachability"):
        parse(scores.Score, {"name": "mps"}, "params.yaml: update.score")


def test_the_threshold_keeps_at_least_the_share_asked_for_and_no_more_than_it_must():
    known = torch.arange(60.0)
    threshold = scores.operating_threshold(known, 0.95)
    assert (known <= threshold).float().mean() == 0.95
    assert scores.operating_threshold(known, 1.0) == 59.0
    assert scores.operating_threshold(torch.tensor([7.0]), 0.95) == 7.0
