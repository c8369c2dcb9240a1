"""Every readable image becomes upright RGB, whatever it was; the perceptual hash finds near-duplicates alone."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oltr_core.images.decode import (
    EXTENSIONS,
    FORMATS,
    Limits,
    decode,
    identity,
    identity_of_pixels,
    perceptual_hash,
    read,
)
from tests.core.ingest.bad_inputs import BAD

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters() -> Image.Image:
    """Red, green / blue, white: 16 wide, 8 high, so that turning and mirroring show."""
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:4, :8], pixels[:4, 8:], pixels[4:, :8], pixels[4:, 8:] = RED, GREEN, BLUE, WHITE
    return Image.fromarray(pixels)


def encode(image: Image.Image, kind: str, **save) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **save)
    return out.getvalue()


def corners(pixels: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(int(v) for v in pixels[y, x]) for y, x in ((1, 1), (1, -2), (-2, 1), (-2, -2))]


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_lossless_formats_come_out_to_the_bit(kind):
    data = encode(quarters(), kind, **({"lossless": True} if kind == "WEBP" else {}))
    assert corners(decode(data)) == [RED, GREEN, BLUE, WHITE]
    assert np.array_equal(decode(data), np.asarray(quarters()))


def test_jpeg_comes_out_close():
    pixels = decode(encode(quarters(), "JPEG", quality=98, subsampling=0))
    assert np.abs(pixels.astype(int) - np.asarray(quarters())).max() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation -> Pillow's transposition that stores it so
    stored = quarters() if orientation == 1 else quarters().transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decode(encode(stored, "PNG", exif=exif.tobytes())), np.asarray(quarters()))


def test_cmyk_comes_out_as_rgb():
    pixels = decode(encode(quarters().convert("CMYK"), "TIFF"))
    assert corners(pixels) == [RED, GREEN, BLUE, WHITE]


def test_cmyk_jpeg_comes_out_as_rgb():
    pixels = decode(encode(quarters().convert("CMYK"), "JPEG", quality=98, subsampling=0)).astype(int)
    assert np.abs(pixels - np.asarray(quarters())).mean() < 12


def test_palette_images_come_out_in_their_colours():
    palette = quarters().convert("P", palette=Image.Palette.ADAPTIVE)
    assert corners(decode(encode(palette, "PNG"))) == [RED, GREEN, BLUE, WHITE]


def test_transparency_is_laid_on_white():
    image = quarters().convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat(np.array([[255] * 8 + [0] * 8], np.uint8), 8, axis=0)))
    assert corners(decode(encode(image, "PNG"))) == [RED, WHITE, BLUE, WHITE]


def test_sixteen_bit_grey_is_scaled_and_not_clipped():
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    pixels = decode(encode(Image.fromarray(ramp), "PNG"))
    assert np.array_equal(pixels[:, :, 0], ramp >> 8)
    assert pixels.shape == (8, 8, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_comes_out_in_three_equal_channels(mode):
    pixels = decode(encode(quarters().convert("L").convert(mode), "PNG"))
    assert np.array_equal(pixels[:, :, 0], pixels[:, :, 2])


def test_the_first_frame_of_an_animation_is_taken():
    data = encode(quarters(), "GIF", save_all=True, append_images=[Image.new("RGB", (16, 8), BLUE)])
    assert corners(decode(data)) == [RED, GREEN, BLUE, WHITE]


def test_a_picture_named_after_another_format_is_taken_where_that_is_allowed():
    data = encode(quarters(), "PNG")
    with pytest.raises(ValueError, match="wrong extension"):
        decode(data, Limits(), ".jpg")
    assert decode(data, Limits(any_extension=True), ".jpg").shape == (8, 16, 3)


def test_an_image_is_named_by_its_bytes():
    data = encode(quarters(), "PNG")
    assert identity(data) == identity(bytes(data)) != identity(data + b" ")
    tall = np.zeros((2, 8, 3), np.uint8)
    assert identity_of_pixels(tall) != identity_of_pixels(tall.reshape(8, 2, 3))


def natural(seed: int, size: int = 200) -> Image.Image:
    """Something with the spectrum of a photograph: coarse structure, then finer and weaker."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size, size, 3))
    for cells in (3, 6, 12, 24):
        part = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        total += np.asarray(part.resize((size, size), Image.Resampling.BICUBIC), dtype=float) / cells
    return Image.fromarray((255 * (total - total.min()) / np.ptp(total)).astype(np.uint8))


def distance(one: Image.Image, other: Image.Image) -> int:
    return (perceptual_hash(np.asarray(one)) ^ perceptual_hash(np.asarray(other))).bit_count()


@pytest.mark.parametrize("seed", range(5))
def test_the_hash_survives_resizing_encoding_and_brightening(seed):
    image = natural(seed)
    reencoded = Image.open(io.BytesIO(encode(image, "JPEG", quality=60)))
    brighter = Image.fromarray((np.asarray(image) * 0.8 + 30).astype(np.uint8))
    assert distance(image, reencoded) <= 3
    assert distance(image, image.resize((140, 140), Image.Resampling.BICUBIC)) <= 3
    assert distance(image, brighter) <= 3


def test_the_hash_tells_different_images_apart():
    images = [natural(seed) for seed in range(30)]
    assert min(distance(a, b) for i, a in enumerate(images) for b in images[:i]) > 8


@pytest.mark.parametrize("grey", [0, 1, 128, 254, 255])
def test_a_flat_image_has_the_hash_of_nothing(grey):
    assert perceptual_hash(np.full((50, 70, 3), grey, np.uint8)) == 0


@pytest.mark.parametrize(("values", "taken"), [((0, 65535), True), ((0, 65536), False), ((-1, 9), False)])
def test_grey_of_more_than_16_bits_is_refused_if_any_pixel_has_more(values, taken):
    pixels = np.full((8, 8), values[0], np.int32)
    pixels[3:, :] = values[1]
    data = encode(Image.fromarray(pixels, "I"), "TIFF")
    if taken:
        found = decode(data)
        assert [int(found[0, 0, 0]), int(found[7, 7, 2])] == [0, 255]
        return
    with pytest.raises(ValueError, match="32-bit pixels"):
        decode(data)


def test_an_image_of_one_pixel_is_an_image():
    assert decode(encode(Image.new("RGB", (1, 1), RED), "PNG")).tolist() == [[list(RED)]]


def test_what_pillow_warns_of_is_left_to_our_own_limits(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # it warns above, and refuses above twice as many
    assert decode(encode(Image.new("RGB", (4, 4), RED), "PNG")).shape == (4, 4, 3)


BAD_CONTENTS = list(BAD)[: list(BAD).index("a picture named .txt")]  # those after it are not even opened


@pytest.mark.parametrize("kind", BAD_CONTENTS)
def test_a_file_that_is_no_image_worth_having_is_refused_with_the_reason(kind, tmp_path):
    make, reason = BAD[kind]
    path = tmp_path / make(tmp_path)["path"]
    with pytest.raises(ValueError) as refused:
        decode(read(path), Limits(), path.suffix)
    assert str(refused.value).startswith(reason)


@pytest.mark.parametrize(
    ("size", "limits", "reason"),
    [
        ((10, 9), Limits(max_pixels=90), ""),
        ((10, 9), Limits(max_pixels=89), "decompression bomb: more than 89 pixels"),
        ((40, 2), Limits(), ""),
        ((41, 2), Limits(), "absurd aspect ratio: 41 x 2 pixels"),
        ((2, 5), Limits(max_aspect=2.5), ""),
        ((2, 6), Limits(max_aspect=2.5), "absurd aspect ratio: 2 x 6 pixels"),
    ],
)
def test_an_image_may_be_as_large_and_as_long_as_the_limits_say(size, limits, reason):
    data = encode(Image.new("RGB", size, RED), "PNG")
    if not reason:
        assert decode(data, limits).shape == (size[1], size[0], 3)
        return
    with pytest.raises(ValueError, match=reason):
        decode(data, limits)


def test_by_default_limits_are_generous_and_names_must_fit():
    limits = Limits()
    assert (limits.max_pixels, limits.max_aspect, limits.any_extension) == (10**8, 20, False)
    assert limits.max_bytes == 5 * 10**8


@pytest.mark.parametrize("kind", FORMATS)
def test_a_format_is_known_by_its_extensions_in_any_case_and_by_no_other(kind):
    data = encode(quarters(), kind, **({"save_all": True, "append_images": [quarters()]} if kind == "MPO" else {}))
    for extension in EXTENSIONS | {""}:
        if extension in FORMATS[kind]:
            assert decode(data, Limits(), extension.upper()).shape == (8, 16, 3)
        elif kind != "MPO":  # read as the JPEG that it begins with
            with pytest.raises(ValueError, match=f"wrong extension: {extension or 'none'} holds {kind}"):
                decode(data, Limits(), extension)
    assert decode(data).shape == (8, 16, 3)


@pytest.mark.parametrize("mode", ["LA", "RGBA", "P", "L", "1"])
def test_transparency_of_every_kind_is_laid_on_white(mode):
    if mode in ("LA", "RGBA"):
        data = encode(Image.new(mode, (4, 4), 0), "PNG")
    else:
        data = encode(Image.new(mode, (4, 4), 0), "PNG", transparency=0)  # black stands for what is transparent
    assert (decode(data) == 255).all()


def test_a_file_is_read_up_to_its_limit_and_nothing_that_is_no_regular_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert read(path) == read(path, Limits(max_bytes=5)) == b"12345"
    with pytest.raises(ValueError, match=r"a file of 5 bytes: more than ingest.max_bytes = 4"):
        read(path, Limits(max_bytes=4))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a regular file"):
        read(tmp_path / "pipe")
    with pytest.raises(OSError, match="none"):
        read(Path(tmp_path / "none"))
