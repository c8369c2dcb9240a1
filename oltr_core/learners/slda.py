"""Linear discriminant analysis from running statistics (Hayes and Kanan, "Deep SLDA", 2020)."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.class_statistics import covariance, shrunk
from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.learners import closed_form
from oltr_core.models import Network
from oltr_core.shapes import Float, Tensor
from oltr_core.spec import Spec


class StreamingLDA(Spec):
    """z_k = m_k' P x - m_k' P m_k / 2 with P = ((1 - a) S + a tr(S)/D I)^-1, equal priors; nothing is trained.

    S is the covariance within a class, m_k the mean of a class's images, old and new: what an update gives is what
    the same statistics give from scratch. Departs from Hayes and Kanan: S counts rare classes as much as frequent
    ones (`class_statistics.covariance`), and does not move with answers about classes of the full training.
    """

    name: Literal["slda"] = "slda"
    shrinkage: Annotated[float, Field(gt=0, le=1)] = 0.01  # a: of S towards its mean variance

    def __call__(
        self, parent: Network, old: ClassStatistics, new: AnnotatedFeatures, generator: torch.Generator
    ) -> tuple[Network, ClassStatistics]:
        return closed_form.update(self.solve, parent, old, new, generator)

    def solve(self, statistics: ClassStatistics) -> tuple[Float[Tensor, "E D K"], Float[Tensor, "E K"]]:
        """W = P M' and b_k = -m_k' W_k / 2, for each expert."""
        means = statistics.means.double().transpose(1, 2)  # [E, D, K]
        weight = torch.linalg.solve(shrunk(covariance(statistics), self.shrinkage), means)
        return weight, -(means * weight).sum(1) / 2
