"""Features drawn from class statistics, in the place of those of images that are no longer there.

Letters: m a class mean, s its standard deviation per dimension.
"""

import torch

from oltr_core.class_statistics import covariance
from oltr_core.interfaces import ClassStatistics
from oltr_core.shapes import Float, Int, Tensor


def draw(
    statistics: ClassStatistics,
    labels: Int[Tensor, "B"],
    unit: bool,
    generator: torch.Generator,
    factor: Float[Tensor, "E D D"] | None = None,
) -> Float[Tensor, "B E D"]:
    """Pseudo-features: m + s * noise, at unit length where the network's features are.

    The dimensions are independent, or correlated by `factor`, of `correlation`.
    """
    means, stds = (t[:, labels].transpose(0, 1) for t in (statistics.means, statistics.stds))
    noise = torch.randn(means.shape, generator=generator)
    if factor is not None:
        noise = torch.einsum("bei,eji->bej", noise, factor)
    drawn = means + stds * noise
    return torch.nn.functional.normalize(drawn, dim=-1) if unit else drawn


def correlation(statistics: ClassStatistics, shrinkage: float = 0.01) -> Float[Tensor, "E D D"]:
    """L with L L' = (1 - shrinkage) R + shrinkage I, where R is the correlation of the covariance within a class.

    With the standard deviations of its class, m + s * L noise then has the covariance diag(s) R diag(s).
    """
    within = covariance(statistics)
    spread = within.diagonal(dim1=1, dim2=2).clamp(min=1e-12).sqrt()
    eye = torch.eye(within.shape[1], dtype=within.dtype)
    shared = (1 - shrinkage) * within / (spread[:, :, None] * spread[:, None]) * (1 - eye) + eye
    return torch.linalg.cholesky(shared).float()


def remembered(
    statistics: ClassStatistics, unit: bool, generator: torch.Generator, per_class: int = 50
) -> tuple[Float[Tensor, "N E D"], Int[Tensor, "N"]]:
    """Every class as it is stored: pseudo-features, and the features of the annotated images.

    Dimensions are correlated as they are within a class, for a score that is fitted on these measures along
    directions, and images lie far apart along few of them. A checkpoint without totals does not say how.
    """
    labels = torch.arange(len(statistics.counts)).repeat_interleave(per_class)
    kept = statistics.kept
    drawn = draw(statistics, labels, unit, generator, correlation(statistics))
    return torch.cat([drawn, kept["features"]]), torch.cat([labels, kept["labels"]])
