"""A full training: the rows of base.parquet into base.safetensors, by the phases of params.yaml."""

from __future__ import annotations

import json
import shutil
import sys
import time

import torch

from oltr_core import checkpoint, digest, engine, manifest_rows, schema
from oltr_core.devices import enough, resolve
from oltr_core.images.dataset import open_images
from oltr_core.images.shards import Shards
from oltr_core.layout import Layout
from oltr_core.measured import Measured
from oltr_core.pipeline import BY_NAME, code_digests
from oltr_core.settings.compute import Compute
from oltr_core.stages import say
from oltr_core.training import Report, Train, fit, parallel

EVERY = 3.0  # seconds between lines of progress


def run(train: Train, compute: Compute, layout: Layout) -> None:
    """Train on every train row of base.parquet; write the model, one line per epoch, and what was measured.

    A run that was killed continues where its last state was saved. Raises ValueError for absent devices, too few
    classes and a loss that is no longer a number.
    """
    if compute.processes > 1 and not parallel.launched():
        gpu = resolve(compute.device).type != "cpu"
        if not engine.remote():
            enough(compute.device, compute.processes)
        parallel.launch(as_rank, compute.processes, train, compute, layout, threads=compute.threads, gpu=gpu)
    else:
        as_rank(train, compute, layout)


def as_rank(train: Train, compute: Compute, layout: Layout) -> None:
    """The training in one of `compute.processes` processes; rank 0 alone writes."""
    work = layout.work
    device = parallel.start(resolve(compute.device))  # before any image is read
    if compute.threads:
        torch.set_num_threads(compute.threads)
    rows = manifest_rows.training(schema.read(work.base, schema.MANIFEST))
    class_ids = sorted(set(rows.column("class_id").to_pylist()))
    if len(class_ids) < 2:
        raise ValueError(f"{work.base}: training needs images of two classes or more, found {len(class_ids)}")
    labels = manifest_rows.columns(rows, class_ids)
    images = open_images(Shards(layout.raw), rows, train.transform, device, compute.workers, train.augment.random_cut)
    network = train.network(len(class_ids), train.seed)
    code = [torch.__version__, code_digests(BY_NAME["train"])]  # killed under other code, a training begins again
    state = layout.resume(digest.of_value([train.model_dump(mode="json"), digest.of_file(work.base), code]))
    log: list[Report] = []
    epochs, shown = {phase.name: phase.epochs for phase in train.phases}, float("-inf")
    for report in fit(network, images, labels, train, compute, state):
        log.append(report)
        number, of = int(report["epoch"]) + 1, epochs[str(report["phase"])]
        if parallel.rank() == 0 and (number == of or time.perf_counter() - shown > EVERY):
            shown = time.perf_counter()
            sentence = f"{report['phase']}, epoch {number} of {of}: loss {report['loss']:.4f}"
            if number == of:  # the last of a phase is kept
                say("train", layout, sentence)
            else:
                print(f"train: {sentence}", file=sys.stderr)
    if parallel.rank() > 0:
        return
    work.training_log.write_text("".join(json.dumps(report, sort_keys=True) + "\n" for report in log))
    card = checkpoint.Card(
        class_ids=class_ids,
        class_counts=torch.bincount(labels, minlength=len(class_ids)).tolist(),
        network=network.spec,
        transform=train.transform,
        recipe=train.model_dump(mode="json"),
    )
    checkpoint.save(work.base_model, network, card)
    last = log[-1] if log else {}
    means = {name: value for name, value in last.items() if isinstance(value, float) and name != "learning_rate"}
    Measured({f"train/{name.removeprefix('loss/')}": value for name, value in means.items()}).write(layout, "train")
    shutil.rmtree(state, ignore_errors=True)
