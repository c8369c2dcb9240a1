"""Features after a fixed random projection with a ReLU, and their statistics (McDonnell et al., "RanPAC", 2023).

h = relu(R x), R [M, D] with entries N(0, 2/M), so that |h|² is |x|² on the average. Of the images of a full training
`ClassStatistics.projected` keeps what `totals` keeps of x: `sums` [E, K, M], `scatter` [E, M, M], `weights` [K] and
`degrees`, and `directions` R [E, M, D]. Annotated images are projected when they are needed: their x is kept.
"""

from dataclasses import replace

import torch

from oltr_core.class_statistics import divided, scatter_of, subtracted, sums_of, trained_counts
from oltr_core.interfaces import ClassStatistics
from oltr_core.seeding import torch_generator
from oltr_core.shapes import Float, Int, Tensor


def directions(experts: int, dim: int, size: int, seed: int) -> Float[Tensor, "E M D"]:
    """R of each expert, by the seed alone."""
    drawn = [torch.randn(size, dim, generator=torch_generator(seed, "projection", e)) for e in range(experts)]
    return torch.stack(drawn) * (2 / size) ** 0.5


def project(features: Float[Tensor, "N E D"], of: Float[Tensor, "E M D"]) -> Float[Tensor, "N E M"]:
    """relu(R x)."""
    return torch.einsum("ned,emd->nem", features, of).relu()


def measure(
    features: Float[Tensor, "N E D"], labels: Int[Tensor, "N"], num_classes: int, of: Float[Tensor, "E M D"]
) -> dict[str, Tensor]:
    """What is kept of the projected features of a full training."""
    h = project(features, of)
    return {"directions": of, "sums": sums_of(h, labels, num_classes), **scatter_of(h, labels, num_classes)}


def of_projected(statistics: ClassStatistics) -> ClassStatistics:
    """The statistics of h, of all images that `statistics` counts; standard deviations are not among them."""
    p, kept, size = statistics.projected, statistics.kept, len(statistics.counts)
    h, more = project(kept["features"], p["directions"]), size - len(p["weights"])
    sums = torch.nn.functional.pad(p["sums"], (0, 0, 0, more)) + sums_of(h, kept["labels"], size)
    totals = {"sums": sums, "scatter": p["scatter"], "degrees": p["degrees"]}
    totals["weights"] = torch.nn.functional.pad(p["weights"], (0, more))
    means = divided(sums, statistics.counts)
    return ClassStatistics(
        means, torch.zeros_like(means), statistics.counts, {"features": h, "labels": kept["labels"]}, totals
    )


def without_trained(
    statistics: ClassStatistics, features: Float[Tensor, "N E D"], labels: Int[Tensor, "N"]
) -> ClassStatistics:
    """The statistics with `projected` as if these images of the full training had not been there."""
    if not statistics.projected:
        return statistics
    p = {name: tensor.clone() for name, tensor in statistics.projected.items()}
    subtracted(p, p["sums"], trained_counts(statistics).double(), project(features, p["directions"]), labels)
    return replace(statistics, projected=p)
