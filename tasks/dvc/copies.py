"""Packed images and features read from a remote in S3, by whoever does not have them in the workspace's folder.

DVC's objects are named by the MD5 of their content, those that list the files of a folder too. Features, where
`storage.features` of params.yaml puts them there, are under their key (`oltr_core.images.shards.feature_key`) and the
SHA-256 of their content. What is read is compared with its name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from oltr_core import digest
from oltr_core.layout import Layout
from oltr_core.settings.whole import load_settings
from tasks.dvc import pointers, remotes

#: an object that lists the files of a batch -> the objects of these, by their names; each unit of work that a process
#: is sent has a `Copies` of its own, and what an object says never changes
_LISTED: dict[str, dict[str, str]] = {}


@dataclass(frozen=True)
class Copies:
    """An `oltr_core.engine.Copies`, which workers elsewhere are sent."""

    remote: str  # s3://bucket/prefix
    batches: dict[str, str]  # raw batch -> the object that lists its files
    keeps: bool  # features
    read: Callable[[str], bytes]  # an object, by its address
    put: Callable[[str, bytes, str], None]
    list_below: Callable[[str], Iterator[str]]

    def fetch(self, batch: str, file: str) -> bytes:
        """A file of a raw batch. Raises ValueError where the remote does not have it as it was."""
        if batch not in self.batches:
            raise ValueError(f"data/raw/{batch}.dvc: this pointer is not here; `git pull`, or `oltr ingest {batch}`")
        name = self.batches[batch]
        if name not in _LISTED:
            listed = json.loads(self._object(name, f"data/raw/{batch}"))
            _LISTED[name] = {entry["relpath"]: entry["md5"] for entry in listed}
        return self._object(_LISTED[name].get(file, ""), f"data/raw/{batch}/{file}")

    def _object(self, name: str, what: str) -> bytes:
        address = f"{self.remote}/files/md5/{name[:2]}/{name[2:]}"
        try:
            data = self.read(address)
        except FileNotFoundError:
            raise ValueError(
                f"{what} is neither here nor in the remote ({address}); `dvc push` where the workspace has it"
            ) from None
        if (found := hashlib.md5(data, usedforsecurity=False).hexdigest()) != name.removesuffix(".dir"):
            raise ValueError(
                f"{address}: expected the content with the MD5 {name}, found {found}; delete this object, and "
                f"`dvc push` where the workspace has {what}"
            )
        return data

    def features(self, key: str) -> bytes | None:
        """The features of a shard; None where the remote does not have them as they were."""
        for address in self.list_below(f"{self.remote}/features/{key}/") if self.keeps else ():
            data = self.read(address)
            if address.endswith(f"/{digest.of_bytes(data)}.npy"):
                return data
        return None

    def keep_features(self, key: str, data: bytes) -> None:
        """Copy the features of a shard, where params.yaml says so."""
        if self.keeps:
            address = f"{self.remote}/features/{key}/{digest.of_bytes(data)}.npy"
            self.put(address, data, "application/octet-stream")


def of(layout: Layout, objects: Any) -> Copies | None:
    """Those of the workspace, where its remote is in S3; `objects` is `tasks.storage`."""
    if not (remote := remotes.address(layout)).startswith("s3://"):
        return None
    named = {file.stem: file.with_suffix("") for file in layout.raw.glob("*.dvc")}
    batches = {name: pointers.pointer(path)["md5"] for name, path in named.items()}
    keeps = load_settings(layout).storage.features
    return Copies(remote, batches, keeps, objects.read, objects.put, objects.list_below)


def forget_features(layout: Layout, objects: Any) -> None:
    """Delete all features from a remote in S3: some are of images that are to be forgotten."""
    if (remote := remotes.address(layout)).startswith("s3://"):
        for address in list(objects.list_below(f"{remote}/features/")):
            objects.remove(address)
