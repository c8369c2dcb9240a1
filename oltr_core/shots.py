"""Shot groups: how often a class was seen when the first generation was trained."""

from __future__ import annotations

from typing import Literal

MANY, FEW = 100, 20  # many >= 100 training images, few <= 20 (as in the authors' code), medium between
GROUPS = ("many", "medium", "few")
Shot = Literal["many", "medium", "few"]


def shot(train_images: int) -> Shot:
    """The shot group of a class with that many training images."""
    if train_images >= MANY:
        return "many"
    return "few" if train_images <= FEW else "medium"
