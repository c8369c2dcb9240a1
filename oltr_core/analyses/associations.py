"""What the memory associates with an image: nearest training images, coefficients, and where they come from."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from oltr_core.analyses.loaded import Loaded, head_of, memory_feature
from oltr_core.inference import classify
from oltr_core.models import Network

SPACES = {"direct": "direct feature", "memory": "memory feature", "meta": "meta-embedding"}


def choose(truth: list[str], ours: list[str], plain: list[str], counts: dict[str, int], most: int) -> list[int]:
    """At most so many rows: first those that memory changes, then one of each class; both from rare classes on."""
    order = sorted(range(len(truth)), key=lambda i: (ours[i] == plain[i], counts[truth[i]], truth[i], i))
    changed = [i for i in order if ours[i] != plain[i]]
    seen, others = {truth[i] for i in changed[:most]}, []
    for i in order[len(changed) :]:
        others += [] if truth[i] in seen else [i]
        seen.add(truth[i])
    return (changed + others)[:most]


def space(loaded: Loaded, features: Tensor, name: str) -> Tensor:
    """The first expert's features [N, D] in one of `SPACES`."""
    if name == "meta":
        return classify(loaded.model.network, features).embeddings[:, 0]
    return features[:, 0] if name == "direct" else memory_feature(head_of(loaded), features[:, 0])[1]


def nearest(queries: Tensor, bank: Tensor, count: int) -> Tensor:
    """Rows [Q, count] of `bank` [N, D] with the least Euclidean distance to each query [Q, D], nearest first."""
    found = []
    for part in queries.split(128):
        exact = torch.cdist(part, bank, compute_mode="donot_use_mm_for_euclid_dist")
        found.append(exact.topk(min(count, len(bank)), dim=1, largest=False).indices)
    return torch.cat(found)


@torch.no_grad()
def activation(network: Network, images: Tensor, columns: Tensor) -> Tensor:
    """Maps [n, H, W] of one image [1, 3, S, S]: where the logits of `columns` [n] of the hallucinator come from.

    Class activation mapping (Zhou et al. 2016): w_k · f(h, w) over the feature map f after attention and projection,
    divided by the length that the direct feature had; the mean over the map is the logit without its bias.
    """
    trunk, head = network.trunk, network.heads[0]
    f = trunk.attentions[0](trunk.branches[0](trunk.shared(images)))  # [1, C, H, W]
    f = trunk.projections[0](f.permute(0, 2, 3, 1))[0].float()  # [H, W, D]
    length = f.mean((0, 1)).norm().clamp_min(1e-12) if trunk.normalise else 1.0
    return torch.einsum("hwd,nd->nhw", f / length, head.hallucinator.weight[columns].float())  # pyright: ignore


def tinted(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """An image [H, W, 3] in grey, red where the map is positive, most where it is largest."""
    from PIL import Image

    side = max(96, *pixels.shape[:2])
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((side, side), Image.Resampling.NEAREST), float)
    share = np.clip(heat, 0, None) / max(float(heat.max()), 1e-12)
    spread = Image.fromarray(share.astype(np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    weight = 0.65 * np.clip(np.asarray(spread, float), 0, 1)[..., None]
    return ((1 - weight) * grey[..., None] + weight * np.array([220.0, 40.0, 30.0])).astype(np.uint8)
