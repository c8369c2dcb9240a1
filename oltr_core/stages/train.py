"""train: a full training in mode `train`; in mode `update` there is nothing to train, and the stage says so.

It needs no torch for that, and changed training code or parameters cost an update generation a second and no result.
"""

from __future__ import annotations

import shutil
import sys
from typing import Any

from safetensors.numpy import save

from oltr_core.layout import Layout, write_atomically
from oltr_core.measured import Measured
from oltr_core.settings.compute import Compute
from oltr_core.settings.reading import Run, load_run
from oltr_core.spec import Spec, parse

MEASURED = ("train/accuracy", "train/loss")


class Parameters(Spec):
    """The sections of params.yaml that this stage reads; `train` is parsed where something is trained."""

    train: dict[str, Any] = {}
    compute: Compute = Compute()


def run(params: Parameters, layout: Layout) -> None:
    """Write base.safetensors, metrics.jsonl and metrics/train.json, by a full training or by passing on."""
    this = load_run(layout)
    if this.mode == "update":
        pass_on(this, layout)
        return
    from oltr_core.stages import full_training
    from oltr_core.training import Train

    full_training.run(parse(Train, params.train, "params.yaml: train"), params.compute, layout)


def pass_on(this: Run, layout: Layout) -> None:
    """The parent's training log, and a base model without weights: `update` extends the parent's own model."""
    reason = f"nothing was trained: generation {this.generation} extends the classifier of {this.parent}"
    print(f"train: {reason}", file=sys.stderr)
    work, parent = layout.work, layout.generation(this.parent)
    write_atomically(work.base_model, save({}, metadata={"oltr.extends": this.parent}))
    shutil.copyfile(parent.training_log, work.training_log)
    Measured(absent=dict.fromkeys(MEASURED, reason)).write(layout, "train")
