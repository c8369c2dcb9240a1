"""Single images of a workspace: forgotten everywhere, recognised, and what is left over found and removed."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from oltr_core.data import forgetting, housekeeping
from oltr_core.data.forgetting import Forgotten
from oltr_core.data.housekeeping import Leftover
from oltr_core.data.sightings import answer, sightings
from oltr_core.layout import Layout


def find(layout: Layout, names: Iterable[str]) -> list[str]:
    """The ids of the images that people name by id or by address."""
    return forgetting.find(layout, list(names))


def forget(layout: Layout, image_ids: Iterable[str], at: str) -> Forgotten:
    return forgetting.forget(layout, list(image_ids), at)


def seen(layout: Layout, path: Path) -> str:
    """Whether the image in a file, or a near-duplicate of it, was in training, and since which generation."""
    return answer(path, sightings(layout, path))


def leftovers(layout: Layout) -> list[Leftover]:
    return housekeeping.leftovers(layout)


def remove(found: list[Leftover]) -> None:
    housekeeping.remove(found)
