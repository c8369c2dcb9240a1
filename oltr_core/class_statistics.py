"""What is kept of images that are no longer there; `pseudo_features` draws from it.

Of every class its mean, spread and count, of all classes together their covariance; of annotated images the features
themselves. Letters: m a class mean, s its standard deviation per dimension, n its count, x a feature.
"""

from dataclasses import replace

import torch

from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.shapes import Bool, Float, Int, Tensor

RARE = 20  # below so many images a class's own spread is not to be trusted: the shot groups' "few"


def measure(
    features: Float[Tensor, "N E D"], labels: Int[Tensor, "N"], num_classes: int, exemplars: int = 0
) -> ClassStatistics:
    """The statistics of the images of a full training; of each class, features of so many `exemplars` are kept."""
    counts = torch.bincount(labels, minlength=num_classes).float()
    means = _means(features, labels, counts)
    kept = {"features": features[:0], "labels": labels[:0]}
    chosen = {"features": features[rows := herd(features, labels, means, exemplars)], "labels": labels[rows]}
    totals = {"sums": sums_of(features, labels, num_classes), **scatter_of(features, labels, num_classes)}
    stds = _stds(features, labels, means, counts)
    return ClassStatistics(means, stds, counts, kept, totals, chosen if exemplars else {})


def grow(old: ClassStatistics, new: AnnotatedFeatures) -> ClassStatistics:
    """The same with the annotated images: kept, counted, and taken into the means and spreads of their classes."""
    num_classes = max(len(old.counts), int(new.labels.max()) + 1)
    features = torch.cat([old.kept["features"], new.features])
    labels = torch.cat([old.kept["labels"], new.labels])
    added = torch.bincount(new.labels, minlength=num_classes).float()
    before = torch.nn.functional.pad(old.counts, (0, num_classes - len(old.counts)))
    counts = before + added
    padding = (0, 0, 0, num_classes - old.means.shape[1])
    totals = totals_of(old)
    old_means, old_stds, sums = (torch.nn.functional.pad(t, padding) for t in (old.means, old.stds, totals["sums"]))
    sums = sums + sums_of(new.features, new.labels, num_classes)
    means = torch.where((added > 0)[:, None], divided(sums, counts), old_means)
    fresh = _stds(features, labels, means, torch.bincount(labels, minlength=num_classes).float(), old.stds)
    stds = torch.where((before > 0)[:, None], old_stds, fresh)
    weights = torch.nn.functional.pad(totals["weights"], (0, num_classes - len(totals["weights"])))
    totals |= {"sums": sums, "weights": weights}
    kept = {"features": features, "labels": labels}
    return ClassStatistics(means, stds, counts, kept, totals, old.exemplars, old.projected)


def covariance(statistics: ClassStatistics) -> Float[Tensor, "E D D"]:
    """S, the covariance within a class, in float64: sum_k w_k scatter_k / sum_k w_k (n_k - 1).

    An image of class k weighs w_k = min(1, (RARE - 1) / (n_k - 1)): a class counts by its degrees of freedom, and
    none for more than RARE images, so neither frequent classes decide alone, nor those of two images. A class of a
    full training has the scatter of those images; annotated ones, which are its most atypical, move its mean only. A
    class that was learned since has the scatter of its annotated images.
    """
    totals, kept, gone = totals_of(statistics), statistics.kept, trained_counts(statistics)
    since = gone[kept["labels"]] == 0
    new = scatter_of(kept["features"][since], kept["labels"][since], len(gone))
    return (totals["scatter"] + new["scatter"]) / (totals["degrees"] + new["degrees"]).clamp(min=1)


def shrunk(within: Float[Tensor, "E D D"], shrinkage: float) -> Float[Tensor, "E D D"]:
    """(1 - a) S + a tr(S)/D I; never singular."""
    spread = within.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-12)[:, None, None]
    return (1 - shrinkage) * within + shrinkage * spread * torch.eye(within.shape[1], dtype=within.dtype)


def totals_of(statistics: ClassStatistics) -> dict[str, Tensor]:
    """A copy of the totals. Those of an old checkpoint are what its standard deviations say, without correlations."""
    if statistics.totals:
        return {name: tensor.clone() for name, tensor in statistics.totals.items()}
    degrees = (trained_counts(statistics).double() - 1).clamp(min=0, max=RARE - 1)
    variance = (statistics.stds.double().square() * degrees[:, None]).sum(1)
    sums = statistics.means.double() * statistics.counts.double()[:, None]
    nothing = torch.zeros_like(degrees)
    return {"sums": sums, "scatter": torch.diag_embed(variance), "degrees": degrees.sum(), "weights": nothing}


def without_kept(statistics: ClassStatistics, stays: Bool[Tensor, "M"]) -> ClassStatistics:
    """The statistics as if only those annotated images had been there that stay; standard deviations remain."""
    kept, totals, size = statistics.kept, totals_of(statistics), len(statistics.counts)
    features, labels = kept["features"][~stays], kept["labels"][~stays]
    totals["sums"] -= sums_of(features, labels, size)
    left = {name: tensor[stays] for name, tensor in kept.items()}
    return _recounted(replace(statistics, kept=left, totals=totals), labels)


def without_trained(
    statistics: ClassStatistics, features: Float[Tensor, "N E D"], labels: Int[Tensor, "N"]
) -> ClassStatistics:
    """The statistics as if these images of the full training had not been there; standard deviations remain.

    Without x, a class of n images and mean m has scatter - n / (n - 1) (x - m)(x - m)'. Weights w stay as they are. A
    class none of whose images are of the full training stays as it is.
    """
    totals, kept, size = totals_of(statistics), statistics.kept, len(statistics.counts)
    sums = totals["sums"] - sums_of(kept["features"], kept["labels"], size)
    rows = subtracted(totals, sums, trained_counts(statistics).double(), features, labels)
    totals["sums"] -= sums_of(features[rows], labels[rows], size)
    return _recounted(replace(statistics, totals=totals), labels[rows])


def subtracted(
    totals: dict[str, Tensor],
    sums: Tensor,
    counts: Tensor,
    features: Float[Tensor, "N E D"],
    labels: Int[Tensor, "N"],
) -> list[int]:
    """Take images of the full training out of `totals`, `sums` and `counts`, in place; the rows that were in them.

    `sums` [E, K, D] and `counts` [K] are of the images of the full training alone.
    """
    rows = []
    for row, (x, k) in enumerate(zip(features.double(), labels.tolist(), strict=True)):
        if counts[k] < 1:
            continue
        rows.append(row)
        if counts[k] > 1:
            apart = x - sums[:, k] / counts[k]
            weight = totals["weights"][k] * counts[k] / (counts[k] - 1)
            totals["scatter"] -= weight * apart[:, :, None] * apart[:, None]
            totals["degrees"] -= totals["weights"][k]
        counts[k] -= 1
        sums[:, k] -= x
    return rows


def herd(
    features: Float[Tensor, "N E D"], labels: Int[Tensor, "N"], means: Float[Tensor, "E K D"], number: int
) -> Int[Tensor, "M"]:
    """Rows of at most `number` images of each class whose mean is nearest to the class's, one after another.

    p_j = argmin_x ||m - (x + sum_{i<j} p_i) / j|| over images not yet taken (Rebuffi et al., iCaRL, 2017, Alg. 4).
    """
    rows = []
    for k in range(means.shape[1] if number else 0):
        mine = (labels == k).nonzero().flatten()
        x, mean, total = features[mine].flatten(1), means[:, k].flatten(), torch.zeros(means[:, k].numel())
        free = torch.ones(len(mine), dtype=torch.bool)
        for j in range(1, 1 + min(number, len(mine))):
            apart = (mean - (x + total) / j).norm(dim=1).masked_fill(~free, torch.inf)
            taken = int(apart.argmin())
            free[taken], total = False, total + x[taken]
            rows.append(int(mine[taken]))
    return torch.tensor(rows, dtype=torch.long)


def trained_counts(statistics: ClassStatistics) -> Float[Tensor, "K"]:
    """Images of each class that are not kept: those of the full training."""
    return statistics.counts - torch.bincount(statistics.kept["labels"], minlength=len(statistics.counts))


def _recounted(statistics: ClassStatistics, removed: Int[Tensor, "N"]) -> ClassStatistics:
    """Counts, and means from sums, without the images of these classes; a class of no image keeps its mean."""
    fewer = torch.bincount(removed, minlength=len(statistics.counts))
    counts = statistics.counts - fewer
    changed = ((fewer > 0) & (counts > 0))[:, None]
    means = torch.where(changed, divided(statistics.totals["sums"], counts), statistics.means)
    return replace(statistics, means=means, counts=counts)


def sums_of(features: Tensor, labels: Tensor, num_classes: int) -> Float[Tensor, "E K D"]:
    """Sums of features by class, in float64."""
    sums = torch.zeros(num_classes, *features.shape[1:], dtype=torch.float64)
    for part, whose in zip(features.split(8192), labels.split(8192), strict=True):
        sums.index_add_(0, whose, part.double())
    return sums.transpose(0, 1)


def divided(sums: Tensor, counts: Tensor) -> Float[Tensor, "E K D"]:
    """Means, of sums and counts."""
    return (sums / counts.double().clamp(min=1)[:, None]).float()


def scatter_of(features: Tensor, labels: Tensor, num_classes: int) -> dict[str, Tensor]:
    """`scatter`, `weights` and `degrees` of these images; see `covariance`."""
    counts = torch.bincount(labels, minlength=num_classes).double()
    degrees = (counts - 1).clamp(min=0, max=RARE - 1)
    weights = degrees / (counts - 1).clamp(min=1)
    means = sums_of(features, labels, num_classes) / counts.clamp(min=1)[:, None]
    scatter = torch.zeros(*features.shape[1:], features.shape[2], dtype=torch.float64)
    for part, whose in zip(features.split(8192), labels.split(8192), strict=True):
        apart = part.double().transpose(0, 1) - means[:, whose]
        scatter += (apart * weights[whose, None]).transpose(1, 2) @ apart
    return {"scatter": scatter, "weights": weights, "degrees": degrees.sum()}


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
