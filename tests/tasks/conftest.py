"""An S3 server of our own on the loopback, in memory, for whoever needs one."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """The environment with which boto3, DVC and MLflow find the server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (tmp_path_factory.mktemp("moto") / "log").open("wb")
    server = subprocess.Popen(
        [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield {**KEYS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    server.terminate()
    server.wait(10)
    log.close()


@pytest.fixture
def s3(s3_server, monkeypatch):
    """tasks.storage talking to the server."""
    from tasks import storage

    for key, value in s3_server.items():
        monkeypatch.setenv(key, value)
    storage._client.cache_clear()
    yield storage
    storage._client.cache_clear()
