"""One loop with nothing local: sources, DVC's remote and MLflow's artifacts all lie in an S3 store."""

from __future__ import annotations

import pytest

from oltr_core import ledger
from oltr_core.layout import Layout
from tasks.dvc import pointers
from tests.flows.worlds import run, stages_run

pytestmark = pytest.mark.filterwarnings("ignore")  # botocore's own


def test_a_loop_whose_sources_remote_and_artifacts_are_in_s3(team, s3, s3_server, tmp_path):
    layout = team.layout
    assert "does not show this yet" not in team.progress
    assert ledger.replay(ledger.read(layout.ledger)).champion == "0000"

    md5 = pointers.pointer(layout.generation("0000").folder)["md5"].removesuffix(".dir")
    assert list(s3.list_below(f"s3://copies/dvc/files/md5/{md5[:2]}/{md5[2:]}"))
    assert [uri for uri in s3.list_below("s3://models/runs/") if uri.endswith("model.safetensors")]
    assert not layout.remote.exists()
    assert not layout.mlflow_artifacts.exists()
    config = (layout.root / ".dvc" / "config").read_text()
    assert "s3://copies/dvc" in config
    assert "testing" not in config, "no credential is written anywhere"

    clone = Layout(tmp_path / "clone")
    run(layout, "git", "add", "--all")
    run(layout, "git", "commit", "--quiet", "--message", "one generation")
    run(layout, "git", "clone", "--quiet", str(layout.root), str(clone.root))
    pulled = run(clone, "dvc", "pull", **s3_server)
    assert pulled.returncode == 0, pulled.stderr
    assert stages_run(run(clone, "dvc", "repro", **s3_server).stdout) == ["code"]

    features = list(s3.list_below("s3://copies/dvc/features/"))
    assert len(features) == len(list(layout.store.glob("features/*")))
    assert features
    done = run(layout, "oltr", "forget", "0000.png", "--yes", **s3_server)
    assert done.returncode == 0, done.stderr
    assert "and a search found nothing of them; weights" in done.stdout
    assert not set(features) & set(s3.list_below("s3://copies/dvc/features/"))
    assert done.stdout.endswith("; MLflow's files at s3://models/runs were replaced, and not searched\n")
