"""What others see of a generation: in MLflow, on a branch of git, as a message. Each is made up for after a kill."""

from __future__ import annotations

from flows.progress import WATCH, say
from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.settings.whole import load_settings
from tasks import notify
from tasks.annotator import batch
from tasks.dvc import git


def mirror(layout: Layout) -> dict[str, str]:
    """Show in MLflow what is sealed, and who is champion. A tracking server that is down stops nothing.

    Returns the generations that were added on a tracking server, and where the report of each opens there.
    """
    from tasks import mlflow

    with WATCH.lap("mirror to MLflow (in the background)"):
        try:
            tracking = load_settings(layout).tracking
            try:
                added = mlflow.mirror(layout, tracking)
            except mlflow.Incomplete as error:
                added = error.added
                _say_not_shown(error)
            return mlflow.reports(layout, tracking, added)
        except Exception as error:  # whatever is wrong with it: MLflow is a view, and the ledger holds the evidence
            _say_not_shown(error)
            return {}


def _say_not_shown(error: Exception) -> None:
    say(f"MLflow does not show this yet ({_short(error)}); the next generation tries again")


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def catch_up(layout: Layout) -> None:
    """What a kill took after the export of the last generation: its place in MLflow, its commit and its message."""
    commit_last(layout)
    send_message(layout)
    if mlflow_is_behind(layout):
        mirror(layout)


def mlflow_is_behind(layout: Layout) -> bool:
    """Whether MLflow may not show all of the history; costs no import of it and asks no server."""
    from tasks import mlflow

    return mlflow.behind(layout, load_settings(layout).tracking)


def commit_last(layout: Layout) -> None:
    """The commit of the last generation with a verdict, where it is wanted and was not made."""
    if verdicts := ledger.state_of(layout.ledger).verdicts:
        commit(layout, *list(verdicts.items())[-1])


def commit(layout: Layout, name: str, verdict: str) -> None:
    """Where params.yaml wants it: what git sees of this generation, on a branch of its own."""
    if not load_settings(layout).versions.commit:
        return
    # by the digest that it was sealed with: commits stay as they are, whatever is forgotten later
    sealed = [e.digest for e in ledger.read(layout.ledger) if (e.event, e.generation) == ("sealed", name)]
    if not sealed:  # an imported model is no generation
        return
    if others := " and ".join(git.taken(layout, name, sealed[-1])):
        say(
            f"generation {name} is not committed: in this git repository, what is tagged {others} is of another "
            "workspace, or from before `oltr clean`; give this workspace a repository of its own, or, where nothing "
            "needs the others, `git tag --delete $(git tag --list 'oltr/*' 'model@v*')`"
        )
    elif not git.tagged(layout, name):
        try:
            revision = git.commit(layout, name, f"generation {name}: {verdict}", verdict == "promoted")
        except ValueError as error:  # whatever git refuses: it stops no generation
            say(f"generation {name} is not committed yet ({_short(error)}); the next `oltr loop` tries again")
            return
        say(f"committed generation {name} as {revision[:12]} on oltr/generations")


def send_message(layout: Layout) -> None:
    """Send the message about the newest generation with a verdict, once its batch is out; sent before, nothing."""
    state = ledger.state_of(layout.ledger)
    name = notify.unsent(layout)
    if name in state.verdicts and name in state.exported:
        asked = len(batch.asked(layout, name))
        about = f"{load_settings(layout).workspace.name}: generation {name} is {state.verdicts[name]}"
        if (undelivered := notify.send(f"{about}; {asked} images wait for annotations")) is not None:
            say(undelivered)
        notify.mark_sent(layout)
