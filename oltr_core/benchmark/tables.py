"""The tables: what is compared with what, on which seeds, and what is reported.

| table | data | methods |
|---|---|---|
| `digits` | the embedded scans, both pools | OLTR++ by default, plain softmax, plain with class-aware sampling |
"""

from __future__ import annotations

from typing import NamedTuple

from oltr_core.benchmark.cells import Method
from oltr_core.benchmark.stream import STAGES
from oltr_core.learners import ImprintReplay
from oltr_core.losses import CrossEntropy
from oltr_core.models import NetworkSpec
from oltr_core.models.heads import Linear
from oltr_core.operating.learning import Update
from oltr_core.operating.selection import Select
from oltr_core.samplers import ClassAware, Instance
from oltr_core.scores import Msp
from oltr_core.strategies import LeastConfidence
from oltr_core.training import LearningRates, Phase, Schedule, Train


class Table(NamedTuple):
    """`oltr bench <name>`."""

    title: str
    methods: tuple[Method, ...]
    published: range  # seeds, run once
    tuning: range  # seeds on which every choice was made
    figures: dict[str, str]  # metric -> heading, of the mixed pool
    longtail: dict[str, str]  # of the long-tailed pool
    goals: dict[str, float]  # what ours is to reach


#: how a network goes on after its training: ours by the defaults, a plain one by what suits it
OURS_LATER = Update(), Select()
PLAIN_LATER = (
    Update(score=Msp(), learner=ImprintReplay(learning_rate=0.1, logit_scale=1)),
    Select(strategy=LeastConfidence()),
)


def ours() -> Method:
    """Every default of params.yaml."""
    return Method(name="OLTR++")


def plain(sampling: Instance | ClassAware, name: str) -> Method:
    """A softmax classifier on the same backbone: no attention, no memory, features as they come.

    As many epochs as ours, at the rates of our two phases; with `sampling` in the second. It asks about its least
    confident images and learns the answers as ours does, with class means for a memory, at the logit_scale that suits
    it: its logits have no bound.
    """
    gently = Schedule(warmup=0.1)
    phases = [
        Phase(name="first", epochs=30, learning_rates=LearningRates(trunk=0.03, heads=0.05), schedule=gently),
        Phase(
            name="second",
            epochs=30,
            losses=[CrossEntropy()],
            sampler=sampling,
            learning_rates=LearningRates(trunk=0.03, heads=0.1),
            schedule=gently,
        ),
    ]
    network = NetworkSpec(attention="none", last_relu=True, normalise=False, head=Linear())
    update, select = PLAIN_LATER
    return Method(name=name, train=Train(network=network, phases=phases), update=update, select=select)


FIGURES = {
    "0/closed/overall": "closed",
    "0/closed/many": "many",
    "0/closed/medium": "medium",
    "0/closed/few": "few",
    "0/open/auroc": "AUROC",
    "0/open/known_accuracy": "known, rejecting",
    "0/open/unknown_recall": "unknown recall",
    "0/open/f_measure": "F",
    "0/open/f_measure_never_reject": "F, never rejecting",
    "0/select/open_hit_rate": "open of those asked",
    "1/loop/known_accuracy": "gen. 1 known",
    "1/loop/unknown_accuracy": "gen. 1 unknown",
    "2/loop/known_accuracy": "gen. 2 known",
    "2/loop/unknown_accuracy": "gen. 2 unknown",
    "2/loop/average_incremental": "average incremental",
    "2/loop/forgetting": "forgetting",
}
GOALS = {
    "0/closed/overall": 0.955,
    "0/closed/few": 0.92,
    "0/open/auroc": 0.91,
    "1/loop/known_accuracy": 0.94,
    "1/loop/unknown_accuracy": 0.76,
    "2/loop/known_accuracy": 0.93,
    "2/loop/unknown_accuracy": 0.68,
}

TABLES = {
    "digits": Table(
        title="The dynamic loop on 1,797 handwritten digit scans",
        methods=(
            ours(),
            plain(Instance(), "plain softmax"),
            plain(ClassAware(), "plain, class-aware sampling"),
        ),
        published=range(5),
        tuning=range(100, 110),
        figures=FIGURES,
        longtail=STAGES,
        goals=GOALS,
    )
}
