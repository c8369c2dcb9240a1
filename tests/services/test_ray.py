"""A Ray cluster of two nodes on this machine computes what one process does, to the byte, whatever is killed."""

from __future__ import annotations

import os
import shutil
import signal
import time
from functools import partial
from pathlib import Path
from threading import Thread

import pytest

from oltr_core import checkpoint, engine, inference, schema
from oltr_core.files import write_atomically
from oltr_core.images.shards import Shards
from oltr_core.ingest import batch_writer, packing
from oltr_core.layout import Layout
from oltr_core.prediction import loaded, predict
from oltr_core.settings.reading import load_sections
from oltr_core.settings.whole import load_settings
from oltr_core.stages import ingest, select, train
from tasks import ray, storage, workspace
from tasks.dvc import copies, remotes, repository
from tests.core.stages import loop_world as world
from tests.tasks.conftest import s3, s3_server  # noqa: F401  (fixtures)

pytestmark = [pytest.mark.services, pytest.mark.filterwarnings("ignore")]  # Ray's own
SMALL = 100 * 2**20  # bytes of a node's object store


@pytest.fixture(scope="module")
def cluster():
    """A head where nothing is computed, and two nodes of one core each."""
    os.environ |= {"RAY_raylet_start_wait_time_s": "180", "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ["PYTHONPATH"] = str(world.ROOT)  # this checkout, also where another one is installed
    from ray.cluster_utils import Cluster

    nodes = Cluster(True, head_node_args={"num_cpus": 0, "object_store_memory": SMALL, "include_dashboard": False})
    for _ in range(2):
        nodes.add_node(num_cpus=1, object_store_memory=SMALL)
    yield nodes
    nodes.shutdown()  # of these nodes, by their processes


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Generation 0 in shards of 64 images, made without Ray."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_writer, "SHARD_ROWS", 64)
        layout = world.make(tmp_path_factory.mktemp("whole"))
    world.compute(layout)
    return layout


def on_the_cluster(whole: Layout, root: Path, cluster) -> Layout:
    """The same workspace without its features and its selection, with Ray in params.yaml."""
    shutil.copytree(whole.root, root, ignore=shutil.ignore_patterns("features", "selection.parquet"))
    with (root / "params.yaml").open("a") as params:
        params.write(f"\ncompute: {{engine: {{name: ray, address: '{cluster.address}'}}}}\n")
    return Layout(root)


def contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def test_batch_features_selection_and_predictions_are_those_of_one_process(cluster, whole, tmp_path, monkeypatch):
    layout = on_the_cluster(whole, tmp_path / "ws", cluster)
    shutil.rmtree(layout.raw)
    monkeypatch.setattr(batch_writer, "SHARD_ROWS", 64)
    monkeypatch.setattr(packing, "ALONE", 100)
    with ray.using(layout):
        card = ingest.run(load_settings(layout), layout, "batch-0")
        world.compute(layout, select)
        assert card["images"] > 64
        assert contents(layout.raw) == contents(whole.raw)
        made = contents(layout.store / "features")  # of the images that select looks at
        assert len(made) > 6
        assert made.items() <= contents(whole.store / "features").items()
        assert layout.work.selection.read_bytes() == whole.work.selection.read_bytes()
        model, images = loaded(whole.work.model, "0000"), pictures(whole, tmp_path)
        found = list(predict(images, model, "0000", batch_size=4))
    assert found == list(predict(images, model, "0000", batch_size=4))
    assert found[-1].error == "No such file or directory"
    assert not list(layout.store.glob(".token-*"))


def pictures(layout: Layout, folder: Path) -> list[str]:
    from PIL import Image

    paths = [str(folder / f"{n}.png") for n in range(40)]
    for n, path in enumerate(paths):
        Image.fromarray(Shards(layout.raw).read("batch-0", 0, n)).save(path)
    return [*paths, str(folder / "gone.png")]


def test_training_ranks_on_two_nodes_make_the_model_of_two_processes_here(cluster, whole, tmp_path):
    here, there = (tmp_path / place for place in ("here", "there"))
    shutil.copytree(whole.root, here)
    models = []
    for layout in (Layout(here), on_the_cluster(whole, there, cluster)):
        layout.work.base_model.unlink()
        with ray.using(layout):
            train.run(in_processes(2, layout), layout)
        models.append(layout.work.base_model.read_bytes())
    assert models[0] == models[1]
    assert models[0] != whole.work.base_model.read_bytes(), "sums in another order"
    with ray.using(layout), pytest.raises(ValueError, match="compute.processes: expected at most 2, .* found 3"):
        train.run(in_processes(3, layout), layout)


def in_processes(number: int, layout: Layout) -> train.Parameters:
    found = load_sections(train.Parameters, layout)
    return found.model_copy(update={"compute": found.compute.model_copy(update={"processes": number})})


def killing(mark: Path, node: bool, shard, **how) -> None:
    """Its third shard costs a worker its life, once; or it says where it is and waits for the end of its node."""
    if shard.number == 2 and not mark.exists():
        from ray import get_runtime_context

        write_atomically(mark, get_runtime_context().get_node_id())
        signal.pause() if node else os.kill(os.getpid(), signal.SIGKILL)
    store(shard, **how)


store = inference._store


def end_named_node(cluster, mark: Path) -> None:
    while not mark.exists():
        time.sleep(0.05)
    cluster.remove_node(next(n for n in cluster.worker_nodes if n.node_id == mark.read_text()), allow_graceful=False)


def test_what_a_unit_raises_is_raised_here_and_a_folder_that_is_not_shared_is_named(
    cluster, whole, tmp_path, monkeypatch
):
    layout = on_the_cluster(whole, tmp_path / "ws", cluster)
    with ray.using(layout):
        with pytest.raises(ValueError, match=r"^invalid literal for int\(\) with base 10: 'x'$"):
            list(engine.run(int, ["1", "x"]))
        monkeypatch.setattr(ray, "write_atomically", lambda *_: None)  # the folder of a token that others do not see
    with ray.using(layout), pytest.raises(ValueError, match=f"does not see the workspace {layout.root}: give every"):
        list(engine.run(int, ["1"]))


def test_nodes_without_the_workspace_compute_the_same_features_from_s3(
    cluster,
    whole,
    tmp_path,
    monkeypatch,
    s3,  # noqa: F811
    s3_server,  # noqa: F811
):
    layout = on_the_cluster(whole, tmp_path / "ws", cluster)
    workspace.create(layout.root)
    s3._client().create_bucket(Bucket="copies")
    remotes.set_remote(layout, "s3://copies/dvc")
    repository.add(layout, layout.batch("batch-0").folder)
    repository.push(layout, layout.batch("batch-0").folder)
    model = checkpoint.load(layout.work.model)
    rows = schema.read(layout.work.manifest, schema.MANIFEST)
    wanted = inference.features_of(rows, model.network, model.card.transform, whole)
    for shard in layout.batch("batch-0").folder.glob("*.arrow"):
        shard.unlink()
    monkeypatch.setattr(ray, "write_atomically", lambda *_: None)  # the folder of a token that others do not see
    reading = copies.of(layout, Elsewhere(s3_server))
    with ray.using(layout, lambda: reading):
        found = inference.features_of(rows, model.network, model.card.transform, layout)
    assert found.equal(wanted)
    made = contents(layout.store / "features")
    assert len(made) > 6
    assert made.items() <= contents(whole.store / "features").items()


class Elsewhere:
    """`tasks.storage` with the environment of a node, which has the keys of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.read = partial(_read, environment)
        self.put = self.list_below = None  # no features are kept


def _read(environment: dict[str, str], uri: str) -> bytes:
    os.environ |= environment
    return storage.read(uri)


@pytest.mark.parametrize("node", [False, True])
def test_a_worker_or_a_node_that_is_killed_in_the_middle_changes_nothing(cluster, whole, tmp_path, monkeypatch, node):
    layout, mark = on_the_cluster(whole, tmp_path / "ws", cluster), tmp_path / "killed"
    monkeypatch.setattr(inference, "_store", partial(killing, mark, node))
    ending = Thread(target=end_named_node, args=(cluster, mark), daemon=True)
    with ray.using(layout):
        if node:
            ending.start()
        world.compute(layout, select)
    assert mark.exists()
    made = contents(layout.store / "features")
    assert len(made) > 6
    assert made.items() <= contents(whole.store / "features").items()
    assert layout.work.selection.read_bytes() == whole.work.selection.read_bytes()
