"""Forty kinds of bad image and bad table, each with the reason under which it goes to quarantine.

An entry writes something below a folder and returns the row of a table that points at it.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.core.data_world import picture

Row = dict[str, str]
Make = Callable[[Path], Row]


def encoded(kind: str, size: tuple[int, int] = (24, 20), **save) -> bytes:
    rng = np.random.default_rng(5)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    out = io.BytesIO()
    image.save(out, kind, **save)
    return out.getvalue()


def wrote(name: str, data: bytes) -> Make:
    def make(folder: Path) -> Row:
        (folder / name).write_bytes(data)
        return {"path": name}

    return make


def cut(name: str, kind: str, keep: float) -> Make:
    data = encoded(kind, (64, 64))
    return wrote(name, data[: int(len(data) * keep)])


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + _chunk(b"IDAT", zlib.compress(b"\0")) + _chunk(b"IEND", b"")


def saved(name: str, array: np.ndarray, **save) -> Make:
    def make(folder: Path) -> Row:
        Image.fromarray(array).save(folder / name, **save)
        return {"path": name}

    return make


def row(**values: str) -> Make:
    """A good picture that the table says something impossible of."""

    def make(folder: Path) -> Row:
        picture(folder / "good.png", 77)
        return {"path": "good.png", **values}

    return make


def points_at(path: str) -> Make:
    return lambda folder: {"path": path}


def link(name: str, target: str) -> Make:
    def make(folder: Path) -> Row:
        (folder / name).symlink_to(target)
        return {"path": name}

    return make


def out_of_root(folder: Path) -> Row:
    picture(folder.parent / "secret.png", 3)
    return {"path": "../secret.png"}


def linked_out_of_root(folder: Path) -> Row:
    picture(folder.parent / "secret.png", 3)
    (folder / "innocent.png").symlink_to(folder.parent / "secret.png")
    return {"path": "innocent.png"}


def a_folder(folder: Path) -> Row:
    (folder / "folder.png").mkdir()
    return {"path": "folder.png"}


def damaged_png(folder: Path) -> Row:
    data = bytearray(encoded("PNG", (64, 64)))
    data[60:80] = b"\0" * 20
    (folder / "a.png").write_bytes(bytes(data))
    return {"path": "a.png"}


NOT_READ = "not an image in a format read here (JPEG, PNG, WebP, BMP, TIFF, GIF)"
OUTSIDE = "its path leaves the root of its source"

#: name -> what to make, and the reason (its beginning, where Pillow's own words follow)
BAD: dict[str, tuple[Make, str]] = {
    # files that hold no image
    "an empty file": (wrote("a.jpg", b""), "empty file"),
    "zeros": (wrote("a.jpg", b"\0" * 5000), NOT_READ),
    "text named .jpg": (wrote("a.jpg", b"dear reader, this is no image"), NOT_READ),
    "a web page named .png": (wrote("a.png", b"<!doctype html><html>404</html>"), NOT_READ),
    "a drawing named .png": (wrote("a.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), NOT_READ),
    "a zip archive named .webp": (wrote("a.webp", b"PK\x03\x04" + b"\0" * 60), NOT_READ),
    "a PDF named .tif": (wrote("a.tif", b"%PDF-1.7\n%\xe2\xe3"), NOT_READ),
    "an icon named .bmp": (wrote("a.bmp", encoded("ICO", (16, 16))), NOT_READ),
    # truncated and damaged
    "a JPEG of half its bytes": (cut("a.jpg", "JPEG", 0.5), "truncated image"),
    "a JPEG of its first 20 bytes": (wrote("a.jpg", encoded("JPEG")[:20]), NOT_READ),
    "a PNG of half its bytes": (cut("a.png", "PNG", 0.5), "truncated image"),
    "a WebP of half its bytes": (cut("a.webp", "WEBP", 0.5), "damaged image"),
    "a BMP of half its bytes": (cut("a.bmp", "BMP", 0.5), "truncated image"),
    "a TIFF of half its bytes": (cut("a.tif", "TIFF", 0.5), "truncated image"),
    "a GIF of half its bytes": (cut("a.gif", "GIF", 0.5), "truncated image"),
    "a PNG with a wrong checksum": (damaged_png, "damaged image"),
    # shapes
    "a decompression bomb": (wrote("a.png", png_header(60_000, 60_000)), "decompression bomb"),
    "a smaller bomb": (wrote("a.png", png_header(12_000, 12_000)), "decompression bomb"),
    "a strip": (wrote("a.png", encoded("PNG", (600, 4))), "absurd aspect ratio: 600 x 4 pixels"),
    "a tower": (wrote("a.png", encoded("PNG", (2, 300))), "absurd aspect ratio: 2 x 300 pixels"),
    "no width": (wrote("a.png", png_header(0, 10)), NOT_READ),
    # pixels without a range
    "floating-point pixels": (
        saved("a.tif", np.linspace(0, 1, 400, dtype=np.float32).reshape(20, 20)),
        "floating-point pixels: their range is not known",
    ),
    "32-bit pixels": (
        saved("a.tif", np.arange(400, dtype=np.int32).reshape(20, 20) * 1_000_000),
        "32-bit pixels: their range is not known",
    ),
    # extensions
    "a JPEG named .png": (wrote("a.png", encoded("JPEG")), "wrong extension: .png holds JPEG"),
    "a PNG named .jpg": (wrote("a.jpg", encoded("PNG")), "wrong extension: .jpg holds PNG"),
    "a picture named .txt": (wrote("a.txt", encoded("PNG")), "wrong extension: .txt is no image's"),
    "a picture without an extension": (wrote("a", encoded("PNG")), "wrong extension: none is no image's"),
    "a video": (wrote("a.mp4", b"\0\0\0\x18ftypmp42"), "wrong extension: .mp4 is no image's"),
    # places
    "a missing file": (points_at("nowhere.png"), "missing file"),
    "a path out of the root": (out_of_root, OUTSIDE),
    "an absolute path out of the root": (points_at("/etc/hostname"), OUTSIDE),
    "a link out of the root": (linked_out_of_root, OUTSIDE),
    "a link to nothing": (link("a.png", "gone.png"), "a symbolic link to nothing"),
    "a link to itself": (link("a.png", "a.png"), "a circle of symbolic links"),
    "a folder named .png": (a_folder, "a folder where an image was expected"),
    # rows of a table
    "a row without a path": (row(path=""), "a row without a path"),
    "a split that is none": (
        row(split="training"),
        "there is no split 'training' (there are: train, val, test, pool)",
    ),
    "a time that is none": (row(time="yesterday"), "the time 'yesterday' is not ISO 8601 (2026-03-29 14:05:00)"),
    "a test image without a label": (row(split="test", label=""), "no label, and a test image needs one"),
    "a training image without a label": (row(split="train", label=""), "no label, and a train image needs one"),
    "a path with a zero byte": (points_at("a\0.png"), "a path with a zero byte"),
}
