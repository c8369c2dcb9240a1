"""Names by which images are known stay: their ids, and the perceptual hash that finds duplicates among batches."""

from __future__ import annotations

import numpy as np
import pytest

from oltr_core.images.decode import identity, identity_of_pixels, perceptual_hash
from oltr_core.images.shards import RAW_SIDE, SHARD_BYTES, SHARD_ROWS


def picture(seed: int, height: int = 48, width: int = 40) -> np.ndarray:
    """Smooth random colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), np.uint8)
    return np.ascontiguousarray(coarse.repeat(height // 6, 0).repeat(width // 5, 1))


def test_an_id_is_the_digest_of_the_bytes_and_of_pixels_with_their_size():
    assert identity(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert identity_of_pixels(picture(0)) == PIXELS
    assert identity_of_pixels(picture(0).transpose(1, 0, 2)) != PIXELS
    assert identity_of_pixels(np.zeros((2, 8, 3), np.uint8)) != identity_of_pixels(np.zeros((4, 4, 3), np.uint8))


@pytest.mark.parametrize("seed", range(4))
def test_the_perceptual_hash_is_the_sign_of_the_low_cosines_about_their_median(seed):
    from PIL import Image
    from scipy.fft import dctn

    pixels = picture(seed)
    assert perceptual_hash(pixels) == HASHES[seed]
    grey = np.asarray(Image.fromarray(pixels).resize((32, 32), Image.Resampling.BOX)).astype(float)
    low = dctn(grey @ [0.299, 0.587, 0.114], type=2)[:8, :8].ravel()
    bits = low > np.median(low[1:])
    bits[0] = False
    exact = int(np.packbits(bits).view(">u8")[0])
    # integers round: a coefficient next to the median may fall on its other side
    assert bin(perceptual_hash(pixels) ^ exact).count("1") <= 2


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_a_flat_image_has_the_hash_of_none(value):
    assert perceptual_hash(np.full((40, 50, 3), value, np.uint8)) == 0


def test_brightness_is_no_structure():
    pixels = (picture(1) // 2).astype(np.uint8)
    assert bin(perceptual_hash(pixels) ^ perceptual_hash(pixels + 60)).count("1") <= 2


def test_the_same_batch_is_cut_into_the_same_shards():
    assert (RAW_SIDE, SHARD_ROWS, SHARD_BYTES) == (64, 8192, 64 * 2**20)


PIXELS = "d99ff31928d983947eb1fb3a2cfc44142676ebc4c0f618bdb2ac69c2baf10c3f"
HASHES = [2581322132961724918, 4388491008404177682, 2527278728122416348, 4391734157174692003]
