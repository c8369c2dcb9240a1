"""Packed images and features from a remote in S3: what is computed where nothing else is shared is the same."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from types import SimpleNamespace

import pytest
import torch
import yaml

from oltr_core import engine, schema
from oltr_core.images.transforms import Transform
from oltr_core.inference import features_of
from oltr_core.ingest import batch_writer
from oltr_core.layout import Layout
from oltr_core.models import Network, NetworkSpec
from oltr_core.models.backbones import SmallResNet
from oltr_core.settings.operations import Storage
from oltr_core.spec import parse
from tasks import ray, workspace
from tasks.dvc import copies, remotes, repository
from tests.core.data_world import configure, picture, run_ingest
from tests.core.elsewhere import Elsewhere

REMOTE = "s3://copies/dvc"
SHARD = 4  # images; seven of them are two shards


def pushed(root, features: bool) -> Layout:
    """A workspace whose batch is in the remote."""
    workspace.create(root)
    layout = Layout(root)
    for number in range(7):
        picture(root / "photos" / f"{number}.png", number)
    storage = {"remote": REMOTE, "features": features}
    configure(layout, [{"batch": "b", "sources": [{"name": "unlabelled", "path": "photos"}]}], storage=storage)
    run_ingest(layout, "b")
    remotes.set_remote(layout, REMOTE)
    repository.add(layout, layout.batch("b").folder)
    repository.push(layout, layout.batch("b").folder)
    return layout


def other_machine(layout: Layout, root) -> Layout:
    """A folder with what git has of the workspace, and nothing else."""
    for path in (layout.params, layout.dvc_config, layout.raw / "b.dvc"):
        there = root / path.relative_to(layout.root)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(path.read_bytes())
    return Layout(root)


def made(layout: Layout) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in layout.store.glob("features/*/features.npy")}


@pytest.mark.filterwarnings("ignore")  # botocore's own
def test_what_a_machine_computes_from_the_remote_alone_is_what_one_with_the_folder_does(tmp_path, s3, monkeypatch):
    s3._client().create_bucket(Bucket="copies")
    monkeypatch.setattr(batch_writer, "SHARD_ROWS", SHARD)
    layout = pushed(tmp_path / "here", features=True)
    rows = schema.read(layout.batch("b").index, schema.INDEX)
    network = NetworkSpec(backbone=SmallResNet(widths=(4, 4, 8, 8)))(2).eval()
    model = (network, Transform(size=8))

    def computed(there: Layout) -> torch.Tensor:
        with ray.using(there, lambda: copies.of(there, s3)):
            return features_of(rows, *model, there)

    wanted = features_of(rows, *model, layout)
    files = made(layout)
    assert (len(files), len(wanted)) == (2, 7)
    assert not list(s3.list_below(f"{REMOTE}/features/")), "nothing is copied where no copies are in use"

    def kept() -> list[str]:
        return list(s3.list_below(f"{REMOTE}/features/"))

    there = other_machine(layout, tmp_path / "there")
    assert torch.equal(computed(there), wanted)
    assert made(there) == files
    names = {key: hashlib.sha256(data).hexdigest() for key, data in files.items()}
    assert kept() == [f"{REMOTE}/features/{key}/{names[key]}.npy" for key in sorted(files)]

    # a third one computes nothing
    third = other_machine(layout, tmp_path / "third")
    with monkeypatch.context() as patch:
        patch.setattr(Network, "features", lambda *_: pytest.fail("it was computed"))
        assert torch.equal(computed(third), wanted)
    assert made(third) == files
    s3.put(kept()[0], b"another", "application/octet-stream")
    fourth = other_machine(layout, tmp_path / "fourth")
    assert torch.equal(computed(fourth), wanted)
    assert made(fourth) == files
    assert s3.read(kept()[0]) == files[min(files)], "what was changed is put right"

    # workers that do not see the folder return what they would have written
    copies.forget_features(layout, s3)
    assert kept() == []
    plain = Layout(layout.root)
    configure(plain, [], storage={"remote": REMOTE})
    found = copies.of(plain, s3)
    for path in layout.batch("b").folder.glob("*.arrow"):  # they would see it here
        path.write_bytes(b"")
    monkeypatch.setattr("oltr_core.inference.write_atomically", _only_here(layout))
    with engine.using(Elsewhere(copies=found, isolated=True)):
        assert torch.equal(features_of(rows, *model, emptied(layout)), wanted)
    assert made(layout) == files
    assert kept() == []

    # the list of a batch's files is read once in a process, though each unit of work comes with its own copies
    read = []
    monkeypatch.setattr(copies, "_LISTED", {})
    for file in ("index.parquet", "shard-00000.arrow", "shard-00001.arrow"):
        unit = dataclasses.replace(found, read=lambda address: read.append(address) or s3.read(address))
        assert unit.fetch("b", file) == found.fetch("b", file)
    listing = f"{REMOTE}/files/md5/{found.batches['b'][:2]}/{found.batches['b'][2:]}"
    assert read.count(listing) == 1
    assert len(read) == 4

    # neither here nor there, changed there, and no pointer
    listed = s3.read(listing)
    md5 = next(e["md5"] for e in json.loads(listed) if e["relpath"] == "shard-00001.arrow")
    address = f"{REMOTE}/files/md5/{md5[:2]}/{md5[2:]}"
    s3.put(address, b"another", "application/octet-stream")
    refused_as_changed(found, "shard-00001.arrow", address, md5)
    s3.remove(address)
    refused_as_absent(found, "shard-00001.arrow", address)


def refused_as_changed(found: copies.Copies, file: str, address: str, md5: str) -> None:
    with pytest.raises(ValueError, match=f"^{address}: expected the content with the MD5 {md5}, found .*delete this"):
        found.fetch("b", file)


def refused_as_absent(found: copies.Copies, file: str, address: str) -> None:
    """A file of the batch `b`, and a batch without a pointer."""
    where = re.escape(f"data/raw/b/{file} is neither here nor in the remote ({address}); `dvc push`")
    with pytest.raises(ValueError, match=f"^{where}"):
        found.fetch("b", file)
    with pytest.raises(
        ValueError, match=r"^data/raw/c\.dvc: this pointer is not here; `git pull`, or `oltr ingest c`"
    ):
        found.fetch("c", "index.parquet")


def emptied(layout: Layout) -> Layout:
    for path in layout.store.glob("features/*/features.npy"):
        path.unlink()
    return layout


def _only_here(layout: Layout):
    """Fails where a worker writes."""
    from oltr_core.files import write_atomically

    def write(path, data):
        assert not engine.isolated()
        write_atomically(path, data)

    return write


def of_objects(stored: dict[str, bytes], keeps: bool = True, **batches: str) -> copies.Copies:
    """Copies in a store that is a dict."""

    def read(address: str) -> bytes:
        if address not in stored:
            raise FileNotFoundError(address)
        return stored[address]

    def put(address: str, data: bytes, kind: str) -> None:
        assert kind == "application/octet-stream"
        stored[address] = data

    return copies.Copies(
        REMOTE, batches, keeps, read, put, lambda prefix: sorted(a for a in stored if a.startswith(prefix))
    )


def named(data: bytes, end: str = "") -> tuple[str, str]:
    """The name of an object of DVC, and its address."""
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return md5, f"{REMOTE}/files/md5/{md5[:2]}/{md5[2:]}{end}"


def test_a_file_of_a_batch_is_read_by_the_name_of_its_content_and_by_no_other(monkeypatch):
    monkeypatch.setattr(copies, "_LISTED", {})
    (one, at_one), (two, at_two) = named(b"one"), named(b"two")
    listing = json.dumps([{"md5": one, "relpath": "index.parquet"}, {"md5": two, "relpath": "sub/x"}]).encode()
    md5, at_list = named(listing, ".dir")
    stored = {at_list: listing, at_one: b"one", at_two: b"two"}
    found = of_objects(stored, b=f"{md5}.dir")
    assert (found.fetch("b", "index.parquet"), found.fetch("b", "sub/x")) == (b"one", b"two")
    stored[at_one] = b"other"
    refused_as_changed(found, "index.parquet", at_one, one)
    del stored[at_one]
    refused_as_absent(found, "index.parquet", at_one)
    monkeypatch.setattr(copies, "_LISTED", {})
    stored[at_list] = listing + b" "
    with pytest.raises(ValueError, match=f"^{at_list}: expected the content with the MD5 {md5}.dir, found "):
        found.fetch("b", "sub/x")


def test_features_are_kept_under_key_and_digest_and_only_where_they_are_as_they_were():
    stored: dict[str, bytes] = {f"{REMOTE}/features/other/x.npy": b"of another key"}
    found, key = of_objects(stored), "0123"
    assert found.features(key) is None
    found.keep_features(key, b"values")
    address = f"{REMOTE}/features/{key}/{hashlib.sha256(b'values').hexdigest()}.npy"
    assert stored[address] == b"values"
    assert found.features(key) == b"values"
    stored[f"{REMOTE}/features/{key}/0.npy"] = b"first in order, and not what its name says"
    assert found.features(key) == b"values"
    stored[address] = b"changed"
    assert found.features(key) is None
    plain = of_objects(stored, keeps=False)
    before = dict(stored)
    plain.keep_features(key, b"values")
    assert stored == before
    stored[address] = b"values"
    assert plain.features(key) is None, "params.yaml does not put them there"


def test_copies_are_those_of_the_pointers_and_of_a_remote_in_s3_and_all_features_can_be_forgotten(tmp_path):
    layout = Layout(tmp_path)
    configure(layout, [], storage={"remote": REMOTE, "features": True})
    remotes.configure(layout.dvc_config, 'remote "default"', url=f"{REMOTE}/")
    remotes.configure(layout.dvc_config, "core", remote="default")
    layout.raw.mkdir(parents=True)
    md5 = "0" * 32 + ".dir"
    (layout.raw / "b.1.dvc").write_text(yaml.safe_dump({"outs": [{"md5": md5, "path": "b.1"}]}))
    stored = dict.fromkeys((f"{REMOTE}/features/k/1.npy", f"{REMOTE}/features/l/2.npy", f"{REMOTE}/files/md5/x"), b"")
    of = of_objects(stored)
    objects = SimpleNamespace(read=of.read, put=of.put, list_below=of.list_below, remove=stored.pop)
    assert copies.of(layout, objects) == copies.Copies(REMOTE, {"b.1": md5}, True, of.read, of.put, of.list_below)
    copies.forget_features(layout, objects)
    assert list(stored) == [f"{REMOTE}/files/md5/x"]
    configure(layout, [], storage={"remote": REMOTE})
    assert copies.of(layout, objects).keeps is False
    remotes.configure(layout.dvc_config, 'remote "default"', url="/mnt")
    copies.forget_features(layout, None)


def test_a_remote_that_is_a_folder_has_no_copies_to_read_and_the_local_configuration_has_the_last_word(tmp_path):
    layout = Layout(tmp_path)
    configure(layout, [])
    assert (copies.of(layout, None), remotes.address(layout)) == (None, "")
    remotes.configure(layout.dvc_config, 'remote "mine"', url="/mnt/copies/")
    assert remotes.address(layout) == "", "it is not named as the one in use"
    remotes.configure(layout.dvc_config, "core", remote="mine")
    assert (copies.of(layout, None), remotes.address(layout)) == (None, "/mnt/copies")
    remotes.configure(layout.dvc_config_local, 'remote "mine"', url=REMOTE)
    assert remotes.address(layout) == REMOTE


def test_features_are_copied_into_s3_alone():
    for remote in ("", "s3://b/x"):
        assert Storage(remote=remote, features=True).features
    with pytest.raises(ValueError, match="storage.*features: true does nothing with the remote '/mnt', for they"):
        parse(Storage, {"remote": "/mnt", "features": True}, "params.yaml: storage")
