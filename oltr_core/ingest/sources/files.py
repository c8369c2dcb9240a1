"""The files below a folder or an `s3://` prefix, in a fixed order, each with what is wrong with its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from oltr_core.images.decode import EXTENSIONS
from oltr_core.ingest.record import FETCHED, SourceAccess

_LEAVES = "its path leaves the root of its source"


class Found(NamedTuple):
    """A file below a source's folder, or an empty folder; `problem` is why it cannot be an image."""

    address: str
    folders: tuple[str, ...]  # in which it is, below the source's own; with an empty one itself
    content: Path | str
    problem: str | None
    empty_folder: bool = False


def files_below(text: str, access: SourceAccess, follow_links: bool = False) -> Iterator[Found]:
    """Every file below `text`, sorted by path; links that leave the root or run in circles carry a problem.

    Folders of tools are passed over, such as `.ipynb_checkpoints` of Jupyter and `@eaDir` of Synology.
    """
    prefix = text.rstrip("/") + "/"
    if text.startswith(FETCHED):
        below = [address for address in access.list(prefix) if not address.endswith("/")]
        if not below:
            raise ValueError(f"{prefix}: expected images, found nothing below it; correct params.yaml: sources")
        for address in below:
            folders = PurePosixPath(address.removeprefix(prefix)).parts[:-1]
            if not any(map(_of_a_tool, folders)):
                yield Found(address, folders, address, extension_problem(address))
        return
    root = access.path(text)
    if not root.is_dir():
        what = "is a file" if root.exists() else "is not here"
        raise ValueError(f"{root}: expected a folder of images, and it {what}; correct params.yaml: sources")
    for path, problem, empty in _walk(root, root.resolve(), follow_links, ()):
        relative = path.relative_to(root)
        folders = relative.parts if empty else relative.parts[:-1]
        yield Found(f"{prefix}{relative.as_posix()}", folders, path, problem, empty)


def _walk(
    folder: Path, real_root: Path, follow: bool, above: tuple[Path, ...]
) -> Iterator[tuple[Path, str | None, bool]]:
    """Path, problem, and whether it is an empty folder."""
    here = (*above, folder.resolve())
    try:
        paths = sorted(p for p in folder.iterdir() if not (_of_a_tool(p.name) and p.is_dir()))
    except OSError as error:
        yield folder, f"unreadable folder ({error.strerror})", False
        return
    if not paths:
        yield folder, "empty folder", True
    for path in paths:
        problem = place_problem(path, real_root, follow)
        if problem is None and path.is_dir():
            if path.resolve() not in here:
                yield from _walk(path, real_root, follow, here)
                continue
            problem = "a symbolic link that leads back to a folder above it"
        elif problem is None and not path.is_file():
            problem = "not a regular file"
        yield path, problem or extension_problem(path.name), False


def _of_a_tool(folder: str) -> bool:
    return folder.startswith(".") or folder == "@eaDir"


def located(where: str, root: Path | str, follow_links: bool) -> tuple[Path | str, str | None]:
    """An image at `where` below `root`, a folder or an s3:// prefix, and what is wrong with its place or name."""
    if isinstance(root, str):
        leaves = PurePosixPath(where).is_absolute() or ".." in PurePosixPath(where).parts
        return f"{root.rstrip('/')}/{where}", _LEAVES if leaves else extension_problem(where)
    if "\0" in where:
        return where, "a path with a zero byte"
    path, real_root = root / where, root.resolve()
    if not follow_links and ".." in Path(where).parts and not path.resolve().is_relative_to(real_root):
        return path, _LEAVES
    problem = place_problem(path, real_root, follow_links)
    if problem is None and not path.is_file():
        problem = "a folder where an image was expected" if path.is_dir() else "not a regular file"
    return path, problem or extension_problem(where)


def place_problem(path: Path, real_root: Path, follow_links: bool = False) -> str | None:
    """Why the file at `path` may not be read, as far as its place says."""
    try:
        real = path.resolve(strict=True)
    except FileNotFoundError:
        return "a symbolic link to nothing" if path.is_symlink() else "missing file"
    except (OSError, RuntimeError):  # RuntimeError: Python 3.11 and 3.12 on a circle of links
        return "a circle of symbolic links" if path.is_symlink() else "unreadable path"
    return None if follow_links or real.is_relative_to(real_root) else _LEAVES


def extension_problem(name: str) -> str | None:
    """Why a file of this name is no image, by its extension; None where it may be one."""
    extension = PurePosixPath(name).suffix.lower()
    return None if extension in EXTENSIONS else f"wrong extension: {extension or 'none'} is no image's"
