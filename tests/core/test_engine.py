"""Units of work: in their order, done again when a worker is lost, and the same wherever they are done."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from oltr_core import engine
from tests.core.elsewhere import Elsewhere


def test_in_this_process_a_unit_is_done_when_its_result_is_asked_for():
    taken: list[int] = []

    def units() -> Iterator[int]:
        for n in range(9):
            taken.append(n)
            yield n

    results = engine.run(str, units())
    assert (next(results), next(results)) == ("0", "1")
    assert taken == [0, 1]


def dies(folder: Path, times: int, unit: int) -> int:
    """Kills its own process at the unit 2, so many times."""
    marks = len(list(folder.iterdir()))
    if unit == 2 and marks < times:
        (folder / str(marks)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return unit * unit


def test_the_units_of_a_process_that_was_killed_are_done_again_in_their_order(tmp_path):
    taken: list[int] = []

    def units() -> Iterator[int]:
        for n in range(9):
            taken.append(n)
            yield n

    results = engine.local(partial(dies, tmp_path, 1), units(), 2)
    assert next(results) == 0
    assert len(taken) < 9, "units are taken as workers become free"
    assert list(results) == [n * n for n in range(1, 9)]
    assert taken == list(range(9))
    assert len(list(tmp_path.iterdir())) == 1


def test_processes_that_die_again_and_again_are_given_up_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "STARTS", 2)
    with pytest.raises(ChildProcessError, match="2 times a worker process was killed, perhaps for want of memory"):
        list(engine.local(partial(dies, tmp_path, 9), range(9), 2))
    assert len(list(tmp_path.iterdir())) == 2


def test_an_engine_is_used_inside_alone_and_only_where_it_is_far():
    assert not engine.remote()
    with engine.using(Elsewhere()):
        assert engine.remote()
        assert list(engine.run(str, range(3), threads=2, gpu=True)) == ["0", "1", "2"]
    assert not engine.remote()
    with engine.using(Elsewhere(remote=False)):
        assert list(engine.run(lambda n: n, range(3))) == [0, 1, 2]  # a lambda cannot be pickled


def test_by_default_units_are_done_here_of_the_files_here():
    assert (engine.remote(), engine.isolated(), engine.copies(), engine.STARTS) == (False, False, None, 4)
    with engine.isolation():
        assert engine.isolated()
        with engine.using(Elsewhere(copies="copies")):  # pyright: ignore[reportArgumentType]
            assert engine.copies() == "copies"
    assert (engine.isolated(), engine.copies()) == (False, None)
    assert list(engine.run(lambda n: os.getpid(), [1])) == [os.getpid()], "one process: this one"
    used = Elsewhere()
    with engine.using(used):
        list(engine.run(str, range(3)))
    assert used.asked == [(1, False)]


def test_a_unit_that_may_be_done_apart_is_told_so():
    with engine.using(Elsewhere(isolated=True)):
        assert list(engine.run(_is_apart, range(2), isolated=True)) == [True, True]
        with pytest.raises(AssertionError, match="needs the workspace"):
            list(engine.run(_is_apart, range(2)))
    with engine.using(Elsewhere()):
        assert list(engine.run(_is_apart, range(2), isolated=True)) == [False, False]


def _is_apart(_: int) -> bool:
    return engine.isolated()


def test_what_an_engine_needs_to_know_of_a_unit_reaches_it():
    used = Elsewhere()
    with engine.using(used):
        list(engine.run(str, range(3), processes=7, threads=2, gpu=True))
    assert used.asked == [(2, True)]


@pytest.mark.parametrize("said", ["{}", "unreadable file ({})"])
def test_a_file_that_only_workers_cannot_read_is_no_bad_image(tmp_path, said):
    there, problem = tmp_path / "a.png", said.format(os.strerror(errno.ENOENT))
    there.touch()
    engine.same_files(there, problem)
    with engine.using(Elsewhere()):
        engine.same_files(there, "not an image")
        engine.same_files(tmp_path / "gone.png", problem)
        with pytest.raises(ValueError, match=r"a\.png: a worker cannot read this file .* same path, or write"):
            engine.same_files(there, problem)
