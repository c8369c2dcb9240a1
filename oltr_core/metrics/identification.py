"""Identification at rank 1, as MegaFace measures it (the paper's Table 6).

Kemelmacher-Shlizerman et al., "The MegaFace Benchmark: 1 Million Faces for Recognition at Scale" (CVPR 2016), its
first challenge: for each ordered pair of images of one identity, the first is the probe and the second stands in a
gallery with the distractors, images of other identities. It is identified where it is nearer to the probe, by the
cosine of features, than every distractor. No classifier takes part, so the identities may be new to the model.
"""

from typing import NamedTuple

import torch

from oltr_core.shapes import Bool, Float, Int, Tensor
from oltr_core.shots import GROUPS

AT_ONCE = 2**24  # cosines held at a time
SIMILAR = 0.7  # cosine above which a training image counts as similar (the paper, MS1M-LT)
ONE_SHOT, ZERO_SHOT = "one-shot", "zero-shot"
#: pseudo shots of Table 6: the fewest similar training images -> the group, most first
PSEUDO_SHOTS = {5: GROUPS[0], 2: GROUPS[-1], 1: ONE_SHOT, 0: ZERO_SHOT}


class Identified(NamedTuple):
    """Of each probe [P]: how many other images its identity has, and how many of them are identified at rank 1."""

    pairs: Int[Tensor, "P"]
    right: Int[Tensor, "P"]


def identify(
    features: Float[Tensor, "N D"],
    identities: Int[Tensor, "N"],
    probes: Bool[Tensor, "N"],
    distractors: Bool[Tensor, "N"],
) -> Identified:
    """Each image of `probes` against the distractors of other identities than its own.

    A distractor that is as near as the other image counts against it: features that are all alike identify nobody.
    The other image of a pair is a probe, too. A probe without another image of its identity has no pairs.
    """
    unit = torch.nn.functional.normalize(features.float(), dim=1)
    pairs, right = [], []
    for some in probes.nonzero()[:, 0].split(max(1, AT_ONCE // len(unit))):
        cosine, same = unit[some] @ unit.T, identities[some][:, None] == identities
        nearest = cosine.masked_fill(same | ~distractors, -torch.inf).amax(1, keepdim=True)
        pair = same & probes
        pair[torch.arange(len(some)), some] = False  # an image is no pair with itself
        pairs.append(pair.sum(1))
        right.append((pair & (cosine > nearest)).sum(1))
    return Identified(torch.cat(pairs), torch.cat(right))


def similar(
    features: Float[Tensor, "N D"], training: Float[Tensor, "M D"], least: float = SIMILAR
) -> Int[Tensor, "N"]:
    """How many training images each image is similar to: cosine above `least`."""
    unit, of = (torch.nn.functional.normalize(one.float(), dim=1) for one in (features, training))
    step = max(1, AT_ONCE // max(1, len(of)))
    return torch.cat([(some @ of.T > least).sum(1) for some in unit.split(step)])


def pseudo_shot(similar_images: int) -> str:
    """The group of a probe with so many similar training images (the columns of Table 6)."""
    return next(group for least, group in PSEUDO_SHOTS.items() if similar_images >= least)
