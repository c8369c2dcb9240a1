"""A model as one ONNX file, for programs without torch: transform, network, score, temperature and threshold.

Input `images`: uint8 [batch, S, S, 3], the canvases of `Transform.canvas`, RGB. Outputs `probability` [batch, K] in
the order of the classes in the metadata, `score` [batch] and `unknown` [batch]: what `oltr predict` says. Decoding
and resizing stay outside, for images of one batch differ in size, and so does the prediction of a parent
(`update.roll_up`): names and parents are texts in the metadata. examples/edge.py has both.

The exporter is torch's older one: it needs the package onnx alone. The newer one needs onnxscript and onnx-ir as
well, and torch 2.15's refuses the attention of Eq. 6.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from oltr_core.checkpoint import Checkpoint
from oltr_core.files import write_atomically
from oltr_core.prediction.predictions import judge, score_of
from oltr_core.scores import Score
from oltr_core.seeding import torch_generator

OUTPUTS = ("probability", "score", "unknown")
OPSET = 18
CLOSE = 1e-4  # what the file and torch may differ by in a probability: float32 through another order of sums


class Graph(nn.Module):
    """Canvases to probabilities, scores and decisions."""

    def __init__(self, model: Checkpoint, score: Score) -> None:
        super().__init__()
        self.network, self.model, self.score = model.network, model, score

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        card = self.model.card
        assert card.threshold is not None
        batch = card.transform(images.permute(0, 3, 1, 2))
        probability, score = judge(self.model, self.score, self.network(batch))
        return probability, score, score > card.threshold


def write(path: Path, model: Checkpoint, generation: str) -> None:
    """Write `model`, which is on the CPU, as ONNX, and compare the file's predictions with torch's.

    Raises ValueError for a model without a threshold, for a score that no graph can hold, and where onnx or
    onnxruntime is not installed.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ValueError(f"{path}: {error.name} is not installed; install oltr[onnx]") from None
    score = score_of(model, generation)
    if score.not_in_a_graph:
        raise ValueError(
            f"generation {generation}: the score {score.name} {score.not_in_a_graph}, which an ONNX file cannot; "
            "choose another update.score for models to be exported"
        )
    graph, card = Graph(model, score).eval(), model.card
    shape = 2, card.transform.size, card.transform.size, 3
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch_generator(0, "canvases"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        _export(graph, images, file, f"generation {generation}: the score {score.name}")
        found = onnx.load(file)
    onnx.helper.set_model_props(found, _about(model, generation))
    data = found.SerializeToString()
    said = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(
        None, {"images": images.numpy()}
    )
    with torch.no_grad():
        apart = float((torch.from_numpy(said[0]) - graph(images)[0]).abs().max())
    if not apart < CLOSE:
        raise ValueError(
            f"{path}: not written, for as ONNX the network gives probabilities that differ by {apart:.2g}"
        )
    write_atomically(path, data)


def _export(graph: Graph, images: Tensor, file: Path, what: str) -> None:
    batch: dict[str, dict[int, str]] = {name: {0: "batch"} for name in ("images", *OUTPUTS)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself, and about what tracing takes for constant
        try:
            torch.onnx.export(
                graph, (images,), file, dynamo=False, opset_version=OPSET, dynamic_axes=batch,
                input_names=["images"], output_names=list(OUTPUTS),
            )  # fmt: skip
        except torch.onnx.errors.UnsupportedOperatorError as error:
            raise ValueError(
                f"{what}, or its network, has an operation that ONNX has not ({str(error).splitlines()[0]})"
            ) from None


def _about(model: Checkpoint, generation: str) -> dict[str, str]:
    """The file's metadata: texts, of which classes, parents and transform are JSON."""
    card = model.card
    classes: list[dict[str, Any]] = [
        {"id": class_id, "name": name}
        for class_id, name in zip(card.output_class_ids, card.output_class_names, strict=True)
    ]
    return {
        "oltr.generation": generation,
        "oltr.classes": json.dumps(classes),
        "oltr.transform": json.dumps(card.transform.model_dump(mode="json")),
        "oltr.score": str(card.score["name"]),
        "oltr.threshold": repr(card.threshold),
        "oltr.temperature": repr(card.temperature),
        "oltr.roll_up": repr(card.roll_up),
        "oltr.parents": json.dumps(card.parents),
    }
