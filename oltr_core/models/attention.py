"""Attention over the last feature map (Sec. 3.3).

Letters of Eq. 6: f a feature map, SA(f) its self-attention map, MA(f) a spatial gate conditioned on it.
"""

from typing import Literal

import torch
from torch import nn

from oltr_core.shapes import Float, Tensor

AttentionKind = Literal["modulated", "spatial", "none"]


class SelfAttention(nn.Module):
    """SA(f): every position gathers from all positions, softmax(q·k/√d) v, and a 1x1 convolution brings it back.

    Departs from the authors' code: the logits are divided by √d; the last convolution really starts at zero (theirs
    was zeroed and then initialised again with every other convolution); and d is at most 256, for C/2 of a
    ResNet-50's 2048 channels would add a tenth to the cost of the whole backbone.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, min(channels // 2, 256))
        self.query = nn.Conv2d(channels, inner, 1, bias=False)
        self.key = nn.Conv2d(channels, inner, 1, bias=False)
        self.value = nn.Conv2d(channels, inner, 1, bias=False)
        self.out = nn.Conv2d(inner, channels, 1, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, f: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        q, k, v = (part(f).flatten(2).transpose(1, 2) for part in (self.query, self.key, self.value))  # [B, HW, d]
        gathered = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(gathered.transpose(1, 2).unflatten(2, f.shape[2:]))


class SpatialGate(nn.Module):
    """MA(f): a softmax over the positions, one map for all channels, with mean 1 whatever the size of the map.

    Departs from the authors' code, where one linear layer over the flattened 7x7 map ties the gate to that size
    and its softmax damps the attention 49 times.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 1, 1)

    def forward(self, f: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 1 H W"]:
        positions = f.shape[2] * f.shape[3]
        gate = torch.softmax(self.conv(f).flatten(2), dim=-1) * positions
        return gate.unflatten(2, f.shape[2:])


class ModulatedAttention(nn.Module):
    """Eq. 6: f_att = f + MA(f) ⊗ SA(f). The identity at initialisation, for SA(f) starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.self_attention = SelfAttention(channels)
        self.gate = SpatialGate(channels)

    def forward(self, f: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return f + self.gate(f) * self.self_attention(f)  # Eq. 6


class SpatialAttention(nn.Module):
    """The common practice that Fig. 9 compares with: f_att = f + MA(f) ⊗ (a f), gated without self-attention.

    `a` is a gain per channel that starts at zero, so that this too is the identity at initialisation.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gate = SpatialGate(channels)
        self.gain = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, f: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        return f + self.gate(f) * (self.gain * f)


def attention(kind: AttentionKind, channels: int) -> nn.Module:
    """The module of that name, for feature maps of so many channels."""
    kinds = {"modulated": ModulatedAttention, "spatial": SpatialAttention, "none": nn.Identity}
    return kinds[kind](channels)
