"""What is kept of images that are no longer there, and features drawn from it.

Of every class its mean, spread and count; of annotated images the features themselves. Letters: m a class mean,
s its standard deviation per dimension, n its count.
"""

import torch

from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.shapes import Float, Int, Tensor

RARE = 20  # below so many images a class's own spread is not to be trusted: the shot groups' "few"


def measure(features: Float[Tensor, "N E D"], labels: Int[Tensor, "N"], num_classes: int) -> ClassStatistics:
    """The statistics of the images of a full training; none of them is kept."""
    counts = torch.bincount(labels, minlength=num_classes).float()
    means = _means(features, labels, counts)
    kept = {"features": features[:0], "labels": labels[:0]}
    return ClassStatistics(means, _stds(features, labels, means, counts), counts, kept)


def grow(old: ClassStatistics, new: AnnotatedFeatures) -> ClassStatistics:
    """The same with the annotated images: kept, counted, and taken into the means and spreads of their classes."""
    num_classes = max(len(old.counts), int(new.labels.max()) + 1)
    features = torch.cat([old.kept["features"], new.features])
    labels = torch.cat([old.kept["labels"], new.labels])
    added = torch.bincount(new.labels, minlength=num_classes).float()
    before = torch.nn.functional.pad(old.counts, (0, num_classes - len(old.counts)))
    counts = before + added
    padding = (0, 0, 0, num_classes - old.means.shape[1])
    old_means, old_stds = (torch.nn.functional.pad(t, padding) for t in (old.means, old.stds))
    # the mean of n old and n' new images: (n m + n' m') / (n + n')
    share = (added / counts.clamp(min=1))[:, None]
    means = torch.lerp(old_means, _means(new.features, new.labels, added), share)
    fresh = _stds(features, labels, means, torch.bincount(labels, minlength=num_classes).float(), old.stds)
    stds = torch.where((before > 0)[:, None], old_stds, fresh)
    return ClassStatistics(means, stds, counts, {"features": features, "labels": labels})


def draw(
    statistics: ClassStatistics, labels: Int[Tensor, "B"], unit: bool, generator: torch.Generator
) -> Float[Tensor, "B E D"]:
    """Pseudo-features: m + s * noise, at unit length where the network's features are."""
    means, stds = (t[:, labels].transpose(0, 1) for t in (statistics.means, statistics.stds))
    drawn = means + stds * torch.randn(means.shape, generator=generator)
    return torch.nn.functional.normalize(drawn, dim=-1) if unit else drawn


def remembered(
    statistics: ClassStatistics, unit: bool, generator: torch.Generator, per_class: int = 50
) -> tuple[Float[Tensor, "N E D"], Int[Tensor, "N"]]:
    """Every class as it is stored: pseudo-features, and the features of the annotated images."""
    labels = torch.arange(len(statistics.counts)).repeat_interleave(per_class)
    kept = statistics.kept
    features = torch.cat([draw(statistics, labels, unit, generator), kept["features"]])
    return features, torch.cat([labels, kept["labels"]])


def _means(features: Tensor, labels: Tensor, counts: Tensor) -> Float[Tensor, "E K D"]:
    sums = features.new_zeros(len(counts), *features.shape[1:]).index_add_(0, labels, features)
    return (sums / counts.clamp(min=1)[:, None, None]).transpose(0, 1)


def _stds(
    features: Tensor, labels: Tensor, means: Tensor, counts: Tensor, known: Tensor | None = None
) -> Float[Tensor, "E K D"]:
    """Standard deviations of each class; a rare class's is pooled over all classes.

    With `known`, the spreads of older classes, the pool is their mean: the few new images estimate it worse.
    """
    variance = features.new_zeros(len(counts), *features.shape[1:])
    variance.index_add_(0, labels, (features - means[:, labels].transpose(0, 1)) ** 2)
    degrees = (counts - 1).clamp(min=0)[:, None, None]
    pooled = (variance.sum(0) / degrees.sum().clamp(min=1))[None]
    if known is not None:
        pooled = (known**2).mean(1)[None]
    own = variance / degrees.clamp(min=1)
    return torch.where((counts >= RARE)[:, None, None], own, pooled).sqrt().transpose(0, 1)
