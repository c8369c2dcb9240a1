"""The steps of a generation: effects of `tasks` in their order, timed and reported.

Each may be called again, and then finds nothing to do. Prefect's tasks (`flows.generation`), the head start and the
commands call these.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.progress import WATCH, note, say
from oltr_core import ledger
from oltr_core.layout import GENESIS, IMPORTED, Layout
from oltr_core.ledger import Event, State
from oltr_core.settings.masking import masked
from oltr_core.settings.whole import Settings, load_settings
from tasks import annotator, clock, gate, lock, notify, ray, storage
from tasks.annotator import batch as batches_of_questions
from tasks.annotator import collecting, records
from tasks.dvc import batches, git, inputs, pointers, remotes, repository, sealing, stages
from tasks.dvc import repair as dvc_repair


def state_of(layout: Layout) -> State:
    """The state of the workspace by its ledger."""
    return ledger.replay(ledger.read(layout.ledger))


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
    settings, state = load_settings(layout), state_of(layout)
    remotes.set_remote(layout, settings.storage.remote)
    if name in state.opened:
        sealing.reopen(layout, name)
        return
    keep_ids(layout)
    import_late(layout)
    every = settings.schedule.full_training_every
    number = state.next_number
    full = full_training or state.champion == GENESIS or (every and number > 0 and number % every == 0)
    # a full training at first, where no model was imported, and every so often; else an extension of the champion's
    if not full and settings.schedule.full_training == "auto" and (why := for_full_training(layout)):
        full = True
        say("\n           ".join(["a full training is due", *why]))
    sealing.open_generation(layout, name, state.champion, "train" if full else "update", clock.now())
    say(f"opened generation {name} (parent {state.champion})")


def for_full_training(layout: Layout) -> list[str]:
    """What speaks for a full training of the next generation."""
    from oltr_core.upkeep import retraining

    return retraining.reasons(layout, load_settings(layout).schedule.evidence)


def recommended(layout: Layout) -> list[str]:
    """Lines that advise a full training, where something speaks for one and params.yaml leaves it to people."""
    if load_settings(layout).schedule.full_training != "recommend" or not (reasons := for_full_training(layout)):
        return []
    advice = "`schedule: {full_training: auto}` in params.yaml makes the next generation one"
    return [f"a full training is recommended: {advice}", *(f"  {reason}" for reason in reasons)]


def import_model(layout: Layout, file: Path, name: str | None, classes: Path | None) -> str:
    """Make a model from elsewhere the parent of the first generation; see `oltr_core.foreign`. Returns a sentence.

    Cut off, it may be called again. Raises ValueError where a generation was opened already, and for a model, a class
    list and a transform that do not fit one another.
    """
    from oltr_core import foreign

    state = state_of(layout)
    if state.opened or state.champion != GENESIS:
        there = state.opened[-1] if state.opened else f"an {IMPORTED} model"
        raise ValueError(f"{layout.root}: a model is imported into a new workspace; this one has {there}")
    remotes.set_remote(layout, load_settings(layout).storage.remote)
    sealing.discard_model(layout)
    details = foreign.fill(layout.unsealed(IMPORTED), layout, file, name, classes)
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
    notify.due(layout, name)
    verdict, reasons = gate.judge(layout, load_settings(layout).gate, name, clock.now())
    lines = [f"generation {name} is {verdict}", *reasons]
    if verdict == "refused":
        champion = state_of(layout).champion
        lines.append(f"{champion} stays champion; the next generation learns these answers again, with those to come")
        lines.append(f"`oltr promote {name}` makes it champion anyway; `gate` in params.yaml says what may fall")
    say("\n           ".join(lines))
    return verdict, reasons


def tell(layout: Layout) -> None:
    """Send the message about the newest generation with a verdict, once its batch is out; sent before, nothing."""
    state = state_of(layout)
    name = notify.untold(layout)
    if name in state.verdicts and name in state.exported:
        asked = len(batches_of_questions.asked(layout, name))
        about = f"{load_settings(layout).workspace.name}: generation {name} is {state.verdicts[name]}"
        if (undelivered := notify.tell(f"{about}; {asked} images wait for annotations")) is not None:
            say(undelivered)
        notify.sent(layout)


def export_batch(layout: Layout, name: str) -> int:
    """Hand the batch of generation `name` to the annotator; returns how many images people are asked about."""
    settings = load_settings(layout).annotator
    with WATCH.lap("export"):
        digest = annotator.of(settings).publish(layout, settings, name)
        asked = len(batches_of_questions.asked(layout, name))
        folder = layout.export(name).folder.relative_to(layout.root).as_posix()
        details = {"images": asked, "folder": folder}
        ledger.append(layout.ledger, ledger.Event("exported", name, digest, clock.now(), details))
        from oltr_core.measured import counted

        say(f"exported the batch of {name}: {counted(asked, 'images')} in {folder}")
        return asked


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
            ledger.append(layout.ledger, ledger.Event("imported", name, "", now, {"annotations": 0}))
        return found.there


def import_late(layout: Layout) -> None:
    """Before the next generation: what has come since of every batch that is out, so that it learns it too."""
    settings = load_settings(layout).annotator
    state = state_of(layout)
    for name in (name for name in state.generations if name in state.exported):
        if annotator.of(settings).instructions(layout, settings, name):  # people are asked
            found = collecting.found(layout, settings, name, clock.now())
            _store(layout, settings, name, found)
            if found.wrong:
                wrong = f"{len(found.wrong)} answers to the batch of {name} cannot be imported"
                say(f"{wrong}; `oltr annotate status` names them")


def _store(layout: Layout, settings: Any, name: str, found: collecting.Found) -> None:
    """Keep the new answers to the batch of `name`; without any, nothing changes."""
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
    repository.add(layout, path.parent)
    repository.push(layout, path.parent)
    event.details["dvc"] = pointers.of(layout, path.parent)
    ledger.append(layout.ledger, event)


def keep_ids(layout: Layout) -> None:
    """Before the next generation: ids that a generation of another line gave stay with the names of their classes."""
    state, line = state_of(layout), []
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


def mirror(layout: Layout) -> dict[str, str]:
    """Show in MLflow what is sealed, and who is champion. A tracking server that is down stops nothing.

    Returns the generations that were added on a tracking server, and where the report of each opens there.
    """
    from tasks import mlflow

    with WATCH.lap("mirror to MLflow (in the background)"):
        try:
            tracking = load_settings(layout).tracking
            return mlflow.reports(layout, tracking, mlflow.mirror(layout, tracking))
        except Exception as error:  # whatever is wrong with it: MLflow is a window, and the ledger holds the evidence
            why = " ".join(str(error).split())[:200]
            say(f"MLflow does not show this yet ({why}); the next generation tries again")
            return {}


def catch_up(layout: Layout) -> None:
    """What a kill took after the export of the last generation: its place in MLflow, its commit and its message."""
    commit_last(layout)
    tell(layout)
    if mlflow_is_behind(layout):
        mirror(layout)


def mlflow_is_behind(layout: Layout) -> bool:
    """Whether MLflow may not show all of the history; costs no import of it and asks no server."""
    from tasks import mlflow

    return mlflow.behind(layout, load_settings(layout).tracking)


def commit_last(layout: Layout) -> None:
    """The commit of the last generation with a verdict, where it is wanted and was not made."""
    if verdicts := state_of(layout).verdicts:
        commit(layout, *list(verdicts.items())[-1])


def commit(layout: Layout, name: str, verdict: str) -> None:
    """Where params.yaml wants it: what git sees of this generation, on a branch of its own."""
    if load_settings(layout).versions.commit and not git.tagged(layout, name):
        revision = git.commit(layout, name, f"generation {name}: {verdict}", verdict == "promoted")
        say(f"committed generation {name} as {revision[:12]} on oltr/generations")
