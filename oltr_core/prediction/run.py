"""Images in, predictions out: decoded ahead of the device, answered batch by batch, nothing kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from oltr_core import checkpoint
from oltr_core.checkpoint import Checkpoint
from oltr_core.devices import onto, resolve
from oltr_core.ingest.record import SourceAccess
from oltr_core.prediction.addresses import as_text, images_at
from oltr_core.prediction.answers import Prediction, answered, score_of
from oltr_core.prediction.decoding import Fetch, decoded
from oltr_core.prediction.gallery import Gallery


def loaded(model: Path, generation: str, device: str = "cpu") -> Checkpoint:
    """The model of a file. Raises ValueError for a device that is not here, and for a model without a threshold."""
    found = checkpoint.load(model, resolve(device, "the device"))
    score_of(found, generation)
    return found


def predictions(model: Path, paths: Iterable[Path], generation: str, device: str = "cpu") -> Iterator[Prediction]:
    """Predictions for images and for all images below folders, with the model of a file; see `images_at`."""
    images = images_at([str(path) for path in paths], SourceAccess(Path()))
    return predict(images, loaded(model, generation, device), generation)


def predict_files(
    files: Sequence[Path], model: Checkpoint, generation: str, batch_size: int = 64
) -> Iterator[Prediction]:
    """A prediction for every file, in their order, decoded in this process; see `predict`."""
    return predict(map(str, files), model, generation, batch_size)


def predict(
    addresses: Iterable[str],
    model: Checkpoint,
    generation: str,
    batch_size: int = 64,
    top_k: int = 1,
    workers: int = 0,
    fetch: Fetch | None = None,
    gallery: Gallery | None = None,
) -> Iterator[Prediction]:
    """A prediction for every address, in their order; for one that cannot be read, the reason.

    At most `batch_size` images are answered at a time, and `workers` processes decode ahead; `fetch` reads addresses
    that are no files, and `gallery` names the nearest labelled images. Raises ValueError for a model without a
    threshold, before anything is read, and ConnectionError where a store stops to answer.
    """
    score = score_of(model, generation)
    device = next(model.network.parameters()).device
    parts = decoded(addresses, model.card.transform, batch_size, workers, fetch)

    def found() -> Iterator[Prediction]:
        for part in parts:
            images = onto(part.images, device)
            answers = answered(model, score, images, generation, top_k, gallery) if len(images) else iter(())
            for address, error in zip(part.addresses, part.errors, strict=True):
                failed = {"generation": generation, "error": error}
                fields: dict[str, Any] = failed if error is not None else next(answers)
                yield Prediction(as_text(address), **fields)

    return found()
