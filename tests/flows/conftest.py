"""Fixtures of the flow tests that several files share: workspaces after whole loops."""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

from oltr_core.layout import Layout
from tests.flows import worlds
from tests.flows.team import prefect_home, team, url  # noqa: F401  (fixtures)
from tests.flows.worlds import ANY_LETTERS, HIDDEN, SECRETS, UNANSWERED, called, commit, copied, edit, new_world, run
from tests.tasks.conftest import s3, s3_server  # noqa: F401  (fixtures)


@pytest.fixture(scope="session", autouse=True)
def shared(tmp_path_factory) -> None:
    """What is the same for every worker is made by one of them, below a folder that belongs to the run."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        worlds.shared = tmp_path_factory.getbasetemp().parent


@dataclass(frozen=True)
class Looped:
    """A workspace after its loop, and what the loop said."""

    layout: Layout
    output: str
    progress: str


@pytest.fixture(scope="session")
def looped(tmp_path_factory) -> Looped:
    """Two generations on the digits, by one command: one embedded server for all the tests that read the result."""
    layout = new_world(tmp_path_factory.mktemp("looped") / ANY_LETTERS)
    done = run(layout, "oltr", "loop", "--generations", "2", **SECRETS)
    assert done.returncode == 0, done.stderr
    result = Looped(layout, done.stdout, done.stderr)
    commit(layout, "two generations")
    return result


@pytest.fixture
def world(looped, tmp_path) -> Layout:
    """A copy of it that a test may change, its remote included."""
    return copied(looped.layout, tmp_path / "world")


@dataclass(frozen=True)
class Forgotten:
    """A workspace after `oltr forget`, what the command said, and the image in pieces and where they were before."""

    layout: Layout
    done: subprocess.CompletedProcess[str]
    pieces: list[bytes]
    before: list[Path]


@pytest.fixture(scope="session")
def forgotten(looped, tmp_path_factory) -> Forgotten:
    """In a copy of those two generations an answered image is looked up by its pixels, and forgotten."""
    import numpy as np
    import polars as pl
    from PIL import Image

    from oltr_core import checkpoint
    from oltr_core.images.shards import Shards
    from oltr_core.ingest.thumbnails import thumbnail
    from oltr_core.settings.whole import load_settings
    from oltr_core.upkeep import models, search
    from tasks import mlflow

    layout = copied(looped.layout, tmp_path_factory.mktemp("forgotten") / ANY_LETTERS)
    shutil.rmtree(layout.mlflow_artifacts)  # MLflow's database names them where they were
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, at its import
        assert mlflow.mirror(layout, load_settings(layout).tracking) == ["0000", "0001"]
    manifest = pl.read_parquet(layout.generation("0001").manifest, glob=False)
    answered = manifest.filter(pl.col("label_source") == "truth", split="train").sort("image_id").row(0, named=True)
    pixels = Shards(layout.raw).read(answered["batch"], answered["shard"], answered["row"])
    index = pl.read_parquet(layout.batch(answered["batch"]).index, glob=False)
    _, of_it = models.features(layout, [answered["image_id"]], checkpoint.load(layout.generation("0001").model))
    values = [pixels.tobytes(), thumbnail(pixels), *(row.numpy().tobytes() for row in of_it[0])]
    values += [layout.generation(name).contact_sheet.read_bytes() for name in ("0000", "0001")]
    assert index.height
    pieces = [piece for value in values for piece in search.pieces(value)]
    before = search.holding([layout.data, *layout.owned], pieces)
    photo = layout.root / "photo.png"
    Image.fromarray(pixels).save(photo)
    asked = called(layout, "oltr", "check", str(photo))
    assert f"it was in training since generation 0001, as '{answered['label']}'" in asked.stdout, asked.stderr
    photo.unlink()
    done = run(layout, "oltr", "forget", answered["address"], "--yes")
    assert "forgot 1 image:" in done.stdout
    left = Shards(layout.raw).read(answered["batch"], answered["shard"], answered["row"])
    assert np.array_equal(left, np.zeros((1, 1, 3), np.uint8))
    return Forgotten(layout, done, pieces, before)


@pytest.fixture(scope="session")
def gone_on(forgotten, tmp_path_factory) -> Looped:
    """A third generation after it, in a workspace from a backup, whose tracking server does not answer."""
    folder = tmp_path_factory.mktemp("gone-on")
    saved = called(forgotten.layout, "oltr", "backup", str(folder / "kept"))
    assert saved.returncode == 0, saved.stderr
    assert "all digests agree" in saved.stdout
    layout = Layout(folder / "restored")
    layout.root.mkdir()
    restored = called(layout, "oltr", "restore", str(folder / "kept"))
    assert restored.returncode == 0, restored.stderr
    edit(layout, lambda params: params["tracking"].update(uri=HIDDEN))
    done = run(layout, "oltr", "loop", "--more", "1", **UNANSWERED)
    assert done.returncode == 0, done.stderr
    return Looped(layout, done.stdout, done.stderr)
