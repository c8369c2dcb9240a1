"""Bytes to upright RGB pixels, or the reason why not; and the perceptual hash of pixels.

Decoding is Pillow's, restricted to six formats: every further format is a further parser of untrusted bytes.
"""

from __future__ import annotations

import io
import os
import stat
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from oltr_core import digest

if TYPE_CHECKING:
    from PIL import Image as PilImage

#: Pillow's name of a format -> the extensions under which it is expected
FORMATS = {
    "JPEG": {".jpg", ".jpeg", ".jpe", ".jfif"},
    "MPO": {".jpg", ".jpeg", ".mpo"},  # Pillow's name for a phone's JPEG of two pictures; the first is taken
    "PNG": {".png"},
    "WEBP": {".webp"},
    "BMP": {".bmp", ".dib"},
    "TIFF": {".tif", ".tiff"},
    "GIF": {".gif"},
}
EXTENSIONS = frozenset().union(*FORMATS.values())


@dataclass(frozen=True)
class Limits:
    """What is taken for an image worth having."""

    max_pixels: int = 100_000_000  # more is a decompression bomb
    max_aspect: float = 20.0  # long side over short side
    any_extension: bool = False  # take a PNG named .jpg for what it is
    max_bytes: int = 500_000_000  # of a file; more is not even read


def read(path: Path, limits: Limits = Limits()) -> bytes:
    """The bytes of a file. Raises ValueError with the reason for quarantine, and OSError where it cannot be read."""
    # without O_NONBLOCK, opening a FIFO waits for somebody to write into it
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("not a regular file")
        if found.st_size > limits.max_bytes:
            raise ValueError(f"a file of {found.st_size:,} bytes: more than ingest.max_bytes = {limits.max_bytes:,}")
        return file.read()


def decode(data: bytes, limits: Limits = Limits(), extension: str | None = None) -> np.ndarray:
    """Encoded bytes as upright RGB, uint8 [H, W, 3].

    The orientation of EXIF is applied; transparency is laid on white; 16-bit grey is scaled to 8 bits; of an
    animation the first frame is taken. Raises ValueError with the reason for quarantine.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise ValueError("empty file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata and of sizes; the limits below decide
        try:
            image = Image.open(io.BytesIO(data), formats=[f for f in FORMATS if f != "MPO"])
        except Image.DecompressionBombError:
            raise ValueError(f"decompression bomb: more than {limits.max_pixels:,} pixels") from None
        except UnidentifiedImageError:
            raise ValueError("not an image in a format read here (JPEG, PNG, WebP, BMP, TIFF, GIF)") from None
        except Exception as error:
            raise ValueError(f"damaged image header ({error})") from None
        _refuse(image, limits, extension)
        try:
            return _upright_rgb(image)
        except ValueError:
            raise
        except Exception as error:  # a decoder fails in as many ways as files are damaged
            text = str(error)
            truncated = any(sign in text.lower() for sign in ("truncated", "not enough", "unexpected end"))
            reason = "truncated image" if truncated else f"damaged image ({text or type(error).__name__})"
            raise ValueError(reason) from None


def _refuse(image: PilImage.Image, limits: Limits, extension: str | None) -> None:
    (width, height), kind = image.size, str(image.format)
    if min(width, height) < 1:
        raise ValueError(f"an image of {width} x {height} pixels")
    if width * height > limits.max_pixels:
        raise ValueError(f"decompression bomb: more than {limits.max_pixels:,} pixels")
    if max(width, height) > limits.max_aspect * min(width, height):
        raise ValueError(f"absurd aspect ratio: {width} x {height} pixels")
    if extension is not None and not limits.any_extension and extension.lower() not in FORMATS[kind]:
        raise ValueError(f"wrong extension: {extension.lower() or 'none'} holds {kind}")


def _upright_rgb(image: PilImage.Image) -> np.ndarray:
    from PIL import Image, ImageOps

    image.seek(0)
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("floating-point pixels: their range is not known")
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow's own conversion would clip
        grey = np.asarray(image).astype(np.int64)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("32-bit pixels: their range is not known")
        return np.repeat((grey >> 8).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return np.array(image.convert("RGB"))


def identity(data: bytes) -> str:
    """The image's id: the SHA-256 of its bytes as received."""
    return digest.of_bytes(data)


def identity_of_pixels(pixels: np.ndarray) -> str:
    """The id of an image that came as pixels: the SHA-256 of its size and RGB bytes."""
    height, width, _ = pixels.shape
    return digest.of_bytes(f"rgb8 {width}x{height}\n".encode() + pixels.tobytes())


@cache
def _cosines(size: int = 32, kept: int = 8) -> np.ndarray:
    k, n = np.arange(kept)[:, None], np.arange(size)[None, :]
    return np.rint(1024 * np.cos(np.pi * k * (2 * n + 1) / (2 * size))).astype(np.int64)


def perceptual_hash(pixels: np.ndarray) -> int:
    """64 bits that change little when an image is resized, re-encoded or brightened; 0 for a flat image.

    The signs, about their median, of the lowest 8 x 8 coefficients of the discrete cosine transform of the grey
    image at 32 x 32. In integers throughout, so that every machine finds the same bits.
    Source: C. Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section 3.2.1.
    """
    from PIL import Image

    small = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BOX)).astype(np.int64)
    grey = (299 * small[:, :, 0] + 587 * small[:, :, 1] + 114 * small[:, :, 2]) // 1000
    low = (_cosines() @ grey @ _cosines().T).ravel()
    # rounded cosines leave a residue of the mean in the others: less than this is no structure
    if np.abs(low[1:]).max() < 1024 * 1024:
        return 0
    bits = low > int(np.median(low[1:]))
    bits[0] = False  # the mean: brightness is not structure
    return int(np.packbits(bits).view(">u8")[0])
