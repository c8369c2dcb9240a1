"""Every score on a network that was trained: contracts on drawn features cannot tell whether it ranks images."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from oltr_core import scores
from oltr_core.benchmark.image_sets import digits_at_rest
from oltr_core.class_statistics import measure
from oltr_core.images.dataset import Resident
from oltr_core.images.transforms import Transform
from oltr_core.inference import classify
from oltr_core.ingest.sources.digits import protocol, roles, scans, to_rgb
from oltr_core.interfaces import Outputs
from oltr_core.metrics.detection import auroc
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import SmallResNet
from oltr_core.operating.rejection import operating_point, reference_from_statistics
from oltr_core.training import Train, direct_features, fit

SEED = 0
KNOWN = 6  # of the ten digits


class Trained:
    """A small network trained for seconds on generation 0 of the digits, fitted and asked as the stages do it."""

    def __init__(self, epochs: int = 8):
        full = Train(
            seed=SEED,
            network=NetworkSpec(backbone=SmallResNet(widths=(8, 16, 16, 16))),
            transform=Transform(size=8),
        )
        phases = [phase.model_copy(update={"epochs": epochs}) for phase in full.phases]
        self.train = full.model_copy(update={"phases": phases})
        data = digits_at_rest(None, SEED)
        self.network = self.train.network(KNOWN, SEED)
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        list(fit(self.network, Resident(data.train), data.train_labels, self.train))
        torch.set_num_threads(threads)
        self.statistics = measure(self.features(data.train), data.train_labels, KNOWN)
        self.reference = reference_from_statistics(self.network, self.statistics, 0)
        self.test, self.unknown = data.test, data.open_sets["open digits"][1]
        self.val, self.val_labels = scanned("val")

    def features(self, images):
        return direct_features(self.network, Resident(images), self.train)

    def outputs(self, score, images) -> Outputs:
        if score.needs != "network":
            return classify(self.network, self.features(images), self.statistics)
        moved = score.perturb(self.network, self.train.transform(images))
        with torch.no_grad():
            return self.network(moved)

    def auroc(self, score) -> float:
        known, scored = classify(self.network, self.features(self.val)), self.outputs(score, self.val)
        point = operating_point(score, self.reference, known, scored, self.val_labels, 0.95)
        values = [score(self.outputs(score, images), point.state) for images in (self.test, self.unknown)]
        return auroc(*values)


def scanned(split: str, classes: int = KNOWN):
    """Images of a split of the first batch and their columns; of the first six classes, or with further ones."""
    grey, _ = scans()
    column = {digit: place for place, digit in enumerate(roles(SEED))}
    rows = [scan for scan in protocol(SEED) if (scan.split, scan.part) == (split, 0) and column[scan.digit] < classes]
    images = torch.from_numpy(np.stack([to_rgb(grey[scan.index]) for scan in rows])).permute(0, 3, 1, 2)
    return images.contiguous(), torch.tensor([column[scan.digit] for scan in rows])


@pytest.fixture(scope="module")
def trained():
    return Trained()


ALL = [*(member() for member in scores.MEMBERS), scores.PriorAware(base="energy")]


@pytest.mark.parametrize("score", ALL, ids=lambda s: f"{s.name} {getattr(s, 'base', '')}")
def test_on_a_trained_network_every_score_ranks_unknown_classes_above_known_ones(trained, score):
    """Far above the .5 of chance; tails of openmax on pseudo-features, which lie too close, gave .41.

    Pseudo-features of independent dimensions gave .76 for mahalanobis and .78 for rmds.
    """
    assert trained.auroc(score) > {"mahalanobis": 0.82, "rmds": 0.86}.get(score.name, 0.65)


def test_pseudo_features_lie_closer_to_their_class_than_held_out_images(trained):
    """Why openmax asks for held-out images."""

    def radius(outputs, labels):
        logits = outputs.mean_logits
        means = torch.stack([reference.mean_logits[trained.reference.labels == k].mean(0) for k in range(KNOWN)])
        return float((logits - means[labels]).norm(dim=1).mean())

    reference = trained.reference.outputs
    held_out = classify(trained.network, trained.features(trained.val))
    assert radius(reference, trained.reference.labels) < 0.9 * radius(held_out, trained.val_labels)
