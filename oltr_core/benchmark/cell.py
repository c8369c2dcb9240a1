"""One cell of a table: a method trained and measured on the data of one seed.

A cell runs on a bare GPU host: torch, torchvision, numpy, pyarrow, pydantic, safetensors and timm are all it needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from oltr_core.benchmark.ceiling import logistic
from oltr_core.benchmark.data import BenchmarkData
from oltr_core.benchmark.loop import REPORTED, loop
from oltr_core.benchmark.open_sets import against
from oltr_core.benchmark.outputs import device_of, predict, resident
from oltr_core.benchmark.steps import steps
from oltr_core.devices import prepare
from oltr_core.files import write_atomically
from oltr_core.metrics import closed
from oltr_core.models import Network
from oltr_core.operating.learning import Update
from oltr_core.operating.selection import Select
from oltr_core.settings.compute import Compute
from oltr_core.spec import Spec
from oltr_core.training import Train, direct_features, fit, resume

Echo = Callable[[str], object]
State = Callable[[Train], Path]  # the folder of a recipe's saved training
CPU = Compute()
EVERY = 60.0  # seconds between lines of progress


class Method(Spec):
    """A row of a table: all that it may choose for itself; data and budget are the same for all rows."""

    name: str
    train: Train = Train()
    update: Update = Update()  # this and the next where the open classes appear in stages
    select: Select = Select()

    def beside(self, network: Network, data: BenchmarkData) -> dict[str, float]:
        """Figures that this kind of row alone has, of the trained network."""
        return {}


class Ceiling(Method):
    """A row that is made anew in every generation from the features of all images, those of generation 0 included."""

    classifier: Literal["logistic regression"] = "logistic regression"
    penalty: float = 1e-5  # of the mean loss, every class alike: penalty * ||W||^2 / 2


class Tailed(Method):
    """A row that is trained on what a long tail keeps of the table's images."""

    ratio: float  # of the largest class to the smallest


@dataclass(frozen=True)
class Start:
    """A trained network, and what rows of the same training have in common."""

    network: Network  # on the CPU
    features: dict[str, Tensor]  # of each stream [N, E, D]
    figures: dict[str, float]


def measure(
    method: Method,
    data: BenchmarkData,
    compute: Compute = CPU,
    state: State | None = None,
    echo: Echo = print,
    begun: Start | None = None,
) -> dict[str, float]:
    """Figures by name: closed/…, <open set>/<score>/{auroc, fpr95, error}, <stream>/<generation>/…, seconds/train.

    `method.train.seed` is the cell's; a training goes on from what its `state` folder holds, or is `begun`. Raises
    Diverged.
    """
    begun = begun or start(method.train, data, compute, state, echo)
    figures, seconds = dict(begun.figures), begun.figures["seconds/train"]
    for name, stream in data.streams.items():
        features = begun.features[name]
        if stream.annotated:
            from_all = logistic(method.penalty) if isinstance(method, Ceiling) else None
            found = steps(begun.network, features, stream, method.update, from_all)
        else:
            found = loop(begun.network, features, stream, method.update, method.select)
            found = {metric: value for metric, value in found.items() if metric in REPORTED}
        figures |= {f"{name}/{metric}": value for metric, value in found.items()}
    figures |= method.beside(begun.network, data)
    return {name: round(value, 4) for name, value in figures.items()} | {"seconds/train": round(seconds, 1)}


def start(
    train: Train, data: BenchmarkData, compute: Compute = CPU, state: State | None = None, echo: Echo = print
) -> Start:
    """Train, and measure what does not depend on how the network goes on learning."""
    begin = time.perf_counter()
    network = trained(train, data, compute, state, echo)
    seconds = time.perf_counter() - begin
    shots = torch.bincount(data.train_labels, minlength=network.num_classes).float()
    tested = predict(network, data.test, train)
    figures = dict(closed(tested.mean_logits, data.test_labels, shots).with_prefix("closed").values)
    features = {
        name: direct_features(network, resident(stream.images, train, device_of(network)), train).cpu()
        for name, stream in data.streams.items()
    }
    if data.open_sets:
        figures |= against(network, data, train, tested)
    return Start(network.cpu(), features, figures | {"seconds/train": seconds})


def trained(
    train: Train, data: BenchmarkData, compute: Compute = CPU, state: State | None = None, echo: Echo = print
) -> Network:
    """The network of a recipe after its training, on the device of `compute`.

    With `state`, the first phase is a training of its own, which recipes that begin alike share.
    """
    device = prepare(compute)
    folder = state(train) if state else None
    if state and folder and len(train.phases) > 1 and resume.place_in(folder) is None:
        begin = train.model_copy(update={"phases": train.phases[:1]})
        trained(begin, data, compute, state, echo)
        if (saved := resume.file_in(state(begin))).exists():
            write_atomically(resume.file_in(folder), saved.read_bytes())
    images = resident(data.train, train, device)
    network = train.network(int(data.train_labels.max()) + 1, train.seed)
    shown = time.monotonic()
    for report in fit(network, images, data.train_labels, train, compute, folder):
        if time.monotonic() - shown > EVERY:
            shown = time.monotonic()
            echo(f"  {report['phase']}, epoch {int(report['epoch']) + 1}: loss {report['loss']:.3f}")
    return network
