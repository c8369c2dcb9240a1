"""Class-balanced ridge regression in closed form (Fang et al., "AIR", 2024; RanPAC and ACIL without the balance)."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.class_statistics import covariance
from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.learners import closed_form
from oltr_core.models import Network
from oltr_core.shapes import Float, Tensor
from oltr_core.spec import Spec


class Ridge(Spec):
    """(W, b) = argmin sum_k mean_{x of k} ||W' x + b - e_k||^2 + g ||W||^2: one-hot targets, every class alike.

    With the mean second moment m_k m_k' + S of class k: W = (sum_k (m_k - m)(m_k - m)' + K S + g I)^-1 C and
    b = 1/K - W' m, where m is the mean of the m_k, and C has the columns m_k - m.
    Departs from AIR: S is the covariance that all classes share. A second moment for each class would be exact, and
    K D^2 numbers: 2 GB at 1,000 classes and D = 512.
    """

    name: Literal["ridge"] = "ridge"
    penalty: Annotated[float, Field(gt=0)] = 0.001  # g: of features of length 1

    def __call__(
        self, parent: Network, old: ClassStatistics, new: AnnotatedFeatures, generator: torch.Generator
    ) -> tuple[Network, ClassStatistics]:
        return closed_form.update(self.solve, parent, old, new, generator)

    def solve(self, statistics: ClassStatistics) -> tuple[Float[Tensor, "E D K"], Float[Tensor, "E K"]]:
        """W and b of each expert."""
        means = statistics.means.double()
        num_classes, dim = means.shape[1:]
        centre = means.mean(1, keepdim=True)
        apart = (means - centre).transpose(1, 2)  # [E, D, K]
        gram = apart @ apart.transpose(1, 2) + num_classes * covariance(statistics)
        weight = torch.linalg.solve(gram + self.penalty * torch.eye(dim, dtype=gram.dtype), apart)
        return weight, 1 / num_classes - (centre @ weight)[:, 0]
