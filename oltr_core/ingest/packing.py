"""Records to packed rows: read, hash, decode, in as many workers as there are, in the records' own order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import chain, islice, tee
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from oltr_core import engine
from oltr_core.images.decode import Limits, decode, identity, identity_of_pixels, perceptual_hash, read
from oltr_core.images.shards import Packed, pack
from oltr_core.ingest.record import Box, Record, SourceAccess, TooLarge

CHUNK = 16  # records that travel to a worker at once; with the chunks that wait, what memory has to hold
ALONE = 1024  # so many records are faster done here than processes are started
FETCHES = 16  # downloads at a time

Content = bytes | np.ndarray | Path


class Looked(NamedTuple):
    """An image as the packer sees it; `reason` says why it is none."""

    image_id: str | None
    width: int
    height: int
    phash: int
    packed: Packed | None
    reason: str | None


class Job(NamedTuple):
    """One image to be read; `problem` is why it cannot be."""

    content: Content
    extension: str | None
    problem: str | None
    box: Box | None = None


def look(job: Job, limits: Limits) -> Looked:
    """Read, hash and decode one image."""
    content, image_id = job.content, None
    try:
        if job.problem is not None:
            raise ValueError(job.problem)
        if isinstance(content, Path):
            content = read(content, limits)
        if isinstance(content, bytes):
            image_id, encoded = identity(content), content
            pixels = decode(content, limits, job.extension)
        else:
            image_id, encoded, pixels = identity_of_pixels(content), None, content
        if job.box is not None:
            encoded, pixels = None, cropped(pixels, job.box)
            image_id = identity_of_pixels(pixels)
    except (OSError, ValueError) as error:
        unreadable = f"unreadable file ({error.strerror or error})" if isinstance(error, OSError) else str(error)
        return Looked(image_id, 0, 0, 0, None, unreadable)
    height, width, _ = pixels.shape
    return Looked(image_id, width, height, perceptual_hash(pixels), pack(pixels, encoded), None)


def look_at_all(
    records: Iterable[Record], access: SourceAccess, limits: Limits, workers: int
) -> Iterator[tuple[Record, Looked]]:
    """Every record with what was seen, in order, whatever the engine and the number of workers.

    Raises ValueError where a worker on another machine does not see a file that this one does.
    """
    stream = iter(records)
    first = list(islice(stream, ALONE + 1))
    stream = chain(first, stream)
    chunks = iter(lambda: list(islice(stream, CHUNK)), [])
    look_at = partial(_look_at, limits=limits)
    with ThreadPoolExecutor(FETCHES) as threads:
        read = ((chunk, list(threads.map(lambda r: _job(r, access, limits.max_bytes), chunk))) for chunk in chunks)
        sent, named = tee(read)
        jobs = (jobs for _, jobs in sent)
        seen = engine.run(look_at, jobs, workers) if len(first) > ALONE else engine.local(look_at, jobs)
        for (chunk, asked), looked in zip(named, seen, strict=True):
            for job, found in zip(asked, looked, strict=True):
                if isinstance(job.content, Path) and found.reason:
                    engine.same_files(job.content, found.reason)
            yield from zip(chunk, looked, strict=True)


def _look_at(jobs: list[Job], limits: Limits) -> list[Looked]:
    return [look(job, limits) for job in jobs]


def _job(record: Record, access: SourceAccess, most: int) -> Job:
    content, problem, extension = record.content, record.problem, None
    if isinstance(content, (Path, str)):
        extension = PurePosixPath(content).suffix
    if isinstance(content, str):
        try:
            content = b"" if problem else access.fetch(content, most)
        except FileNotFoundError:
            content, problem = b"", "missing object"
        except TooLarge as error:
            content, problem = b"", str(error)
    return Job(b"" if problem else content, extension, problem, record.box)


def cropped(pixels: np.ndarray, box: Box) -> np.ndarray:
    """The part of upright pixels [H, W, 3] in the box, its edges rounded to pixels; what leaves the image is cut off.

    Raises ValueError where nothing is left.
    """
    height, width, _ = pixels.shape
    left, right = (min(max(round(at * width), 0), width) for at in (box.x, box.x + box.width))
    top, bottom = (min(max(round(at * height), 0), height) for at in (box.y, box.y + box.height))
    if left >= right or top >= bottom:
        raise ValueError(f"a box of no pixel: {', '.join(f'{at:g}' for at in box)} of {width} x {height}")
    return np.ascontiguousarray(pixels[top:bottom, left:right])
