from __future__ import annotations

import threading

import pytest

from flows import steps
from flows.headstart import HeadStart, begun, joined, key
from flows.loop import _until_done, head_start
from flows.plan import Step
from oltr_core.layout import Layout
from oltr_core.settings.whole import Settings
from tasks.prefect.server import Server


def test_a_step_that_is_under_way_is_joined_and_not_done_twice():
    go, times = threading.Event(), []

    def slow() -> int:
        go.wait(5)
        times.append(1)
        return 7

    start = HeadStart({"slow": slow})
    start.start()
    threading.Timer(0.05, go.set).start()
    assert joined("slow", slow) == 7
    assert times == [1]
    assert joined("slow", lambda: 8) == 8, "a result is taken once; later generations do the step themselves"


def test_a_step_that_failed_is_done_again_where_failures_are_shown():
    def fail() -> int:
        raise ValueError("no")

    start = HeadStart({"first": fail, "second": lambda: 1})
    start.start()
    start.join(5)
    assert isinstance(start.failed, ValueError)
    assert joined("second", lambda: 2) == 2, "what comes after a failure was not begun"
    with pytest.raises(ValueError, match="no"):
        joined("first", fail)


def test_the_tasks_of_a_run_join_every_step_that_the_head_start_has_begun(monkeypatch, tmp_path):
    from prefect.utilities.callables import get_call_parameters, parameters_to_args_kwargs

    from flows import generation

    def call(task, *arguments):
        """As Prefect does, which fills in the defaults of a step."""
        given, _ = parameters_to_args_kwargs(task.fn, get_call_parameters(task.fn, arguments, {}))
        return task.fn(*given)

    monkeypatch.setattr(steps, "pending_batches", lambda *_: ["first"])
    layout = Layout(tmp_path)
    start = head_start(layout, Settings(), Step("make", "0000"))
    start.steps = [(future, lambda: "joined") for future, _ in start.steps]
    start.start()
    assert begun("ingest") == ["first"]
    assert call(generation.ingest, layout, "first") == "joined"
    assert call(generation.open_generation, layout, "0000") == "joined"
    assert [call(generation.run_stage, layout, stage) for stage in ("code", "curate", "train")] == ["joined"] * 3
    assert key(steps.open_generation, "0000", True) != key(steps.open_generation, "0000")


@pytest.mark.parametrize("restarts", [0, 1, 2])
def test_a_flow_runs_again_once_its_server_answers_for_each_time_that_this_was_started_again(
    tmp_path, monkeypatch, restarts
):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    server, did = Server(Layout(tmp_path)), []

    def wait() -> None:
        did.append("answers")

    def run() -> None:
        did.append("run")
        if server.restarts < restarts:
            server.restarts += 1
            raise RuntimeError("no slot for a task")
        raise ValueError("a mistake that stays")

    monkeypatch.setattr(server, "wait", wait)
    with pytest.raises(ValueError, match="a mistake that stays"):
        _until_done(server, run)
    assert did == ["run", *["answers", "run"] * restarts]
    _until_done(server, lambda: did.append("well"))
    assert did[-2:] == ["run", "well"], "once"
