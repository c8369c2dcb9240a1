"""Fig. 10 and 11 b, c: the figures by scikit-learn and by counting, on the digits and on a few images."""

from dataclasses import replace

import pytest
import torch
from sklearn.metrics import f1_score

from oltr_core.benchmark import open_curves
from oltr_core.benchmark.outputs import predict
from oltr_core.images.transforms import Transform
from oltr_core.losses import CrossEntropy, Range
from oltr_core.metrics.recognition import OPEN
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import SmallResNet
from oltr_core.operating.learning import Update
from oltr_core.samplers import ClassAware
from oltr_core.scores import Energy, Msp
from oltr_core.training import Train


@pytest.fixture(scope="module")
def data():
    return open_curves.digits(None, 0)


@pytest.fixture(scope="module")
def row():
    train = Train(network=NetworkSpec(backbone=SmallResNet(widths=(4, 4, 8, 16))), transform=Transform(size=8))
    return open_curves.Curves(name="row", train=train, update=Update(score=Msp()))


def test_f1_of_a_class_and_of_unknown_is_scikit_learns():
    generator = torch.Generator().manual_seed(0)
    labels, said = (torch.randint(-1, 4, (200,), generator=generator) for _ in range(2))
    expected = f1_score(labels, said, labels=[0, 1, 2, 3, OPEN], average=None)
    assert list(open_curves.f1(labels, said, 4).values()) == pytest.approx(expected)
    assert open_curves.f1(torch.tensor([0]), torch.tensor([0]), 2)[1] == 0, "a class that nothing has or gets"


def test_f1_by_group_is_the_mean_over_its_classes_and_a_group_without_classes_has_none():
    of = {0: 0.9, 1: 0.5, 2: 0.1, OPEN: 0.3}
    labels = torch.tensor([0] * 101 + [1] * 5 + [2] * 3)
    found = open_curves.by_group(of, labels)
    assert found == pytest.approx(
        {"F1 by shot group/many": 0.9, "F1 by shot group/few": 0.3, "F1 by shot group/unknown": 0.3}
    )


def test_with_fewer_unknown_classes_f_is_the_mean_over_all_choices():
    right = torch.tensor([True, True, True, False])
    rejected, labels = torch.tensor([True, False, False, False, True]), torch.tensor([7, 7, 8, 8, 9])
    f = [2 * 3 / (2 * 3 + 1 + accepted) for accepted in (1, 2, 0, 3)]  # of 7, of 8, of 9, of 7 and 8
    found = open_curves.by_number(right, rejected, labels)
    two = (f[3] + f[0] + f[1]) / 3  # 9 accepts none
    names = ("1 class", "2 classes", "3 classes")
    expected = {
        f"F by number of unknown classes/{n}": of for n, of in zip(names, (sum(f[:3]) / 3, two, f[3]), strict=True)
    }
    assert found == pytest.approx(expected)


def test_open_images_have_their_classes_and_are_part_of_the_identity(data):
    assert data.open_labels.bincount().tolist().count(30) == len(data.open_labels.unique()) == 4
    assert len(data.open_images) == 120
    assert not data.open_sets
    assert len(data.val[1]) == 60
    others = [
        replace(data, open_labels=data.open_labels.flip(0)), replace(data, open_images=data.open_images.flip(0)),
        replace(data, val=(data.val[0].flip(0), data.val[1])), replace(data, test=data.test.flip(0)),
    ]  # fmt: skip
    assert len({data.identity, *(of.identity for of in others)}) == 5


def test_a_threshold_accepts_its_share_of_validation_images_and_rejects_by_the_score_of_the_row(data, row):
    network = row.train.network(6, 0).eval()
    found = row.beside(network, data)
    val, known, unknown = (
        predict(network, images, row.train).mean_logits for images in (data.val[0], data.test, data.open_images)
    )
    scores = [1 - logits.softmax(1).amax(1) for logits in (val, known, unknown)]
    weights = (1.0 / data.val[1].bincount().float())[data.val[1]] / 6
    order = scores[0].argsort()
    for share in (80, 85, 90, 95, 99):
        threshold = scores[0][order][(weights[order].cumsum(0) >= share / 100 - 1e-6).nonzero()[0, 0]]
        right = (scores[1] <= threshold) & (known.argmax(1) == data.test_labels)
        recall = (scores[2] > threshold).double().mean()
        assert found[f"Known accuracy by threshold/{share} %"] == pytest.approx(
            float(right.double().mean()), abs=1e-6
        )
        assert found[f"Unknown recall by threshold/{share} %"] == pytest.approx(float(recall), abs=1e-6)
        tp, fn = int(right.sum()), int((scores[2] <= threshold).sum())
        assert found[f"F by threshold/{share} %"] == pytest.approx(2 * tp / (tp + 180 + fn))
    assert found["F by number of unknown classes/4 classes"] == pytest.approx(found["F by threshold/95 %"])
    other = row.model_copy(update={"update": Update(score=Energy())}).beside(network, data)
    assert other != found


def test_the_first_row_is_the_plain_model_and_the_second_has_a_range_loss_beside_in_both_phases():
    plain, ranged, ours = open_curves.methods(0)
    assert [row.name for row in (plain, ranged, ours)] == ["plain softmax", "range", "OLTR++"]
    assert ours.train == Train()
    for before, phase in zip(plain.train.phases, ranged.train.phases, strict=True):
        assert phase.losses == [CrossEntropy(), Range(weight=0.1)]
        assert phase.sampler == ClassAware()
        assert phase.epochs == before.epochs
    assert (ranged.train.network.normalise, ranged.train.network.head.scale) == (True, 30.0)
