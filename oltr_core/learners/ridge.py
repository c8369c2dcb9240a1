"""Class-balanced ridge regression in closed form (Fang et al., "AIR", 2024), also on random features (RanPAC)."""

from dataclasses import replace
from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core import projection
from oltr_core.class_statistics import covariance, trained_counts
from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.learners import closed_form
from oltr_core.learners.base import LearnerSpec
from oltr_core.models import Network
from oltr_core.models.heads import RandomProjection
from oltr_core.pseudo_features import correlation, draw
from oltr_core.shapes import Float, Int, Tensor

PER_CLASS = 100  # pseudo-features that stand for a class's images where their projected features were not measured


class Ridge(LearnerSpec):
    """(W, b) = argmin sum_k mean_{x of k} ||W' x + b - e_k||^2 + g ||W||^2: one-hot targets, every class alike.

    With the mean second moment m_k m_k' + S of class k: W = (sum_k (m_k - m)(m_k - m)' + K S + g I)^-1 C and
    b = 1/K - W' m, where m is the mean of the m_k, and C has the columns m_k - m.
    Departs from AIR: S is the covariance that all classes share. A second moment for each class would be exact, and
    K D^2 numbers: 2 GB at 1,000 classes and D = 512. Analytic continual learning (ACIL, Zhuang et al. 2022) and
    RanPAC are the same closed form where every image counts alike, with which rare classes are hardly ever predicted.

    `projection: M` puts h = relu(R x) with a fixed random R [M, D] in the place of x: RanPAC's features, the classes
    counted alike. Statistics of h are measured after a full training with this setting and kept in the checkpoint,
    8 E M (M + K) bytes: then an update is a computation from scratch, and an image can be subtracted. After another,
    pseudo-features stand for the images of the full training, and the statistics of h are theirs from then on.
    """

    name: Literal["ridge"] = "ridge"
    penalty: Annotated[float, Field(gt=0)] = 0.001  # g: of features of length 1
    projection: Annotated[int, Field(ge=0)] = 0  # M: random directions of the projection; 0: none
    seed: int = 0  # of R

    def __call__(
        self, parent: Network, old: ClassStatistics, new: AnnotatedFeatures, generator: torch.Generator
    ) -> tuple[Network, ClassStatistics]:
        if not self.projection:
            return closed_form.update(self.solve, parent, old, new, generator)
        if len(new.labels):
            old = self.projecting(old, parent.spec.normalise, generator)
        return closed_form.update(self.solve, parent, old, new, generator, RandomProjection(size=self.projection))

    def measured(
        self, features: Float[Tensor, "N E D"], labels: Int[Tensor, "N"], num_classes: int
    ) -> ClassStatistics:
        """The statistics of a full training's features, with those of their projection if there is one."""
        statistics = super().measured(features, labels, num_classes)
        if not self.projection:
            return statistics
        of = projection.directions(features.shape[1], features.shape[2], self.projection, self.seed)
        return replace(statistics, projected=projection.measure(features, labels, num_classes, of))

    def projecting(self, statistics: ClassStatistics, unit: bool, generator: torch.Generator) -> ClassStatistics:
        """The statistics with those of h: as they are where R is this one, else of correlated pseudo-features."""
        experts, num_classes, dim = statistics.means.shape
        of = projection.directions(experts, dim, self.projection, self.seed)
        there = statistics.projected.get("directions")
        if there is not None and torch.equal(there, of):
            return statistics
        trained = trained_counts(statistics)
        labels = torch.nonzero(trained > 0)[:, 0].repeat_interleave(PER_CLASS)
        drawn = draw(statistics, labels, unit, generator, correlation(statistics))
        found = projection.measure(drawn, labels, num_classes, of)
        found["sums"] *= trained[:, None] / PER_CLASS
        return replace(statistics, projected=found)

    def solve(self, statistics: ClassStatistics) -> tuple[Float[Tensor, "E D K"], Float[Tensor, "E K"]]:
        """W and b of each expert."""
        if self.projection:
            statistics = projection.of_projected(statistics)
        means = statistics.means.double()
        num_classes, dim = means.shape[1:]
        centre = means.mean(1, keepdim=True)
        apart = (means - centre).transpose(1, 2)  # [E, D, K]
        gram = apart @ apart.transpose(1, 2) + num_classes * covariance(statistics)
        weight = torch.linalg.solve(gram + self.penalty * torch.eye(dim, dtype=gram.dtype), apart)
        return weight, 1 / num_classes - (centre @ weight)[:, 0]
