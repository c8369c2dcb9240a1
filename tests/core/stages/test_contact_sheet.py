"""The picture of a batch: a tile per image in rank order, each above its caption."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from oltr_core.pictures import scaled
from oltr_core.stages.contact_sheet import draw


def sheet(images: list[np.ndarray], captions: list[str] | None = None) -> np.ndarray:
    said = [str(n) for n in range(len(images))] if captions is None else captions
    with Image.open(io.BytesIO(draw(images, said))) as picture:
        assert (picture.format, picture.mode) == ("PNG", "RGB")
        return np.asarray(picture)


def flat(colour: int, height: int = 10, width: int = 10) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


@pytest.mark.parametrize(
    ("number", "width", "height"), [(0, 72, 86), (1, 72, 86), (12, 864, 86), (13, 864, 172), (241, 864, 20 * 86)]
)
def test_a_sheet_has_twelve_columns_and_as_many_rows_as_it_needs_up_to_240_images(number, width, height):
    assert sheet([flat(100)] * number).shape == (height, width, 3)


def test_images_stand_in_their_order_row_by_row_with_a_margin_of_paper():
    found = sheet([flat(10 * n) for n in range(14)], [""] * 14)
    for n in range(14):
        top, left = n // 12 * 86, n % 12 * 72
        tile = found[top : top + 72, left : left + 72]
        assert (tile[2:70, 2:70] == 10 * n).all()
        assert (tile[:2] == 255).all()
        assert (tile[70:] == 255).all()
        assert (tile[:, :2] == 255).all()
        assert (tile[:, 70:] == 255).all()


def test_an_image_keeps_its_proportions_in_the_middle_of_its_tile():
    wide, high = sheet([flat(0, 20, 40)], [""])[:72], sheet([flat(0, 100, 25)], [""])[:72]
    assert [np.flatnonzero((wide[..., 0] == 0).any(axis))[[0, -1]].tolist() for axis in (1, 0)] == [[19, 52], [2, 69]]
    assert [np.flatnonzero((high[..., 0] == 0).any(axis))[[0, -1]].tolist() for axis in (1, 0)] == [[2, 69], [27, 43]]
    assert (sheet([flat(0, 1, 400)], [""])[:72, :, 0] == 0).sum() == 68


def test_enlarged_pixels_stay_pixels_and_a_photograph_is_averaged_down():
    chess = np.indices((2, 2)).sum(0)[..., None].repeat(3, 2).astype(np.uint8) % 2 * 200
    assert set(np.unique(sheet([chess], [""])[2:70, 2:70])) == {0, 200}
    fine = np.indices((680, 680)).sum(0)[..., None].repeat(3, 2).astype(np.uint8) % 2 * 200
    assert set(np.unique(sheet([fine], [""])[2:70, 2:70])) == {100}


@pytest.mark.parametrize(
    ("height", "width", "side", "size"),
    [(400, 1, 40, (1, 40)), (1, 400, 40, (40, 1)), (30, 20, 60, (40, 60)), (20, 30, 15, (15, 10)), (5, 9, 9, (9, 5))],
)
def test_the_longer_side_of_an_image_is_brought_to_what_is_asked_for_and_the_other_is_a_pixel_at_least(
    height, width, side, size
):
    assert scaled(flat(0, height, width), side).size == size


def test_an_image_that_is_enlarged_by_half_has_no_other_colours():
    chess = np.indices((4, 4)).sum(0)[..., None].repeat(3, 2).astype(np.uint8) % 2 * 200
    assert set(np.unique(np.asarray(scaled(chess, 6)))) == {0, 200}


def test_a_caption_is_ink_below_its_image_and_in_the_middle():
    found = sheet([flat(255)] * 2, ["1", "20"])
    assert (found[:72] == 255).all()
    for n in range(2):
        ink = np.flatnonzero((found[72:, n * 72 : n * 72 + 72, 0] < 200).any(0))
        assert len(ink) > 0
        assert abs((ink[0] + ink[-1]) / 2 - 36) < 3
    assert found[72:].min() >= 60


def test_a_sheet_of_nothing_says_so_and_equal_input_gives_equal_bytes():
    empty = sheet([])
    assert (empty[36:50] < 200).any()
    assert (empty[:34] == 255).all()
    assert draw([flat(9), flat(8)], ["a", "b"]) == draw([flat(9), flat(8)], ["a", "b"])
