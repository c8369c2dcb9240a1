"""Identification at rank 1, against a ranking by SciPy's distances and numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from scipy.spatial.distance import cdist

from oltr_core.analyses.identification import ALL, RESAMPLES, rates
from oltr_core.metrics import identification
from oltr_core.metrics.identification import identify, pseudo_shot, similar
from oltr_core.seeding import numpy_generator, torch_generator

ANGLES = (0, 40, 90, 100, 30, 170)  # in degrees; the lengths of the features differ and do not matter


def at(*degrees: float) -> torch.Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], 1) * torch.arange(1, len(degrees) + 1)[:, None]


def test_a_pair_is_identified_where_the_other_image_is_nearer_than_every_distractor():
    """Persons 0 (at 0 and 40 degrees), 1 (90, 100); distractors at 30 and 170."""
    who = torch.tensor([0, 0, 1, 1, 2, 3])
    probes = who < 2
    found = identify(at(*ANGLES), who, probes, ~probes)
    assert found.pairs.tolist() == [1, 1, 1, 1]
    assert found.right.tolist() == [0, 0, 1, 1], "30 degrees is nearer to 0 and to 40 than they are to one another"
    every = torch.ones(6, dtype=torch.bool)
    found = identify(at(*ANGLES), who, every, every)
    assert found.pairs.tolist() == [1, 1, 1, 1, 0, 0], "no image is a pair with itself"
    assert found.right.tolist() == [0, 0, 1, 1, 0, 0]
    alone = identify(at(*ANGLES), who, probes, torch.zeros(6, dtype=torch.bool))
    assert alone.right.tolist() == [1, 1, 1, 1], "without a distractor"


def test_features_that_are_all_alike_identify_nobody():
    who, every = torch.tensor([0, 0, 1, 1, 1]), torch.ones(5, dtype=torch.bool)
    found = identify(torch.full((5, 7), 0.3), who, every, every)
    assert (found.pairs.tolist(), found.right.tolist()) == ([1, 1, 2, 2, 2], [0] * 5)


@pytest.mark.parametrize("at_once", [1, 100, 2**24])
@pytest.mark.parametrize("apart", [True, False])
def test_identification_is_that_of_ranks_by_cosine_distance(monkeypatch, at_once, apart):
    monkeypatch.setattr(identification, "AT_ONCE", at_once)
    generator = torch_generator(0, "test")
    who = torch.randint(0, 9, (60,), generator=generator)
    features = torch.randn(9, 6, generator=generator)[who] + 1.5 * torch.randn(60, 6, generator=generator)
    probes = who < 6 if apart else torch.ones(60, dtype=torch.bool)
    distractors = ~probes if apart else probes
    found = identify(features, who, probes, distractors)
    distance, label = cdist(features.numpy(), features.numpy(), "cosine"), who.numpy()
    pairs, right = [], []
    for probe in probes.nonzero()[:, 0].tolist():
        mates = [i for i in np.flatnonzero(label == label[probe]) if i != probe and probes[i]]
        others = distance[probe][(label != label[probe]) & distractors.numpy()]
        ranks = [1 + int((others < distance[probe, mate]).sum()) for mate in mates]
        pairs.append(len(ranks))
        right.append(ranks.count(1))
    assert found.pairs.tolist() == pairs
    assert found.right.tolist() == right
    assert 0 < sum(right) < sum(pairs)


def test_similar_images_have_a_cosine_above_the_papers_threshold(monkeypatch):
    training = at(0, 44, 46, 120)
    assert similar(at(0, 90, 250), training).tolist() == [2, 1 + 1, 0]
    assert identification.SIMILAR == 0.7, "the cosine of 45.6 degrees"
    assert similar(at(0, 90, 250), training, 0.99).tolist() == [1, 0, 0]
    straight = torch.eye(2)[:1]
    assert similar(straight, straight, 1.0).tolist() == [0], "above it, not at it"
    monkeypatch.setattr(identification, "AT_ONCE", 1)
    assert similar(at(0, 90, 250), training).tolist() == [2, 2, 0]


def test_pseudo_shots_are_those_of_table_6():
    groups = [pseudo_shot(images) for images in (0, 1, 2, 4, 5, 900)]
    assert groups == ["zero-shot", "one-shot", "few", "few", "many", "many"]


def test_a_rate_is_of_pairs_and_its_interval_of_classes():
    images = pl.DataFrame(
        {"label": ["a", "a", "b", "b", "b", "c"], "pairs": [1, 1, 2, 2, 2, 0], "right": [1, 0, 2, 2, 0, 0]}
    )
    (row,) = rates([(ALL, images)]).rows(named=True)
    assert (row["probes"], row["classes"], row["images"], row["pairs"]) == (ALL, 3, 6, 8)
    assert row["identified"] == 5 / 8
    assert (row["low"], row["high"]) == (1 / 2, 2 / 3), "one class alone, or the other"
    (alone,) = rates([(ALL, images.filter(label="b"))]).rows(named=True)
    assert (alone["identified"], alone["low"], alone["high"]) == (4 / 6, None, None), (
        "of one class there is no interval"
    )


def test_an_interval_has_the_middle_95_percent_of_resampled_classes():
    pairs, right = np.arange(1, 13), np.array([1, 0, 3, 1, 5, 2, 7, 0, 4, 9, 3, 12])
    label = [f"{k:02d}" for k in range(12)]
    (row,) = rates([(ALL, pl.DataFrame({"label": label, "pairs": pairs, "right": right}))]).rows(named=True)
    drawn = numpy_generator(0, "analyses", "identification").multinomial(12, [1 / 12] * 12, RESAMPLES)
    expected = np.quantile((drawn @ right) / (drawn @ pairs), [0.025, 0.975])
    assert [row["low"], row["high"]] == pytest.approx(expected)
