"""Images as files and as addresses within a page."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image


def scaled(pixels: np.ndarray, side: int) -> Image:
    """The uint8 image [H, W, 3], its longer side brought to `side`: pixels that are enlarged stay pixels."""
    from PIL import Image

    height, width, _ = pixels.shape
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)


def encoded(image: Image, form: str, **how: int) -> bytes:
    """The image as a file: `form` is JPEG or PNG, `how` are PIL's options."""
    out = io.BytesIO()
    image.save(out, form, **how)
    return out.getvalue()


def address(data: bytes, form: str) -> str:
    """The data URI of a file."""
    return f"data:image/{form.lower()};base64,{b64encode(data).decode()}"
