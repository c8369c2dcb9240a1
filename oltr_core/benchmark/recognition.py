"""Recognition tables: train every recipe on a world, test it on known and open images, and write the page.

| table | data | recipes |
|---|---|---|
| `ablation` | generation 0 of the digits | OLTR++ without one part at a time (Fig. 9) |
| `cifar10-lt` | CIFAR-10-LT, imbalance 100 | Table 7 |
| `cifar100-lt` | CIFAR-100-LT, imbalance 100 | Table 7 |
| `cifar100-lt-strong` | the same with AutoAugment and Cutout | |
| `cifar100-open` | CIFAR-100 against TinyImageNet (resized) | Table 5 |
| `tiny-imagenet-lt` | 150 known and 50 open classes | Sec. 4.3 |

Finished cells are lines of docs/results/<table>.jsonl; a run that was cut off goes on where it stopped, and a cell's
training goes on from its last saved epoch. docs/results/<table>.notes.md is what people have to say.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from oltr_core import digest
from oltr_core.benchmark import recipes
from oltr_core.benchmark.recipes import Recipe
from oltr_core.benchmark.recognition_report import page
from oltr_core.benchmark.stream import STAGES, START, Staged
from oltr_core.benchmark.untrained import separation
from oltr_core.benchmark.worlds import WORLDS, World
from oltr_core.devices import prepare
from oltr_core.images.dataset import Resident, in_order
from oltr_core.interfaces import Outputs, concatenate
from oltr_core.layout import Layout, write_atomically
from oltr_core.metrics import closed
from oltr_core.metrics.detection import auroc, fpr_at_tpr
from oltr_core.models import Network
from oltr_core.models.heads import MetaEmbedding
from oltr_core.scores import Energy, Msp, Reachability
from oltr_core.settings.compute import Compute
from oltr_core.spec import suggest
from oltr_core.training import Diverged, Train, direct_features, fit


class Table(NamedTuple):
    """`oltr bench <name>`."""

    title: str
    world: str
    recipes: Callable[[int], list[Recipe]]  # of so many epochs
    epochs: int  # 0: those of the recipes
    seeds: range
    published: dict[str, dict[str, float]]  # method -> figure -> percent, as printed elsewhere


def _digits(epochs: int) -> list[Recipe]:
    return recipes.ablation()


def _strong(epochs: int) -> list[Recipe]:
    return recipes.cifar(epochs, strong=True)


CIFAR100_LT = {
    "cross-entropy (RIDE's model zoo)": {"overall": 39.1, "many": 66.1, "medium": 37.3, "few": 10.6},
    "LDAM-DRW (the paper's Table 7)": {"overall": 42.0, "many": 61.5, "medium": 41.7, "few": 20.2},
    "OLTR++ (Table 7)": {"overall": 41.2, "many": 61.8, "medium": 41.4, "few": 17.6},
    "OLTR++ two-headed (Table 7)": {"overall": 47.4, "many": 68.0, "medium": 48.9, "few": 22.6},
    "RIDE, 3 experts": {"overall": 48.0, "many": 67.0, "medium": 49.9, "few": 25.7},
    "ProCo, 200 epochs, AutoAugment": {"overall": 52.8},
}
CIFAR10_LT = {
    "cross-entropy": {"overall": 70.4},
    "LDAM-DRW": {"overall": 77.0},
    "BBN": {"overall": 79.8},
    "OLTR++ (Table 7)": {"overall": 76.3},
    "OLTR++ two-headed (Table 7)": {"overall": 80.8},
    "ProCo": {"overall": 85.9},
}
CIFAR100_OPEN = {
    "softmax (Table 5)": {"fpr95": 82.2},
    "OLTR++ (Table 5)": {"fpr95": 51.5},
    "ODIN, tuned on open images (Table 5)": {"fpr95": 44.3},
    "energy, tuned on open images (Table 5)": {"fpr95": 40.7},
    "OLTR++, tuned on open images (Table 5)": {"fpr95": 35.4},
}
TABLES = {
    "ablation": Table("OLTR++ on the digits, without one part at a time", "digits", _digits, 0, range(5), {}),
    "cifar10-lt": Table("CIFAR-10-LT", "cifar10_lt", recipes.cifar, 200, range(3), CIFAR10_LT),
    "cifar100-lt": Table("CIFAR-100-LT", "cifar100_lt", recipes.cifar, 200, range(3), CIFAR100_LT),
    "cifar100-lt-strong": Table("CIFAR-100-LT, AutoAugment", "cifar100_lt", _strong, 200, range(3), CIFAR100_LT),
    "cifar100-open": Table(
        "CIFAR-100 and TinyImageNet", "cifar100_open", recipes.cifar, 200, range(3), CIFAR100_OPEN
    ),
    "tiny-imagenet-lt": Table("Tiny-ImageNet-LT", "tiny_imagenet_lt", recipes.cifar, 200, range(3), {}),
}


def listing() -> str:
    """One line per table."""
    return "\n".join(f"{name:20s} {table.title}" for name, table in TABLES.items())


SCORES = (Msp(), Energy(), Reachability())


def run(
    name: str,
    layout: Layout,
    root: Path | None = None,
    seeds: Iterable[int] | None = None,
    epochs: int = 0,
    device: str = "cpu",
    rows: Sequence[str] = (),
    validation: bool = False,
    echo: Callable[[str], object] = print,
) -> int:
    """Bring the table up to date and write docs/results/<name>.md.

    `epochs` other than the table's make a table of its own name, marked as shorter; so does `validation`, which
    measures on the validation images and looks at neither test nor open images. `rows` names the recipes to compute,
    all if empty; several processes may compute rows of one table. Raises ValueError where the data are missing, and
    for a table or a row that there is not.
    """
    if name not in TABLES:
        raise ValueError(f"oltr bench: there is no table {name!r}{suggest(name, {*TABLES, 'digits'})}")
    table = TABLES[name]
    length = epochs or table.epochs
    wanted = table.recipes(length)
    compute = Compute(device=device, threads=0, save_every=10)
    names = [recipe.name for recipe in wanted]
    for row in rows:
        if row not in names:
            raise ValueError(f"oltr bench {name}: --row: expected some of {', '.join(names)}; found {row!r}")
    stem = name if length == table.epochs else f"{name}-{length}-epochs"
    stem += "-validation" if validation else ""
    path = layout.results / f"{stem}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    for seed in table.seeds if seeds is None else seeds:
        world: World | None = None
        for recipe in wanted:
            if rows and recipe.name not in rows:
                continue
            spec = recipe.identity
            if any((line["spec"], line["seed"]) == (spec, seed) for line in _cells(path)):
                continue
            echo(f"{stem}: seed {seed}, {recipe.name}")
            if world is None:
                world = WORLDS[table.world](root, seed)
                world = world.to_choose() if validation else world
            state = layout.resume(digest.of_value([stem, spec, seed]))
            diverged = ""
            try:
                figures = cell(recipe.train.model_copy(update={"seed": seed}), world, compute, state, echo)
            except Diverged as error:  # a finding about the recipe
                figures, diverged = {}, str(error)
            shutil.rmtree(state, ignore_errors=True)
            line = {
                "recipe": recipe.name,
                "seed": seed,
                "spec": spec,
                "note": world.note,
                "figures": figures,
                "diverged": diverged,
            }
            _add(path, line)
    notes = layout.results / f"{stem}.notes.md"
    with _alone(path):
        text = page(name, table, stem, length, _cells(path), wanted, notes.read_text() if notes.exists() else "")
        write_atomically(layout.results / f"{stem}.md", text)
    echo(text)
    return 0


def _cells(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _add(path: Path, line: dict) -> None:
    """One more cell, beside those that other processes have written in the meantime."""
    with _alone(path):
        lines = [*_cells(path), line]
        write_atomically(path, "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines))


def _alone(path: Path) -> AbstractContextManager:
    """One process at a time: seeds of equal length end at the same moment."""
    from filelock import FileLock  # not needed where a single cell is computed

    return FileLock(path.with_suffix(".lock"))


CPU = Compute()
EVERY = 60.0  # seconds between lines of progress


def cell(
    train: Train,
    world: World,
    compute: Compute = CPU,
    state: Path | None = None,
    echo: Callable[[str], object] = print,
) -> dict[str, float]:
    """Train one recipe and measure it: closed/…, <open set>/<score>/{auroc, fpr95}, and stages/<generation>/…."""
    device = prepare(compute)
    num_classes = int(world.train_labels.max()) + 1
    network = train.network(num_classes, train.seed)
    shown = time.monotonic()
    for report in fit(network, _resident(world.train, train, device), world.train_labels, train, compute, state):
        if time.monotonic() - shown > EVERY:
            shown = time.monotonic()
            echo(f"  {report['phase']}, epoch {int(report['epoch']) + 1}: loss {report['loss']:.3f}")
    shots = torch.bincount(world.train_labels, minlength=num_classes).float()
    tested = answers(network, world.test, train)
    figures = dict(closed(tested.mean_logits, world.test_labels, shots).with_prefix("closed").values)
    for name, (known, unknown) in world.against.items():
        # the known side of a pair as it is stored is the test set itself
        sides = [tested if images is world.test else answers(network, images, train) for images in (known, unknown)]
        for score in SCORES:
            if isinstance(score, Reachability) and tested.distances is None:
                continue
            inside, outside = (score(side, {}) for side in sides)
            figures[f"{name}/{score.name}/auroc"] = auroc(inside, outside)
            # ODIN's convention: of the open images, those accepted where 95 % of the known are
            figures[f"{name}/{score.name}/fpr95"] = fpr_at_tpr(-inside, -outside)
        figures[f"{name}/untrained/auroc"] = separation(known, unknown)
    if world.stages is not None:
        figures |= stage_by_stage(network, world.stages, train)
    return {name: round(value, 4) for name, value in figures.items()}


def stage_by_stage(network: Network, stages: Staged, train: Train) -> dict[str, float]:
    """stages/<generation>/<metric>: the trained network, then two updates with the answers to its questions."""
    from oltr_core.benchmark.cells import loop  # with more packages than closed and open accuracy need
    from oltr_core.benchmark.tables import OURS_LATER, PLAIN_LATER

    later = OURS_LATER if isinstance(train.network.head, MetaEmbedding) else PLAIN_LATER
    features = direct_features(
        network, _resident(stages.images, train, next(network.parameters()).device), train
    ).cpu()
    found = loop(network.cpu(), features, stages, *later)
    return {f"stages/{name}": found[name] for name in START | STAGES if name in found}


def answers(network: Network, images: Tensor, train: Train, batch_size: int = 256) -> Outputs:
    """What the network says of images, on the CPU."""
    device = next(network.parameters()).device
    data = _resident(images, train, device)
    network.eval()
    parts = []
    with torch.no_grad():
        for batch in data.batches(in_order(len(data), batch_size)):
            parts.append(network(train.transform(batch.to(device))).cpu())
    return concatenate(parts)


def _resident(images: Tensor, train: Train, device: torch.device) -> Resident:
    if images.shape[2] != train.transform.size:
        canvas = train.transform.canvas
        images = torch.stack([canvas(image.permute(1, 2, 0).numpy()) for image in images])
    return Resident(images.to(device))
