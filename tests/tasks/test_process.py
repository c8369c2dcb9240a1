"""What a command changes of its own process."""

from __future__ import annotations

import getpass
import os
import signal
from pathlib import Path

import pytest

from oltr_core.layout import Layout
from tasks import process


@pytest.fixture
def signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_ends_a_process_from_outside_is_a_keyboard_interrupt_also_in_the_background(signals, number):
    signal.signal(number, signal.SIG_IGN)
    process.end_as_by_keyboard()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_the_folder_of_the_workspace_is_left_whatever_happens_in_it(tmp_path):
    before = Path.cwd()
    with pytest.raises(FileNotFoundError), process.inside(Layout(tmp_path)):
        Path("none").read_text()
    with process.inside(Layout(tmp_path)):
        assert Path.cwd() == tmp_path
    assert Path.cwd() == before


def test_servers_of_this_machine_are_named_once_beside_those_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "example.org,localhost")
    monkeypatch.delenv("NO_PROXY", raising=False)
    for _ in range(2):
        process.prepare(Layout(tmp_path))
    assert os.environ["no_proxy"] == "example.org,localhost,127.0.0.1,::1"
    assert os.environ["NO_PROXY"] == "127.0.0.1,localhost,::1"


def test_who_has_a_home_and_a_name_keeps_them_and_nobody_gets_both(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/eve")
    monkeypatch.setenv("LOGNAME", "eve")
    process.prepare(Layout(tmp_path))
    assert (os.environ["HOME"], os.environ["LOGNAME"]) == ("/home/eve", "eve")

    def nobody(*_):
        raise KeyError("not in passwd")

    monkeypatch.setattr(Path, "home", nobody)
    monkeypatch.setattr(getpass, "getuser", nobody)
    process.prepare(Layout(tmp_path))
    assert (os.environ["HOME"], os.environ["LOGNAME"]) == (str(Layout(tmp_path).home), "oltr")
