"""Bilateral-branch network (Zhou et al., CVPR 2020, Eq. 3-5): two streams of images, two experts, one loss."""

from typing import Literal

from oltr_core.interfaces import Context, Outputs, Progress, Targets
from oltr_core.losses.base import LossSpec, cross_entropy
from oltr_core.shapes import Float, Tensor


class BBN(LossSpec):
    """L = α CE(z, y_c) + (1 - α) CE(z, y_r), with z = α z_c + (1 - α) z_r and α = 1 - (t/T)².

    Needs two experts and a sampler of two streams (`bilateral`): the first half of the batch comes from the
    conventional stream and is read by expert 0, the second from the re-balancing stream and read by expert 1.
    As in Eq. 3: the authors' code multiplies z by two.
    """

    name: Literal["bbn"] = "bbn"

    def varies_with(self, progress: Progress) -> float:
        return progress.fraction

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        num_images, num_experts, _ = outputs.logits.shape
        if num_experts != 2 or num_images % 2:
            raise ValueError(
                f"bbn needs experts: 2 and the sampler bilateral, found {num_experts} expert(s) and a batch of "
                f"{num_images} images"
            )
        half = num_images // 2
        alpha = 1 - context.progress.fraction**2
        z = alpha * outputs.logits[:half, 0] + (1 - alpha) * outputs.logits[half:, 1]
        conventional, rebalancing = (cross_entropy(z[:, None], part) for part in (targets[:half], targets[half:]))
        return {self.name: self.weight * (alpha * conventional + (1 - alpha) * rebalancing)}
