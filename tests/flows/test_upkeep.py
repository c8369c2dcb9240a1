"""Upkeep by the command line: an image looked up, forgotten in every copy, unreferenced files removed."""

from __future__ import annotations

import shutil

import numpy as np
import polars as pl
import pytest
from PIL import Image

from oltr_core import ledger
from oltr_core.images.shards import Shards
from tests.flows.conftest import run


@pytest.fixture
def own(world, looped):
    """A copy of the looped world with a remote of its own, since forgetting reaches into it."""
    shutil.copytree(looped.layout.remote, world.remote, dirs_exist_ok=True)
    config = world.root / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(looped.layout.remote.resolve()), str(world.remote)))
    return world


def trained(layout) -> dict:
    manifest = pl.read_parquet(layout.generation("0001").manifest)
    return manifest.filter(split="train").sort("image_id").row(0, named=True)


def test_an_image_is_forgotten_in_every_copy_and_the_loop_goes_on(own):
    row = trained(own)
    pixels = Shards(own.raw).read(row["batch"], row["shard"], row["row"])
    photo = own.root / "photo.png"
    Image.fromarray(pixels).save(photo)
    asked = run(own, "oltr", "check", str(photo))
    assert f"it was in training since generation 0000, as '{row['label']}'" in asked.stdout, asked.stderr

    def copies() -> list[str]:
        places = [own.data, own.root / ".dvc" / "cache", own.remote]
        files = [p for place in places for p in place.rglob("*") if p.is_file()]
        return [str(p) for p in files if pixels.tobytes() in p.read_bytes()]

    assert len(copies()) == 3
    done = run(own, "oltr", "forget", row["address"], "--yes")
    assert done.returncode == 0, done.stderr
    assert "forgot 1 images" in done.stdout
    assert copies() == []
    state = ledger.replay(ledger.read(own.ledger))
    assert state.forgotten == {row["image_id"]}
    assert all(ledger.verify_sealed(own.ledger, own.generation(name).folder) is None for name in state.sealed)
    more = run(own, "oltr", "loop", "--more", "1")
    assert more.returncode == 0, more.stderr
    now = pl.read_parquet(own.generation("0002").manifest)
    assert row["image_id"] not in now["image_id"].to_list()
    assert np.array_equal(Shards(own.raw).read(row["batch"], row["shard"], row["row"]), np.zeros((1, 1, 3), np.uint8))


def test_an_image_that_nobody_knows_is_refused_in_one_sentence(world):
    done = run(world, "oltr", "forget", "nowhere.png", "--yes")
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].endswith("nowhere.png: no batch holds an image of this id or address")


def test_unreferenced_files_are_shown_before_they_are_removed(world):
    stray = world.features("0" * 64) / "features.npy"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"0")
    kept = {p for p in (world.store / "features").iterdir() if p != stray.parent}
    shown = run(world, "oltr", "gc")
    assert "features that no model and batch here have" in shown.stdout
    assert stray.exists()
    assert run(world, "oltr", "gc", "--yes").returncode == 0
    assert set((world.store / "features").iterdir()) == kept
    assert kept
    assert run(world, "oltr", "gc", "--yes").stdout.strip() == "nothing is unreferenced"
