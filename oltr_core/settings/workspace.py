"""The workspace as a whole."""

from __future__ import annotations

import contextlib
import os
import re

from oltr_core.layout import GENESIS, Layout
from oltr_core.settings.reading import read_yaml
from oltr_core.spec import Spec, parse

OTHERS = 0o027  # what is taken from a new file: writing for the group, everything for others


class Workspace(Spec):
    """What this workspace is called, and who may read it."""

    name: str = "digits"
    private: bool = False  # true: images, answers and all that is made of them are for owner and group alone


def require(layout: Layout) -> None:
    """Raise ValueError where the folder is no workspace: what is in it belongs to somebody else."""
    made = layout.generation(GENESIS).folder  # params.yaml, dvc.yaml and data/ are names that other projects have too
    if not made.is_dir():
        raise ValueError(
            f"{layout.root.resolve()}: expected a workspace, found no {made.relative_to(layout.root)}, which "
            "`oltr init` writes; name a workspace with `oltr --workspace DIR`"
        )


def name_of(layout: Layout) -> str:
    """`workspace.name` in small letters, digits and dashes, as names on servers are; that of the folder for none."""
    with contextlib.suppress(ValueError, OSError):
        if slug := re.sub(r"[^a-z0-9]+", "-", _of(layout).name.lower()).strip("-"):
            return slug
    return re.sub(r"[^a-z0-9]+", "-", layout.root.resolve().name.lower()).strip("-") or "workspace"


def _of(layout: Layout) -> Workspace:
    return parse(Workspace, read_yaml(layout.params).get("workspace") or {}, "params.yaml: workspace")


def is_private(layout: Layout) -> bool:
    """Whether params.yaml says `workspace.private: true`, or cannot be read."""
    try:
        return _of(layout).private
    except (ValueError, OSError):
        return True


def keep_private(layout: Layout) -> None:
    """Where params.yaml says `workspace.private: true`, for all that this process and those it starts write."""
    # whoever reads the file for its settings says what is wrong with it; another's folder is for its owner to close
    with contextlib.suppress(ValueError, PermissionError):
        if _of(layout).private:
            os.umask(os.umask(OTHERS) | OTHERS)
            for folder in (
                layout.data,
                layout.remote.parent,
                layout.mlflow_artifacts,
                layout.mlflow_db,
                layout.dvc_cache,
            ):
                if folder.exists():  # written before
                    folder.chmod(folder.stat().st_mode & ~OTHERS)
