"""Images as they stand in a page: encoded within a number of bytes, as data URIs."""

from __future__ import annotations

import numpy as np

from oltr_core.pictures import address, encoded

SMALL = 96  # pixels a side up to which an image is kept as it is, for the browser to enlarge without smoothing
#: (pixels of the longer side, JPEG quality), the best first
FORMS = ((640, 88), (640, 75), (512, 75), (384, 75), (256, 70), (192, 60), (128, 50), (64, 30))
THUMBNAIL = 64  # pixels a side of an example of a class


def is_small(pixels: np.ndarray) -> bool:
    """Whether the image [H, W, 3] is shown with its pixels enlarged, not smoothed."""
    return max(pixels.shape[:2]) <= SMALL


def picture(pixels: np.ndarray, most: int) -> str:
    """The uint8 image [H, W, 3] as a data URI: PNG if it is small, else the best JPEG of at most `most` bytes.

    An image that no form makes as small as that comes in the smallest.
    """
    if is_small(pixels) and len(png := _encoded(pixels, "PNG")) <= most:
        return address(png, "PNG")
    data = b""
    for side, quality in FORMS:
        pixels = _within(pixels, side)  # from the one before: a photograph is made smaller once
        data = _encoded(pixels, "JPEG", quality=quality)
        if len(data) <= most:
            break
    return address(data, "JPEG")


def thumbnail(pixels: np.ndarray) -> str:
    """The uint8 image [H, W, 3] as a data URI of at most THUMBNAIL pixels a side."""
    return address(_encoded(_within(pixels, THUMBNAIL), "JPEG", quality=80), "JPEG")


def _within(pixels: np.ndarray, side: int) -> np.ndarray:
    from PIL import Image

    if max(pixels.shape[:2]) <= side:
        return pixels
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return np.asarray(image)


def _encoded(pixels: np.ndarray, form: str, **how: int) -> bytes:
    from PIL import Image

    return encoded(Image.fromarray(pixels), form, **how)
