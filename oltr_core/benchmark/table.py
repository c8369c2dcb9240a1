"""The tables: what is compared with what, on which data and seeds, beside which published figures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from oltr_core.benchmark import (
    groups,
    image_sets,
    large_sets,
    learners,
    methods,
    open_curves,
    published,
    rivals,
    two_stages,
    worlds,
)
from oltr_core.benchmark.cell import Method
from oltr_core.benchmark.data import BenchmarkData
from oltr_core.spec import suggest


class Table(NamedTuple):
    """`oltr bench <name>`."""

    title: str
    data: Callable[[Path | None, int], BenchmarkData]  # of the folder of benchmarks and a seed
    methods: Callable[[int], list[Method]]  # of so many epochs
    seeded: bool = False  # whether the seed has a part in the data
    one_network: bool = False  # trained with seed 0 once and kept, for all rows and seeds
    epochs: int = 200  # 0: those of params.yaml, and no others
    seeds: range = range(3)  # published, run once
    tuning: range = range(0)  # on which choices were made
    threads: int = 0  # of the CPU; 0: all there are
    published: published.Published = {}  # method -> figure -> percent, as printed elsewhere
    goals: dict[str, float] = {}  # figure -> percent that the first row is to reach
    metrics: tuple[str, ...] = ()  # of each stream; those that the page shows, all streams side by side; empty: all
    block: int = 0  # rows that are compared with the first of them; 0: all with the table's first
    recipe: bool = False  # its rows are recipes for `oltr loop`, which nothing here computes
    by_score: bool = False  # on the page, a line per score of the unknown in the place of a few of them in the rows


_GOALS = {
    "closed/overall": 95.5,
    "closed/few": 92.0,
    "mixed pool/0/open/auroc": 91.0,
    "mixed pool/1/loop/known_accuracy": 94.0,
    "mixed pool/1/loop/unknown_accuracy": 76.0,
    "mixed pool/2/loop/known_accuracy": 93.0,
    "mixed pool/2/loop/unknown_accuracy": 68.0,
}


def _large(name: str, title: str, figures: published.Published) -> Table:
    data, methods = large_sets.not_in_memory(name), large_sets.methods(name)
    return Table(title, data, methods, epochs=0, seeds=range(1), published=figures, recipe=True)


#: on the digits: a network per seed, trained as in the stages
_digits = partial(Table, seeded=True, epochs=0, seeds=range(5), threads=1)

TABLES = {
    "digits": _digits(
        "The dynamic loop on 1,797 handwritten digit scans",
        image_sets.digits,
        methods.digits,
        tuning=range(100, 110),
        goals=_GOALS,
    ),
    "digits-selection": _digits(
        "Which images people are asked about, on the digits",
        image_sets.digits,
        methods.selection,
        tuning=range(100, 110),
    ),
    "digits-shares": _digits(  # Fig. 12a
        "Ways of asking about 10, 20 and 30 % of what arrives, on the digits",
        image_sets.digits_shares,
        methods.selection,
        metrics=("1/loop/unknown_accuracy", "2/loop/unknown_accuracy", "2/loop/known_accuracy"),
    ),
    "digits-imbalance": _digits(  # Fig. 11a
        "OLTR++ and a plain softmax on four imbalances of the digits",
        image_sets.digits_tail,
        methods.imbalance,
        block=2,
        metrics=(
            "0/open/f_measure",
            "0/open/f_measure_never_reject",
            "0/open/known_accuracy",
            "0/open/unknown_recall",
            "0/open/auroc",
        ),
    ),
    "ablation": _digits(  # Fig. 9
        "OLTR++ on the digits, without one part at a time",
        image_sets.digits_at_rest,
        methods.ablation,
    ),
    "digits-learners": _digits(
        "Learners in the dynamic loop on the digits",
        image_sets.digits,
        learners.digits,
        tuning=range(100, 110),
    ),
    "digits-cameras": Table(  # the question of the paper's Table 6
        "Fair features on digits of two cameras", groups.two_cameras, groups.methods, seeded=True, epochs=0, threads=1
    ),
    # Table 9's question, with more steps
    "cifar-world": Table(
        "Learners in ten generations of CIFAR-100",
        worlds.cifar_world,
        learners.cifar_world,
        seeded=True,
        one_network=True,
        epochs=30,
        seeds=range(5),
        tuning=worlds.TUNING,
        threads=1,
    ),
    # imbalance 100: Table 7
    "cifar10-lt": Table("CIFAR-10-LT", image_sets.cifar10_lt, methods.cifar, published=published.CIFAR10_LT),
    "cifar100-lt": Table("CIFAR-100-LT", image_sets.cifar100_lt, methods.cifar, published=published.CIFAR100_LT),
    "cifar100-lt-strong": Table(
        "CIFAR-100-LT, AutoAugment",
        image_sets.cifar100_lt,
        two_stages.strong,
        published=published.CIFAR100_LT,
    ),
    "cifar100-lt-rivals": Table(
        "CIFAR-100-LT, the methods that the paper compares with",
        image_sets.cifar100_lt_closed,
        rivals.cifar100_lt,
        epochs=30,
        threads=1,
        published=published.RIVALS,
    ),
    "cifar10-lt-rivals": Table(  # Table 7
        "CIFAR-10-LT, the methods that the paper compares with",
        image_sets.cifar10_lt,
        rivals.cifar100_lt,
        epochs=30,
        threads=1,
        published=published.CIFAR10_RIVALS,
    ),
    "cifar100-lt-exponents": Table(  # for --validation
        "CIFAR-100-LT, exponents of tau-norm",
        image_sets.cifar100_lt_closed,
        rivals.exponents,
        epochs=30,
        seeds=range(1),
        threads=1,
    ),
    "cifar100-lt-variants": Table(  # for --validation
        "CIFAR-100-LT, variants of the recipe",
        image_sets.cifar100_lt,
        two_stages.variants,
        seeds=range(1),
    ),
    "cifar10-lt-strong": Table(
        "CIFAR-10-LT, AutoAugment",
        image_sets.cifar10_lt,
        two_stages.strong,
        published=published.CIFAR10_LT,
    ),
    "cifar100-open": Table(  # Table 5
        "CIFAR-100 and TinyImageNet",
        image_sets.cifar100_open,
        methods.cifar,
        published=published.CIFAR100_OPEN,
        by_score=True,
    ),
    "cifar100-open-resnet18": Table(
        "CIFAR-100 and TinyImageNet, ResNet-18",
        image_sets.cifar100_open,
        two_stages.complete,
        epochs=100,
        seeds=range(1),
        published=published.CIFAR100_OPEN,
        by_score=True,
    ),
    "cifar100-lt-scores": Table(
        "Every score of the unknown, on CIFAR-100-LT and TinyImageNet",
        image_sets.cifar100_lt,
        two_stages.fused,
        seeds=range(1),
        threads=1,
        by_score=True,
    ),
    # 150 known classes, 50 open ones in two stages: Sec. 4.3
    "tiny-imagenet-lt": Table("Tiny-ImageNet-LT", image_sets.tiny_imagenet_lt, methods.cifar),
    "tiny-imagenet-lt-strong": Table(
        "Tiny-ImageNet-LT, AutoAugment", image_sets.tiny_imagenet_lt, two_stages.strong, seeds=range(1)
    ),
    "tiny-imagenet-lt-learners": Table(
        "Learners in two stages of Tiny-ImageNet-LT",
        image_sets.tiny_imagenet_lt,
        learners.tiny_imagenet_lt,
        one_network=True,
        seeds=range(1),
        threads=1,
        published=published.TWO_STAGES,
    ),
    # Tables 4 and 6 to 8
    "imagenet-lt": _large("imagenet-lt", "ImageNet-LT, ResNet-10", published.IMAGENET_LT),
    "places-lt": _large("places-lt", "Places-LT, ResNet-152", published.PLACES_LT),
    "ms1m-lt": _large("ms1m-lt", "MS1M-LT by MegaFace's identification, ResNet-50", published.MS1M_LT),
    "sun-lt": _large("sun-lt", "SUN-LT, ResNet-152", published.SUN_LT),
    "inaturalist-18": _large("inaturalist-18", "iNaturalist 2018, ResNet-50", published.INATURALIST_18),
    "digits-open": _digits(  # Fig. 10 and 11b, c
        "F1 by shot group, F by threshold and by the number of unknown classes, on the digits",
        open_curves.digits,
        open_curves.methods,
    ),
}


def listing() -> str:
    """One line per table: what `oltr bench --list` prints."""
    return "\n".join(f"{name:20s} {table.title}" for name, table in TABLES.items())


def find(name: str) -> Table:
    """Raises ValueError for a table that there is not."""
    if name not in TABLES:
        raise ValueError(f"oltr bench: there is no table {name!r}{suggest(name, TABLES)}")
    return TABLES[name]
