"""Scores and losses against pytorch-ood and pytorch-metric-learning, which share no code with them."""

from __future__ import annotations

import pytest
import torch
from pytorch_metric_learning.losses import LiftedStructureLoss
from pytorch_ood import detector

from oltr_core.interfaces import Context, Outputs, Progress, Targets
from oltr_core.losses import Lifted
from oltr_core.scores import Energy, Entropy, Gen, Knn, Mahalanobis, MaxLogit, Msp, Odin, Rmds
from tests.core.contracts import worlds

close = torch.testing.assert_close


@pytest.mark.parametrize(
    ("score", "theirs"),
    [
        (Msp(), lambda z: 1 + detector.MaxSoftmax.score(z)),
        (MaxLogit(), detector.MaxLogit.score),
        (Energy(temperature=2.0), lambda z: detector.EnergyBased.score(z, t=2.0)),
        (Entropy(), detector.Entropy.score),
        (Gen(gamma=0.3, largest=3), lambda z: 3 * detector.GEN.score(z, gamma=0.3, M=3)),  # a sum, no mean
    ],
    ids=["msp", "max_logit", "energy", "entropy", "gen"],
)
def test_scores_of_logits_are_those_of_pytorch_ood(score, theirs):
    outputs = worlds.outputs(20)
    close(score(outputs, {}), theirs(outputs.mean_logits), rtol=1e-4, atol=1e-5)


def test_scores_of_features_are_those_of_pytorch_ood():
    """Its covariances are sums over the N images, its Mahalanobis distance is half the square; neither is shrunk."""
    known, new = worlds.reference(), worlds.outputs(20, seed=3)
    features, x = (outputs.features.flatten(1) for outputs in (known.outputs, new))
    num = len(features)
    by_neighbours = detector.KNN(None, k=4)
    by_neighbours.knn.set_params(n_jobs=1)  # or it starts workers
    nearest = by_neighbours.fit_features(features, known.labels).predict_features(x).float()
    close(Knn(k=4)(new, Knn(k=4).fit(known)), nearest, rtol=1e-3, atol=1e-4)
    for score, theirs, scale in ((Mahalanobis, detector.Mahalanobis, 2), (Rmds, detector.RMD, 1)):
        expected = scale * num * theirs(None).fit_features(features, known.labels).predict_features(x)
        ours = score(shrinkage=1e-9)
        found = ours(new, ours.fit(known))
        close(found.square() if scale == 2 else found, expected, rtol=2e-3, atol=2e-2)


def test_odin_moves_images_where_pytorch_ood_does():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(5, 3, 4, 4, generator=generator)
    weight = torch.randn(6, 48, generator=generator)

    class Network(torch.nn.Module):
        def forward(self, x):
            logits = torch.tanh(x.flatten(1) @ weight.T)[:, None]
            return Outputs(logits, logits, logits)

    odin, network = Odin(epsilon=0.01), Network()
    moved = detector.odin.odin_preprocessing(lambda x: network(x).mean_logits, images, eps=0.01)
    close(odin.perturb(network, images), moved)
    expected = 1 + detector.MaxSoftmax.score(network(moved).mean_logits.double(), t=1000.0)
    close(odin(network(moved), {}), expected.float())


def test_lifted_is_that_of_pytorch_metric_learning():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(4).repeat_interleave(3)
    features = torch.nn.functional.normalize(torch.randn(12, 1, 8, generator=generator), dim=2)
    logits, context = torch.zeros(12, 1, 4), Context(torch.full((4,), 3.0), Progress(0, 1), torch.Generator())
    found = Lifted(margin=1.0)(Outputs(logits, features, features), Targets(labels), context)["lifted"]
    # the sum over ordered pairs would count each pair twice
    expected = LiftedStructureLoss(neg_margin=1.0, pos_margin=0.0)(features[:, 0], labels)
    close(found, expected, rtol=1e-5, atol=1e-5)
