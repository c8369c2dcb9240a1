"""Every row of the table of rivals, end to end on a few images."""

from __future__ import annotations

import pytest
import torch

from oltr_core.benchmark import large_sets, records, rivals, run
from oltr_core.benchmark.cell import measure
from oltr_core.benchmark.data import BenchmarkData
from oltr_core.benchmark.table import TABLES
from oltr_core.layout import Layout
from oltr_core.models.backbones import ResNet10
from oltr_core.training import LearningRates


@pytest.mark.slow
def test_every_rival_is_trained_and_measured_and_second_stages_share_the_first(tmp_path, tiny):
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([30, 24, 6]))
    images = torch.randint(0, 255, (60, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    rows = [quick(row) for row in rivals.cifar100_lt(1)]
    tiny(
        data=lambda root, seed: BenchmarkData(images, labels, images, labels), methods=lambda n: rows, seeds=range(1)
    )
    layout = Layout(tmp_path)
    assert run.run("tiny", layout, echo=lambda _: None) == 0
    cells = records.read(layout.results / "tiny.jsonl").cells
    assert [name for name, _ in cells] == [row.name for row in rows]
    assert all(0 <= cell["figures"]["closed/overall"] <= 1 and not cell["diverged"] for cell in cells.values())
    # of cross-entropy, of mixup and of FSLwF: of one epoch, the first stage of OLTR++ has none
    assert len(list(layout.resume("").iterdir())) == 3


@pytest.mark.slow
@pytest.mark.parametrize("name", large_sets.RIVALS)
def test_every_row_of_a_set_that_is_not_here_is_trained_and_measured(name):
    """With a network of eight channels for an epoch a phase; the rest is the recipe's."""
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([30, 24, 6]))
    images = torch.randint(0, 90, (60, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    images[torch.arange(60), labels] += 120
    data = BenchmarkData(images, labels, images, labels)
    small = ResNet10(stem="small", widths=(8, 8, 8, 8))
    rows = [quick(row) for row in TABLES[name].methods(0)]
    assert {*large_sets.RIVALS[name]} < {row.name for row in rows}
    for row in rows:
        # rates for a trunk that is not trained before, which that of configs/places-lt.yaml is
        short = {"batch_size": 16, "learning_rates": LearningRates(trunk=0.1, heads=0.1)}
        phases = [p.model_copy(update=short | {"epochs": min(1, p.epochs)}) for p in row.train.phases]
        change = {"network": row.train.network.model_copy(update={"backbone": small}), "phases": phases}
        change["transform"] = row.train.transform.model_copy(update={"size": 32})
        figures = measure(row.model_copy(update={"train": row.train.model_copy(update=change)}), data)
        assert figures["closed/overall"] >= 24 / 60, f"{row.name}: it answers by the colour"


def quick(row):
    """With as few steps of what follows the first stage as can be."""
    first, *others = row.train.phases
    small = {"steps": 30, "resamples": 1, "queries": 5, "few": 6}
    for i, phase in enumerate(others):
        head = phase.head
        if head is not None:
            head = head.model_copy(update={k: v for k, v in small.items() if k in type(head).model_fields})
        others[i] = phase.model_copy(update={"head": head, "epochs": min(1, phase.epochs)})
    return row.model_copy(update={"train": row.train.model_copy(update={"phases": [first, *others]})})
