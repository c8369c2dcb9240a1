"""What passes between the parts: outputs of several experts, their rows, and how far a phase has come."""

from __future__ import annotations

import pytest
import torch

from oltr_core.interfaces import Outputs, Progress, Targets, concatenate


def outputs(num: int, with_distances: bool = True, seed: int = 0) -> Outputs:
    generator = torch.Generator().manual_seed(seed)
    logits, features, embeddings, distances = (torch.rand(num, 2, n, generator=generator) for n in (3, 4, 5, 3))
    return Outputs(logits, features, embeddings, distances if with_distances else None)


def test_the_ensemble_is_the_mean_over_experts_and_eqs_7_and_8_are_taken_of_it():
    some = outputs(6)
    d = (some.distances[:, 0] + some.distances[:, 1]) / 2
    torch.testing.assert_close(some.mean_logits, (some.logits[:, 0] + some.logits[:, 1]) / 2)
    torch.testing.assert_close(some.mean_distances, d)
    nearest = d.sort(1).values
    torch.testing.assert_close(some.u_open, nearest[:, 0])
    torch.testing.assert_close(some.u_info, nearest[:, 0] / nearest[:, 1])


def test_without_a_memory_there_are_no_distances_to_ask_for():
    with pytest.raises(AssertionError, match="no memory"):
        _ = outputs(2, with_distances=False).u_open


@pytest.mark.parametrize("rows", [slice(1, 3), torch.tensor([4, 0]), torch.tensor([True, False, True, False, False])])
def test_rows_are_taken_of_every_tensor(rows):
    every = outputs(5)
    part = every[rows]
    for name in ("logits", "features", "embeddings", "distances"):
        assert torch.equal(getattr(part, name), getattr(every, name)[rows])
    assert outputs(5, with_distances=False)[rows].distances is None
    targets = Targets(torch.arange(5), torch.rand(5, 3, generator=torch.Generator().manual_seed(1)))
    assert torch.equal(targets[rows].labels, targets.labels[rows])
    assert torch.equal(targets[rows].soft, targets.soft[rows])
    assert Targets(targets.labels)[rows].soft is None


def test_batches_are_put_together_in_their_order():
    parts = [outputs(2, seed=1), outputs(3, seed=2)]
    whole = concatenate(parts)
    for name in ("logits", "features", "embeddings", "distances"):
        assert torch.equal(getattr(whole, name), torch.cat([getattr(part, name) for part in parts]))
        assert torch.equal(getattr(whole.cpu(), name), getattr(whole, name))
    bare = concatenate([outputs(2, with_distances=False), outputs(1, with_distances=False)])
    assert bare.distances is None
    assert bare.cpu().distances is None


def test_progress_is_the_share_of_the_epochs_that_have_passed():
    assert [Progress(epoch, 4).fraction for epoch in range(4)] == [0, 0.25, 0.5, 0.75]
    assert Progress(0, 0).fraction == 0


def test_probabilities_of_columns_that_make_one_answer_add_and_the_nearest_centroid_counts():
    columns = outputs(7)
    answers = columns.merge_columns([1, 0, 1])
    p = columns.logits.softmax(2)
    torch.testing.assert_close(answers.logits.softmax(2), torch.stack([p[..., 1], p[..., 0] + p[..., 2]], 2))
    near = torch.minimum(columns.distances[..., 0], columns.distances[..., 2])
    assert torch.equal(answers.distances, torch.stack([columns.distances[..., 1], near], 2))
    assert torch.equal(answers.logits[..., 0], columns.logits[..., 1]), "one column alone is not computed with"
    assert torch.equal(answers.features, columns.features)
    assert torch.equal(answers.embeddings, columns.embeddings)


def test_a_column_that_counts_for_no_answer_takes_no_part():
    columns = outputs(7, with_distances=False)
    answers = columns.merge_columns([0, -1, 1])
    assert torch.equal(answers.logits, columns.logits[..., [0, 2]])
    assert answers.distances is None
    with pytest.raises(AssertionError, match="without a column"):
        columns.merge_columns([0, 2, 2])
