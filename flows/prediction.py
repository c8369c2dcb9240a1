"""What a generation says of images: as text, as JSON, into a file that grows; and as a model for elsewhere."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.champion import champion_of, verified
from flows.command import AS_JSON, command
from oltr_core.layout import Layout

if TYPE_CHECKING:
    from oltr_core.prediction import Prediction

WHOLE_PICTURES = (
    "note: most ingested images are boxes cut out of pictures, and each of PATHS is predicted whole: "
    "give boxes cut out, or ingest the pictures with their boxes and predict them with --batch"
)


@command(
    "oltr predict photo.jpg",
    "oltr predict ~/inbox --output predictions.parquet --resume",
    "find ~/inbox -name '*.jpg' | oltr predict - --json",
    "oltr predict s3://bucket/camera-7/ --output predictions.jsonl --device cuda",
    "oltr predict --batch season-2 --by seq_id --output predictions.jsonl",
    "oltr predict shelf/ --references 3",
)
@click.argument("paths", nargs=-1)
@AS_JSON
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write *.jsonl, *.csv or *.parquet.")
@click.option("--resume", is_flag=True, help="Go on with the output: what it holds is not done again.")
@click.option("--top-k", type=click.IntRange(min=1), default=1, help="Also the so many best classes of each image.")
@click.option("--references", type=click.IntRange(min=0), default=0, help="Also the so many nearest labelled images.")
@click.option("--batch", help="An ingested batch in the place of PATHS; boxes of its pictures are images.")
@click.option("--by", default="", help="With --batch: also a prediction per value of this attribute, or per `group`.")
@click.option("--device", default="cpu", help="Where to compute: cpu, cuda (default: cpu).")
@click.option("--batch-size", type=click.IntRange(min=1), default=64, help="Images at a time (default: 64).")
@click.option("--workers", type=click.IntRange(min=0), help="Processes that decode PATHS ahead (default: 2).")
def predict(
    layout: Layout,
    paths: tuple[str, ...],
    as_json: bool,
    output: Path | None,
    resume: bool,
    references: int,
    batch: str | None,
    by: str,
    device: str,
    workers: int | None,
    **how: Any,
) -> None:
    """The champion's prediction for images: label or "unknown", probability, score, nearest class.

    PATHS are images, folders, prefixes s3://bucket/... or - for a list on standard input, a path per line.
    An image that cannot be read has the reason in its row; the exit code is 2 only if none could be read.
    With --by an image of a batch has, beside its own, the prediction for its sequence: the mean over its images.
    """
    if output is None and resume:
        raise click.UsageError("--resume goes on with the file of --output; name it")
    if output is not None and as_json:
        raise click.UsageError("--json prints what --output writes into a file; give one of them")
    if bool(paths) == bool(batch) or (by and not batch) or (resume and batch):
        raise click.UsageError("give PATHS, or --batch (which --by goes with, and --resume does not)")
    if batch and workers is not None:
        raise click.UsageError("--workers decodes PATHS ahead of the network; leave it out with --batch")
    from oltr_core import prediction
    from tasks import storage

    name = champion_of(layout)
    images = iter(()) if batch else prediction.images_at(paths, storage.source_access(layout), sys.stdin.buffer)
    model = prediction.loaded(verified(layout, name).model, name, device)
    how["top_k"] = min(how["top_k"], len(model.card.output_class_names))  # what --resume finds in the rows
    near = prediction.gallery(layout, name, model, references, how["batch_size"]) if references else None
    how |= {"model": model, "generation": name, "gallery": near}
    if batch:
        run = partial(_of_batch, layout=layout, batch=batch, by=by, **how)
    else:
        if prediction.of_boxes(layout):
            click.echo(WHOLE_PICTURES, err=True)
        how["limits"] = prediction.limits_of(layout)
        run = partial(prediction.predict, fetch=storage.read, workers=2 if workers is None else workers, **how)
    if output is None:
        _print(run(images), as_json)
    else:
        _write(run, images, output, (name, how["top_k"], resume, near.number if near else 0, bool(batch)))


@command("oltr export --onnx birds.onnx", "oltr export --onnx birds.onnx --generation 0003")
@click.option("--onnx", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The file to write.")
@click.option("--generation", help="Another than the champion.")
def export(layout: Layout, onnx: Path, generation: str | None) -> None:
    """Write a generation as one ONNX file: transform, network, score, temperature and threshold.

    Its predictions are those of `oltr predict`; examples/edge.py needs neither oltr nor torch for them.
    """
    from oltr_core.prediction import graph, loaded

    sealed = verified(layout, generation)
    graph.write(onnx, loaded(sealed.model, sealed.name), sealed.name)
    click.echo(f"{onnx}: generation {sealed.name}, {onnx.stat().st_size / 2**20:.1f} MiB")


@command(
    "oltr convert predictions.parquet observations.csv --like deer/datapackage.json",
    "oltr convert predictions.jsonl coco.json --like deer/camera_traps.json",
    "oltr convert predictions.jsonl timelapse.json --like deer/megadetector.json",
)
@click.argument("predictions", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.argument("target", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--like", default="", help="What the pictures came with: datapackage.json, COCO Camera Traps, MegaDetector."
)
@click.option("--root", default="", help="What the file names in --like start from (default: its folder).")
def convert(layout: Layout, predictions: Path, target: Path, like: str, root: str) -> None:
    """What `oltr predict --output` wrote, as other tools read it.

    That is a Camtrap DP's observations (*.csv), COCO Camera Traps (*.json), or a MegaDetector file for Timelapse
    (*.json, --like the detector's), whose boxes then have classifications.
    """
    from oltr_core.prediction import exchange
    from tasks import storage

    like_at, root_at = (str(Path(p).absolute()) if p and "://" not in p else p for p in (like, root))
    written, left = exchange.convert(predictions, target, like_at, layout, storage.source_access(layout), root_at)
    more = f"; {left} more are of pictures or boxes that {like} does not list" if left else ""
    click.echo(f"{target}: {written} predictions{more}")


def _of_batch(_: Iterable[str], **how: Any) -> Iterator[Prediction]:
    from oltr_core.prediction import predict_batch

    return predict_batch(**how)


def _print(predictions: Iterator[Prediction], as_json: bool) -> None:
    total = unread = 0
    for prediction in predictions:
        if as_json:
            row = textwrap.indent(json.dumps(prediction.row(), indent=1), " ")
            click.echo(f",\n{row}" if total else f"[\n{row}", nl=False)
        else:
            click.echo(sentence(prediction))
        total, unread = total + 1, unread + (prediction.error is not None)
    if as_json:
        click.echo("\n]")
    _end(total, unread)


def _write(
    run: Callable[[Iterable[str]], Iterator[Prediction]],
    images: Iterable[str],
    output: Path,
    how: tuple[Any, ...],
) -> None:
    from oltr_core.prediction import opened

    total = unread = 0
    with opened(output, *how) as file, _progress() as show:
        before = len(file.predicted)
        for prediction in run(image for image in images if image not in file.predicted):
            file.add(prediction)
            total, unread = total + 1, unread + (prediction.error is not None)
            show(total, unread)
    from oltr_core.measured import counted

    earlier = f", {before} were before" if before else ""
    click.echo(f"oltr: {counted(total, 'images predicted')}{earlier}: {output}", err=True)
    _end(total, unread)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """On a terminal, how many images were predicted and how fast: a function to call after each."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.completed} images, {task.fields[speed]} a second, {task.fields[unread]} unread")
    console = Console(stderr=True)
    quiet = not console.is_terminal
    with Progress(SpinnerColumn(), columns, TimeElapsedColumn(), console=console, disable=quiet) as bar:
        task = bar.add_task("", total=None, speed="-", unread=0)

        def show(total: int, unread: int) -> None:
            elapsed = bar.tasks[0].elapsed
            bar.update(task, completed=total, unread=unread, speed=f"{total / elapsed:.0f}" if elapsed else "-")

        yield show


def sentence(prediction: Prediction) -> str:
    """A prediction as a line of text."""
    if prediction.error is not None:
        return f"{prediction.path}: could not be read: {prediction.error}"
    more = "".join(f", {other['label']} {other['probability']:.3f}" for other in (prediction.top or [])[1:])
    rolled_up = prediction.label_probability not in (None, prediction.probability)
    parent = f", {prediction.label} {prediction.label_probability:.3f}" if rolled_up else ""
    more_of_it = f"{prediction.nearest}{parent}{f', then{more[1:]}' if more else ''}"
    return (
        f"{prediction.path}: {prediction.label} (probability {prediction.probability:.3f}, "
        f"score {prediction.score:.3f}, nearest {more_of_it}, generation {prediction.generation})"
        f"{_beside(prediction)}"
    )


def _beside(prediction: Prediction) -> str:
    """The nearest labelled images, and what is said of the sequence, where they were asked for."""
    parts = [f"; like {of['path']} ({of['label']}, {of['distance']:.3f})" for of in prediction.references or []]
    if (of := prediction.sequence) is not None:
        parts.append(f"; {of['id']}, {of['images']} images: {of['label']} ({of['nearest']} {of['probability']:.3f})")
    return "".join(parts)


def _end(total: int, unread: int) -> None:
    if unread:
        click.echo(f"oltr: {unread} of {total} images could not be read", err=True)
    if total and unread == total:
        from oltr_core.stages import EXIT

        sys.exit(EXIT["user"])
