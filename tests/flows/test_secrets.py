"""Passwords in params.yaml are shown nowhere; a private workspace is closed to others."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import pytest

from oltr_core.layout import Layout
from tests.flows.test_bad_input import photos  # noqa: F401
from tests.flows.worlds import HIDDEN, PLANTED, SECRET, UNANSWERED, edit, run

PRELUDE = """
from oltr_core.layout import Layout, Path
from oltr_core.settings.workspace import keep_private
from tasks.dvc import stages
L = Layout(Path.cwd())"""


def holding(folder: Path, secret: str = SECRET) -> list[str]:
    """Files below `folder` that hold the secret."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.is_symlink())
    return [p.relative_to(folder).as_posix() for p in files if secret.encode() in p.read_bytes()]


def test_a_loop_shows_and_keeps_no_secret(gone_on):
    """Neither when MLflow does not answer, which stops nothing, nor when the remote does not."""
    layout = gone_on.layout
    assert "MLflow does not show this yet" in gone_on.progress
    assert "https://***@127.0.0.1:9" in gone_on.output
    assert SECRET not in gone_on.output + gone_on.progress
    assert layout.generation("0002").params.read_text().count("***") == 2
    assert holding(layout.root) == ["params.yaml"], "it is what a person wrote there"
    edit(layout, lambda p: p["storage"].update(remote=HIDDEN))
    failed = run(layout, "oltr", "loop", "--more", "1", **UNANSWERED)
    assert failed.returncode != 0
    assert SECRET not in failed.stdout + failed.stderr
    # DVC itself needs the address in its own file
    assert set(holding(layout.root)) <= {"params.yaml", ".dvc/config"}


def test_what_a_loop_says_and_leaves_holds_no_secret_of_its_environment(looped):
    """Reports, ledger, sealed generations, DVC's files, and the databases of MLflow and Prefect."""
    assert "the message was not delivered to OLTR_WEBHOOK_URL" in looped.progress, "they were there to be said"
    assert PLANTED not in looped.output + looped.progress
    for database in (looped.layout.mlflow_db, looped.layout.prefect_db):
        files = database.parent.glob(f"{database.name}*")
        assert any(b"generation" in file.read_bytes() for file in files), "it was at work"
    assert holding(looped.layout.root, PLANTED) == []


@pytest.mark.parametrize("private", [False, True])
def test_a_private_workspace_is_for_owner_and_group(photos: Layout, private):  # noqa: F811
    edit(photos, lambda p: p["workspace"].update(private=private))
    (photos.data / "work").mkdir(exist_ok=True)
    photos.data.chmod(0o755)
    done = run(photos, sys.executable, "-m", "flows.cli", "ingest")
    assert done.returncode == 0, done.stderr
    loop = "keep_private(L); [stages.bring_up_to_date(stage, L) for stage in ('code', 'curate')]"
    done = run(photos, sys.executable, "-c", f"{PRELUDE}; {loop}")  # as the loop does
    assert done.returncode == 0, done.stderr
    made = [photos.data, *photos.raw.rglob("*"), photos.work.manifest, photos.work.data_card]
    closed = [not stat.S_IMODE(path.stat().st_mode) & 0o027 for path in made]
    assert all(closed) if private else not any(closed)
