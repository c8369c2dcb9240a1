"""The workspace as DVC sees it: data are added, copies pushed, the remote named. One lock for all that use it.

Nothing is committed to git and no branch is touched; git only ever sees the small `*.dvc` files.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from oltr_core import ledger
from oltr_core.layout import Layout, write_atomically
from oltr_core.pipeline import STAGES
from tasks.dvc import git

REMOTE = "default"  # the remote's name in .dvc/config
_OBJECT = re.compile(r"[0-9a-f]{32}(\.dir)?")
_SECTION = f'remote "{REMOTE}"'
#: DVC's repository object is not made for two threads; the loop has a head start in a second one
_turn = threading.Lock()


@contextmanager
def opened(layout: Layout) -> Iterator[Any]:
    """DVC's repository object, one at a time in this process, in the folder of the workspace."""
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.WARNING)  # its advice about git is not for a machine
    root = layout.root.resolve()
    # DVC takes some paths, and the names of a stage's cached runs, from the folder that the process is in
    with _turn, contextlib.chdir(root), Repo(str(root)) as repo:
        yield repo


@contextmanager
def _repo(layout: Layout) -> Iterator[Any]:
    """As `opened`; what DVC or the store of its remote refuses becomes one sentence.

    A ValueError for what a user can correct, a ConnectionError for what may pass.
    """
    from botocore import exceptions as s3
    from dvc.exceptions import DvcException, FileTransferError

    passing = (FileTransferError, s3.ConnectionError, s3.HTTPClientError)
    try:
        with opened(layout) as repo:
            yield repo
    except (DvcException, s3.BotoCoreError, s3.ClientError, ValueError) as error:
        if isinstance(error, ValueError) and not str(error).startswith("Invalid endpoint"):  # botocore's
            raise
        kind = ConnectionError if isinstance(error, passing) else ValueError
        raise kind(f"DVC in {layout.root}: {said(error)}{_advice(error)}") from error


def said(error: BaseException) -> str:
    """What DVC says, from its own sentence to the reason behind it; each once."""
    found = [str(e) for e in (error, error.__cause__) if e is not None and str(e)] or [type(error).__name__]
    return " ".join(": ".join(dict.fromkeys(found)).split())


def _advice(error: BaseException) -> str:
    if type(error).__module__.startswith("botocore") or type(error) is ValueError:
        return "; the environment variables AWS_* name endpoint, profile and credentials"
    return ""


def add(layout: Layout, *paths: Path) -> None:
    """`dvc add`: keep a copy in DVC's cache and write <path>.dvc beside each path. Adding again changes nothing."""
    targets = [_inside(layout, path) for path in paths]
    with _repo(layout) as repo:
        repo.add(targets)


def push(layout: Layout, *paths: Path, stages: bool = False) -> None:
    """Copy what `paths` point at to the remote, and with `stages` the newest results of every stage too."""
    targets = _targets(layout, paths, stages)
    with _repo(layout) as repo:
        repo.push(targets=targets)


def missing(layout: Layout, *paths: Path, stages: bool = False) -> list[str]:
    """Those of `paths`, and with `stages` of the stages, that the remote does not hold whole.

    A pointer beside the data says that DVC knows them, and not that they were copied: the remote itself is asked.
    """
    from dvc.exceptions import DvcException

    found: dict[str, set[str]] = {}
    with _repo(layout) as repo:
        logging.getLogger("dvc").setLevel(logging.CRITICAL)  # what it warns of is the answer
        for target in _targets(layout, paths, stages):
            found[target] = set()
            with contextlib.suppress(DvcException):  # neither the cache nor the remote has the listing of a folder
                found[target] = {info.value for infos in repo.used_objs([target]).values() for info in infos}
        there = set(repo.cloud.get_remote_odb().oids_exist(sorted(set().union(*found.values()))))
    return [t for t, names in found.items() if not names <= there or (t.endswith(".dvc") and not names)]


def tracked(layout: Layout) -> list[Path]:
    """Everything in data/ that DVC keeps: raw batches, truth, annotations, generations."""
    return [p.with_suffix("") for p in sorted(layout.data.glob("*/*.dvc"))]


def pull(layout: Layout, *paths: Path) -> None:
    """Bring back what `paths` point at, from the cache or the remote."""
    targets = _targets(layout, paths)
    with _repo(layout) as repo:
        repo.pull(targets=targets)


def _targets(layout: Layout, paths: Iterable[Path], stages: bool = False) -> list[str]:
    found = [f"{_inside(layout, path)}.dvc" for path in paths]
    return found + [f"{layout.dvc_yaml.name}:{stage}" for stage in STAGES if stages]


class _Quoting(yaml.SafeDumper):
    """Text of digits in quotes: DVC reads YAML 1.2, in which 0008 is the number 8, and PyYAML writes 1.1."""


_Quoting.add_representer(
    str, lambda to, text: to.represent_scalar("tag:yaml.org,2002:str", text, "'" if text.isdigit() else None)
)


def as_yaml(content: Any) -> str:
    """The text of a file that DVC reads: data/run.yaml, or a pointer."""
    return yaml.dump(content, Dumper=_Quoting, sort_keys=False)


def _inside(layout: Layout, path: Path) -> str:
    """From the workspace, where DVC is called: so the workspace's own path may hold any letters."""
    return Path(os.path.relpath(path, layout.root)).as_posix()


def set_remote(layout: Layout, wanted: str) -> None:
    """Make `.dvc/config` name the remote.

    `wanted` is settings.storage.remote; empty means a folder of this workspace. Without a wish, a remote that
    the file names already stays. Addresses inside the workspace are relative to .dvc, so that it may be moved.
    """
    follow_origin(layout)
    with _repo(layout) as repo:
        named = repo.config.get("core", {}).get("remote")
        present = repo.config.get("remote", {}).get(named, {}).get("url", "") if named else ""
    if present and not wanted and present != str(layout.remote.resolve()):
        return
    inside = f"../{wanted or _inside(layout, layout.remote)}"
    url = wanted if "://" in wanted or Path(wanted).is_absolute() else inside
    configure(layout.dvc_config, _SECTION, url=url)
    configure(layout.dvc_config, "core", remote=REMOTE)


def follow_origin(layout: Layout) -> str:
    """In a clone of a workspace on this machine, name that one's remote in .dvc/config.local; its address, or ""."""
    if address := remote_of_origin(layout):
        configure(layout.dvc_config_local, _SECTION, url=address)
    return address


def remote_of_origin(layout: Layout) -> str:
    """The remote of the workspace on this machine that this one was cloned from, where it has none itself; or ""."""
    own = read_config(layout.dvc_config).get(_SECTION, {}).get("url") == f"../{_inside(layout, layout.remote)}"
    followed = read_config(layout.dvc_config_local).get(_SECTION, {}).get("url")
    if not own or followed or layout.remote.exists():
        return ""
    folder = git.answer(layout.root, "rev-parse", "--show-prefix").strip()
    origin = git.answer(layout.root, "config", "--get", "remote.origin.url").strip().removeprefix("file://")
    if not Path(origin).is_absolute():
        return ""
    there = Layout(Path(origin) / folder)
    if there.remote.is_dir():
        return str(there.remote.resolve())
    # a clone itself, which follows another
    return read_config(there.dvc_config_local).get(_SECTION, {}).get("url", "")


def configure(file: Path, section: str, **values: str) -> None:
    """Set keys of a configuration file of DVC, whole or not at all, in UTF-8; DVC's own writer knows ASCII only."""
    config, sink = read_config(file), io.BytesIO()
    before = dict(config.get(section, {}))
    if before | values != before:
        config[section] = before | values
        config.write(sink)
        write_atomically(file, sink.getvalue())


def read_config(file: Path) -> Any:
    """A configuration file of DVC, as it is written; empty where there is none."""
    from configobj import ConfigObj, ConfigObjError

    try:
        return ConfigObj(str(file), encoding="utf-8", interpolation=False)
    except (ConfigObjError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{file}: this is not DVC's configuration ({error}); restore it from git, or make it an empty file"
        ) from None


def pointer(path: Path) -> dict[str, Any]:
    """What <path>.dvc says of the data it points at: md5, size, nfiles. Empty where there is no such file.

    Raises ValueError for a file that says nothing.
    """
    file = path.with_name(f"{path.name}.dvc")
    if not file.exists():
        return {}
    try:
        out = yaml.safe_load(file.read_text())["outs"][0]
        if _OBJECT.fullmatch(out["md5"]) and out["path"] == path.name:
            return {k: v for k, v in out.items() if k in ("md5", "size", "nfiles")}
    except (yaml.YAMLError, UnicodeDecodeError, LookupError, TypeError):
        pass
    raise ValueError(
        f"{file}: expected what DVC writes beside data (outs, with md5), found something else; `oltr loop` writes "
        f"it again where {path.name} is here and as it was, else restore it with `git checkout`"
    )


def pointers(layout: Layout, *paths: Path) -> dict[str, dict[str, Any]]:
    """Path in the workspace -> its pointer, where it has one, as the ledger keeps it."""
    return {path.relative_to(layout.root).as_posix(): found for path in paths if (found := pointer(path))}


def point_back(layout: Layout) -> list[str]:
    """Make every pointer say what the ledger has of it; returns a sentence per pointer that said something else."""
    moved = []
    for name, known in ledger.pointers(ledger.read(layout.ledger)).items():
        path = layout.root / name
        if pointer(path) not in ({}, known):
            file = path.with_name(f"{path.name}.dvc")
            content = yaml.safe_load(file.read_text())
            content["outs"][0] |= known
            write_atomically(file, as_yaml(content))
            moved.append(f"{name}.dvc named another copy, and names the original again")
    return moved


def refuse_changed(layout: Layout, *paths: Path) -> None:
    """Raise ValueError for a path that is not what its pointer says. One without pointer is new."""
    here = [path for path in paths if pointer(path) and path.exists()]
    targets = dict(zip(_targets(layout, here), here, strict=True))
    if not targets:
        return
    with _repo(layout) as repo:
        changed = [path for target, path in targets.items() if repo.status(targets=[target])]
    if changed:
        raise ValueError(
            f"{changed[0]}: this was changed after it was given to DVC; {ledger.restoring(changed[0], ())}"
        )


def remote_folder(layout: Layout) -> list[Path]:
    """The remote, if it is a folder of this machine."""
    with _repo(layout) as repo:
        return [
            Path(store.path)
            for store in _remote_stores(repo)
            if store.fs.protocol == "local" and Path(store.path).is_dir()
        ]


def _remote_stores(repo: Any) -> list[Any]:
    """The objects of the remote, where one is named."""
    return [repo.cloud.get_remote_odb()] if repo.config["core"].get("remote") else []


def record(layout: Layout, *results: Path) -> None:
    """Let dvc.lock point at these results of stages as they are now; of what they were made from it keeps its word.

    So a stage that has to run again is stale as before, and a clone can pull what dvc.lock names.
    """
    wanted = {str(path.resolve()) for path in results}
    with _repo(layout) as repo, repo.lock:
        for stage in repo.index.stages:
            mine = [out for out in stage.outs if out.fs_path in wanted and out.hash_info]  # made at least once
            for out in mine:
                out.save()
                out.commit()
            if mine:
                stage.dump(update_pipeline=False)


def objects(layout: Layout, *paths: Path, locks: Iterable[Path] = ()) -> set[str]:
    """The names, in DVC's stores, of everything that `paths` and the results in `locks` point at.

    What is in a folder is known as far as the cache can tell.
    """
    stages = [s for lock in locks if lock.exists() for s in yaml.safe_load(lock.read_text())["stages"].values()]
    outs = [pointer(path) for path in paths] + [out for stage in stages for out in stage.get("outs", ())]
    found = {out["md5"] for out in outs if "md5" in out}
    with _repo(layout) as repo:
        for listing in [Path(repo.cache.local.oid_to_path(name)) for name in found if name.endswith(".dir")]:
            if listing.exists():
                found |= {entry["md5"] for entry in json.loads(listing.read_text())}
    return found


def drop(layout: Layout, names: Iterable[str], files: Iterable[Path] = ()) -> int:
    """Delete objects from DVC's cache and from the remote, but those in use; how many there were.

    `files` are of the cache: objects too, or what a run that was killed left there.
    """
    wanted = set(names)
    for file in files:
        name = f"{file.parent.name}{file.name}"
        wanted.add(name) if _OBJECT.fullmatch(name) else file.unlink(missing_ok=True)
    wanted -= objects(layout, *tracked(layout), locks=[layout.dvc_lock])
    with _repo(layout) as repo:
        stores = [repo.cache.local, *_remote_stores(repo)]
        found = [(store, name) for store in stores for name in sorted(wanted) if store.exists(name)]
        for store, name in found:
            store.delete(name)
    return len({name for _, name in found})
