"""The picture of a batch: a tile per image in rank order, each above its caption."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable

import numpy as np

from oltr_core.pictures import encoded, scaled

TILE = 72  # pixels
CAPTION = 14
COLUMNS = 12
MOST = 240  # images on one sheet; the table has them all
PAPER, INK = (255, 255, 255), (60, 60, 60)


def draw(images: Iterable[np.ndarray], captions: list[str]) -> bytes:
    """A PNG of uint8 images [H, W, 3], each in a square tile above its caption; equal input gives equal bytes."""
    from PIL import Image, ImageDraw

    captions = captions[:MOST]
    columns = max(1, min(COLUMNS, len(captions)))
    size = columns * TILE, max(1, math.ceil(len(captions) / columns)) * (TILE + CAPTION)
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    if not captions:
        pen.text((2, TILE // 2), "nothing to ask", fill=INK)
    for place, (pixels, caption) in enumerate(zip(images, captions, strict=False)):
        left, top = place % columns * TILE, place // columns * (TILE + CAPTION)
        tile = scaled(pixels, TILE - 4)
        sheet.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
        pen.text((left + TILE // 2, top + TILE), caption, fill=INK, anchor="ma")
    return encoded(sheet, "PNG", optimize=False)


def tiles(sheet: bytes, places: Iterable[int]) -> list[np.ndarray]:
    """The pixels [H, W, 3] of images of the picture that `draw` makes, by places from 0 on, without captions."""
    from PIL import Image

    with Image.open(io.BytesIO(sheet)) as picture:
        corners = [(place % COLUMNS * TILE, place // COLUMNS * (TILE + CAPTION)) for place in places]
        return [np.asarray(picture.crop((x, y, x + TILE, y + TILE))) for x, y in corners]
