"""The run that all generations of a workspace are nested under: of each figure a line, a point per generation.

Its points, and the times of all runs, are the ledger's: what is written again is the same, so a kill costs nothing,
and runs that were made without such a parent get it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from oltr_core import digest, ledger
from oltr_core.layout import Layout
from oltr_core.ledger import Event, State
from oltr_core.settings.workspace import name_of
from tasks.mlflow.names import accepted

PARENT = "mlflow.parentRunId"
LINE = "oltr.line"  # the first event of the ledger: a workspace that was cleaned and begun again is another line
SHOWN = "oltr.generations"
CHAMPION = "oltr.champion"
LOOKS = "oltr.looks"  # how many looks have their points
ENDS = ("", "_low", "_high")
#: figure -> its name again, that the pages of MLflow, which sort by name, have before all others; the comparison of
#: runs draws the first one that all of them have, and generation 0 has none of `loop/`
FIRST = {
    "now/overall": "0 known now",
    "loop/known_accuracy": "1 known accuracy",
    "loop/unknown_accuracy": "2 unknown accuracy",
    "loop/harmonic_mean": "3 harmonic mean",
}
ABOUT = "The points of a figure are generations, their step the generation's number; each is a run below."


def milliseconds(at: str) -> int:
    """A time of the ledger as MLflow has it; one without a zone is UTC."""
    time = datetime.fromisoformat(at)
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def span(events: Sequence[Event], name: str) -> tuple[int, int]:
    """When a sealed generation was opened and when it was sealed, in milliseconds."""
    at = {e.event: e.at for e in events if e.generation == name and e.event in ("opened", "sealed")}
    return milliseconds(at["opened"]), milliseconds(at["sealed"])


def parent(client: Any, experiment: str, layout: Layout, events: Sequence[Event]) -> Any:
    """The run of this workspace's line; made where there is none."""
    first = digest.of_value([*events[0].key, events[0].at])
    if found := client.search_runs([experiment], f"tags.`{LINE}` = '{first}'", order_by=["start_time"]):
        return found[0]
    from mlflow.tracking.context.registry import resolve_tags

    tags = resolve_tags({LINE: first, SHOWN: "", "mlflow.note.content": ABOUT})
    begun = milliseconds(next(e.at for e in events if e.event == "opened"))
    return client.create_run(experiment, start_time=begun, tags=tags, run_name=f"{name_of(layout)}: generations")


def follow(
    client: Any, line: Any, runs: Sequence[Any], layout: Layout, events: Sequence[Event], state: State
) -> None:
    """Nest `runs`, those of sealed generations, below `line`, and let it have a point for each generation."""
    from mlflow.entities import Metric

    above = line.info.run_id
    for run in runs:
        begun, over = span(events, run.data.tags["oltr.generation"])
        if run.data.tags.get(PARENT) != above:
            client.set_tag(run.info.run_id, PARENT, above)
        # one that an older version made began when it was shown, and MLflow does not change that
        if run.info.start_time == begun and run.info.end_time != over:
            client.set_terminated(run.info.run_id, end_time=over)
    sealed = {e.generation: e for e in events if e.event == "sealed"}
    shown = line.data.tags[SHOWN].split()
    for name in (name for name in state.generations if name not in shown):
        figures = ledger.metrics_at_seal(sealed[name].details, layout.generation(name).metrics)
        figures = accepted(measured(figures) | ends(sealed[name].details.get("intervals", {})))
        points = [Metric(n, x, span(events, name)[1], int(name)) for n, x in figures.items()]
        client.log_batch(above, metrics=points)
        shown.append(name)
        client.set_tag(above, SHOWN, " ".join(shown))
    if line.data.tags.get(CHAMPION) != state.champion:
        client.set_tag(above, CHAMPION, state.champion)
    over = span(events, state.generations[-1])[1]
    if (line.info.status, line.info.end_time) != ("FINISHED", over):
        client.set_terminated(above, end_time=over)


def look(client: Any, line: Any, looks: Sequence[dict[str, Any]]) -> None:
    """A point for each look of `oltr monitor` between generations; the step is its number, from 1 on."""
    from mlflow.entities import Metric

    first = int(line.data.tags.get(LOOKS, 0))
    for number, seen in list(enumerate(looks, start=1))[first:]:
        found = {name: seen[name] for name in ("unknown_rate", "drift") if isinstance(seen[name], list)}
        named = {f"monitor/{n}{end}": x for n, of in found.items() for end, x in zip(ENDS, of, strict=True)}
        named["monitor/images"] = seen["images"]
        client.log_batch(line.info.run_id, [Metric(n, x, milliseconds(seen["at"]), number) for n, x in named.items()])
        client.set_tag(line.info.run_id, LOOKS, str(number))


def ends(intervals: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The ends of intervals by the names that they have here."""
    return {f"{name}{end}": x for name, pair in intervals.items() for end, x in zip(ENDS[1:], pair, strict=True)}


def measured(figures: dict[str, float]) -> dict[str, float]:
    """Those of the generation as a whole, some twice: the last of a training's are the last ones of its epochs."""
    whole = {name: value for name, value in figures.items() if not name.startswith("train/")}
    return whole | {again: figures[name] for name, again in FIRST.items() if name in figures}
