"""What the engine `ray` says when it cannot work; tests/services/test_ray.py lets it work."""

from __future__ import annotations

import socket
import sys
from types import SimpleNamespace

import pytest

from oltr_core import engine
from oltr_core.layout import Layout
from tasks import ray
from tasks.ray import ranks, worker


@pytest.fixture
def workspace(tmp_path) -> Layout:
    layout = Layout(tmp_path / "workspace")
    layout.root.mkdir()
    layout.params.write_text("compute: {engine: {name: ray}}\n")
    return layout


def test_the_engine_is_the_one_of_params_yaml_and_without_a_file_this_machine(workspace):
    with ray.using(workspace):
        assert engine.remote()
    workspace.params.write_text("compute: {engine: {name: local}}\n")
    with ray.using(workspace):
        assert not engine.remote()
    with ray.using(Layout(workspace.root / "none")):
        assert not engine.remote()


def test_without_units_nothing_is_asked_of_ray(workspace, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with ray.using(workspace):
        assert list(engine.run(str, [])) == []
        with pytest.raises(ValueError, match=r"Ray is not installed here; `pip install 'oltr\[ray\]'` on every node"):
            list(engine.run(str, [1]))


def test_an_address_where_nothing_listens_is_named_with_what_to_do():
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=rf"no Ray cluster answers at '{address}' .*`ray start --head`"):
            ray._connect(None, address)


NODES = [
    {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 1.0}},
    {"Alive": True, "Resources": {"CPU": 3.0}},
    {"Alive": False, "Resources": {"CPU": 99.0}},
    {"Alive": True, "Resources": {"memory": 1.0}},
]


@pytest.mark.parametrize(("cores", "gpu", "places"), [(1, False, 11), (2, False, 5), (4, False, 2), (2, True, 1)])
def test_as_many_units_are_done_at_once_as_nodes_have_room_for(cores, gpu, places):
    assert ray._at_once(NODES, cores, gpu) == places


def test_units_are_sent_so_many_ahead_with_what_they_need_and_come_back_in_their_order(workspace, monkeypatch):
    asked, sent = [], []

    class Call:
        """A worker, in this process."""

        def options(self, **needs):
            asked.append(needs)
            return self

        def remote(self, function, unit, expected):
            sent.append(unit)
            return worker.unit(function, unit, expected)

    of_nodes = SimpleNamespace(nodes=lambda: NODES, put=lambda function: function, get=lambda result: result)
    monkeypatch.setattr(ray.Cluster, "_connected", lambda self: of_nodes)
    monkeypatch.setattr(ray, "_remote", Call)
    monkeypatch.setattr(worker, "_opened", lambda function: function)
    with ray.using(workspace):
        results = engine.run(str, range(40), threads=2)
        assert next(results) == "0"
        assert sent == list(range(5 * ray.AHEAD))
        assert list(results) == [str(n) for n in range(1, 40)]
        assert len(list(workspace.token("t").parent.iterdir())) == 1
    assert asked == [{"num_cpus": 2, "num_gpus": 0, "max_retries": ray.AGAIN}]
    assert not list(workspace.token("t").parent.iterdir())


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("copies", [object(), None])
def test_a_worker_may_do_without_the_workspace_where_there_are_copies_and_a_unit_needs_no_more(
    workspace, monkeypatch, copies, isolated
):
    expected, asked = [], []

    def remote(function, unit, of):
        expected.append(of)
        return unit

    def find():
        asked.append(1)
        return copies

    call = SimpleNamespace(options=lambda **needs: SimpleNamespace(remote=remote))
    of_nodes = SimpleNamespace(nodes=lambda: NODES, put=lambda function: function, get=lambda result: result)
    monkeypatch.setattr(ray.Cluster, "_connected", lambda self: of_nodes)
    monkeypatch.setattr(ray, "_remote", lambda: call)
    with ray.using(workspace, find):
        assert list(engine.run(str, [1, 2], isolated=isolated)) == [1, 2]
        assert list(engine.run(str, [3], isolated=isolated)) == [3]
    assert [(of.isolated, of.code) for of in expected] == [(isolated and copies is not None, worker.code())] * 3
    assert len({of.token for of in expected}) == 1
    assert len(asked) == isolated, "what is in the remote is asked once, and where it may help"


def test_a_training_of_more_processes_than_there_is_room_for_is_refused_and_others_know_what_to_find(
    workspace, monkeypatch
):
    came = []
    monkeypatch.setattr(ray.Cluster, "_connected", lambda self: SimpleNamespace(nodes=lambda: NODES))
    monkeypatch.setattr(ranks, "together", lambda *arguments: came.append(arguments[1:]))
    cluster = ray.Cluster(workspace, lambda: None)
    with pytest.raises(ValueError, match=r"compute.processes: expected at most 5, the Ray cluster's room, found 6"):
        cluster.together(print, 6, ("x",), 2, False)
    assert came == []
    cluster.together(print, 5, ("x",), 2, False)
    ((what, number, (expected, call, args), threads, gpu),) = came
    assert (what, number, call, args, threads, gpu) == (worker.take_part, 5, print, ("x",), 2, False)
    assert expected == worker.Expected(str(cluster.token), worker.code()), "each sees the workspace"
    assert cluster.token.exists()
    cluster.close()
    assert not cluster.token.exists()


def test_each_process_of_a_training_is_told_its_place_and_one_with_other_code_takes_no_part(tmp_path):
    token = Layout(tmp_path).token("t")
    token.parent.mkdir(parents=True)
    token.touch()
    came = []
    fit = worker.Expected(str(token), worker.code())
    worker.take_part("tcp://a:1", 1, 2, fit, lambda *arguments: came.append(arguments), ("x", "y"))
    assert came == [("tcp://a:1", 1, 2, "x", "y")]
    with pytest.raises(ValueError, match="has other code of oltr"):
        worker.take_part("tcp://a:1", 1, 2, worker.Expected(str(token), "0"), came.append, ())
    assert len(came) == 1


def test_what_no_node_has_is_not_waited_for():
    with pytest.raises(ValueError, match="needs 9 CPU cores, and no node of the Ray cluster has that; lower"):
        ray._at_once(NODES, 9, gpu=False)
    with pytest.raises(ValueError, match="needs 1 CPU cores and a GPU, and no node"):
        ray._at_once(NODES[1:], 1, gpu=True)


def test_a_worker_says_what_it_lacks(tmp_path):
    token = Layout(tmp_path).token("t")
    fit, other = worker.Expected(str(token), worker.code()), worker.Expected(str(token), "0")
    assert worker._unfit(fit) == (
        f"does not see the workspace {tmp_path}: give every node this folder, on storage that all share"
    )
    token.parent.mkdir(parents=True)
    token.touch()
    worker._unfit.cache_clear()
    assert worker._unfit(fit) == ""
    assert "has other code of oltr, or other versions of torch" in worker._unfit(other)
    with pytest.raises(ValueError, match="the Ray worker on .* has other code"):
        worker.unit([None], 1, other)


def test_a_worker_that_does_not_see_the_workspace_does_units_that_need_no_more_than_copies(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "_opened", lambda of: of)
    token = Layout(tmp_path).token("t")
    token.parent.mkdir(parents=True)
    expected = worker.Expected(str(token), worker.code(), isolated=True)
    assert worker.unit([lambda unit: (unit, engine.isolated())], 7, expected) == (7, True)
    token.touch()
    assert worker.unit([lambda unit: (unit, engine.isolated())], 7, expected) == (7, False)
    assert not engine.isolated()


def test_a_process_of_a_training_that_failed_says_why_and_one_that_was_lost_that_it_goes_on():
    class Raised(Exception):
        cause = None

    class Lost(Exception):
        pass

    def get(error):
        if error is not None:
            raise error

    of = SimpleNamespace(get=get, exceptions=SimpleNamespace(RayTaskError=Raised, RayError=Lost))
    assert ranks._error(of, None) is None
    why = Raised()
    assert ranks._error(of, why) is why
    why.cause = ValueError("a loss that is no number")
    assert ranks._error(of, why) is why.cause
    lost = ranks._error(of, Lost("its node\nis gone"))
    assert isinstance(lost, ChildProcessError)
    assert str(lost).startswith("Ray lost a process of the training (its node is gone); again, it goes on from")
    wrong, first = ValueError("a loss that is no number"), ChildProcessError("its connection was closed")
    why.cause = wrong
    assert ranks._reason(of, first, [None, Lost("x"), why]) is wrong, "the others fail because of it"
    assert ranks._reason(of, first, [None, Lost("x")]) is first
    assert ranks._reason(of, wrong, [Lost("x")]) is wrong
