"""What the `oltr` command sets for the processes that compute."""

from __future__ import annotations

import os
from contextlib import suppress

import pytest

from flows import cli


@pytest.mark.parametrize(("before", "after"), [("", "1000"), ("7", "7")])
def test_threads_that_wait_for_others_sleep_soon_unless_the_user_says_how(monkeypatch, before, after):
    monkeypatch.setenv("GOMP_SPINCOUNT", before)  # so that it is put back
    if not before:
        monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setattr("sys.argv", ["oltr", "--version"])
    with suppress(SystemExit):
        cli.main()
    assert os.environ["GOMP_SPINCOUNT"] == after
