"""What people said comes in: answers to a batch, operations on the class register, corrections of labels.

Each is a file that DVC keeps and an event in the ledger; done again, nothing changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.progress import WATCH, say
from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.ledger import Event
from oltr_core.settings.masking import masked
from oltr_core.settings.whole import load_settings
from tasks import annotator, clock, storage
from tasks.annotator import collecting
from tasks.dvc import inputs, repository


def import_annotations(layout: Layout, name: str, partial: bool = False) -> int | None:
    """Import the annotations of the batch of `name`; None while some are missing, else how many are there now.

    `partial`, and an annotator's deadline that is over, take what is there. Raises ValueError with file and line of
    those that cannot be imported: while others are missing too, and with `partial`, after the others are in.
    """
    settings, now = load_settings(layout).annotator, clock.now()
    with WATCH.lap("annotate"):
        there = collecting.standing(layout, settings, name, now)
        found, end = there.found, there.end
        if there.waits and not partial:
            if found.wrong:  # whoever wrote them has to know
                raise ValueError(found.refusal)
            then = f"; from {end:%Y-%m-%d %H:%M} UTC on the loop goes on without them" if end else ""
            say(f"{there.missing} yet{then}")
            keep_shown(layout, name)
            return None
        _store(layout, settings, name, found)
        if partial and found.wrong:
            took = (
                f"{found.there} annotations of the batch of {name} are imported; correct the others and import again"
            )
            raise ValueError("\n".join([*([took] if found.there else []), found.refusal]))
        if partial and there.asked:
            if found.there and not found.new:
                say(f"there is no new annotation of the batch of {name}; {found.there} are imported")
            return found.there or None
        if found.wrong:
            say(f"left out, and learned later when they are corrected:\n{found.refusal}")
        if found.missing:
            over = f" at its deadline, {end:%Y-%m-%d %H:%M} UTC" if end and there.over else ""
            why = over or ", as annotator.share allows"
            say(f"{there.missing}{why}: the loop goes on, and learns them when they come")
        if not found.there:  # none was selected, all were forgotten since, or nobody answered in time
            collecting.go_on_without(layout, name, now)
        return found.there


def keep_shown(layout: Layout, name: str) -> None:
    """While people are waited for: renew addresses of the batch's pictures that end before long."""
    settings = load_settings(layout).annotator
    if settings.pictures_at:
        try:
            annotator.of(settings).publish(layout, settings, name, storage)
        except OSError as error:
            say(f"addresses of pictures were not renewed: {masked(str(error))}")


def import_late(layout: Layout) -> None:
    """Before the next generation: what has come since of every batch that is out, so that it learns it too."""
    settings = load_settings(layout).annotator
    state = ledger.state_of(layout.ledger)
    for name in (name for name in state.generations if name in state.exported):
        if annotator.of(settings).instructions(layout, settings, name):  # people are asked
            found = collecting.found(layout, settings, name, clock.now())
            _store(layout, settings, name, found)
            if found.wrong:
                wrong = f"{len(found.wrong)} answers to the batch of {name} cannot be imported"
                say(f"{wrong}; `oltr annotate status` names them")


def _store(layout: Layout, settings: Any, name: str, found: collecting.Found) -> None:
    """Keep the new answers to the batch of `name`, in the place of what an import that was cut off left of them."""
    collecting.remove_left(found)
    if found.left and not found.new:  # people have taken back what they had changed: its pointer as it was
        repository.add(layout, layout.annotations_of(name))
    if found.new:
        near = collecting.near_names(layout, name, found.new)
        _keep(layout, *collecting.store(layout, settings, name, found.new, clock.now()))
        before = found.there - len(found.new)
        say(f"imported {len(found.new)} annotations of the batch of {name}; {before} were there before")
        for sentence in near:
            say(sentence)


def _keep(layout: Layout, path: Path, event: Event) -> None:
    """Give the folder of a new file of what people said to DVC, and tell the ledger."""
    inputs.verify(layout, about_to=event)  # before DVC takes up what else is in the folder
    inputs.keep(layout, event, path.parent)


def keep_ids(layout: Layout) -> None:
    """Before the next generation: ids that a generation of another line gave stay with the names of their classes."""
    state, line = ledger.state_of(layout.ledger), []
    while (newest := state.parents.get(line[-1]) if line else state.champion) in state.parents:
        line.append(newest)
    others = [name for name in state.generations if name not in line]
    if not others:
        return
    from tasks.annotator import register

    if strays := register.strays(layout, others):
        details = {"reason": "given by a generation of another line", "by": "oltr"}
        _keep(layout, *register.store(layout, strays, clock.now(), details))


def change_classes(
    layout: Layout, what: str, arguments: Sequence[object], reason: str, by: str
) -> tuple[str, list[str]]:
    """Record an operation of `oltr_core.curation.changes` on the class register.

    Returns what was done, in words, and what to warn of. Raises ValueError where the register does not allow it.
    """
    from tasks.annotator import register

    keep_ids(layout)
    rows, warnings = register.change(layout, what, *arguments)
    path, event = register.store(layout, rows, clock.now(), {"reason": reason, "by": by})
    _keep(layout, path, event)
    return register.said(layout, rows, event.generation), warnings


def correct(layout: Layout, image: str, label: str, reason: str, by: str, new: bool = False) -> tuple[str, list[str]]:
    """Record that `label` is right for an image. Returns what was done, in words, and what to warn of."""
    from tasks.annotator import corrections

    keep_ids(layout)
    row, warnings = corrections.correction(layout, image, label, new)
    _keep(layout, *corrections.store(layout, row | {"annotator": by, "reason": reason}, clock.now()))
    before = row["label_before"] or "no label"
    return f"{row['image_id'][:12]} is {row['label']} from generation {row['generation']} on (was {before})", warnings
