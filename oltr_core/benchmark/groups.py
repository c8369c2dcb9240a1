"""Fair features measured: digits of two cameras, of which one took most images of some classes.

The second camera is made up: its images are tinted, red at 60, green at 20 % and no blue. In the training it took all
but one image of every other known class and one image of each other, in the test every second image of each class. A
network that answers by the tint loses images that the other camera would have had right.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from oltr_core.benchmark.cell import Method, predict
from oltr_core.benchmark.data import BenchmarkData
from oltr_core.benchmark.image_sets import digits_at_rest
from oltr_core.fairness import Fairness, LatentDebiasing, LearnedFairRepresentation
from oltr_core.metrics import Evaluation
from oltr_core.metrics.slices import JUDGED, slices
from oltr_core.models import Network
from oltr_core.seeding import numpy_generator, torch_generator
from oltr_core.training import Train

TINT = torch.tensor([0.6, 0.2, 0.0])[:, None, None]


class Fair(Method):
    """A row of logistic regressions on a network's features, as they are or as `fairness` makes them."""

    fairness: Fairness | None = None

    def beside(self, network: Network, data: BenchmarkData) -> dict[str, float]:
        """Accuracy on all test images, on those of the worse camera, and the gap to the better one."""
        sides = (
            (predict(network, images, self.train).features.flatten(1), images) for images in (data.train, data.test)
        )
        (x, images), (test, tested) = sides
        logits = self.logits(x, data.train_labels, tinted(images).long(), test)
        known = torch.ones(len(test), dtype=torch.bool)
        shots = torch.bincount(data.train_labels).float()
        found = Evaluation(logits, data.test_labels, ~known, 0, shots, ["0000"] * len(shots), shots)
        cameras = ["second" if of else "first" for of in tinted(tested)]
        by = slices(found, torch.zeros(len(test)), 0.0, 1.0, cameras, numpy_generator(self.train.seed, "slices"))
        of = by["figures"][JUDGED]
        overall = float(found.correct.double().mean())
        return {"by camera/overall": overall, "by camera/worst": of["worst"], "by camera/gap": of["gap"]}

    def logits(self, x: Tensor, labels: Tensor, groups: Tensor, test: Tensor) -> Tensor:
        """Class scores of test features; the camera is known of the training images alone."""
        from sklearn.linear_model import LogisticRegression  # not needed on a bare host

        if self.fairness is not None:
            state = self.fairness.fit(x, labels, groups, torch_generator(self.train.seed, "fairness"))
            changed = self.fairness(x, state)
            if isinstance(self.fairness, LatentDebiasing):  # an image and its twin
                x, labels = torch.cat([x, changed]), labels.repeat(2)
            else:
                x, test = changed, self.fairness(test, state)
        fitted = LogisticRegression(C=100.0, class_weight="balanced", max_iter=2000).fit(x.double().numpy(), labels)
        return torch.from_numpy(fitted.decision_function(test.double().numpy())).float()


def methods(epochs: int) -> list[Method]:
    """OLTR++ as params.yaml has it, trained once on both cameras; its features as they are and made fair."""
    rows: dict[str, Fairness | None] = {
        "features as they are": None,
        "lfr": LearnedFairRepresentation(),
        "latent_debiasing": LatentDebiasing(),
    }
    return [Fair(name=name, train=Train(), fairness=fairness) for name, fairness in rows.items()]


def two_cameras(root: Path | None, seed: int) -> BenchmarkData:
    """The digits at rest, a part of the images by the second camera."""
    data = digits_at_rest(root, seed)
    train, test = data.train.clone(), data.test.clone()
    for k in range(int(data.train_labels.max()) + 1):
        mine, tested = ((of == k).nonzero()[:, 0] for of in (data.train_labels, data.test_labels))
        by_second = len(mine) - 1 if k % 2 else 1
        train[mine[:by_second]] = tint(train[mine[:by_second]])
        test[tested[::2]] = tint(test[tested[::2]])
    note = "every second test image of a class is tinted: the second camera's"
    return replace(data, train=train, test=test, open_sets={}, val=None, note=note)


def tint(images: Tensor) -> Tensor:
    """What the second camera makes of grey images, uint8 [N, 3, S, S]."""
    return (images * TINT).round().to(images.dtype)


def tinted(images: Tensor) -> Tensor:
    """[N], whether the second camera took it: grey images have three equal channels."""
    return (images[:, 0] != images[:, 2]).flatten(1).any(1)
