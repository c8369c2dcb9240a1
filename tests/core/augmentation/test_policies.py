"""Operations against torchvision's, policies by their proportions, mixtures by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.transforms.v2 import functional as V

from oltr_core.augmentation import operations
from oltr_core.augmentation.policies import AUTO_AUGMENT_CIFAR, AutoAugment, RandAugment, cut_out
from oltr_core.interfaces import Targets
from oltr_core.training.mixing import CutMix, Mixup, draw_share

# the same operation by an independent library, on one image with one value
THEIRS = {
    "shear_x": lambda x, v: _affine(x, shear=[math.degrees(math.atan(v)), 0.0], center=[0, 0]),
    "shear_y": lambda x, v: _affine(x, shear=[0.0, math.degrees(math.atan(v))], center=[0, 0]),
    "translate_x": lambda x, v: _affine(x, translate=[int(v * 32), 0]),
    "translate_y": lambda x, v: _affine(x, translate=[0, int(v * 32)]),
    "rotate": lambda x, v: V.rotate(x, v, fill=[128.0]),
    "brightness": lambda x, v: V.adjust_brightness(x, 1 + v),
    "color": lambda x, v: V.adjust_saturation(x, 1 + v),
    "contrast": lambda x, v: V.adjust_contrast(x, 1 + v),
    "sharpness": lambda x, v: V.adjust_sharpness(x, 1 + v),
    "posterize": lambda x, v: V.posterize(x, round(v)),
    "solarize": lambda x, v: V.solarize(x, v),
    "auto_contrast": lambda x, v: V.autocontrast(x),
    "equalize": lambda x, v: V.equalize(x),
    "invert": lambda x, v: V.invert(x),
}
MIRRORED = {"translate_x", "translate_y"}  # they name the side the other way round


def _affine(x, shear=(0.0, 0.0), translate=(0, 0), center=None):
    return V.affine(x, 0.0, list(translate), 1.0, list(shear), fill=[128.0], center=center)


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _images(count: int = 8, side: int = 32) -> torch.Tensor:
    """Smooth, so that a rounding of half a pixel is a small difference."""
    noise = torch.rand(count, 3, 6, 6, generator=_generator(3))
    smooth = torch.nn.functional.interpolate(noise, size=(side, side), mode="bicubic").clamp(0, 1)
    return (20 + 210 * smooth).to(torch.uint8)


@pytest.mark.parametrize("name", sorted(operations.OPERATIONS))
@pytest.mark.parametrize("level", [0.0, 0.35, 1.0])
def test_an_operation_is_that_of_torchvision(name, level):
    operation, zero, one, signed = operations.OPERATIONS[name]
    images = _images()
    for side in (1, -1) if signed else (1,):
        value = side * (zero + (one - zero) * level)
        ours = operation(images, torch.full((8,), value))
        theirs = torch.stack([THEIRS[name](image, -value if name in MIRRORED else value) for image in images])
        off = (ours.int() - theirs.int()).abs()
        # where a nearest neighbour lies half way, or a value ends on a half, either answer is right
        assert (off <= 1).float().mean() > 0.97, (name, value)


@pytest.mark.parametrize("name", sorted(operations.OPERATIONS))
def test_every_image_has_a_magnitude_of_its_own(name):
    operation, zero, one, _ = operations.OPERATIONS[name]
    images = _images()
    values = torch.linspace(zero, one, 8)
    together = operation(images, values)
    alone = torch.cat([operation(images[i : i + 1], values[i : i + 1]) for i in range(8)])
    assert torch.equal(together, alone)


def test_apply_leaves_alone_the_images_that_chose_nothing():
    images = _images()
    chosen = torch.tensor([-1, 0, -1, 0, -1, -1, 0, -1])
    out = operations.apply(images, ["invert"], chosen, torch.ones(8), torch.ones(8))
    assert torch.equal(out[chosen == -1], images[chosen == -1])
    assert torch.equal(out[chosen == 0], 255 - images[chosen == 0])


def test_the_policy_is_the_published_one():
    from torchvision.transforms.autoaugment import AutoAugment as Theirs
    from torchvision.transforms.autoaugment import AutoAugmentPolicy

    spelled = {"AutoContrast": "auto_contrast", "ShearX": "shear_x", "ShearY": "shear_y"}
    spelled |= {"TranslateX": "translate_x", "TranslateY": "translate_y"}
    published = Theirs(AutoAugmentPolicy.CIFAR10).policies
    expected = [tuple((spelled.get(n, n.lower()), p, level or 0) for n, p, level in pair) for pair in published]
    assert list(AUTO_AUGMENT_CIFAR) == expected


@pytest.mark.parametrize("policy", [AutoAugment(), RandAugment()])
def test_a_policy_depends_on_its_generator_alone_and_changes_most_images(policy):
    images = _images(64)
    one, two, other = (policy(images, _generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert one.dtype == torch.uint8
    assert sum(not torch.equal(a, b) for a, b in zip(one, images, strict=True)) > 32


def test_cutout_blackens_one_square_of_every_image():
    images = torch.full((50, 3, 16, 16), 9, dtype=torch.uint8)
    out = cut_out(images, 6, _generator())
    black = (out == 0).all(1).sum((1, 2))
    assert black.max() == 36
    assert (black > 0).all()
    for image in out:
        rows = (image[0] == 0).any(1).nonzero()
        columns = (image[0] == 0).any(0).nonzero()
        square = image[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert (square == 0).all()


def test_mixup_by_hand():
    images = torch.stack([torch.full((3, 4, 4), float(i)) for i in range(6)])
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    mixed, targets = Mixup()(images, Targets(labels), 3, 1, _generator())
    share = draw_share(1.0, 1.0, _generator())
    assert targets.soft is not None
    torch.testing.assert_close(targets.soft.sum(1), torch.ones(6))
    for i in range(6):
        partner = (float(mixed[i, 0, 0, 0]) - share * i) / (1 - share)
        assert partner == pytest.approx(round(partner), abs=1e-4)
        expected = torch.zeros(3)
        expected[labels[i]] += share
        expected[labels[round(partner)]] += 1 - share
        torch.testing.assert_close(targets.soft[i], expected)


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_mixes_labels_by_the_area_it_really_cut(seed):
    images = torch.stack([torch.full((3, 20, 20), float(i)) for i in range(4)])
    mixed, targets = CutMix(probability=1.0)(images, Targets(torch.arange(4)), 4, 1, _generator(seed))
    assert targets.soft is not None
    for i in range(4):
        shares = torch.tensor([(mixed[i, 0] == j).float().mean() for j in range(4)])
        torch.testing.assert_close(targets.soft[i], shares)
        assert targets.soft[i, targets.labels[i]] >= 0.5 - 1e-6


@pytest.mark.parametrize("mix", [Mixup(), CutMix(probability=1.0)])
def test_streams_are_mixed_within_themselves(mix):
    images = torch.cat([torch.zeros(4, 3, 4, 4), torch.ones(4, 3, 4, 4)])
    labels = torch.tensor([0] * 4 + [1] * 4)
    mixed, targets = mix(images, Targets(labels), 2, 2, _generator())
    assert torch.equal(mixed, images)
    assert torch.equal(targets.labels, labels)


def test_a_mixture_with_probability_zero_is_the_image_itself():
    images = torch.rand(4, 3, 4, 4)
    mixed, targets = CutMix(probability=0.0)(images, Targets(torch.arange(4)), 4, 1, _generator())
    assert torch.equal(mixed, images)
    assert torch.equal(targets.soft, torch.eye(4))


def test_shares_are_drawn_from_the_beta_distribution():
    generator = _generator()
    drawn = torch.tensor([draw_share(0.4, 1.0, generator) for _ in range(4000)])
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(drawn.var()) == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.01)


def test_rand_augment_does_nothing_once_in_fourteen_and_never_inverts():
    images = _images(2000, side=4)
    alike = RandAugment(num=1, level=30)(images, _generator(1))
    assert not torch.equal(alike, 255 - images)
    chosen = torch.randint(-1, 13, (2000,), generator=_generator(1))  # thirteen operations and the identity
    names = [name for name in operations.OPERATIONS if name != "invert"]
    g = _generator(1)
    torch.randint(-1, 13, (2000,), generator=g)
    sides = 2.0 * torch.randint(2, (2000,), generator=g) - 1
    assert torch.equal(alike, operations.apply(images, names, chosen, torch.ones(2000), sides))


def test_auto_augment_does_both_halves_of_a_pair_with_their_own_probability_and_level():
    images, g = _images(60), _generator(2)
    pairs = torch.randint(25, (60,), generator=g).tolist()
    names, expected = list(operations.OPERATIONS), images
    for half in (0, 1):
        does = torch.rand(60, generator=g)
        sides = 2.0 * torch.randint(2, (60,), generator=g) - 1
        steps = [AUTO_AUGMENT_CIFAR[pair][half] for pair in pairs]
        chosen = torch.tensor([names.index(n) if u < p else -1 for (n, p, _), u in zip(steps, does, strict=True)])
        levels = torch.tensor([level / 9 for _, _, level in steps])
        expected = operations.apply(expected, names, chosen, levels, sides)
    assert torch.equal(AutoAugment()(images, _generator(2)), expected)


def test_a_signed_operation_takes_its_side_and_an_unsigned_one_its_level_alone():
    images = _images(2)
    for name, (operation, zero, one, signed) in operations.OPERATIONS.items():
        value = (zero + (one - zero) * 0.4) * (-1 if signed else 1)
        out = operations.apply(images, [name], torch.tensor([-1, 0]), torch.tensor([0.9, 0.4]), -torch.ones(2))
        assert torch.equal(out[1:], operation(images[1:], torch.tensor([value])))
        assert torch.equal(out[0], images[0])


@pytest.mark.parametrize("side", [1, 4, 5])
def test_cutout_may_stick_out_on_every_side(side):
    images = torch.full((400, 3, 9, 9), 7, dtype=torch.uint8)
    black = cut_out(images, side, _generator(1))[:, 0] == 0
    g = _generator(1)
    rows, columns = (torch.randint(9, (400, 1), generator=g)[:, 0] - side // 2 for _ in range(2))
    for i in range(400):
        expected = torch.zeros(9, 9, dtype=torch.bool)
        top, left = max(0, int(rows[i])), max(0, int(columns[i]))
        expected[top : int(rows[i]) + side, left : int(columns[i]) + side] = True
        assert torch.equal(black[i], expected)


def test_the_units_of_a_level_are_the_published_ones():
    """Cubuk et al. 2019, Table 6; translations as a share of 331 pixels, as in torchvision."""
    units = {name: (zero, one, signed) for name, (_, zero, one, signed) in operations.OPERATIONS.items()}
    assert units == {
        "shear_x": (0, 0.3, True),
        "shear_y": (0, 0.3, True),
        "translate_x": (0, 150 / 331, True),
        "translate_y": (0, 150 / 331, True),
        "rotate": (0, 30, True),
        "brightness": (0, 0.9, True),
        "color": (0, 0.9, True),
        "contrast": (0, 0.9, True),
        "sharpness": (0, 0.9, True),
        "posterize": (8, 4, False),
        "solarize": (255, 0, False),
        "auto_contrast": (0, 0, False),
        "equalize": (0, 0, False),
        "invert": (0, 0, False),
    }
