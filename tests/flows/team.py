"""A team's workspace: runs on a Prefect server; sources, DVC's remote and MLflow's artifacts in an S3 store."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from oltr_core.layout import Layout
from tests.flows.worlds import commit, edit, empty_databases, environment, new_world, run
from tests.servers import free_port, served


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(scope="session")
def url(prefect_home) -> Iterator[str]:
    """The address of a Prefect server with all its services, as a team runs it."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    shutil.copy(empty_databases().prefect_db, prefect_home / "prefect.db")
    more = {"PREFECT_HOME": str(prefect_home), "PREFECT_API_URL": url}
    more["PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS"] = "1"
    command = [sys.executable, "-m", "tasks.prefect.server", port]
    with served(command, f"{url}/health", prefect_home, environment(**more)):
        yield url


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


def _in_the_store(params: dict) -> None:
    params["annotator"] = {"name": "folder", "remind_after_days": 0}
    params["sources"] = [{"batch": "scans", "sources": [{"name": "table", "path": "s3://photos/scans/index.csv"}]}]
    del params["update"]["score"]  # that of a new workspace, which ONNX has
    params["storage"] |= {"remote": "s3://copies/dvc", "features": True}
    params["tracking"]["artifacts"] = "s3://models/runs"


@dataclass(frozen=True)
class Team:
    """A workspace, what its loop said, and the environment of its commands."""

    layout: Layout
    progress: str
    env: dict[str, str]


@pytest.fixture(scope="session")
def team(url, s3_server, tmp_path_factory) -> Team:
    """After `oltr loop`: one generation, whose batch nobody has annotated."""
    from tasks import storage

    with pytest.MonkeyPatch.context() as patched:
        for key, value in s3_server.items():
            patched.setenv(key, value)
        storage._client.cache_clear()
        fill(storage)
        storage._client.cache_clear()
    layout = new_world(tmp_path_factory.mktemp("team") / "world")
    edit(layout, _in_the_store)
    commit(layout, "people annotate")
    env = {**s3_server, "PREFECT_API_URL": url}
    done = run(layout, "oltr", "loop", "--generations", "2", **env)
    assert done.returncode == 0, done.stderr
    return Team(layout, done.stderr, env)
