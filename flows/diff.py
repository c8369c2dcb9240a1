"""Two generations beside each other: figures with their intervals, and settings."""

from __future__ import annotations

import json
from typing import Any

import click

from flows.command import AS_JSON, command
from flows.history import generations, shown
from flows.tables import rendered
from oltr_core.layout import Layout

PAIRED = ("low", "high", "images", "same_images")  # of a change with an interval


@command("oltr diff 0001 0002 --open", "oltr diff 0001 0002 --all", "oltr diff 0001 0002 --json | jq .settings")
@click.argument("before")
@click.argument("after")
@click.option("--all", "every", is_flag=True, help="Every figure that either has, and not the headline alone.")
@click.option("--open", "show", is_flag=True, help="Open the page with the curves of both in a browser.")
@AS_JSON
def diff(layout: Layout, before: str, after: str, every: bool, show: bool, as_json: bool) -> None:
    """What differs between two sealed generations: figures and settings here, curves too on a page.

    After a figure stands the longer half of its 95 % interval. The change is measured on the test images of both, in
    brackets its own interval; a star marks one that excludes zero, where the figure is about the same images in both
    (not where a class was added). The page is in data/analyses.
    """
    from oltr_core.analyses import difference
    from oltr_core.analyses.page import write
    from oltr_core.measured import HEADLINE

    found = between(layout, before, after)
    place = layout.difference(before, after)
    write(difference.result(layout, before, after, found), place)
    if show:
        click.launch(str(place.page))
    if as_json:
        click.echo(json.dumps(found, indent=1))
        return
    figures = found["figures"]
    names = sorted(figures) if every else [name for name, *_ in HEADLINE if name in figures]
    rows = [[name, *(figures[name][part] for part in ("before", "after", "shown"))] for name in names]
    click.echo(rendered(["figure", before, after, "change"], rows, right=(before, after, "change")))
    changed = [[key, *(value or "-" for value in values)] for key, values in found["settings"].items()]
    click.echo("\n" + (rendered(["setting", before, after], changed) if changed else "the settings are the same"))
    click.echo(f"\n{place.page}")


def between(layout: Layout, before: str, after: str) -> dict[str, Any]:
    """The figures of both and their change, and the settings that differ.

    `figures`: name -> `was` and `now` as sealed and `before` and `after` as shown; `change` with its interval `low`
    to `high` on `images` test images, or where there is no interval the difference of the sealed figures, None
    where one has none; whether the figure is about the `same_images` in both and whether its change is
    `beyond_chance` (None without interval), and the change as `shown`. `images`: test images that both
    were measured on. `settings`: key -> both values, None where it is absent.
    Raises ValueError for a generation that is not sealed, or whose files are not here.
    """
    from oltr_core.stages import changes

    of = {entry["generation"]: entry for entry in generations(layout) if entry["digest"]}
    for name in (before, after):
        if name not in of:
            raise ValueError(f"there is no sealed generation {name!r} (there are: {', '.join(of) or 'none'})")
    was, now = of[before], of[after]
    settings = _settings(layout, before, after)
    both = was["metrics"].keys() & now["metrics"].keys()
    paired = changes.between(layout.generation(before).predictions, layout.generation(after).predictions, both)
    figures = {
        name: {"before": shown(was, name), "after": shown(now, name)}
        | _change(was["metrics"].get(name), now["metrics"].get(name), paired["figures"].get(name))
        for name in now["metrics"] | was["metrics"]
    }
    return {"images": paired["images"], "figures": figures, "settings": settings}


def _change(was: float | None, now: float | None, paired: dict[str, Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys((*PAIRED, "beyond_chance")) | {"change": None, "shown": "-"}
    if paired:
        change, low, high = (paired[part] for part in ("difference", "low", "high"))
        beyond = low > 0 or high < 0
        found = {part: paired[part] for part in PAIRED} | {"change": change, "beyond_chance": beyond}
        mark = "*" if beyond and paired["same_images"] else " "
        found["shown"] = f"{change:+.3f}{mark} [{low:+.3f}, {high:+.3f}]"
    elif was is not None and now is not None:
        found |= {"change": now - was, "shown": f"{now - was:+.3f}"}
    return {"was": was, "now": now, **found}


def _settings(layout: Layout, before: str, after: str) -> dict[str, list[str | None]]:
    from oltr_core.settings.reading import flat, read_yaml

    of = []
    for name in (before, after):
        path = layout.generation(name).params
        if not path.exists():
            raise ValueError(f"{path}: this file is not here; `dvc pull` restores it")
        of.append(flat(read_yaml(path)))
    was, now = of
    return {key: [was.get(key), now.get(key)] for key in sorted(was | now) if was.get(key) != now.get(key)}
