"""What every test shares: shapes are checked at run time, and no test reaches beyond this machine."""

from __future__ import annotations

import os
import signal

# a shell starts what runs in the background with Ctrl-C ignored, and the processes that tests start inherit that
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# set before any of the packages is imported
os.environ.update(
    DO_NOT_TRACK="1",
    DVC_NO_ANALYTICS="1",
    GX_ANALYTICS_ENABLED="False",
    MLFLOW_DISABLE_TELEMETRY="true",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    HF_HUB_OFFLINE="1",
    GOMP_SPINCOUNT="1000",  # as the command line sets it: threads that wait leave the cores to other tests
)

if "PYTEST_XDIST_WORKER" in os.environ:  # as many workers as cores: more threads than these would only wait
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from jaxtyping import install_import_hook

# a wrong shape or dtype anywhere in the equations is an error at the call that made it
SLOTS = ("models", "losses", "samplers", "scores", "learners", "strategies")
install_import_hook([f"oltr_core.{slot}" for slot in SLOTS], "beartype.beartype")

#: fixtures of the session that cost more than most tests
COSTLY = ("looped", "s3_server", "url")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """One worker runs all tests that use the same costly fixture, and else all tests of a file; the longest first."""
    for item in items:
        path = item.path.relative_to(config.rootpath)
        fixture = next((name for name in COSTLY if name in item.fixturenames), None)
        if config.pluginmanager.hasplugin("xdist"):  # tests.mutation runs without plugins, where the mark is unknown
            item.add_marker(pytest.mark.xdist_group(fixture or path.as_posix()))
        if fixture or path.parts[1] in ("flows", "services"):  # servers, and commands in processes of their own
            item.add_marker(pytest.mark.slow)
    if "PYTEST_XDIST_WORKER" in os.environ:  # a long test that begins last would keep the other worker waiting
        items.sort(key=lambda item: (COSTLY[0] not in item.fixturenames, item.get_closest_marker("slow") is None))


@pytest.fixture(autouse=True)
def environment_restored():
    """Commands that a test calls in this process set variables for their own; the next test must not see them."""
    before = dict(os.environ)
    yield
    if os.environ != before:
        os.environ.clear()
        os.environ.update(before)
