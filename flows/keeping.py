"""Keeping house: an image forgotten everywhere, leftovers shown and removed, an image looked up."""

from __future__ import annotations

from pathlib import Path

from flows import session
from oltr_core.layout import Layout
from tasks import clock, images
from tasks.versions import track


def forget(layout: Layout, names: tuple[str, ...]) -> str:
    """Forget images by id or address: in the workspace, in DVC's cache and in its remote."""
    with session.alone(layout):
        ids = images.find(layout, names)
        tracked = [p.with_suffix("") for p in sorted(layout.data.glob("*/*.dvc"))]
        before = track.objects(layout, *tracked)
        images.forget(layout, ids, clock.now())
        here = [path for path in tracked if path.exists()]
        track.add(layout, *here)
        track.push(layout, *here)
        dropped = track.drop(layout, before - track.objects(layout, *tracked))
    return (
        f"forgot {len(ids)} images: their bytes, features and pictures are gone, {dropped} copies in DVC with them; "
        "what they taught the weights stays until the next full training"
    )


def leftovers(layout: Layout) -> list[str]:
    """A line per thing that nothing refers to, and how much it holds."""
    return [f"{item.path} ({item.bytes / 2**20:.1f} MiB): {item.why}" for item in images.leftovers(layout)]


def collect(layout: Layout) -> None:
    """Remove what nothing refers to."""
    with session.alone(layout):
        images.remove(images.leftovers(layout))


def seen(layout: Layout, paths: tuple[Path, ...]) -> list[str]:
    return [images.seen(layout, path) for path in paths]
