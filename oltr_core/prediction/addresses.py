"""Which images are asked about: files, folders, prefixes of an object store, a list of all these."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path, PurePath

from oltr_core.images.decode import EXTENSIONS
from oltr_core.ingest.record import FETCHED, SourceAccess

LIST = "-"  # stands for the lines of a list


def images_at(paths: Sequence[str], access: SourceAccess, lines: Iterable[bytes] = ()) -> Iterator[str]:
    """The address of every image at `paths`, in their order; `lines` are what LIST stands for, an address each.

    Below a folder the order is that of the paths; one folder's names are in memory at a time. What a list names is
    not looked for: a file that is not there is treated like one that cannot be read. Raises ValueError naming the
    path where nothing is, or a folder or prefix without images, before anything is yielded.
    """
    if paths.count(LIST) > 1:
        raise ValueError(f"{LIST}: standard input can be read once; name it once")
    return chain.from_iterable([_begun(path, _images(path, access, lines)) for path in paths])


def as_text(address: str) -> str:
    """The address as a table takes it: a name on disk is bytes, and those that are no UTF-8 are escaped."""
    return address.encode("utf-8", "backslashreplace").decode()


def _images(path: str, access: SourceAccess, lines: Iterable[bytes]) -> Iterator[str]:
    if path == LIST:
        yield from filter(None, (os.fsdecode(line.rstrip(b"\r\n")) for line in lines))
    elif path.startswith(FETCHED):
        yield from (uri for uri in access.list(path) if PurePath(uri).suffix.lower() in EXTENSIONS)
    elif Path(path).is_dir():
        yield from _below(path)
    elif Path(path).exists():
        yield path
    else:
        raise ValueError(f"{path}: expected an image or a folder of images, and there is nothing")


def _begun(path: str, images: Iterator[str]) -> Iterator[str]:
    """The same, its first image drawn already. Raises ValueError where there is none."""
    first = list(islice(images, 1))
    if not first:
        what = {LIST: "no line on standard input"}.get(path, f"no image here ({', '.join(sorted(EXTENSIONS))})")
        raise ValueError(f"{path}: {what}")
    return chain(first, images)


def _below(folder: str) -> Iterator[str]:
    """Image files below a folder, in the order of their paths' parts; links to folders are not followed."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 (a million names, not as many paths)
    except OSError as error:
        raise ValueError(f"{folder}: this folder cannot be listed ({error.strerror})") from error
    for name in names:
        path = Path(folder, name)
        if path.suffix.lower() in EXTENSIONS and path.is_file():
            yield str(path)
        elif path.is_dir() and not path.is_symlink():
            yield from _below(str(path))
