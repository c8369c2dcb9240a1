"""Linear discriminant analysis from running statistics (Hayes and Kanan, "Deep SLDA", 2020)."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.class_statistics import covariance, shrunk
from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.learners import closed_form
from oltr_core.learners.base import LearnerSpec
from oltr_core.models import Network
from oltr_core.shapes import Float, Tensor


class StreamingLDA(LearnerSpec):
    """z_k = m_k' P x - (m_k' P m_k - tr(P S)/n_k) / 2 with P = ((1 - a) S + a tr(S)/D I)^-1, equal priors.

    Nothing is trained. S is the covariance within a class, m_k the mean of a class's n_k images, old and new: what an
    update gives is what the same statistics give from scratch. Departs from Hayes and Kanan: S counts rare classes as
    much as frequent ones (`class_statistics.covariance`), and does not move with annotations of classes of the full
    training; and the length of a mean is freed of its bias. The mean of n_k images is longer than that of the class,
    E m_k' P m_k = mu_k' P mu_k + tr(P S)/n_k, which would cost a class of few images about D/(2 n_k) of its logit.
    """

    name: Literal["slda"] = "slda"
    shrinkage: Annotated[float, Field(gt=0, le=1)] = 0.01  # a: of S towards its mean variance
    unbiased: bool = True  # false: without tr(P S)/n_k, as published

    def __call__(
        self, parent: Network, old: ClassStatistics, new: AnnotatedFeatures, generator: torch.Generator
    ) -> tuple[Network, ClassStatistics]:
        return closed_form.update(self.solve, parent, old, new, generator)

    def solve(self, statistics: ClassStatistics) -> tuple[Float[Tensor, "E D K"], Float[Tensor, "E K"]]:
        """W = P M' and b_k = -(m_k' W_k - tr(P S)/n_k) / 2, for each expert."""
        means = statistics.means.double().transpose(1, 2)  # [E, D, K]
        within = covariance(statistics)
        inverse = torch.linalg.inv(shrunk(within, self.shrinkage))
        weight = inverse @ means
        lengths = (means * weight).sum(1)
        if self.unbiased:
            spread = (inverse * within).sum((1, 2))  # tr(P S): both are symmetric
            lengths = lengths - spread[:, None] / statistics.counts.double().clamp(min=1)
        return weight, -lengths / 2
