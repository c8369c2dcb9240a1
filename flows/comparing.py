"""Two generations beside each other: figures with their intervals, and settings."""

from __future__ import annotations

import json
from typing import Any

import click

from flows.command import AS_JSON, command
from flows.history import HEADLINE, generations, shown
from flows.tables import rendered
from oltr_core.layout import Layout


@command("oltr diff 0001 0002", "oltr diff 0001 0002 --all", "oltr diff 0001 0002 --json | jq .settings")
@click.argument("before")
@click.argument("after")
@click.option("--all", "every", is_flag=True, help="Every figure that either has, and not the headline alone.")
@AS_JSON
def diff(layout: Layout, before: str, after: str, every: bool, as_json: bool) -> None:
    """What differs between two sealed generations: figures and settings.

    After a figure stands the longer half of its 95 % interval; a star marks a change that the two intervals do not
    explain.
    """
    found = between(layout, before, after)
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    figures = found["figures"]
    names = sorted(figures) if every else [name for name in HEADLINE.values() if name in figures]
    rows = [[name, *(figures[name][part] for part in ("before", "after", "shown"))] for name in names]
    click.echo(rendered(["figure", before, after, "change"], rows, right=(before, after, "change")))
    changed = [[key, *(value or "-" for value in values)] for key, values in found["settings"].items()]
    click.echo("\n" + (rendered(["setting", before, after], changed) if changed else "the settings are the same"))


def between(layout: Layout, before: str, after: str) -> dict[str, Any]:
    """The figures of both and their change, and the settings that differ.

    `figures`: name -> `before` and `after` as shown, `change` (None where one has none), whether it is
    `beyond_chance` (None without both intervals), and the change as `shown`. `settings`: key -> both values, None
    where it is absent.
    Raises ValueError for a generation that is not sealed, or whose files are not here.
    """
    from oltr_core.measured import differ

    of = {entry["generation"]: entry for entry in generations(layout) if entry["digest"]}
    for name in (before, after):
        if name not in of:
            raise ValueError(f"there is no sealed generation {name!r} (there are: {', '.join(of) or 'none'})")
    was, now = of[before], of[after]
    figures: dict[str, dict[str, Any]] = {}
    for name in now["metrics"] | was["metrics"]:
        change = beyond = None
        if name in was["metrics"] and name in now["metrics"]:
            old, new = was["metrics"][name], now["metrics"][name]
            change = new - old
            if name in was["intervals"] and name in now["intervals"]:
                beyond = differ(new, old, now["intervals"][name], was["intervals"][name])
        text = "-" if change is None else f"{change:+.3f}" + ("*" if beyond else "")
        figures[name] = {"before": shown(was, name), "after": shown(now, name), "shown": text}
        figures[name] |= {"change": change, "beyond_chance": beyond}
    return {"figures": figures, "settings": _settings(layout, before, after)}


def _settings(layout: Layout, before: str, after: str) -> dict[str, list[str | None]]:
    from oltr_core.settings.reading import read_yaml
    from tasks.mlflow import flat

    of = []
    for name in (before, after):
        path = layout.generation(name).params
        if not path.exists():
            raise ValueError(f"{path}: this file is not here; `dvc pull` brings it")
        of.append(flat(read_yaml(path)))
    was, now = of
    return {key: [was.get(key), now.get(key)] for key in sorted(was | now) if was.get(key) != now.get(key)}
