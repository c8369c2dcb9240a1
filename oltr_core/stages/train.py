"""train: a full training in mode `train`; in mode `update` there is nothing to train, and the stage says so.

It needs no torch for that, and changed training code or parameters cost an update generation a second and no result.
"""

from __future__ import annotations

import shutil
from typing import Any

from safetensors.numpy import save

from oltr_core.files import write_atomically
from oltr_core.layout import Layout
from oltr_core.measured import Measured
from oltr_core.settings.compute import Compute
from oltr_core.settings.reading import load_run
from oltr_core.spec import Spec, parse
from oltr_core.stages import say

MEASURED = ("train/accuracy", "train/loss")


class Parameters(Spec):
    """The sections of params.yaml that this stage reads; `train` is parsed where something is trained."""

    train: dict[str, Any] = {}
    compute: Compute = Compute()


def run(params: Parameters, layout: Layout) -> None:
    """Write base.safetensors, metrics.jsonl and metrics/train.json, by a full training or by passing on."""
    this = load_run(layout)
    if this.mode == "train":
        from oltr_core.stages import full_training
        from oltr_core.training import Train

        full_training.run(parse(Train, params.train, "params.yaml: train"), params.compute, layout)
        return
    # `update` extends the parent's own model: a base model without weights, and the parent's training log. The reason
    # does not name this generation, which may have a sibling of the same parent whose results DVC then takes
    reason = f"nothing was trained: the classifier of {this.parent} is extended"
    say("train", layout, reason)
    write_atomically(layout.work.base_model, save({}, metadata={"oltr.extends": this.parent}))
    shutil.copyfile(layout.generation(this.parent).training_log, layout.work.training_log)
    Measured(absent=dict.fromkeys(MEASURED, reason)).write(layout, "train")
