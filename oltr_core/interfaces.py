"""What passes between the parts of a model, its losses and its scores.

Every per-image tensor carries an expert axis: a network with one head has one expert, a two-headed one has two.
Shapes: B images, E experts, K classes, D feature dimensions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from oltr_core.shapes import Bool, Float, Int, Tensor


@dataclass(frozen=True)
class Outputs:
    """What a network computes for a batch of images."""

    logits: Float[Tensor, "B E K"]  # scaled: softmax of them is the probability
    features: Float[Tensor, "B E D"]  # the direct feature, v_direct
    embeddings: Float[Tensor, "B E D"]  # what the classifier sees: v_meta, or the direct feature itself
    distances: Float[Tensor, "B E K"] | None = None  # direct feature to every centroid; None without a memory

    @property
    def mean_logits(self) -> Float[Tensor, "B K"]:
        """The ensemble's logits: the mean over experts."""
        return self.logits.mean(1)

    @property
    def mean_distances(self) -> Float[Tensor, "B K"]:
        assert self.distances is not None, "this network has no memory"
        return self.distances.mean(1)

    @property
    def u_open(self) -> Float[Tensor, "B"]:
        """Eq. 7, and gamma of Eq. 4: U_open = min_i ||v_direct - c_i||_2, mean over experts of the distances."""
        return self.mean_distances.amin(1)

    @property
    def u_info(self) -> Float[Tensor, "B"]:
        """Eq. 8: U_info = d_1 / d_2, the two smallest distances; 1 on the boundary, and where there is one class."""
        distances = self.mean_distances
        if distances.shape[1] < 2:
            return torch.ones_like(distances[:, 0])
        nearest, second = distances.topk(2, dim=1, largest=False).values.unbind(1)
        return nearest / second.clamp(min=torch.finfo(second.dtype).tiny)

    def merge_columns(self, of: Sequence[int]) -> "Outputs":
        """The outputs with a column per class left: of[k] is the class that column k counts for, -1 for none.

        The probabilities of a class's columns add, in every expert, and its distance is that to the nearest of
        their centroids. With logits z, L_a = log sum_k exp(z_k) over the columns k of class a, so that softmax(L)_a
        is the sum of softmax(z)_k among the columns that count for a class. A temperature is fitted on L.
        """
        members = [[k for k, column in enumerate(of) if column == a] for a in range(max(of) + 1)]
        assert all(len(columns) for columns in members), "a class without a column"

        def joined(tensor: Tensor, join: Callable[[Tensor], Tensor]) -> Tensor:
            # of one column nothing is computed, so that its values stay equal to the bit
            parts = [
                tensor[..., columns] if len(columns) == 1 else join(tensor[..., columns])[..., None]
                for columns in members
            ]
            return torch.cat(parts, -1)

        distances = None if self.distances is None else joined(self.distances, lambda part: part.amin(-1))
        logits = joined(self.logits, lambda part: part.logsumexp(-1))
        return Outputs(logits, self.features, self.embeddings, distances)

    def __getitem__(self, rows: slice | Tensor) -> "Outputs":
        return self._each(lambda tensor: tensor[rows])

    def cpu(self) -> "Outputs":
        return self._each(Tensor.cpu)

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Outputs":
        distances = None if self.distances is None else change(self.distances)
        return Outputs(change(self.logits), change(self.features), change(self.embeddings), distances)


def concatenate(parts: list[Outputs]) -> Outputs:
    """The outputs of consecutive batches as one."""
    logits, features, embeddings = (
        torch.cat([getattr(part, name) for part in parts]) for name in ("logits", "features", "embeddings")
    )
    some = [p.distances for p in parts if p.distances is not None]
    return Outputs(logits, features, embeddings, torch.cat(some) if some else None)


@dataclass(frozen=True)
class Targets:
    """What the images are: class columns, and a soft distribution where two images were mixed."""

    labels: Int[Tensor, "B"]  # column numbers, not class ids
    soft: Float[Tensor, "B K"] | None = None

    def __getitem__(self, rows: slice | Tensor) -> "Targets":
        return Targets(self.labels[rows], None if self.soft is None else self.soft[rows])


@dataclass(frozen=True)
class Progress:
    """How far a training phase has come."""

    epoch: int  # 0 first
    epochs: int

    @property
    def fraction(self) -> float:
        """0 in the first epoch, towards 1 in the last."""
        return self.epoch / max(1, self.epochs)


@dataclass(frozen=True)
class Context:
    """What a loss may know beside the batch."""

    class_counts: Float[Tensor, "K"]  # training images per class column
    progress: Progress
    generator: torch.Generator


class Picks(NamedTuple):
    """A strategy's choice: rows of the pool, best first, each with its reason and figure of merit.

    A row of N + m, for a pool of N images, is row m of the labelled images of the `SelectionContext`.
    """

    indices: Int[Tensor, "N"]
    reasons: list[str]
    merit: Float[Tensor, "N"]  # larger = more useful to annotate
    shares: list[str] | list[str | None] | None = None  # of a composed batch: why each image is in it, one word
    clusters: list[int | None] | None = None  # images that one answer may name together


@dataclass(frozen=True)
class SelectionContext:
    """What a strategy may know beside the outputs of a pool of N images. Whatever is None is not known."""

    unknown: Bool[Tensor, "N"] | None = None  # taken for unknown at the model's threshold
    groups: Int[Tensor, "N"] | None = None  # images of one site, sequence or burst have one number; -1: of none
    class_counts: Float[Tensor, "K"] | None = None  # training images per class column
    class_names: list[str] | None = None  # of the columns
    labelled: Outputs | None = None  # training and validation images whose label may be put in question
    labels: Int[Tensor, "M"] | None = None  # their columns
    temperature: float = 1.0  # softmax(logits / temperature) is the probability

    def name(self, column: int) -> str:
        """What a class column is called in a reason."""
        return self.class_names[column] if self.class_names else f"class {column}"


@dataclass(frozen=True)
class Reference:
    """What a score may be fitted on: known classes only.

    `outputs` stand for the training images: pseudo-features drawn from class statistics, and features of annotated
    images. Pseudo-features have the right means, but they scatter less than images do: a scale needs `held_out`, and
    what is defined by means and a covariance takes them as they were measured, where there are class statistics.
    """

    outputs: Outputs
    labels: Int[Tensor, "B"]
    class_counts: Float[Tensor, "K"]
    held_out: Outputs | None = None  # of validation images of known classes, on which no weight was trained
    held_out_labels: Int[Tensor, "V"] | None = None
    means: Float[Tensor, "E K D"] | None = None  # of the direct features of each class that counts
    within: Float[Tensor, "E D D"] | None = None  # their covariance within a class


State = dict[str, Tensor]  # a score's fitted state, kept in the checkpoint


@dataclass(frozen=True)
class ClassStatistics:
    """What is kept of images that are no longer there: the memory of Eq. 1 and its spread.

    Enough to draw pseudo-features of a class around its centroid, and for a classifier in closed form. Its size does
    not grow with the images of a full training: one covariance is kept for all classes, not one for each, which at
    1,000 classes and D = 512 would be 2 GB. E experts, K classes, D dimensions.
    """

    means: Float[Tensor, "E K D"]  # class means of direct features, evaluation mode
    stds: Float[Tensor, "E K D"]  # per-class standard deviations, pooled for rare classes
    counts: Float[Tensor, "K"]
    kept: dict[str, Tensor] = field(default_factory=dict)  # features [N, E, D] and labels [N] of annotated images
    #: in float64, so that an image can be subtracted; empty in a checkpoint of version 2 or older. sums [E, K, D] of
    #: features; of the images of the full training: scatter [E, D, D] = sum_b w (x_b - m)(x_b - m)', weights [K]: w
    #: of an image by its class, and degrees []: sum_k w_k (n_k - 1)
    totals: dict[str, Tensor] = field(default_factory=dict)
    exemplars: dict[str, Tensor] = field(default_factory=dict)  # features and labels of images of the full training
    projected: dict[str, Tensor] = field(default_factory=dict)  # of these images too, `oltr_core/projection.py`


@dataclass(frozen=True)
class AnnotatedFeatures:
    """Images that people have named: what a learner learns from."""

    features: Float[Tensor, "N E D"]  # direct features, evaluation mode
    labels: Int[Tensor, "N"]  # columns; a new class has one from K on, without gaps
