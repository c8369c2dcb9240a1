"""What docker/compose.yaml starts, as processes of this machine; a worker in a folder of its own; a second clone.

PostgreSQL holds Prefect's and MLflow's databases, an S3 store DVC's remote and MLflow's artifacts. Folders of the
office, the worker and the clone share nothing but these services and a git repository: each has a home, caches and
a site cache of DVC of its own.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import pytest
import yaml

from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.settings.operations import Tracking
from tasks import mlflow as tracking
from tests.flows.conftest import looped  # noqa: F401  (a fixture)
from tests.flows.test_prefect_runs import ask
from tests.flows.worlds import BIN, commit, edit, environment, new_world, run
from tests.servers import free_port, served
from tests.services.test_serving import until
from tests.soak.facts import history, results
from tests.tasks.conftest import s3, s3_server  # noqa: F401  (fixtures)

SOON, AGAIN = 60, 300  # seconds from before the deployment until its schedule fires, and between its runs
PATIENCE = 1200  # seconds: two generations beside four servers
INITDB = shutil.which("initdb") or max(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), default=None)

pytestmark = [
    pytest.mark.services,
    pytest.mark.filterwarnings("ignore"),  # botocore's own
    pytest.mark.skipif(INITDB is None, reason="no PostgreSQL is installed (Debian: postgresql)"),
]


@pytest.fixture(scope="module")
def postgres():
    """A PostgreSQL with the databases `prefect` and `mlflow`: its address, password included, without the scheme."""
    import psycopg2

    assert INITDB is not None
    bin, port, password = Path(INITDB).resolve().parent, free_port(), secrets.token_hex(8)
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to work as root
    home = Path(tempfile.mkdtemp(prefix="oltr-postgres-"))  # below pytest's folders only their owner may look
    (home / "password").write_text(password)
    if user:
        shutil.chown(home, user)
        shutil.chown(home / "password", user)

    def call(command: str, *options: str) -> None:
        with (home / "said").open("a") as said:
            subprocess.run([bin / command, "-D", home / "data", *options], cwd=home, user=user, stdout=said,
                           stderr=said, check=True)  # fmt: skip

    try:
        call("initdb", "--username", "oltr", "--auth", "scram-sha-256", "--pwfile", str(home / "password"))
        call("pg_ctl", "start", "--wait", "--options", f"-h 127.0.0.1 -p {port} -k {home}")
        try:
            address = f"oltr:{password}@127.0.0.1:{port}"
            connection = psycopg2.connect(f"postgresql://{address}/postgres")
            connection.autocommit = True
            for name in ("prefect", "mlflow"):
                connection.cursor().execute(f"create database {name}")
            connection.close()
            yield address
        finally:
            call("pg_ctl", "stop", "--mode", "immediate")
    finally:
        shutil.rmtree(home)


@pytest.fixture
def team(postgres, s3, s3_server, tmp_path):  # noqa: F811
    """The addresses of Prefect's and MLflow's server, as compose configures them."""
    for bucket in ("dvc", "mlflow"):
        s3._client().create_bucket(Bucket=bucket)
    prefect, mlflow = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    database = {"PREFECT_API_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{postgres}/prefect"}
    one = environment(PREFECT_HOME=str(tmp_path / "prefect"), **database)
    store = {"MLFLOW_S3_ENDPOINT_URL": s3_server["AWS_ENDPOINT_URL"]}
    two = environment(MLFLOW_BACKEND_STORE_URI=f"postgresql://{postgres}/mlflow", **store, **s3_server)
    server = [BIN / "prefect", "server", "start", "--port", prefect.rpartition(":")[2]]
    tracker = [BIN / "mlflow", "server", "--port", mlflow.rpartition(":")[2], "--workers", "1"]
    tracker += ["--artifacts-destination", "s3://mlflow"]
    with (
        served(server, f"{prefect}/api/health", tmp_path / "servers", one),
        served(tracker, f"{mlflow}/health", tmp_path / "servers", two),
    ):
        yield f"{prefect}/api", mlflow


def machine(folder: Path) -> dict[str, str]:
    """The environment of another machine, as far as this one can be two."""
    names = ("HOME", "PREFECT_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "DVC_SITE_CACHE_DIR")
    places = {name: folder / name.lower() for name in names}
    for place in places.values():
        place.mkdir(parents=True)
    return {name: str(place) for name, place in places.items()}


def clone(git: Path, folder: Path, *options: str) -> Layout:
    subprocess.run(["git", "clone", "--quiet", *options, git, folder / "world"], check=True, capture_output=True)
    return Layout(folder / "world")


def schedule(layout: Layout) -> None:
    """A run for two generations every few minutes, beginning SOON, and nothing else by itself."""
    found = yaml.safe_load(layout.prefect_yaml.read_text())
    for deployment in found["deployments"]:
        deployment.pop("schedules", None)
    begin = (datetime.now(UTC) + timedelta(seconds=SOON)).isoformat()
    found["deployments"][0]["schedules"] = [{"interval": AGAIN, "anchor_date": begin, "active": True}]
    found["deployments"][0]["parameters"]["more"] = 2
    layout.prefect_yaml.write_text(yaml.safe_dump(found, sort_keys=False))


def test_a_worker_elsewhere_makes_what_a_loop_makes_on_the_services_of_compose(
    team,
    postgres,
    s3,  # noqa: F811
    s3_server,  # noqa: F811
    looped,  # noqa: F811
    tmp_path,
):
    import psycopg2

    (prefect, mlflow), git = team, tmp_path / "git"
    office = new_world(tmp_path / "office", databases=False)
    shared = {"tracking": {"uri": mlflow}, "storage": {"remote": "s3://dvc/world"}, "versions": {"commit": True}}
    edit(office, lambda params: params.update(shared))
    commit(office, "services of the team")
    subprocess.run(["git", "clone", "--quiet", "--bare", office.root, git], check=True, capture_output=True)
    shutil.rmtree(office.root)

    place, port = tmp_path / "worker", free_port()
    layout, there = clone(git, place), machine(place) | s3_server | {"PREFECT_API_URL": prefect}
    schedule(layout)
    done = run(layout, "oltr", "deploy", **there)
    assert done.returncode == 0, done.stderr
    working = [BIN / "prefect", "worker", "start", "--type", "process", "--pool", "oltr", "--with-healthcheck"]
    env = environment(**there, PREFECT_WORKER_WEBSERVER_PORT=str(port))
    try:
        with served(working, f"http://127.0.0.1:{port}/health", layout.root, env) as log:
            until(lambda: runs(prefect), PATIENCE)
            pause = f"{prefect}/deployments/{runs(prefect)[0]['deployment_id']}/pause_deployment"
            urllib.request.urlopen(urllib.request.Request(pause, method="POST"), timeout=60).close()
            over = ("COMPLETED", "FAILED", "CRASHED")
            until(lambda: [r for r in runs(prefect) if r["state"]["type"] in over], PATIENCE)
        (made,) = runs(prefect)
        assert made["state"]["type"] == "COMPLETED", log.read_text()[-3000:]
        assert made["auto_scheduled"]
    finally:
        for process in psutil.process_iter(["environ"]):  # a run that is not over, in a session of its own
            if (process.info["environ"] or {}).get("HOME") == there["HOME"]:
                process.kill()
    assert history(layout) == history(looped.layout)
    assert results(layout) == results(looped.layout)

    for name, table in (("prefect", "flow_run"), ("mlflow", "runs")):
        with psycopg2.connect(f"postgresql://{postgres}/{name}") as connection, connection.cursor() as cursor:
            cursor.execute(f"select count(*) from {table}")
            assert cursor.fetchone()[0] > 2
        connection.close()

    run(layout, "git", "push", "--quiet", "origin", "oltr/generations")
    pulled, here = clone(git, tmp_path / "clone", "--branch", "oltr/generations"), machine(tmp_path / "clone")
    done = run(pulled, "dvc", "pull", **here, **s3_server)
    assert done.returncode == 0, done.stderr
    assert history(pulled) == history(layout)
    assert results(pulled) == results(layout)

    tracking.connect(pulled, Tracking(uri=mlflow))
    found = {r.data.tags["oltr.generation"]: r for r in tracking.runs(Tracking(uri=mlflow))}
    assert {name: r.data.tags["oltr.verdict"] for name, r in found.items()} == dict.fromkeys(
        ("0000", "0001"), "promoted"
    )
    for name, one in found.items():
        (sealed,) = [e for e in ledger.read(pulled.ledger) if (e.event, e.generation) == ("sealed", name)]
        assert sealed.details["metrics"].items() <= one.data.metrics.items()
        path = f"{one.info.artifact_uri.removeprefix('mlflow-artifacts:/')}/report.html"
        with urllib.request.urlopen(f"{mlflow}/api/2.0/mlflow-artifacts/artifacts/{path}", timeout=60) as answer:
            assert answer.read() == pulled.generation(name).report.read_bytes()
        assert f"s3://mlflow/{path}" in s3.list_below("s3://mlflow/")


def runs(prefect: str) -> list[dict]:
    """The runs that the schedule has begun, with their state."""
    found = [r for r in ask(prefect, "flow_runs") if r["deployment_id"]]
    return [r for r in found if r["state"]["type"] not in ("SCHEDULED", "PENDING")]
