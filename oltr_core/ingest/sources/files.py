"""The files below a folder or an `s3://` prefix, in a fixed order, each with what is wrong with its place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from oltr_core.images.decode import EXTENSIONS
from oltr_core.ingest.record import FETCHED, SourceAccess


class Found(NamedTuple):
    """A file below a source's folder, or an empty folder; `problem` is why it cannot be an image."""

    relative: PurePosixPath
    content: Path | str
    problem: str | None
    empty_folder: bool = False


def files_below(text: str, access: SourceAccess, follow_links: bool = False) -> Iterator[Found]:
    """Every file below `text`, sorted by path; links that leave the root or run in circles carry a problem."""
    if text.startswith(FETCHED):
        yield from _objects_below(text, access)
        return
    root = access.path(text)
    if not root.is_dir():
        what = "is a file" if root.exists() else "is not here"
        raise ValueError(
            f"{root}: expected a folder of images, and it {what}; correct `path` in params.yaml: sources"
        )
    yield from _walk(root, root, root.resolve(), follow_links, ())


def _walk(folder: Path, root: Path, real_root: Path, follow: bool, above: tuple[Path, ...]) -> Iterator[Found]:
    real = folder.resolve()
    names = sorted(folder.iterdir())
    if not names:
        yield Found(_relative(folder, root), folder, "empty folder", empty_folder=True)
    for path in names:
        problem = place_problem(path, real_root, follow)
        if problem is None and path.is_dir():
            if path.resolve() in (*above, real):
                problem = "a symbolic link that leads back to a folder above it"
            else:
                yield from _walk(path, root, real_root, follow, (*above, real))
                continue
        yield Found(_relative(path, root), path, problem or extension_problem(path.name))


def _relative(path: Path, root: Path) -> PurePosixPath:
    return PurePosixPath(path.relative_to(root).as_posix())


def _objects_below(uri: str, access: SourceAccess) -> Iterator[Found]:
    prefix = uri.rstrip("/") + "/"
    for address in access.list(prefix):
        name = address.removeprefix(prefix)
        if not name.endswith("/"):
            yield Found(PurePosixPath(name), address, extension_problem(name))


def place_problem(path: Path, real_root: Path, follow_links: bool = False) -> str | None:
    """Why the file at `path` may not be read, as far as its place says."""
    try:
        real = path.resolve(strict=True)
    except FileNotFoundError:
        return "a symbolic link to nothing" if path.is_symlink() else "missing file"
    except (OSError, RuntimeError):  # RuntimeError: Python 3.11 and 3.12 on a circle of links
        return "a circle of symbolic links" if path.is_symlink() else "unreadable path"
    if not follow_links and not real.is_relative_to(real_root):
        return "its path leaves the root of its source"
    return None


def extension_problem(name: str) -> str | None:
    """Why a file of this name is no image, by its extension; None where it may be one."""
    extension = PurePosixPath(name).suffix.lower()
    return None if extension in EXTENSIONS else f"wrong extension: {extension or 'none'} is no image's"
