"""What a network sees: sizes, values, and that every draw is the generator's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from oltr_core.augmentation import Augment, shifted, turned
from oltr_core.augmentation.policies import RandAugment, cut_out
from oltr_core.images.transforms import Transform
from oltr_core.seeding import numpy_generator


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _batch(count: int = 64, side: int = 8) -> torch.Tensor:
    return torch.randint(1, 256, (count, 3, side, side), generator=_generator(9), dtype=torch.uint8)


def test_normalisation_by_hand():
    transform = Transform(size=1, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.5))
    out = transform(torch.tensor([0, 255, 255], dtype=torch.uint8).view(1, 3, 1, 1))
    torch.testing.assert_close(out.flatten(), torch.tensor([-2.0, 2.0, 1.0]))


@pytest.mark.parametrize("fit", ["stretch", "crop"])
@pytest.mark.parametrize("shape", [(5, 9), (40, 20), (16, 16), (1, 1)])
def test_every_image_becomes_a_square_of_the_size(fit, shape):
    image = np.full((*shape, 3), 77, np.uint8)
    canvas = Transform(size=16, fit=fit).canvas(image)
    assert canvas.shape == (3, 16, 16)
    assert canvas.dtype == torch.uint8
    assert (canvas == 77).all()  # resizing a flat image changes no value


def test_an_image_of_the_right_size_is_passed_on_untouched():
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    assert np.array_equal(Transform(size=16).canvas(image).permute(1, 2, 0).numpy(), image)


def test_crop_takes_the_middle():
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 25:35] = 255
    canvas = Transform(size=10, fit="crop", resize=20).canvas(image)
    assert (canvas == 255).all()


def test_without_choices_augmentation_changes_nothing():
    batch = _batch()
    assert torch.equal(Augment()(batch, _generator()), batch)


@pytest.mark.parametrize(
    "augment", [Augment(pad=2), Augment(pad=2, fill="edge"), Augment(flip=True), Augment(rotate=20, zoom=0.2)]
)
def test_augmentation_depends_on_the_generator_alone(augment):
    batch = _batch()
    one, two, other = (augment(batch, _generator(seed)) for seed in (1, 1, 2))
    assert one.dtype == torch.uint8
    assert one.shape == batch.shape
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_every_crop_is_a_window_of_the_padded_image():
    batch = _batch(32, side=6)
    padded = torch.nn.functional.pad(batch, (2,) * 4)
    windows = {
        (i, padded[i, :, t : t + 6, left : left + 6].numpy().tobytes())
        for i in range(32)
        for t in range(5)
        for left in range(5)
    }
    out = Augment(pad=2)(batch, _generator())
    assert all((i, out[i].numpy().tobytes()) in windows for i in range(32))
    assert sum(torch.equal(out[i], batch[i]) for i in range(32)) < 10  # one in 25 by chance


def test_every_second_image_is_flipped():
    batch = _batch(400)
    out = Augment(flip=True)(batch, _generator())
    flipped = sum(torch.equal(a, b.flip(2)) for a, b in zip(out, batch, strict=True))
    kept = sum(torch.equal(a, b) for a, b in zip(out, batch, strict=True))
    assert flipped + kept == 400
    assert 160 < flipped < 240


def test_a_turn_of_no_degrees_and_a_zoom_of_nothing_is_the_identity():
    batch = _batch()
    assert torch.equal(turned(batch, 0.0, 0.0, _generator()), batch)


def test_a_zoom_enlarges_and_shrinks_about_the_middle():
    image = torch.zeros(200, 3, 9, 9, dtype=torch.uint8)
    image[:, :, 3:6, 3:6] = 255
    areas = Augment(zoom=0.3)(image, _generator()).float().sum((1, 2, 3)) / 255 / 3
    assert areas.min() < 9 < areas.max()


def test_a_random_cut_lies_in_the_image_and_repeats_with_its_generator():
    image = np.random.default_rng(0).integers(0, 256, (50, 80, 3), np.uint8)
    augment = Augment(random_resized=True)
    one, two, other = (augment.cut(image, 16, numpy_generator(seed)) for seed in (1, 1, 2))
    assert one.shape == (3, 16, 16)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_a_cut_of_an_image_that_nothing_fits_is_its_middle_square():
    image = np.zeros((2, 400, 3), np.uint8)
    image[:, 199:201] = 255
    assert (Augment(random_resized=True, min_area=1.0).cut(image, 4, numpy_generator(0)) == 255).all()


def gradient(height: int, width: int) -> np.ndarray:
    """Red grows downwards, green to the right: a pixel says where it comes from."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(height)[:, None], np.arange(width)[None]
    return image


def test_stretching_is_torchvisions_resize():
    from torchvision.transforms.v2 import functional as V

    image = np.random.default_rng(0).integers(0, 256, (30, 21, 3), np.uint8)
    theirs = V.resize(torch.from_numpy(image).permute(2, 0, 1), [12, 12], antialias=True)
    ours = Transform(size=12).canvas(image)
    assert (ours.int() - theirs.int()).abs().max() <= 1


@pytest.mark.parametrize(("resize", "top", "left"), [(0, 1, 7), (20, 3, 10), (5, 0, 5)])
def test_a_crop_brings_the_shorter_side_to_its_length_and_takes_the_middle(resize, top, left):
    side = max(14, resize or 16)  # 8/7 of 14
    image = gradient(side, round(side * 1.75))
    canvas = Transform(size=14, fit="crop", resize=resize).canvas(image)
    assert torch.equal(canvas, torch.from_numpy(image).permute(2, 0, 1)[:, top : top + 14, left : left + 14])
    tall = Transform(size=14, fit="crop", resize=resize).canvas(np.ascontiguousarray(image.transpose(1, 0, 2)))
    assert torch.equal(tall, canvas.transpose(1, 2))


def test_a_turn_is_torchvisions_rotation_by_the_angle_that_was_drawn():
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as V

    smooth = torch.nn.functional.interpolate(torch.rand(6, 3, 4, 4, generator=_generator(3)), size=24, mode="bicubic")
    images = (smooth.clamp(0, 1) * 255).to(torch.uint8)
    ours = Augment(rotate=40, zoom=0.3)(images, _generator(5))
    draw = 2 * torch.rand(2, 6, generator=_generator(5)) - 1
    for i in range(6):
        theirs = V.affine(
            images[i].float(), angle=float(-40 * draw[0, i]), translate=[0, 0], scale=float(1 + 0.3 * draw[1, i]),
            shear=[0.0, 0.0], interpolation=InterpolationMode.BILINEAR,
        )  # fmt: skip
        assert (ours[i].float() - theirs).abs().mean() < 2.5


def test_the_border_of_a_shifted_image_is_black_or_the_edge():
    image = torch.full((40, 3, 6, 6), 50, dtype=torch.uint8)
    assert set(Augment(pad=3)(image, _generator()).unique().tolist()) == {0, 50}
    assert set(Augment(pad=3, fill="edge")(image, _generator()).unique().tolist()) == {50}


def test_a_random_cut_has_the_area_and_the_aspect_that_were_drawn():
    """Szegedy et al.: at least `min_area` of the image, sides in a ratio between 3/4 and 4/3."""
    image = gradient(100, 120)
    areas, aspects = [], []
    for seed in range(150):
        cut = Augment(random_resized=True, min_area=0.2).cut(image, 8, numpy_generator(seed)).float()
        height = float(cut[0, -1, 0] - cut[0, 0, 0]) * 8 / 7
        width = float(cut[1, 0, -1] - cut[1, 0, 0]) * 8 / 7
        areas.append(height * width / 12000)
        aspects.append(width / height)
    assert 0.17 < min(areas) < 0.27
    assert 0.75 < max(areas) <= 1.05
    assert 0.7 < min(aspects) < 0.8
    assert 1.25 < max(aspects) < 1.43


def test_steps_of_augmentation_follow_one_another_on_one_generator():
    batch, policy, g = _batch(side=12), RandAugment(), _generator(4)
    expected = shifted(batch, 2, "edge", g)
    flips = torch.rand(len(batch), generator=g) < 0.5
    expected = torch.where(flips[:, None, None, None], expected.flip(3), expected)
    expected = cut_out(policy(turned(expected, 20, 0.1, g), g), 3, g)
    augment = Augment(pad=2, fill="edge", flip=True, rotate=20, zoom=0.1, policy=policy, cutout=3)
    assert torch.equal(augment(batch, _generator(4)), expected)


@pytest.mark.parametrize(("height", "width", "least"), [(40, 30, 0.08), (10, 10, 0.9), (12, 50, 0.3)])
def test_a_random_cut_is_the_published_loop_on_its_generator(height, width, least):
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    for seed in range(25):
        rng = numpy_generator(seed)
        side = min(height, width)
        box = (height - side) // 2, (width - side) // 2, side, side
        for _ in range(10):
            area = height * width * rng.uniform(least, 1)
            aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
            w, h = round((area * aspect) ** 0.5), round((area / aspect) ** 0.5)
            if 0 < w <= width and 0 < h <= height:
                box = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1)), h, w
                break
        top, left, h, w = box
        part = torch.from_numpy(image)[top : top + h, left : left + w].permute(2, 0, 1)
        whole = torch.nn.functional.interpolate(part[None], size=(8, 8), mode="bilinear", antialias=True)[0]
        assert torch.equal(Augment(random_resized=True, min_area=least).cut(image, 8, numpy_generator(seed)), whole)
