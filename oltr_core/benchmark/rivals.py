"""The rows of the tables of rivals: the methods for long tails that the paper compares with, on the same images.

Rows of a second stage share one first stage, that of cross-entropy; MiSLAS and FSLwF have those of their papers. What
is the same for all rows is ResNet-32, crop and flip, batches of 128 and a cosine in the place of each paper's steps,
because it suits any number of epochs. Other hyper-parameters are those of the methods' papers, but for what
docs/results/cifar100-lt-rivals.md says is ours.
"""

from __future__ import annotations

from typing import Any

from oltr_core.benchmark import methods
from oltr_core.benchmark.cell import Method
from oltr_core.benchmark.methods import changed
from oltr_core.benchmark.router import Routed
from oltr_core.losses import (
    BBN,
    LDAM,
    BalancedSoftmax,
    ClassBalanced,
    CostSensitive,
    CrossEntropy,
    Diversity,
    Focal,
    LabelAwareSmoothing,
    Lifted,
    LogitAdjusted,
    Loss,
    Range,
)
from oltr_core.models.backbones import ResNet32
from oltr_core.models.heads import (
    Cosine,
    HeadSpec,
    LearnableScale,
    Linear,
    MetaModelNet,
    ModelRegression,
    TauNorm,
    WeightGenerator,
)
from oltr_core.samplers import Bilateral, ClassAware
from oltr_core.training import LearningRates, Phase
from oltr_core.training.mixing import Mixup

TAU = 0.6  # chosen on validation images, docs/results/cifar100-lt-exponents-validation.md; see `exponents`
BESIDE = 0.1  # weight of a loss between features beside cross-entropy; ours, no paper says one
SECOND_STAGE = 10  # epochs on a frozen trunk, as published


def cifar100_lt(epochs: int) -> list[Method]:
    """One network to a row: a first stage that others share, or a recipe of its own of as many epochs."""
    known = {method.name: method for method in methods.cifar(epochs)}
    return [*after(known["cross-entropy"]), known["OLTR++"]]


def after(plain: Method) -> list[Method]:
    """The rivals of a plain training: other first stages in its place, and second stages that go on from it."""
    mixed = _first(plain, mix=Mixup(alpha=1.0))
    tailed = _first(plain, weight_decay=5e-4)  # RIDE, SADE and BalPoE
    ride = _first(tailed, losses=[LDAM(weight=methods.SUM), Diversity(weight=0.45 * methods.SUM)], nesterov=True)
    priors = LogitAdjusted(tau=(0.0, 1.0, 2.0), weight=methods.SUM)
    balpoe = _first(tailed, losses=[priors], mix=Mixup(alpha=0.4), nesterov=True)
    cosine = Cosine(scale=30.0)
    # as FSLwF's authors do: new classes' weights are made of features, so features and weights are of one kind
    alike = _network(plain, head=Cosine(scale=10.0, learn_scale=True), last_relu=False)
    rows = {
        "cross-entropy": plain,
        "tau-norm": _then(plain, _made(TauNorm(tau=TAU))),
        "cRT": _then(plain, _retrained(Linear(), freeze=["trunk"], fresh_head=True)),
        "LWS": _then(plain, _retrained(LearnableScale(), freeze=["trunk", "classifiers"])),
        "MiSLAS' second stage": _then(plain, _mislas()),
        "FSLwF": _then(alike, _made(WeightGenerator())),
        "Model Regression": _then(plain, _made(ModelRegression())),
        "MetaModelNet": _then(plain, _made(MetaModelNet())),
        "MiSLAS": _then(mixed, _mislas()),
        "focal": _first(plain, losses=[Focal()]),
        "class-balanced focal": _first(plain, losses=[ClassBalanced(gamma=1.0)]),
        "class-balanced cross-entropy": _first(plain, losses=[ClassBalanced()]),
        "cost-sensitive": _first(plain, losses=[CostSensitive()]),
        "deferred cost-sensitive": _first(plain, losses=[CostSensitive(reweight_from=0.8)]),
        "lifted": _metric(plain, Lifted(weight=BESIDE)),
        "range": _metric(plain, Range(weight=BESIDE)),
        "balanced softmax": _first(plain, losses=[BalancedSoftmax()]),
        "logit adjusted": _first(plain, losses=[LogitAdjusted()]),
        "LDAM-DRW": _network(_first(plain, losses=[LDAM()]), head=cosine),
        # it shares two stages of three and not all blocks but one, as its authors do
        "BBN": _network(
            _first(plain, losses=[BBN()], sampler=Bilateral()), experts=2, backbone=ResNet32(shared_stages=2)
        ),
        "RIDE": Routed(**dict(_network(ride, experts=3, head=cosine))),
        "BalPoE": _network(balpoe, experts=3, head=cosine),
    }
    return [changed(method, name=name) for name, method in rows.items()]


def exponents(epochs: int) -> list[Method]:
    """The exponents of tau-norm to choose from, on validation images."""
    plain = methods.cifar(epochs)[0]
    taus = [i / 10 for i in range(11)]
    return [changed(_then(plain, _made(TauNorm(tau=tau))), name=f"tau {tau}") for tau in taus]


def _made(head: HeadSpec) -> Phase:
    """A head that nothing trains step by step."""
    return Phase(name=head.name, epochs=0, head=head)


def _retrained(head: HeadSpec, **fields: Any) -> Phase:
    """Kang et al.'s second stage: class-aware batches; their rate 0.2 is for batches of 512."""
    rates = LearningRates(trunk=0.05, heads=0.05)
    fields |= {"batch_size": 128, "sampler": ClassAware(), "learning_rates": rates}
    return Phase(name="second stage", epochs=SECOND_STAGE, head=head, **fields)


def _mislas() -> Phase:
    """Label-aware smoothing; scales and, slower, weights; running statistics that follow the balanced batches."""
    return Phase(
        name="second stage",
        epochs=SECOND_STAGE,
        head=LearnableScale(weights_rate=0.2),
        losses=[LabelAwareSmoothing()],
        sampler=ClassAware(images_per_class=1),
        freeze=["trunk_weights"],
        batch_size=128,
        weight_decay=2e-4,
    )


def _metric(method: Method, loss: Loss) -> Method:
    """A loss between features beside cross-entropy: of length 1, on batches of four images a class."""
    mixed = _first(method, losses=[CrossEntropy(), loss], sampler=ClassAware())
    return _network(mixed, normalise=True, head=Cosine(scale=30.0))


def _first(method: Method, **change: Any) -> Method:
    """The method with another first phase."""
    first, *others = method.train.phases
    return changed(method, train=changed(method.train, phases=[changed(first, **change), *others]))


def _then(method: Method, phase: Phase) -> Method:
    return changed(method, train=changed(method.train, phases=[*method.train.phases, phase]))


def _network(method: Method, **change: Any) -> Method:
    """The method on another network."""
    network = changed(method.train.network, **change)
    return changed(method, train=changed(method.train, network=network))
