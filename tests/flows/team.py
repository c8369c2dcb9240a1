"""A Prefect server as a team runs it, and a workspace whose runs are there."""

from __future__ import annotations

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
    more["PREFECT_SERVER_SERVICES_DB_VACUUM_LOOP_SECONDS"] = "5"
    command = [sys.executable, "-m", "tasks.prefect.server", port]
    with served(command, f"{url}/health", prefect_home, environment(**more)):
        yield url


@dataclass(frozen=True)
class Team:
    """A workspace, and the environment of its commands."""

    layout: Layout
    env: dict[str, str]


@pytest.fixture(scope="session")
def team(url, tmp_path_factory) -> Team:
    """After `oltr loop`: one generation, whose batch nobody has annotated; with the score of a new workspace."""
    layout = new_world(tmp_path_factory.mktemp("team") / "world")

    def change(params: dict) -> None:
        params["annotator"] = {"name": "folder", "remind_after_days": 0}
        del params["update"]["score"]

    edit(layout, change)
    commit(layout, "people annotate")
    env = {"PREFECT_API_URL": url}
    done = run(layout, "oltr", "loop", "--generations", "2", **env)
    assert done.returncode == 0, done.stderr
    return Team(layout, env)
