"""A webhook is heard with the token alone, and one look takes all that came together."""

from __future__ import annotations

import threading
from queue import Queue

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from oltr_core.layout import Layout
from tasks.prefect import receiving

TOKEN = "4f0e-of-the-team"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def told(monkeypatch) -> Queue:
    """Workspaces whose answers were told of."""
    told: Queue[str] = Queue()
    monkeypatch.setattr(receiving, "answers_are_in", lambda name, at: told.put(name))
    monkeypatch.setattr(receiving, "TOGETHER", 3600.0)
    monkeypatch.setenv(receiving.TOKEN, TOKEN)
    return told


@pytest.fixture
def server(tmp_path) -> TestClient:
    return TestClient(Starlette(routes=[receiving.route(Layout(tmp_path / "Deer"))]))


def test_calls_that_come_together_are_one_event_and_a_later_one_is_another(server, told):
    for _ in range(2):
        assert [server.post("/oltr/deer/answers", headers=BEARER).status_code for _ in range(3)] == [202] * 3
        (timer,) = [each for each in threading.enumerate() if isinstance(each, threading.Timer)]
        assert timer.interval == 3600
        timer.function(*timer.args)  # as when the time is over
        timer.cancel()
        timer.join(20)
        assert (told.get(timeout=20), told.empty()) == ("deer", True)


@pytest.mark.parametrize("given", ["", "Bearer ", "Bearer 4f0e-of-the-teal", TOKEN, f"Bearer {TOKEN}s", "Bearer é"])
def test_without_the_token_nothing_is_started(server, told, given):
    headers = {"Authorization": given.encode()} if given else {}
    assert server.post("/oltr/deer/answers", headers=headers).status_code == 403
    assert told.empty()


def test_nobody_is_heard_where_no_token_was_chosen_and_none_for_another_workspace(server, told, monkeypatch):
    assert server.post("/oltr/elk/answers", headers=BEARER).status_code == 404
    assert server.get("/oltr/deer/answers", headers=BEARER).status_code == 405
    monkeypatch.delenv(receiving.TOKEN)
    for given in ("Bearer ", "Bearer"):
        assert server.post("/oltr/deer/answers", headers={"Authorization": given}).status_code == 403
