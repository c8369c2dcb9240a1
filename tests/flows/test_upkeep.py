"""Upkeep by the command line: what nobody knows is refused, unreferenced files are removed."""

from __future__ import annotations

import pytest

from oltr_core.layout import Layout
from tests.flows.worlds import called


def test_an_image_that_nobody_knows_is_refused_in_one_sentence(world):
    done = called(world, "oltr", "forget", "nowhere.png", "--yes")
    assert done.returncode == 2
    assert "nowhere.png: no batch holds an image of this id or address (of" in done.stderr.strip().splitlines()[-1]


def test_unreferenced_files_are_shown_before_they_are_removed(world):
    stray = world.features("0" * 64) / "features.npy"
    stray.parent.mkdir(parents=True)
    stray.write_bytes(b"0")
    kept = {p for p in (world.store / "features").iterdir() if p != stray.parent}
    shown = called(world, "oltr", "gc")
    assert "features that no model and batch here have" in shown.stdout
    assert stray.exists()
    assert called(world, "oltr", "gc", "--yes").returncode == 0
    assert set((world.store / "features").iterdir()) == kept
    assert kept
    assert called(world, "oltr", "gc", "--yes").stdout.strip() == "nothing is unreferenced"


@pytest.mark.parametrize("command", ["clean --yes", "reproduce 0001", "promote 0001 --reason x"])
def test_a_folder_that_is_no_workspace_is_refused_and_stays_as_it_is(tmp_path, command):
    (tmp_path / "data" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "mine.csv").write_text("1,2\n")
    done = called(Layout(tmp_path), "oltr", *command.split())
    assert done.returncode == 2
    assert "expected a workspace, found no data/generations/genesis, which `oltr init` writes" in done.stderr
    assert [p.name for p in sorted(tmp_path.rglob("*"))] == ["data", "raw", "mine.csv"]
