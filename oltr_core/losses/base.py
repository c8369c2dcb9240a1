"""What the losses share: a weight in the sum, and cross-entropy over the expert axis."""

import torch

from oltr_core.interfaces import Context, Outputs, Progress, Targets
from oltr_core.shapes import Float, Tensor
from oltr_core.spec import Spec


class LossSpec(Spec):
    """One term of a sum of losses. The call returns {name: weight · value}; the values add up to the loss."""

    weight: float = 1.0

    def varies_with(self, progress: Progress) -> object:
        """What in the equation follows `progress`: where it is equal, steps are computed alike."""
        return None

    def monitor(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        """What is worth a line in the training log beside the value itself."""
        return {}


def probabilities(targets: Targets, logits: Float[Tensor, "B E K"]) -> Float[Tensor, "B 1 K"]:
    """The target distribution of each image, the same for every expert."""
    if targets.soft is not None:
        return targets.soft[:, None]
    return torch.nn.functional.one_hot(targets.labels, logits.shape[2]).to(logits.dtype)[:, None]


def cross_entropy(
    logits: Float[Tensor, "B E K"], targets: Targets, class_weights: Float[Tensor, "K"] | None = None
) -> Float[Tensor, ""]:
    """-Σ_k y_k log p_k, averaged over images and experts: every expert answers for itself.

    With class weights the mean is weighted, and the weights sum to one over the batch.
    """
    if targets.soft is None:
        labels = targets.labels[:, None].expand(-1, logits.shape[1])
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), class_weights)
    log_p = logits.log_softmax(2)
    y = targets.soft[:, None]
    if class_weights is None:
        return -(y * log_p).sum(2).mean()
    return -(class_weights * y * log_p).sum() / (class_weights * y).sum() / logits.shape[1]
