"""Large-margin loss between direct features and the memory (Eq. 13)."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import Context, Outputs, Targets
from oltr_core.losses.base import LossSpec
from oltr_core.shapes import Float, Tensor


class LargeMargin(LossSpec):
    """L = mean over images of [d_y - d_other + m]₊, with d_i = ‖v_direct - c_i‖.

    nearest: d_other = min_{i≠y} d_i    mean: d_other = the mean of d_i over i ≠ y

    Departs from the paper: Eq. 13 prints the sum over i ≠ y, which exceeds d_y + m for any sane geometry, so that
    the whole term with its gradient is zero from the first step; and v_meta, which Eq. 3 scales by the very
    distance that is to be measured. `m` is in units of the feature: 0.5 where it has length 1, the paper's 5.0 for
    lengths around 8.
    """

    name: Literal["large_margin"] = "large_margin"
    weight: float = 0.1  # the paper's λ
    form: Literal["nearest", "mean"] = "nearest"
    margin: Annotated[float, Field(ge=0)] = 0.5

    def __call__(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        return {self.name: self.weight * torch.relu(self.violation(outputs, targets)).mean()}

    def monitor(self, outputs: Outputs, targets: Targets, context: Context) -> dict[str, Float[Tensor, ""]]:
        """The share of images whose hinge is active: 0 means that this term trains nothing."""
        return {"hinge_active": (self.violation(outputs, targets) > 0).float().mean()}

    def violation(self, outputs: Outputs, targets: Targets) -> Float[Tensor, "B E"]:
        """d_y - d_other + m, before the hinge."""
        if outputs.distances is None:
            raise ValueError(
                "large_margin needs a memory: expected a meta_embedding head in this phase, found one without"
            )
        d = outputs.distances
        y = targets.labels[:, None, None].expand(-1, d.shape[1], 1)
        d_y = d.gather(2, y)[:, :, 0]
        if d.shape[2] == 1:
            return d_y * 0  # a single class has no other
        if self.form == "nearest":
            d_other = d.scatter(2, y, torch.inf).amin(2)
        else:
            d_other = (d.sum(2) - d_y) / (d.shape[2] - 1)
        return d_y - d_other + self.margin
