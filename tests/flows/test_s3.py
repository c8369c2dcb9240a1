"""One loop with nothing local: sources, DVC's remote and MLflow's artifacts all lie in an S3 store."""

from __future__ import annotations

import io
import json

import pytest

from oltr_core import ledger
from tests.flows.worlds import edit, new_world, run, stages_run

pytestmark = pytest.mark.filterwarnings("ignore")  # botocore's own


def fill(storage) -> None:
    """Scans of three digits with labels and splits, and a pool with a fourth, as a table in the store."""
    from PIL import Image

    from oltr_core.ingest.sources.digits import scans, to_rgb

    client = storage._client()
    for name in ("photos", "copies", "models"):
        client.create_bucket(Bucket=name)
    grey, digits = scans()
    lines = ["path,label,split"]
    for digit in (0, 1, 2, 3):
        splits = ["pool"] * 8 if digit == 3 else ["train"] * 8 + ["val"] * 4 + ["test"] * 4 + ["pool"] * 3
        for index, split in zip((digits == digit).nonzero()[0], splits, strict=False):
            file = io.BytesIO()
            Image.fromarray(to_rgb(grey[index])).save(file, "PNG")
            client.put_object(Bucket="photos", Key=f"scans/{index:04d}.png", Body=file.getvalue())
            lines.append(f"{index:04d}.png,{digit},{split}")
    client.put_object(Bucket="photos", Key="scans/index.csv", Body="\n".join(lines).encode())


def test_a_loop_whose_sources_remote_and_artifacts_are_in_s3(tmp_path, s3, s3_server):
    fill(s3)
    layout = new_world(tmp_path / "world")

    def point(params: dict) -> None:
        params["sources"] = [
            {"batch": "scans", "sources": [{"name": "table", "path": "s3://photos/scans/index.csv"}]}
        ]
        del params["update"]["score"]  # that of a new workspace
        params["storage"] |= {"remote": "s3://copies/dvc", "features": True}
        params["tracking"]["artifacts"] = "s3://models/runs"

    edit(layout, point)
    done = run(layout, "oltr", "loop", "--generations", "1", **s3_server)
    assert done.returncode == 0, done.stderr
    assert "does not show this yet" not in done.stderr
    assert ledger.replay(ledger.read(layout.ledger)).champion == "0000"

    pointer = json.loads(json.dumps((layout.generations / "0000.dvc").read_text()))
    md5 = pointer.split("md5: ")[1].split(".dir")[0]
    assert list(s3.list_below(f"s3://copies/dvc/files/md5/{md5[:2]}/{md5[2:]}"))
    assert [uri for uri in s3.list_below("s3://models/runs/") if uri.endswith("model.safetensors")]
    assert not layout.remote.exists()
    assert not layout.mlflow_artifacts.exists()
    config = (layout.root / ".dvc" / "config").read_text()
    assert "s3://copies/dvc" in config
    assert "testing" not in config, "no credential is written anywhere"

    clone = tmp_path / "clone"
    run(layout, "git", "add", "--all")
    run(layout, "git", "commit", "--quiet", "--message", "one generation")
    run(layout, "git", "clone", "--quiet", str(layout.root), str(clone))
    pulled = run(type(layout)(clone), "dvc", "pull", **s3_server)
    assert pulled.returncode == 0, pulled.stderr
    assert stages_run(run(type(layout)(clone), "dvc", "repro", **s3_server).stdout) == ["code"]

    features = list(s3.list_below("s3://copies/dvc/features/"))
    assert len(features) == len(list(layout.store.glob("features/*")))
    assert features
    done = run(layout, "oltr", "forget", "0000.png", "--yes", **s3_server)
    assert done.returncode == 0, done.stderr
    assert "and a search found nothing of them; weights" in done.stdout
    assert not set(features) & set(s3.list_below("s3://copies/dvc/features/"))
    assert done.stdout.endswith("; MLflow's files at s3://models/runs were replaced, and not searched\n")
