"""The table of fair features: which images the second camera took, and what is measured of its groups."""

from __future__ import annotations

import pytest
import torch

from oltr_core.benchmark import groups
from oltr_core.benchmark.cell import predict
from oltr_core.fairness import LearnedFairRepresentation
from oltr_core.images.transforms import Transform
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import SmallResNet
from oltr_core.training import Train


@pytest.fixture(scope="module")
def data():
    return groups.two_cameras(None, 0)


def test_the_second_camera_took_all_but_one_image_of_every_other_class_and_half_of_the_test(data):
    trained, tested = groups.tinted(data.train), groups.tinted(data.test)
    counts = data.train_labels.bincount().tolist()
    assert data.train_labels[trained].bincount().tolist() == [n - 1 if k % 2 else 1 for k, n in enumerate(counts)]
    assert data.test_labels[tested].bincount().tolist() == [15] * 6


def test_the_tint_weakens_the_channels_of_a_grey_image():
    grey = torch.full((1, 3, 2, 2), 200, dtype=torch.uint8)
    assert groups.tint(grey)[0, :, 0, 0].tolist() == [120, 40, 0]
    assert groups.tinted(torch.cat([grey, groups.tint(grey)])).tolist() == [False, True]


def test_overall_worst_and_gap_are_those_of_the_cameras_and_each_row_has_its_own(data):
    found, cameras = {}, groups.tinted(data.test)
    train = Train(network=NetworkSpec(backbone=SmallResNet(widths=(4, 4, 8, 16))), transform=Transform(size=8))
    network = train.network(6, 0)
    x, test = (predict(network, images, train).features.flatten(1) for images in (data.train, data.test))
    for row in groups.methods(0):
        fairness = LearnedFairRepresentation(steps=20) if row.name == "lfr" else row.fairness
        row = row.model_copy(update={"train": train, "fairness": fairness})
        logits = row.logits(x, data.train_labels, groups.tinted(data.train).long(), test)
        found[row.name] = logits.argmax(1) == data.test_labels
    figures = row.beside(network, data)
    shares = sorted(float(found[row.name][of].double().mean()) for of in (cameras, ~cameras))
    assert figures["by camera/worst"] == pytest.approx(shares[0])
    assert figures["by camera/gap"] == pytest.approx(shares[1] - shares[0])
    assert figures["by camera/overall"] == pytest.approx(sum(shares) / 2)
    assert not torch.equal(found["features as they are"], found["lfr"])
    assert not torch.equal(found["features as they are"], found["latent_debiasing"])
