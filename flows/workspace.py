"""A workspace made."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from oltr_core.layout import Layout
from oltr_core.settings import kinds


def create(folder: Path, like: str = "digits") -> str:
    """A new workspace, or what is missing of one that is there. Raises ValueError for a folder of other files."""
    from tasks import workspace
    from tasks.dvc import remotes

    layout = Layout(folder)
    fresh = not layout.params.exists()
    if fresh and folder.is_dir() and any(p.name != ".git" for p in folder.iterdir()):
        raise ValueError(f"{folder}: expected an empty or new folder, or a workspace; found other files in it")
    written = workspace.create(folder, like)
    if not fresh:
        if remote := remotes.follow_origin(layout):
            written.append(f".dvc/config.local (the data are in the remote of the clone's origin, {remote})")
        added = f"added {', '.join(written)}" if written else "nothing was missing"
        return f"{folder} is a workspace already; {added}"
    place = quote(str(folder))
    to_edit, others = f"\npoint `sources` in {layout.params} at your images", ""
    if like == "digits":
        to_edit, others = "", f"\nfor images of your own, `oltr init DIR --like` one of:\n{kinds.listing()}"
    return (
        f"wrote a workspace for {like} into {folder} ({kinds.KINDS[like]}){to_edit}; then\n"
        f"  oltr --workspace {place} check\n  oltr --workspace {place} loop{others}"
    )
