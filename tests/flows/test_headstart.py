from __future__ import annotations

import threading

import pytest

from flows.headstart import HeadStart, joined


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
