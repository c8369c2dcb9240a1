"""The best that a linear classifier on frozen features can do: it is given every image, of generation 0 too."""

from __future__ import annotations

import torch
from torch import Tensor

from oltr_core.benchmark.steps import FromAll
from oltr_core.learners.closed_form import with_linear_heads
from oltr_core.models import Network


def logistic(penalty: float) -> FromAll:
    """Logistic regression by L-BFGS: mean over classes of the mean loss of their images + penalty ||W||^2 / 2."""

    def fit(parent: Network, features: Tensor, labels: Tensor) -> Network:
        from sklearn.linear_model import LogisticRegression  # not needed where no ceiling is computed

        assert features.shape[1] == 1, "one expert"
        # scikit-learn minimises C sum_i s_i loss_i + ||W||^2 / 2, its balanced s_i add up to the number of images
        found = LogisticRegression(C=1 / (penalty * len(labels)), class_weight="balanced", max_iter=1000)
        found.fit(features[:, 0].double().numpy(), labels.numpy())
        weight, bias = (torch.from_numpy(of)[None] for of in (found.coef_.T, found.intercept_))
        return with_linear_heads(parent, weight, bias)

    return fit
