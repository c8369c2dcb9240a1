"""Where Label Studio has the picture of a task from: S3, a file that its server reads, or the task itself.

Of a picture in S3, for which `annotator.pictures` of params.yaml has a place, tasks have the address, signed for some
days. Its key has batch, image and the picture's digest, so that it is put there once and `forget` finds it.
Files are those of data/exports, where the server runs on this machine and its environment allows that
(LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED, and LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT: data/exports or a folder above
it). This is tried with one picture; where the server does not show it, all travel inside of their tasks, as JPEG of
at most 640 pixels and `content.LARGEST` bytes. Whichever it is, it shows the image that was ingested: what lies at
its source may have been changed since, and of a packed or converted image there is no file to show.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from oltr_core import digest
from oltr_core.layout import Layout
from oltr_core.settings.annotator import LabelStudioAnnotator
from tasks.annotator import Objects, batch, content, pictures
from tasks.annotator.studio_server import Server

DAY = 86400  # seconds
Row = Mapping[str, Any]


def images(
    layout: Layout,
    settings: LabelStudioAnnotator,
    name: str,
    rows: list[dict[str, Any]],
    server: Server,
    project: int,
    objects: Objects,
) -> Iterator[tuple[Row, str]]:
    """Each of these selected rows of the batch `name` with the address of its picture, or with the picture itself."""
    if not rows:
        return
    folder = layout.export(name).folder
    if settings.pictures:
        there = set(objects.list_below(f"{settings.pictures}/{name}/"))
        for row in rows:
            yield row, _signed(settings, name, row, folder / batch.file_of(row), there, objects)
    elif (root := _served(server, project, folder / batch.file_of(rows[0]))) is not None:
        yield from ((row, _address(folder / batch.file_of(row), root)) for row in rows)
    else:
        shown = batch.pixels(layout, name, [row["image_id"] for row in rows])
        yield from ((row, pictures.picture(image, content.LARGEST)) for row, image in zip(rows, shown, strict=True))


def _signed(
    settings: LabelStudioAnnotator, name: str, row: Row, picture: Path, there: set[str], objects: Objects
) -> str:
    """The signed address of a picture, which is put into S3 unless it is `there`."""
    data = picture.read_bytes()
    uri = f"{settings.pictures}/{name}/{row['image_id']}-{digest.of_bytes(data)}.png"
    if uri not in there:
        objects.put(uri, data, "image/png")
    return objects.signed(uri, round(settings.pictures_days * DAY))


def ends_soon(settings: LabelStudioAnnotator, objects: Objects, address: str) -> bool:
    """Whether less than half of its time is left to the signed address of a picture."""
    left = objects.seconds_left(address) if settings.pictures else None
    return left is not None and left < settings.pictures_days * DAY / 2


def remove(settings: LabelStudioAnnotator, image_ids: Collection[str], objects: Objects) -> None:
    """Delete the pictures of these images from S3, whichever batches they were in."""
    for uri in list(objects.list_below(f"{settings.pictures}/")) if settings.pictures else ():
        if uri.rpartition("/")[2].partition("-")[0] in image_ids:
            objects.remove(uri)


def _served(server: Server, project: int, picture: Path) -> Path | None:
    """The folder that the server shows files of, if it shows this one; its settings do not say which."""
    storages, folder = "api/storages/localfiles", str(picture.parent)
    with suppress(ValueError):  # it is on another machine, or must not read files
        if all(one["path"] != folder for one in server.ask("GET", storages, project=project)):
            server.ask("POST", storages, {"project": project, "path": folder, "use_blob_urls": True})
        for root in picture.parents[2:]:  # data/exports, and the folders above
            with suppress(ValueError):
                if server.response("GET", _address(picture, root)[1:]).content == picture.read_bytes():
                    return root
    return None


def _address(picture: Path, root: Path) -> str:
    return f"/data/local-files/?d={quote(picture.relative_to(root).as_posix())}"
