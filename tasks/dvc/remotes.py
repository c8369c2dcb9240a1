"""The remote of a workspace: what .dvc/config says of it. Read and written in UTF-8, whole or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from oltr_core.files import write_atomically
from oltr_core.layout import Layout
from tasks.dvc import git
from tasks.dvc.repository import asked, inside

REMOTE = "default"  # the remote's name in .dvc/config
_SECTION = f'remote "{REMOTE}"'


def set_remote(layout: Layout, wanted: str) -> None:
    """Make `.dvc/config` name the remote.

    `wanted` is settings.storage.remote; empty means a folder of this workspace. Without a wish, a remote that
    the file names already stays. Addresses inside the workspace are relative to .dvc, so that it may be moved.
    """
    follow_origin(layout)
    with asked(layout) as repo:
        named = repo.config.get("core", {}).get("remote")
        present = repo.config.get("remote", {}).get(named, {}).get("url", "") if named else ""
    if present and not wanted and present != str(layout.remote.resolve()):
        return
    elsewhere = "://" in wanted or Path(wanted).is_absolute()
    url = wanted if elsewhere else f"../{wanted or inside(layout, layout.remote)}"
    configure(layout.dvc_config, _SECTION, url=url)
    configure(layout.dvc_config, "core", remote=REMOTE)


def remove_own(layout: Layout) -> None:
    """Take the remote in this workspace's own folder out of `.dvc/config`; other lines, and other remotes, stay."""
    config = read_config(layout.dvc_config)
    if not _is_own(layout, config):
        return
    del config[_SECTION]
    if config.get("core", {}).get("remote") == REMOTE:
        del config["core"]["remote"]
    _write(layout.dvc_config, config)


def _is_own(layout: Layout, config: Any) -> bool:
    return config.get(_SECTION, {}).get("url") == f"../{inside(layout, layout.remote)}"


def address(layout: Layout) -> str:
    """The remote as DVC's configuration of this workspace names it, whose local file has the last word; or ""."""
    files = [read_config(file) for file in (layout.dvc_config_local, layout.dvc_config)]
    named = [config["core"]["remote"] for config in files if "remote" in config.get("core", {})]
    sections = [config.get(f'remote "{named[0]}"', {}) for config in files] if named else []
    return next((section["url"].rstrip("/") for section in sections if "url" in section), "")


def follow_origin(layout: Layout) -> str:
    """In a clone of a workspace on this machine, name that one's remote in .dvc/config.local; its address, or ""."""
    if address := remote_of_origin(layout):
        configure(layout.dvc_config_local, _SECTION, url=address)
    return address


def remote_of_origin(layout: Layout) -> str:
    """The remote of the workspace on this machine that this one was cloned from, where it has none itself; or ""."""
    own = _is_own(layout, read_config(layout.dvc_config))
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
    config = read_config(file)
    before = dict(config.get(section, {}))
    if before | values != before:
        config[section] = before | values
        _write(file, config)


def _write(file: Path, config: Any) -> None:
    sink = io.BytesIO()
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
