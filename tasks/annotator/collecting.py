"""What has come back of a batch: the answers that are new, those that cannot be imported, the images without any."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from oltr_core import ledger, schema
from oltr_core.curation import text_values
from oltr_core.layout import Layout
from oltr_core.ledger import Event
from oltr_core.settings.annotator import HumanAnnotator
from tasks import annotator
from tasks.annotator import batch, returned


class Found(NamedTuple):
    """The answers of one batch."""

    new: list[dict[str, Any]]  # rows that are not imported yet
    there: int  # answers that can be imported, or were
    wrong: list[str]  # a sentence for each that cannot
    missing: int  # images without an answer, or of too few people
    left: list[Path]  # files that an import which was cut off left, and whose answers are still there

    @property
    def refusal(self) -> str:
        """The sentences about those that cannot be imported."""
        from oltr_core.curation.annotations import listed  # brings polars, which asking does not need

        return listed(self.wrong)


class Standing(NamedTuple):
    """How far people are with one batch."""

    found: Found
    asked: int  # images
    missing: str  # how many of them have no answer, or too few, in words
    end: datetime | None  # when the loop goes on without what is missing
    over: bool  # that end has come
    waits: bool  # something is missing that the loop does not go on without


def standing(layout: Layout, settings: Any, name: str, now: str) -> Standing:
    """How far people are at the time `now` with the batch of generation `name`."""
    asked, of, end = len(batch.asked(layout, name)), patience(settings), deadline(layout, settings, name)
    there = found(layout, settings, name, now) if asked else Found([], 0, [], 0, [])
    none = "no answer" if of.answers_per_image == 1 else f"fewer than {of.answers_per_image} answers"
    missing = f"{there.missing} of {asked} images of the batch of {name} have {none}"
    over = end is not None and end <= datetime.fromisoformat(now)
    waits = bool(there.missing) and not over and asked - there.missing < of.share * asked
    return Standing(there, asked, missing, end, over, waits)


def found(layout: Layout, settings: Any, name: str, now: str) -> Found:
    """What the annotator has of the batch of generation `name`; `now` is when it is looked at."""
    asked = batch.asked(layout, name)
    # asked at the time of the seal, a machine's annotations are the same file whenever they are fetched
    rows = annotator.of(settings).collect(layout, settings, name, batch.sealed_at(layout, name))
    good, wrong = returned.sort(layout, name, rows)
    before = returned.imported(layout, name)
    new = unsaid(good, before, datetime.fromisoformat(now))
    people: dict[str, set[str]] = {}
    for row in (*before, *good):
        people.setdefault(row["image_id"], set()).add(row["annotator"])
    settled = {row["image_id"] for row in rows if row.get("settled")}
    each = patience(settings).answers_per_image
    missing = sum(
        len(people.get(image, ())) < each and not (image in settled and people.get(image)) for image in set(asked)
    )
    return Found(new, len(before) + len(new), wrong, missing, returned.left_over(layout, name, good))


def patience(settings: Any) -> HumanAnnotator:
    """How long, and for how many answers, is waited; a machine answers once and at once."""
    return settings if isinstance(settings, HumanAnnotator) else HumanAnnotator(remind_after_days=0)


def unsaid(rows: Iterable[dict[str, Any]], before: Iterable[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """The answers that say something else than their annotator's last one of that image, and are none of the older.

    One that was changed, but for the time that stands beside it, is given the time `now`, so that it is the last. A
    time that has not come yet, such as a local one without its zone, counts as `now`.
    """
    said: dict[tuple[Any, ...], dict[datetime, Any]] = {}  # image and annotator -> time -> answer
    for row in before:
        said.setdefault((row["image_id"], row["annotator"]), {})[row["answered_at"]] = (row["verdict"], row["label"])
    new = []
    for row in rows:
        times = said.get((row["image_id"], row["annotator"]), {})
        answer, at = (row["verdict"], row["label"]), row["answered_at"]
        if times and answer in (times[max(times)], times.get(at)):
            continue
        then = min(at, now)
        if at in times or then in times:
            then = max(now, max(times) + timedelta(microseconds=1))
        new.append({**row, "answered_at": then})
    return new


def near_names(layout: Layout, name: str, new: Iterable[dict[str, Any]]) -> list[str]:
    """A sentence for each new class among the new answers whose name is nearly that of another class, old or new."""
    known = [*batch.names_meant(layout, name), *returned.new_names(layout)]
    found = []
    for label in dict.fromkeys(row["label"] for row in new if row["verdict"] == "new_class"):
        if label not in known:
            if (other := text_values.similar_name(label, known)) is not None:
                merge = f"`oltr classes merge {shlex.quote(label)} {shlex.quote(other)} --reason ...`"
                found.append(f"new class {label!r}; a class {other!r} exists: answer again, or later {merge}")
            known.append(label)
    return found


def remove_left(found: Found) -> None:
    """Remove what an import that was cut off left, before the ledger is compared with the files that are there."""
    for file in found.left:
        file.unlink()


def store(layout: Layout, settings: Any, name: str, new: list[dict[str, Any]], now: str) -> tuple[Path, Event]:
    """Write the answers, and what is known of their batch, where curate reads them; the file, and its event."""
    path = returned.store(layout, name, schema.from_rows(schema.ANNOTATIONS, new))
    annotator.of(settings).audit(layout, settings, name)
    returned.note(layout, name)
    return path, returned.event(layout, path, now, settings.name)


def go_on_without(layout: Layout, name: str, at: str) -> None:
    """Tell the ledger that the loop goes on without an answer to the batch of generation `name`."""
    ledger.append(layout.ledger, Event("imported", name, "", at, {"annotations": 0}))


def deadline(layout: Layout, settings: Any, name: str) -> datetime | None:
    """When the loop goes on without the answers that are missing; None: never, or the batch is not out yet."""
    days = patience(settings).deadline_days
    out = sent_out(layout, name) if days else None
    return out + timedelta(days=days) if out else None


def sent_out(layout: Layout, name: str) -> datetime | None:
    """When the batch of generation `name` went to people first; None: it is not out yet."""
    times = (e.at for e in ledger.read(layout.ledger) if e.event == "exported" and e.generation == name)
    out = next(times, None)
    return datetime.fromisoformat(out) if out else None
