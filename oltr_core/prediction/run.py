"""Images in, predictions out: decoded ahead of the device, predicted_fields batch by batch, nothing kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import islice, tee
from pathlib import Path
from typing import Any

import torch

from oltr_core import checkpoint, engine
from oltr_core.checkpoint import Checkpoint
from oltr_core.devices import onto, resolve, to_send
from oltr_core.images.decode import Limits
from oltr_core.ingest.record import FETCHED, SourceAccess
from oltr_core.layout import Layout
from oltr_core.prediction.addresses import as_text, images_at
from oltr_core.prediction.decoding import DEFAULT, Fetch, decoded
from oltr_core.prediction.gallery import Gallery
from oltr_core.prediction.predictions import Prediction, predicted_fields, score_of
from oltr_core.settings.operations import Ingest
from oltr_core.settings.reading import load_sections
from oltr_core.spec import Spec

BATCHES = 8  # that a worker elsewhere predicts at once


def loaded(model: Path, generation: str, device: str = "cpu") -> Checkpoint:
    """The model of a file. Raises ValueError for a device that is not here, and for a model without a threshold."""
    found = checkpoint.load(model, resolve(device, "the device"))
    score_of(found, generation)
    return found


class _Ingest(Spec):
    ingest: Ingest = Ingest()


def limits_of(layout: Layout) -> Limits:
    """What the workspace takes for an image: params.yaml: ingest. Raises ValueError naming file and key."""
    return Limits(**load_sections(_Ingest, layout).ingest.model_dump())


def predictions(model: Path, paths: Iterable[Path], generation: str, device: str = "cpu") -> Iterator[Prediction]:
    """Predictions for images and for all images below folders, with the model of a file; see `images_at`."""
    images = images_at([str(path) for path in paths], SourceAccess(Path()))
    return predict(images, loaded(model, generation, device), generation)


def predict(
    addresses: Iterable[str],
    model: Checkpoint,
    generation: str,
    batch_size: int = 64,
    top_k: int = 1,
    workers: int = 0,
    fetch: Fetch | None = None,
    gallery: Gallery | None = None,
    limits: Limits = DEFAULT,
) -> Iterator[Prediction]:
    """A prediction for every address, in their order; for one that cannot be read, the reason.

    At most `batch_size` images are predicted at a time, and `workers` processes decode ahead; `fetch` reads addresses
    that are no files, `gallery` names the nearest labelled images, and an image beyond the `limits` is not read.
    Raises ValueError for a model without a threshold, before anything is read, and ConnectionError where a store
    stops answering.
    """
    score = score_of(model, generation)
    if engine.remote():
        return _elsewhere(addresses, model, (generation, batch_size, top_k, 0, fetch, gallery, limits))
    device = next(model.network.parameters()).device
    parts = decoded(addresses, model.card.transform, batch_size, workers, fetch, limits)

    def found() -> Iterator[Prediction]:
        for part in parts:
            images = onto(part.images, device)
            predicted = iter(())
            if len(images):
                predicted = predicted_fields(model, score, images, generation, top_k, gallery)
            for address, error in zip(part.addresses, part.errors, strict=True):
                failed = {"generation": generation, "error": error}
                fields: dict[str, Any] = failed if error is not None else next(predicted)
                yield Prediction(as_text(address), **fields)

    return found()


def _elsewhere(addresses: Iterable[str], model: Checkpoint, how: tuple[Any, ...]) -> Iterator[Prediction]:
    """The same by the engine in use, in the same batches, so that no figure is another."""
    network, device = to_send(model.network)
    unit = partial(_predict, replace(model, network=network), device, torch.get_num_threads(), how)
    rest, size = iter(addresses), BATCHES * how[1]
    asked, sent = tee(iter(lambda: list(islice(rest, size)), []))
    found = engine.run(unit, map(_absolute, sent), threads=torch.get_num_threads(), gpu=device.type != "cpu")
    for mine, predictions in zip(asked, found, strict=True):
        for address, prediction in zip(mine, predictions, strict=True):
            if prediction.error:
                engine.same_files(address, prediction.error)
            yield replace(prediction, path=as_text(address))


def _absolute(addresses: list[str]) -> list[str]:
    return [address if address.startswith(FETCHED) else str(Path(address).absolute()) for address in addresses]


def _predict(
    model: Checkpoint, device: torch.device, threads: int, how: tuple[Any, ...], addresses: list[str]
) -> list[Prediction]:
    torch.set_num_threads(threads)
    model.network.to(device)
    return list(predict(addresses, model, *how))
