"""The steps of a generation: effects of `tasks` in their order, timed and reported.

Each may be called again, and then finds nothing to do. Prefect's tasks (`flows.generation`), the head start and the
commands call these.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows import answers, history
from flows.progress import WATCH, note, say
from oltr_core import ledger
from oltr_core.layout import GENESIS, IMPORTED, Layout
from oltr_core.settings.masking import masked
from oltr_core.settings.whole import Settings, load_settings
from tasks import annotator, clock, gate, lock, notify, ray, storage
from tasks.annotator import batch as batches_of_questions
from tasks.annotator import records
from tasks.dvc import batches, pointers, remotes, repository, sealing, stages
from tasks.dvc import repair as dvc_repair


@contextmanager
def held(layout: Layout, patience: float = 0) -> Iterator[None]:
    """Hold the workspace, repaired. Raises Busy where another does so for longer than `patience` seconds."""
    with lock.alone(layout, patience):
        repair(layout)
        yield


def repair(layout: Layout) -> None:
    """What a full disk or a kill left of the files of DVC and MLflow; call it with the workspace held.

    Raises ValueError where nobody may work now, and for a file that cannot be made again.
    """
    from tasks import mlflow

    for folder in records.remove_unrecorded(layout):
        repository.add(layout, folder)
    aside = "" if load_settings(layout).tracking.uri else mlflow.database.set_aside(layout)
    for sentence in (*dvc_repair.repair(layout), *filter(None, [aside])):
        say(sentence)
    remotes.follow_origin(layout)


def pending_batches(layout: Layout, settings: Settings, name: str) -> list[str]:
    """The raw batches still to ingest before generation `name`: one more each time, as long as there are any."""
    folders = {b.batch: layout.batch(b.batch).folder for b in settings.sources[: int(name) + 1]}
    return [b for b, folder in folders.items() if not (folder.is_dir() and pointers.pointer(folder))]


def ingest(layout: Layout, batch: str) -> dict[str, Any]:
    """Ingest one raw batch and give it to DVC. Returns its card."""
    with WATCH.lap("ingest"):
        new = not layout.batch(batch).folder.is_dir()
        with ray.using(layout):
            card = batches.take_in(layout, load_settings(layout), batch, storage.source_access(layout), clock.now())
        if new:
            from oltr_core.measured import counted

            say(f"ingested {batch}: {counted(card['images'], 'images')}, {card['quarantined']} in quarantine")
        return card


def open_generation(layout: Layout, name: str, full_training: bool = False) -> None:
    """Open generation `name`, or restore what its opening wrote. `full_training`: whatever the schedule says."""
    settings, state = load_settings(layout), ledger.state_of(layout.ledger)
    remotes.set_remote(layout, settings.storage.remote)
    if name in state.opened:
        sealing.reopen(layout, name)
        return
    answers.keep_ids(layout)
    answers.import_late(layout)
    full = full_training or state.champion == GENESIS or settings.schedule.is_due(state.next_number)
    # a full training at first, where no model was imported, and every so often; else an extension of the champion's
    if not full and settings.schedule.full_training == "auto" and (why := for_full_training(layout)):
        full = True
        say("\n           ".join(["a full training is required", *why]))
    sealing.open_generation(layout, name, state.champion, "train" if full else "update", clock.now())
    say(f"opened generation {name} (parent {state.champion})")


def for_full_training(layout: Layout) -> list[str]:
    """Reasons for a full training of the next generation."""
    from oltr_core.upkeep import retraining

    return retraining.reasons(layout, load_settings(layout).schedule.evidence)


def recommended(layout: Layout) -> list[str]:
    """Lines that advise a full training, where there are reasons for one and params.yaml leaves it to people."""
    if load_settings(layout).schedule.full_training != "recommend" or not (reasons := for_full_training(layout)):
        return []
    advice = "`schedule: {full_training: auto}` in params.yaml makes the next generation one"
    return [f"a full training is recommended: {advice}", *(f"  {reason}" for reason in reasons)]


def import_model(layout: Layout, file: Path, name: str | None, classes: Path | None) -> str:
    """Make a model from elsewhere the parent of the first generation; see `imported_model`. Returns a sentence.

    Cut off, it may be called again. Raises ValueError where a generation was opened already, and for a model, a class
    list and a transform that do not fit one another.
    """
    from oltr_core import imported_model

    state = ledger.state_of(layout.ledger)
    if state.opened or state.champion != GENESIS:
        there = state.opened[-1] if state.opened else f"an {IMPORTED} model"
        raise ValueError(f"{layout.root}: a model is imported into a new workspace; this one has {there}")
    remotes.set_remote(layout, load_settings(layout).storage.remote)
    sealing.discard_model(layout)
    details = imported_model.fill(layout.unsealed(IMPORTED), layout, file, name, classes)
    sealing.take_in_model(layout, details, clock.now())
    return f"{file.name}, {details['classes']} classes, is the parent of the first generation"


def run_stage(layout: Layout, stage: str) -> stages.Outcome:
    """Bring one stage up to date."""
    begun = WATCH.elapsed
    outcome = stages.bring_up_to_date(stage, layout)
    WATCH.add(stage, outcome.seconds)
    WATCH.add("DVC, processes and imports around stages", WATCH.elapsed - begun - outcome.seconds)
    for sentence in outcome.said:
        note(masked(f"{stage}: {sentence}"))
    say(f"{stage}: {outcome.seconds:.1f} s" if outcome.ran else f"{stage}: up to date")
    return outcome


def validate(layout: Layout, name: str) -> None:
    """Great Expectations over the manifest of generation `name`: a second check of what curate let through."""
    from tasks import quality

    with WATCH.lap("quality gate"):
        quality.validate(layout)


def seal(layout: Layout, name: str) -> str:
    """data/work becomes generation `name`. Returns the digest of its folder."""
    with WATCH.lap("seal"):
        return sealing.seal(layout, clock.now())


def judge(layout: Layout, name: str) -> tuple[str, list[str]]:
    """Promote or refuse generation `name`. Returns the verdict and the reasons."""
    notify.mark_unsent(layout, name)
    verdict, reasons = gate.judge(layout, load_settings(layout).gate, name, clock.now())
    lines = [f"generation {name} is {verdict}", *reasons, *history.warnings(ledger.read(layout.ledger), name)]
    if verdict == "refused":
        champion = ledger.state_of(layout.ledger).champion
        lines.append(f"{champion} stays champion; the next generation learns these answers again, with those to come")
        by_hand = f"`oltr promote {name} --reason WHY` makes it champion anyway"
        lines.append(f"{by_hand}; `gate` in params.yaml says what may fall")
    say("\n           ".join(lines))
    return verdict, reasons


def export_batch(layout: Layout, name: str) -> int:
    """Hand the batch of generation `name` to the annotator; returns how many images people are asked about."""
    settings = load_settings(layout).annotator
    with WATCH.lap("export"):
        digest = annotator.of(settings).publish(layout, settings, name, storage)
        sent = batches_of_questions.sent(layout, name, digest, clock.now())
        from oltr_core.measured import counted

        say(f"exported the batch of {name}: {counted(sent['images'], 'images')} in {sent['folder']}")
        return sent["images"]
