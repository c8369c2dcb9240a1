"""The steps of a generation as plain functions: each may be called again, and then finds nothing to do.

Prefect's tasks call them, and so does the head start (`flows.headstart`).
"""

from __future__ import annotations

import os
from pathlib import Path

from flows.progress import WATCH, say
from oltr_core import ledger
from oltr_core.layout import GENESIS, Layout
from oltr_core.ledger import State
from oltr_core.settings import Settings, load_settings
from tasks import annotator, clock, gate, stage
from tasks.annotator import answers, export
from tasks.versions import commit as versioning
from tasks.versions import sealing, track


def state_of(layout: Layout) -> State:
    return ledger.replay(ledger.read(layout.ledger))


def due(layout: Layout, settings: Settings, name: str) -> list[str]:
    """The raw batches still to take in before generation `name`: one more each time, as long as there are any."""
    batches = [b.batch for b in settings.sources[: int(name) + 1]]
    return [b for b in batches if not (layout.batch(b).folder.is_dir() and track.pointer(layout.batch(b).folder))]


def ingest(layout: Layout, settings: Settings, batch: str) -> dict[str, object]:
    """Take one raw batch in and give it to DVC. Returns its card."""
    with WATCH.lap("ingest"):
        folder, truth = layout.batch(batch).folder, layout.truth_of(batch)
        if track.pointer(folder) and not folder.is_dir():  # taken in elsewhere: a clone of this workspace
            track.pull(layout, folder, *([truth] if track.pointer(truth) else []))
        new = not folder.is_dir()
        card = _pack(layout, settings, batch)
        made = [folder, *([truth] if truth.exists() else [])]
        track.set_remote(layout, settings.storage.remote)
        track.add(layout, *made)
        track.push(layout, *made)
        if new:
            say(f"ingested {batch}: {card['images']} images, {card['quarantined']} in quarantine")
        return card


def _pack(layout: Layout, settings: Settings, batch: str) -> dict[str, object]:
    from oltr_core.stages import ingest as packing
    from tasks import storage

    root = os.environ.get("OLTR_DATA_ROOT")  # what params.yaml calls $OLTR_DATA_ROOT
    reach = packing.Reach(layout.root, storage.read, storage.list_below, Path(root) if root else None)
    return packing.run(settings, layout, batch, reach=reach)


def open_next(layout: Layout, settings: Settings, name: str) -> None:
    """Open generation `name`, or restore what its opening wrote."""
    track.set_remote(layout, settings.storage.remote)
    state = state_of(layout)
    if name in state.opened:
        sealing.reopen(layout, name)
        return
    sealing.open_generation(layout, name, state.champion, mode_of(settings, state), clock.now())
    say(f"opened generation {name} (parent {state.champion})")


def mode_of(settings: Settings, state: State) -> str:
    """A full training at first and every so often; else an extension of the champion's classifier."""
    every = settings.schedule.full_training_every
    if state.champion == GENESIS or (every and state.next_number % every == 0):
        return "train"
    return "update"


def bring(layout: Layout, name: str) -> stage.Outcome:
    """One stage up to date."""
    begun = WATCH.elapsed
    outcome = stage.bring_up_to_date(name, layout)
    WATCH.add(name, outcome.seconds)
    WATCH.add("DVC, processes and imports around stages", WATCH.elapsed - begun - outcome.seconds)
    say(f"{name}: {outcome.seconds:.1f} s" if outcome.ran else f"{name}: up to date")
    return outcome


def seal(layout: Layout) -> str:
    with WATCH.lap("seal"):
        return sealing.seal(layout, clock.now())


def judge(layout: Layout, settings: Settings, name: str) -> tuple[str, list[str]]:
    verdict, reasons = gate.judge(layout, settings.gate, name, clock.now())
    say(f"generation {name} is {verdict}" + "".join(f"\n           {reason}" for reason in reasons))
    return verdict, reasons


def hand_out(layout: Layout, name: str) -> int:
    """Export the batch of generation `name`; returns how many images people are asked about."""
    with WATCH.lap("export"):
        folder, digest = export.export(layout, name)
        asked = len(answers.asked(layout, name))
        details = {"images": asked, "folder": folder.relative_to(layout.root).as_posix()}
        ledger.append(layout.ledger, ledger.Event("exported", name, digest, clock.now(), details))
        say(f"exported the batch of {name}: {asked} images in {details['folder']}")
        return asked


def mirror(layout: Layout) -> None:
    """Show in MLflow what is sealed, and who is champion. A tracking server that is down stops nothing."""
    from tasks import tracking

    try:
        tracking.mirror(layout, load_settings(layout).tracking)
    except Exception as error:  # whatever is wrong with it: MLflow is a window, and the ledger holds the evidence
        why = " ".join(str(error).split())[:200]
        say(f"MLflow does not show this yet ({why}); the next generation tries again")


def commit(layout: Layout, settings: Settings, name: str, verdict: str) -> None:
    """Where params.yaml wants it: what git sees of this generation, on a branch of its own."""
    if settings.versions.commit:
        revision = versioning.commit(layout, name, f"generation {name}: {verdict}")
        say(f"committed generation {name} as {revision[:12]} on oltr/generations")


def take_answers(layout: Layout, name: str, partial: bool = False) -> int | None:
    """Import the answers to the batch of `name`; None while people are not done, else how many answers came."""
    settings = load_settings(layout)
    with WATCH.lap("annotate"):
        if not answers.asked(layout, name):
            return 0
        # asked at the time of the seal, a machine's answers are the same file whenever they are fetched
        events = ledger.read(layout.ledger)
        at = next(e.at for e in events if e.event == "sealed" and e.generation == name)
        table = annotator.collect(layout, settings, name, at, partial)
        if table is None:
            return None
        path = answers.store(layout, name, table)
        annotator.audit(layout, settings, name)
        track.add(layout, layout.answers(name))
        track.push(layout, layout.answers(name))
        details = {"answers": table.num_rows, "annotator": settings.annotator.name}
        ledger.append(layout.ledger, ledger.Event("imported", name, path.stem, clock.now(), details))
        say(f"imported {table.num_rows} answers to the batch of {name}")
        return table.num_rows
