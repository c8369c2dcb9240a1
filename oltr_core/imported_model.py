"""A model from elsewhere as the parent of a first generation: one of our checkpoints, or a timm model's state dict.

It becomes a folder like that of a sealed generation, without images: empty tables, the class register that its
columns stand for, and the checkpoint. An update then extends it like any other parent.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from oltr_core import checkpoint, digest, schema
from oltr_core.checkpoint import Card, Checkpoint
from oltr_core.images.transforms import Transform
from oltr_core.layout import Generation, Layout
from oltr_core.models import Network, NetworkSpec
from oltr_core.models.backbones import Timm
from oltr_core.models.heads import Linear
from oltr_core.seeding import torch_generator
from oltr_core.settings.reading import load_sections
from oltr_core.spec import Spec, parse

FIRST = "0000"  # the generation since which its classes are known: a first generation has no older ones


def read(layout: Layout, file: Path, timm_name: str | None, classes: Path | None) -> Checkpoint:
    """The model of `file`: ours, or timm's of that name with its class list, prepared as params.yaml says.

    Raises ValueError where a class list is missing or too much; and see `ours` and `of_timm`.
    """
    if not file.is_file():
        raise ValueError(f"{file}: expected a safetensors file, and there is none")
    if timm_name is None:
        if classes is not None:
            raise ValueError(f"{file}: one of our checkpoints names its classes itself; leave --classes out")
        return ours(file)
    if classes is None:
        raise ValueError(f"{file}: the columns of timm's {timm_name} have no names; give --classes a list of them")
    transform = load_sections(_Transform, layout).train.get("transform", {})
    return of_timm(file, timm_name, class_list(classes), parse(Transform, transform, "params.yaml: train.transform"))


class _Transform(Spec):
    train: dict[str, Any] = {}


def ours(file: Path) -> Checkpoint:
    """One of our checkpoints. Raises ValueError for one that names no classes or has no statistics of them."""
    model = checkpoint.load(file)
    if not model.card.class_names or model.statistics is None:
        raise ValueError(
            f"{file}: expected the model.safetensors of a sealed generation, found a checkpoint without "
            f"{'names' if not model.card.class_names else 'statistics'} of its classes"
        )
    return model


def of_timm(file: Path, name: str, classes: list[str], transform: Transform) -> Checkpoint:
    """Timm's model `name` with the state dict of `file` and its classifier's columns named by `classes`.

    A column with an empty name is left out. The logits are those of timm's own model, which is tried on one batch.
    Raises ValueError where file, model, classes and transform do not fit one another.
    """
    import timm

    spec = NetworkSpec(
        backbone=Timm(model=name, weights=str(file.absolute())), attention="none", last_relu=True, normalise=False,
        head=Linear(),
    )  # fmt: skip
    kept = [column for column, label in enumerate(classes) if label]
    network = spec(len(kept)).eval()
    state = _state(file)
    whole: Any = timm.create_model(name, num_classes=len(classes)).eval()
    weight, bias = (f"{whole.default_cfg['classifier']}.{part}" for part in ("weight", "bias"))
    for key, shape in ((weight, [len(classes), network.num_features]), (bias, [len(classes)])):
        found = list(state[key].shape) if key in state else "no such tensor"
        if found != shape:
            raise ValueError(
                f"{file}: expected {key!r} of shape {shape} for {len(classes)} rows of the class list, found {found}"
            )
    whole.load_state_dict(state)
    head: Any = network.heads[0]
    head.weight.data.copy_(state[weight][kept])
    head.bias.data.copy_(state[bias][kept])
    _try(network, whole, transform, kept, f"{file}: timm's {name}")
    bare = spec.without_downloads()
    network.spec = bare
    names = [classes[column] for column in kept]
    card = Card(
        class_ids=list(range(len(kept))), class_names=names, class_counts=[0] * len(kept), network=bare,
        transform=transform,
    )  # fmt: skip
    return Checkpoint(network, card)


def _state(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file}: expected a safetensors file, found something else ({error})") from None


def _try(network: Network, whole: torch.nn.Module, transform: Transform, kept: list[int], what: str) -> None:
    """Compare the two on a batch. Raises ValueError where they differ, or take no image of the transform's size."""
    noise = torch.randint(0, 256, (2, 3, transform.size, transform.size), generator=torch_generator(0, "canvases"))
    images = transform(noise.to(torch.uint8))
    try:
        with torch.no_grad():
            wanted, found = whole(images)[:, kept], network(images).mean_logits
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError(
            f"{what} takes no image of {transform.size} x {transform.size} pixels ({error}); correct params.yaml: "
            "train.transform"
        ) from None
    if not torch.allclose(wanted, found, rtol=1e-3, atol=1e-4):
        raise ValueError(
            f"{what} does more between pooled features and classifier than W x + b, which cannot be taken over; "
            "choose another model, or train from its weights with train.network.backbone.weights"
        )


def class_list(file: Path) -> list[str]:
    """The column `name` of a CSV, a row per column of the classifier. Raises ValueError naming file and line.

    Where it is the only column, a blank line between rows is an empty name: so spreadsheets write it.
    """
    if not file.is_file():
        raise ValueError(f"{file}: expected a CSV of class names, and there is no such file")
    try:
        reader = csv.reader(io.StringIO(file.read_text("utf-8-sig").strip("\r\n")))
        # a row ends in this line of the file: a quoted name may have several
        (_, columns), *rows = [(reader.line_num, row) for row in reader] or [(0, [])]
    except UnicodeDecodeError:
        raise ValueError(f"{file}: expected UTF-8 text") from None
    if "name" not in columns:
        raise ValueError(f"{file}: expected a column 'name', found {', '.join(columns) or 'nothing'}")
    place = columns.index("name")
    at = [(line, "".join(row[place : place + 1]).strip()) for line, row in rows if row or len(columns) == 1]
    seen: set[str] = set()
    for line, name in at:
        problem = schema.name_problem(name) if name else None
        problem = "the name that predictions have for an image of no class" if schema.is_unknown(name) else problem
        problem = "a name that stands there twice" if name in seen else problem
        if problem:
            raise ValueError(f"{file}:{line}: {name!r}: {problem}")
        seen |= {name} - {""}
    if len(seen) < 2:
        raise ValueError(f"{file}: expected two named classes or more, found {len(seen)}")
    return [name for _, name in at]


def register_of(card: Card) -> list[dict[str, Any]]:
    """The rows of classes.parquet for the classes on a card, and what became of those that are predicted no more."""
    names = dict(zip(card.class_ids, card.class_names, strict=True)) | dict(
        zip(card.output_class_ids, card.output_class_names, strict=True)
    )
    merged = card.output_classes
    of = dict(zip(card.class_ids, merged.of, strict=True)) if merged else {}
    rows = []
    for class_id, name in sorted(names.items()):
        successor = merged.ids[of[class_id]] if merged and of.get(class_id, -1) >= 0 else class_id
        status = "retired" if of.get(class_id) == -1 else "active" if successor == class_id else "merged"
        row = {"class_id": class_id, "name": name, "aliases": [], "first_generation": FIRST, "status": status}
        rows.append(row | {"successor": successor if status == "merged" else None, "parent": card.parents.get(name)})
    return rows


def fill(to: Generation, layout: Layout, file: Path, timm_name: str | None, classes: Path | None) -> dict[str, Any]:
    """Write what an update reads of its parent into the folder of `to`; what the ledger says of it. See `read`."""
    model = read(layout, file, timm_name, classes)
    to.folder.mkdir(parents=True)
    card = model.card
    rows = register_of(card)
    schema.write(to.classes, schema.from_rows(schema.CLASSES, rows), schema.CLASSES)
    for table in (to.manifest, to.base):
        schema.write(table, schema.empty(schema.MANIFEST), schema.MANIFEST)
    checkpoint.save(to.model, model.network, card, model.score_state, model.statistics)
    to.training_log.write_text(json.dumps({"phase": "imported"}) + "\n")  # no loss: DVC warns of empty files
    for figures in (to.metrics, to.metrics_absent):
        figures.write_text("{}\n")
    return {"file": file.name, "file_digest": digest.of_file(file), "timm": timm_name, "classes": len(rows)}
