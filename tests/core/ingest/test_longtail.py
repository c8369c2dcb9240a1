"""Long tails: the published counts, the published images, and open classes that appear in stages."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from oltr_core.ingest.longtail import Draw, Exponential, OpenClasses, Pareto, open_stages, take


@pytest.mark.parametrize(
    ("classes", "ratio", "total", "smallest"),
    [
        (10, 100, 12_406, 50),
        (10, 50, 13_996, 100),
        (10, 10, 20_431, 500),
        (100, 100, 10_847, 5),
        (100, 50, 12_608, 10),
        (100, 10, 19_573, 50),
    ],
)
def test_the_cifars_have_the_published_number_of_images(classes, ratio, total, smallest):
    counts = Exponential(ratio=ratio)([50_000 // classes] * classes)
    assert sum(counts) == total
    assert counts[0] == 50_000 // classes
    assert counts[-1] == smallest


def test_cifar_10_lt_has_the_published_class_counts():
    assert Exponential(ratio=100)([5000] * 10) == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]


def published_choice(targets: list[int], counts: list[int]) -> list[int]:
    """The loop of the published generator, on the global legacy state that it uses."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    chosen: list[int] = []
    for the_class, number in zip(np.unique(np.array(targets)), counts, strict=True):
        rows = np.where(np.array(targets) == the_class)[0]
        np.random.shuffle(rows)  # noqa: NPY002
        chosen += rows[:number].tolist()
    np.random.set_state(before)  # noqa: NPY002
    return chosen


@pytest.mark.parametrize("ratio", [10, 100])
def test_the_images_are_those_of_the_published_generator(ratio):
    targets = np.random.default_rng(4).permutation(np.repeat(np.arange(10), 500)).tolist()
    names = [f"class-{t}" for t in targets]
    drawn = take(names, [f"class-{k}" for k in range(10)], Draw(tail=Exponential(ratio=ratio)))
    wanted = published_choice(targets, Exponential(ratio=ratio)([500] * 10))
    assert [row for row, split in drawn.items() if split == "train"] == wanted


def test_the_draw_leaves_the_global_state_alone():
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    take(["a"] * 50 + ["b"] * 50, ["a", "b"], Draw(tail=Exponential(ratio=10)))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_a_pareto_tail_has_the_extremes_it_was_given():
    counts = Pareto(power=6, max=1280, min=5)([1300] * 1000)
    assert (counts[0], counts[-1]) == (1280, 5)
    assert counts == sorted(counts, reverse=True)
    assert counts[500] == round(1280 * (1 + (256 ** (1 / 6) - 1) * 500 / 999) ** -6)


def test_a_pareto_tail_approaches_the_exponential_as_its_power_grows():
    exponential = Exponential(ratio=256, max=1280)([1300] * 100)
    assert np.allclose(Pareto(power=1e6)([1300] * 100), exponential, atol=1.01)


CLASSES = [f"c{n}" for n in range(10)]
LABELS = [name for name in CLASSES for _ in range(100)]


def counts(spec: Draw, split: str) -> list[int]:
    found = Counter(LABELS[row] for row, where in take(LABELS, CLASSES, spec).items() if where == split)
    return [found[name] for name in CLASSES]


def test_an_open_world_in_two_stages():
    spec = Draw(
        tail=Exponential(ratio=20, max=60),
        open=OpenClasses(names=["c1", "c4", "c7", "c8"], stages=2),
        val=5,
        pool_known=8,
        pool_open=30,
    )
    known = [n for n in range(10) if n not in (1, 4, 7, 8)]
    sizes = Exponential(ratio=20, max=60)([100] * 6)
    train = counts(spec, "train")
    assert [train[n] for n in known] == sizes
    assert [train[n] for n in (1, 4, 7, 8)] == [0] * 4
    assert counts(spec, "val") == [5 if n in known else 0 for n in range(10)]
    assert counts(spec, "pool") == [8 if n in known else 30 if n in (1, 4) else 0 for n in range(10)]
    second = spec.model_copy(update={"stage": 1})
    assert sum(counts(second, "train")) == sum(counts(second, "val")) == 0
    assert counts(second, "pool") == [8 if n in known else 30 if n in (7, 8) else 0 for n in range(10)]
    first, later = take(LABELS, CLASSES, spec), take(LABELS, CLASSES, second)
    assert not first.keys() & later.keys()


def test_without_a_tail_everything_is_taken():
    assert counts(Draw(val=10, pool_known=20), "train") == [70] * 10


def test_open_classes_by_number_are_a_function_of_their_seed():
    draws = [open_stages(CLASSES, OpenClasses(number=4, seed=s, stages=2)) for s in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]
    assert [len(stage) for stage in draws[0]] == [2, 2]


def test_open_classes_by_list_and_by_name_add_up():
    assert open_stages(CLASSES, OpenClasses(names=["c1"]), ["c5"]) == [["c1", "c5"]]


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        (Draw(open=OpenClasses(names=["c1", "zebra"])), r"the source has no class 'zebra' \(1 of 2 names\)"),
        (Draw(open=OpenClasses(number=10)), "expected fewer than 10 open classes, found number: 10"),
        (Draw(stage=1), "expected less than draw.open.stages = 1, found 1"),
        (Draw(tail=Exponential(max=500)), "class 'c0' has 100 images, and 500 are wanted"),
        (Draw(tail=Pareto(min=9, max=4)), "expected min <= max, found 9 > 4"),
    ],
)
def test_a_draw_that_cannot_be_is_refused_in_one_sentence(spec, sentence):
    with pytest.raises(ValueError, match=sentence):
        take(LABELS, CLASSES, spec)
