"""Which test images the gate judges on, and which the reports are about: never the same ones."""

from collections.abc import Sequence

import torch

from oltr_core.shapes import Bool, Tensor


def gate_side(
    image_ids: Sequence[str],
    labels: Sequence[str | None],
    groups: Sequence[str | None],
    since: Sequence[str | None],
    share: float,
) -> Bool[Tensor, "N"]:
    """True for test images that are the gate's; none where `share` is 0.

    Of each label's groups (an image without one is a group of its own) a `share` goes to the gate, at even steps
    and the second first, so that a label of two groups is on both sides and one of a single group is reported.
    Groups are taken in the order of `since`, the generation that first knew the label, and then of the images'
    digests: it is the same draw every time, and images that arrive later do not move those that were there.
    A group with several labels goes where its first image goes.
    """
    first: dict[str, int] = {}
    order = sorted(range(len(image_ids)), key=lambda i: (since[i] or "", image_ids[i]))
    for i in order:
        first.setdefault(_unit(groups[i], image_ids[i]), i)
    seen: dict[str | None, int] = {}
    chosen: set[str] = set()
    for unit, i in first.items():
        k = seen[labels[i]] = seen.get(labels[i], -1) + 1  # the k-th group of this label
        if share and _steps(k, share) > _steps(k - 1, share):
            chosen.add(unit)
    return torch.tensor([_unit(groups[i], image_ids[i]) in chosen for i in range(len(image_ids))], dtype=torch.bool)


def _steps(k: int, share: float) -> int:
    """How many of the groups 0 to k are the gate's."""
    return int(1 + (k - 1) * share + 1e-9)


def _unit(group: str | None, image_id: str) -> str:
    return f"image {image_id}" if group is None else f"group {group}"
