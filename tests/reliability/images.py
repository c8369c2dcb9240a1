"""Images, tables of images and folders that are not what they should be."""

from __future__ import annotations

import csv
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import polars as pl

from oltr_core.prediction.decoding import pixels
from tests.core.data_world import picture, run_ingest, workspace
from tests.core.ingest.bad_inputs import BAD, Row, row
from tests.reliability import QUARANTINED, REFUSED, Case, as_nobody

COLUMNS = ["path", "label", "split", "time"]
ONLY_FILE = "is answered with the reason, the others with a class"


def in_a_table(make: Callable[[Path], Row]) -> Callable[[Path], str]:
    """A table with a good row and one that `make` returns for its folder."""

    def run(root: Path) -> str:
        folder = root / "images"
        folder.mkdir()
        layout = workspace(root, [{"batch": "b", "sources": [{"name": "table", "path": "images/list.csv"}]}])
        picture(folder / "sound.png", 1)
        with (folder / "list.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, restval="")
            writer.writeheader()
            writer.writerows([{"label": "cat", **make(folder)}, {"path": "sound.png", "label": "cat"}])
        (card,) = run_ingest(layout, "b")
        assert (card["rows"], card["images"], card["quarantined"]) == (2, 1, 1)
        assert pl.read_parquet(layout.batch("b").index)["address"].to_list() == ["sound.png"]
        return pl.read_parquet(layout.batch("b").quarantine)["reason"][0]

    return run


def in_a_folder(make: Callable[[Path], object], name: str = "folder", nobody: bool = False) -> Callable[[Path], str]:
    """A folder of one class with a good image, and what `make` puts beside it."""

    def run(root: Path) -> str:
        layout = workspace(root, [{"batch": "b", "sources": [{"name": name, "path": "photos"}]}])
        picture(root / "photos" / "cat" / "sound.png", 1)
        make(root / "photos")
        if nobody:
            with as_nobody(root):
                (card,) = run_ingest(layout, "b")
        else:
            (card,) = run_ingest(layout, "b")
        assert (card["images"], card["quarantined"]) == (1, 1)
        (found,) = pl.read_parquet(layout.batch("b").quarantine).iter_rows(named=True)
        return f"{found['address']}: {found['reason']}"

    return run


def table(content: bytes, name: str = "list.csv") -> Callable[[Path], object]:
    """A table that cannot be read."""

    def run(root: Path) -> object:
        layout = workspace(root, [{"batch": "b", "sources": [{"name": "table", "path": name}]}])
        (root / name).write_bytes(content)
        return run_ingest(layout, "b")

    return run


def raw_name(name: bytes) -> Callable[[Path], object]:
    def make(photos: Path) -> None:
        path = photos / "cat" / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(photos.parent / "other.png", 2).read_bytes())

    return make


def with_socket(photos: Path) -> None:
    here = Path.cwd()
    os.chdir(photos / "cat")  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("s.png")
    finally:
        os.chdir(here)


def sparse(path: Path) -> Path:
    with path.open("wb") as file:
        file.truncate(60 * 10**9)
    return path


def sparse_named(folder: Path) -> Row:
    return {"path": sparse(folder / "huge.jpg").name}


def fifo_named(folder: Path) -> Row:
    os.mkfifo(folder / "pipe.jpg")
    return {"path": "pipe.jpg"}


def closed(path: str) -> Callable[[Path], object]:
    def make(photos: Path) -> None:
        picture(photos / "dog" / "a.png", 3)
        (photos / path).chmod(0)

    return make


def loop_of_links(photos: Path) -> None:
    (photos / "cat" / "again").symlink_to(photos, target_is_directory=True)


def only_bad(root: Path) -> object:
    layout = workspace(root, [{"batch": "b", "sources": [{"name": "unlabelled", "path": "in"}]}])
    (root / "in").mkdir()
    (root / "in" / "a.jpg").write_bytes(b"")
    return run_ingest(layout, "b")


def case(kind: str, run: Callable[[Path], object], said: str, happens: str = QUARANTINED) -> Case:
    return Case("images", kind, happens, said, run)


CASES = [
    *(case(kind, in_a_table(make), f"^{re.escape(reason)}") for kind, (make, reason) in BAD.items()),
    case("a time beyond the calendar", in_a_table(row(time="9999-12-31T23:59:59-05:00")), "the time '9999-12-31"),
    case("a label with a zero byte", in_a_table(row(label="ca\0t")), "the label: expected text without control"),
    case("a label with an escape sequence", in_a_table(row(label="\x1b[31mcat")), "the label: expected text without"),
    case("a label of 300 characters", in_a_table(row(label="c" * 300)), "the label: expected at most 200 characters"),
    case("a FIFO that a table names", in_a_table(fifo_named), "^not a regular file"),
    case(
        "a file of 60 GB that a table names", in_a_table(sparse_named), "60,000,000,000 bytes: more than ingest.max_b"
    ),
    case(
        "a FIFO in a folder", in_a_folder(lambda p: os.mkfifo(p / "cat" / "p.png")), "cat/p.png: not a regular file"
    ),
    case("a socket in a folder", in_a_folder(with_socket), "cat/s.png: not a regular file"),
    case(
        "a file of 60 GB in a folder",
        in_a_folder(lambda p: sparse(p / "cat" / "h.jpg")),
        "more than ingest.max_bytes",
    ),
    case(
        "a file name that is not UTF-8", in_a_folder(raw_name(b"caf\xe9.png")), r"caf\\udce9.png: a name that is not"
    ),
    case("a class whose name is not UTF-8", in_a_folder(raw_name(b"../lyn\xe9/a.png")), r"a name that is not UTF-8"),
    case("an extension that is not UTF-8", in_a_folder(raw_name(b"a.pn\xe9")), r"wrong extension: .pn\\udce9"),
    case("an unreadable file", in_a_folder(closed("dog/a.png"), nobody=True), "unreadable file .Permission denied"),
    case(
        "an unreadable folder", in_a_folder(closed("dog"), nobody=True), "photos/dog: unreadable folder .Permission"
    ),
    case("an empty class", in_a_folder(lambda p: (p / "dog").mkdir()), "an empty class: the folder of 'dog'"),
    case("an image in no class folder", in_a_folder(lambda p: picture(p / "a.png", 4)), "not in a class folder"),
    case("a link to a folder above it", in_a_folder(loop_of_links), "leads back to a folder above it"),
    case(
        "a class name with a line break", in_a_folder(lambda p: picture(p / "a\nb" / "a.png", 4)), "without control"
    ),
    case(
        "the same image twice", in_a_folder(lambda p: picture(p / "cat" / "t.png", 1)), "duplicate of photos/cat/sou"
    ),
    case("a batch of bad files only", only_bad, r"all 1 files went to quarantine; the first .*: empty file", REFUSED),
    case("a table without paths", table(b"file,label\na.png,cat\n"), r"there is no column 'path'", REFUSED),
    case("a column twice", table(b"path,label,label\na.png,cat,cat\n"), "the column 'label' is there twice", REFUSED),
    case("a table in Latin-1", table("path,label\na.png,Löwe\n".encode("latin-1")), "expected UTF-8 text", REFUSED),
    case("an empty table", table(b""), "there is no column 'path'", REFUSED),
    case("a cell of 200,000 characters", table(b"path\n" + b"x" * 200_000), "list.csv:2: expected a row", REFUSED),
    case("a CSV named .parquet", table(b"path,label\n", "list.parquet"), "expected a Parquet file", REFUSED),
    case("a file of 60 GB to predict", lambda f: pixels(str(sparse(f / "a.png"))), "60,000,000,000 bytes", ONLY_FILE),
]
