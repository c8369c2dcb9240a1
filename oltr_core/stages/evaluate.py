"""evaluate: the model of this generation on test images, known and open; its predictions for everything unlearned.

Writes predictions.parquet for test, validation and pool images, metrics/evaluate.json, plots/*.csv, worth.json, and
gate.json: this model against the champion. A part of the test images is the gate's alone; every metric and plot is of
the rest. Images of a class that was split or retired are left out: the network was trained on them, so they are not
unknown, and the register has no class that would be right.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from oltr_core import checkpoint, ledger, manifest_rows, schema
from oltr_core.checkpoint import Checkpoint
from oltr_core.devices import prepare
from oltr_core.files import write_atomically
from oltr_core.inference import classify, features_of, outputs_for
from oltr_core.interfaces import Outputs
from oltr_core.layout import GENESIS, IMPORTED, Generation, Layout, Work
from oltr_core.measured import read_table, write_table
from oltr_core.metrics import OPEN, Evaluation, History, Measured, curves
from oltr_core.metrics.comparison import LEVEL
from oltr_core.metrics.gate_images import gate_side
from oltr_core.metrics.intervals import RESAMPLES, intervals, rows_of
from oltr_core.metrics.recognition import per_class_accuracy
from oltr_core.operating.after_update import LEARNER, void
from oltr_core.operating.rejection import (
    Evaluate,
    operating_point,
    reference_from_statistics,
    reference_of_output_classes,
)
from oltr_core.operating.solved_rows import SOLVED, acts_as, has_solved_rows
from oltr_core.scores import Score
from oltr_core.seeding import numpy_generator
from oltr_core.settings.compute import Compute
from oltr_core.settings.reading import Run, load_run
from oltr_core.spec import Spec, parse
from oltr_core.stages import annotation_value, changes, comparison, slices

#: why a metric of the loop is not there
NOT_YET = "nothing has been learned in the loop yet"
VOID = "{score} tells no unknown images after an update by {learner}, {why}"


class Parameters(Spec):
    """The sections of params.yaml that this stage reads."""

    evaluate: Evaluate = Evaluate()
    update: dict[str, Any] = {}  # as it stands, for of it the learner's name is read alone
    compute: Compute = Compute()


def run(params: Parameters, layout: Layout) -> None:
    """Measure data/work/model.safetensors and write what it says of every image that it was not trained on.

    Raises ValueError when the parent was edited since it was sealed.
    """
    this = load_run(layout)
    parent = layout.generation(this.parent)
    ledger.verify_sealed(layout.ledger, parent.folder)
    model = checkpoint.load(layout.work.model, prepare(params.compute))
    network, card = model.network, model.card
    classes = manifest_rows.register(layout)
    manifest = manifest_rows.of_current_classes(schema.read(layout.work.manifest, schema.MANIFEST), classes)
    images = with_gate(manifest_rows.of_splits(manifest, "test", "val", "pool"), params.evaluate.gate_share)
    size = params.compute.batch_size
    features = features_of(images, network, card.transform, layout, size)
    outputs = card.merge_columns(classify(network, features, model.statistics))

    def seen(score: Score) -> Outputs:
        return outputs_for(score, images, outputs, network, card.transform, layout, size, card)

    own = parse(Score, card.score, f"{layout.work.model}: score")
    scores = own(seen(own), model.score_state)
    probability = (outputs.mean_logits / card.temperature).softmax(1).amax(1)
    assert card.threshold is not None
    labels = manifest_rows.columns(images, card.output_class_ids, other=OPEN)
    every = evaluated_images(images, outputs, manifest, model, classes, layout)
    rows = rows_of(every, scores, card.threshold).with_ids(card.output_class_ids)
    table = {name: images.column(name) for name in ("image_id", "split")} | changes.columns(rows)
    table |= {"probability": probability.tolist(), "score": scores.tolist()}
    table["true_class_id"] = pa.array(rows.label, mask=images.column("label").is_null().to_numpy())
    schema.write(layout.work.predictions, pa.table(table), schema.PREDICTIONS)

    is_test, is_val = mask(images, "test"), mask(images, "val")
    open_val = is_val & (labels == OPEN)
    is_val &= labels != OPEN
    test = images.filter(pa.array(is_test.tolist()))
    tested = evaluated_images(test, outputs[is_test], manifest, model, classes, layout)
    history = [*read_history(parent), *tested.history(this.generation)]
    assert model.statistics is not None
    result = tested.measure(scores[is_test], card.threshold, card.temperature)
    learned = tested.loop(scores[is_test], card.threshold, history)
    begins = this.parent in (GENESIS, IMPORTED)
    if begins:
        learned = Measured({}, dict.fromkeys(sorted(learned.values | learned.absent), NOT_YET))
    result |= learned
    reference = reference_from_statistics(network, model.statistics, model.card.reference_seed)
    reference = reference_of_output_classes(reference, card)
    how = card.target_tpr, card.class_balanced, card.threshold_by  # each threshold is chosen as the card's own was
    most = card.unknown_accepted, card.costs
    learner = params.update.get("learner", {}).get("name", LEARNER) if this.mode == "update" else ""
    acts = acts_as(learner, bool(learner) and has_solved_rows(parent))
    for score in params.evaluate.scores:
        if score != own:
            scored = seen(score)
            known = outputs[is_val], scored[is_val], labels[is_val]
            fitted = operating_point(score, reference, *known, *how, scored[open_val], *most)
            open_set = tested.open_by(score(scored[is_test], fitted.state), fitted.threshold)
            if acts and (why := void(score, acts)):
                by = learner if acts == learner else f"{learner} on {SOLVED}"
                said = VOID.format(score=score.name, learner=by, why=why)
                open_set = Measured({}, dict.fromkeys([*open_set.values, *open_set.absent], said))
            result |= open_set.with_prefix(f"open_by_score/{score.name}")
    result |= annotation_value.write(this, tested, card, layout)
    sliced = slices.values_of(images, params.evaluate.slices, layout)
    result |= slices.write(layout, tested, scores[is_test], card, slices.pick(sliced, is_test), not begins)
    result.write(layout, "evaluate")
    said = card.threshold, probability[is_test]
    write_plots(layout.work, tested, scores[is_test], *said, card.output_class_names, history)
    predictions = comparison.Predictions(outputs.mean_logits.argmax(1) == labels, scores, card.threshold)
    comparison.write(this, model, images, predictions, rows, classes, layout, size, sliced)
    write_intervals(layout, this, tested, scores[is_test], card.threshold, result)


def with_gate(images: pa.Table, share: float) -> pa.Table:
    """The rows with `gate` for the split of those test images that are the gate's."""
    is_test = mask(images, "test")
    test = manifest_rows.of_splits(images, "test")
    columns = (test.column(name).to_pylist() for name in ("image_id", "label", "group_id", "labelled_in"))
    is_test[is_test.clone()] = gate_side(*columns, share=share)
    splits = images.column("split").to_pylist()
    named = ["gate" if gate else split for gate, split in zip(is_test.tolist(), splits, strict=True)]
    return images.set_column(images.column_names.index("split"), "split", pa.array(named, pa.string()))


def evaluated_images(
    test: pa.Table,
    outputs: Outputs,
    manifest: pa.Table,
    model: Checkpoint,
    classes: list[dict[str, Any]],
    layout: Layout,
) -> Evaluation:
    """The test rows as a model of these output classes has to see them, by the register `classes`."""
    ids = model.card.output_class_ids
    group = {row["class_id"]: row["first_generation"] for row in classes}
    first = min(group.values())
    # generation 0's training images, whatever was learned since
    start = manifest_rows.training(manifest)
    start = start.filter(pa.array([g == first for g in start.column("labelled_in").to_pylist()], pa.bool_()))
    columns = manifest_rows.columns(start, ids, other=len(ids))
    labels = manifest_rows.columns(test, ids, other=OPEN)
    names = test.column("label").to_pylist()
    # with held-back truth, every class that was open in a pool; without, those that were found
    truth = json.loads(layout.work.audit.read_text())["open_classes"]
    found = {i for i, since in group.items() if since != first}
    asked, of = (found, test.column("class_id").to_pylist()) if truth is None else (set(truth), names)
    return Evaluation(
        logits=outputs.mean_logits,
        labels=labels,
        was_open=torch.tensor([name in asked for name in of], dtype=torch.bool),
        open_classes=len({name for name, column in zip(names, labels.tolist(), strict=True) if column == OPEN}),
        shots=torch.bincount(columns, minlength=len(ids) + 1)[: len(ids)].float(),
        groups=[group[i] for i in ids],
        counts=torch.tensor(model.card.output_class_counts).float(),
    )


def write_intervals(
    layout: Layout, this: Run, tested: Evaluation, scores: Tensor, threshold: float, result: Measured
) -> None:
    """Write data/work/intervals.json: a 95 % interval for figures of closed/, now/, open/ and loop/.

    `changes`: how far each is from that of the parent, on the test images that both were measured on.
    """
    found = intervals(tested, scores, threshold, result.values, numpy_generator(0, "intervals"))
    page: dict[str, Any] = {"level": LEVEL, "resamples": RESAMPLES, "figures": found}
    parent = layout.generation(this.parent)
    if parent.predictions.exists():
        both = result.values.keys() & json.loads(parent.metrics.read_text()).keys()
        page["changes"] = changes.between(parent.predictions, layout.work.predictions, both)
    write_atomically(layout.work.intervals, json.dumps(page, indent=1, sort_keys=True) + "\n")


def write_plots(
    work: Work,
    tested: Evaluation,
    scores: Tensor,
    threshold: float,
    probability: Tensor,
    names: list[str],
    history: list[History],
) -> None:
    """The curves behind the figures, one CSV each; a curve that cannot be drawn is a file of its header."""
    known = tested.labels != OPEN
    accuracy, images = per_class_accuracy(tested.labels[known], tested.correct[known], len(names))
    shown = [*map(schema.defused, names), schema.UNKNOWN]  # OPEN is -1
    said = tested.logits.argmax(1).where(scores <= threshold, OPEN)
    both = bool(known.any()) and not bool(known.all())
    tables: dict[str, dict[str, list]] = {
        "roc": curves.roc(scores[known], scores[~known]) if both else {"known_rejected": [], "unknown_rejected": []},
        "risk": curves.risk(scores, tested.correct),
        "score_histogram": curves.histogram(scores, tested.labels),
        "reliability": curves.reliability_columns(probability[known], tested.correct[known]),
        "per_class": {
            "class": shown[:-1],
            "group": list(tested.groups),
            "training_images": tested.shots.tolist(),
            "test_images": images.tolist(),
            "accuracy": accuracy.tolist(),
        },
        "confusion": curves.confusion([shown[k] for k in tested.labels.tolist()], [shown[k] for k in said.tolist()]),
        "history": {name: [getattr(row, name) for row in history] for name in History._fields},
    }
    for name, columns in tables.items():
        write_table(work.plot(name), columns, zip(*columns.values(), strict=True))


def read_history(parent: Generation) -> list[History]:
    """The accuracies that the parent's line has left behind; none before the first generation."""
    rows = read_table(parent.plot("history"))
    return [History(r["generation"], r["group"], float(r["accuracy"]), int(r["images"])) for r in rows]


def mask(images: pa.Table, split: str) -> Tensor:
    """Which rows are of `split`; bool [N]."""
    return torch.tensor([name == split for name in images.column("split").to_pylist()], dtype=torch.bool)
