"""Upkeep: an image forgotten everywhere, unreferenced files shown and removed, an image looked up."""

from __future__ import annotations

from pathlib import Path

from flows.loop import alone
from oltr_core.layout import Layout
from tasks import clock
from tasks.dvc import repository


def forget(layout: Layout, names: tuple[str, ...]) -> str:
    """Forget images by id or address: in the workspace, in DVC's cache and in its remote."""
    from oltr_core.upkeep import forgetting

    with alone(layout):
        ids = forgetting.find(layout, list(names))
        tracked = [p.with_suffix("") for p in sorted(layout.data.glob("*/*.dvc"))]
        before = repository.objects(layout, *tracked)
        forgetting.forget(layout, ids, clock.now())
        here = [path for path in tracked if path.exists()]
        repository.add(layout, *here)
        repository.push(layout, *here)
        dropped = repository.drop(layout, before - repository.objects(layout, *tracked))
    return (
        f"forgot {len(ids)} images: their bytes, features and pictures are gone, {dropped} copies in DVC with them; "
        "their effect on the weights stays until the next full training"
    )


def unreferenced(layout: Layout) -> list[str]:
    """A line per thing that nothing refers to, and how much it holds."""
    from oltr_core.upkeep import garbage

    return [f"{item.path} ({item.bytes / 2**20:.1f} MiB): {item.why}" for item in garbage.leftovers(layout)]


def collect(layout: Layout) -> None:
    """Remove what nothing refers to."""
    from oltr_core.upkeep import garbage

    with alone(layout):
        garbage.remove(garbage.leftovers(layout))


def seen(layout: Layout, paths: tuple[Path, ...]) -> list[str]:
    """Whether each image, or a near-duplicate of it, was in training, and since which generation."""
    from oltr_core.upkeep.sightings import answer, sightings

    return [answer(path, sightings(layout, path)) for path in paths]
