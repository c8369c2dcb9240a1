"""Compute a table's cells, each once, and write its page.

Finished cells are lines of docs/results/<table>.jsonl, so that a run that was cut off goes on where it stopped; a
training in progress goes on from its last saved epoch. A line counts as long as the method, the code and the data
that made it are the same. The cells of a seed are a unit of work for the engine in use. What people have written
between marks on the page stays there.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from oltr_core import digest, engine
from oltr_core.benchmark import large_sets, page, records
from oltr_core.benchmark.cell import Start, Tailed, measure, start
from oltr_core.benchmark.code import digest_of_code, digest_of_training
from oltr_core.benchmark.data import BenchmarkData
from oltr_core.benchmark.table import find
from oltr_core.devices import multiplies_bfloat16
from oltr_core.files import write_atomically
from oltr_core.layout import Layout
from oltr_core.settings.compute import Compute
from oltr_core.training import Diverged, Train


def run(
    name: str,
    layout: Layout,
    root: Path | None = None,
    seeds: Iterable[int] | None = None,
    epochs: int = 0,
    device: str = "cpu",
    rows: Sequence[str] = (),
    validation: bool = False,
    page_only: bool = False,
    echo: Callable[[str], object] = print,
) -> int:
    """Bring the cells of `seeds` (default: the published ones) up to date and write docs/results/<name>.md; 0.

    `root` is the folder of benchmarks. `epochs` other than the table's make a table of its own name, marked as
    shorter or longer; so does `validation`, which measures on the validation images and looks at neither test nor
    open images. `rows` names the methods to compute, all if empty; several processes may compute rows of one table.
    With `page_only` nothing is computed and the page written from the cells there are. Raises ValueError where the
    data are missing, and for a table, a row or a number of epochs that there is not.
    """
    table = find(name)
    if epochs and not table.epochs:
        raise ValueError(f"oltr bench {name}: --epochs: expected none, for this table trains as params.yaml has it")
    length = epochs or table.epochs
    methods = table.methods(length)
    names = [method.name for method in methods]
    for row in rows:
        if row not in names:
            raise ValueError(f"oltr bench {name}: --row: expected some of {', '.join(names)}; found {row!r}")
    if table.recipe and rows:
        for row in methods:
            if row.name in rows:
                echo(large_sets.recipe(name, row))
        return 0
    stem = name if length == table.epochs else f"{name}-{length}-epochs"
    stem += "-validation" if validation else ""
    path = layout.cells(stem)
    path.parent.mkdir(parents=True, exist_ok=True)
    made = partial(
        _cells, name=name, layout=layout, root=root, path=path, length=length, device=device, validation=validation,
        echo=echo, held=_Held(),
    )  # fmt: skip
    wanted = [method.name for method in methods if method.name in rows or not rows]
    units = [(seed, wanted) for seed in (() if page_only else table.seeds if seeds is None else seeds)]
    done = engine.run(made, units, threads=table.threads, gpu=device != "cpu")
    for _ in tqdm(done, desc=stem, unit=" seeds", total=len(units), disable=None if engine.remote() else True):
        pass
    code = {method.name: digest_of_code(method) for method in methods}
    command = f"oltr bench {name}" + (f" --epochs {length}" if length != table.epochs else "")
    command += " --validation" if validation else ""
    shown = layout.result(stem)
    with records.alone(path):
        found = records.read(path)
        before = shown.read_text() if shown.exists() else ""
        write_atomically(shown, page.page(table, command, length, methods, found, code, before))
    echo(page.figures(table, methods, list(found.cells.values())))
    return 0


@dataclass
class _Held:
    """What one seed leaves for the next in the same process."""

    drawn: int = 0
    data: BenchmarkData | None = None
    begun: tuple[Any, Start | None] = None, None


def _cells(
    unit: tuple[int, list[str]], name: str, layout: Layout, root: Path | None, path: Path, length: int, device: str,
    validation: bool, echo: Callable[[str], object], held: _Held,
) -> None:  # fmt: skip
    """The cells of a seed that are not finished, each a line of `path` when it is."""
    seed, names = unit
    table = find(name)
    methods = table.methods(length)
    save_every = 2 if device == "cpu" else 20  # epochs of minutes, or of less than a second
    compute = Compute(device=device, threads=table.threads, save_every=save_every)
    #: recipes that others of the table begin with
    shared = [m.train.model_copy(update={"phases": m.train.phases[:1]}) for m in methods if len(m.train.phases) > 1]
    drawn = seed if table.seeded else 0
    if held.drawn != drawn or held.data is None:
        held.data = None  # before the next data are loaded
        loaded = table.data(root, drawn)
        held.drawn, held.data = drawn, loaded.for_validation() if validation else loaded
    whole = held.data, held.data.identity, held.data.identity_of_training

    def folder(images: str, train: Train) -> Path:
        return layout.resume(digest.of_value([train.model_dump(mode="json"), digest_of_training(train), images]))

    for method in (method for method in methods if method.name in names):
        data, identity, images = whole
        if isinstance(method, Tailed):
            data = data.thinned(method.ratio)
            identity, images = data.identity, data.identity_of_training
        state = partial(folder, images)
        made_by = {"spec": records.digest_of_method(method), "code": digest_of_code(method), "data": identity}
        finished = records.read(path).cells.get((method.name, seed), {})
        if made_by.items() <= finished.items():
            continue
        echo(f"{path.stem}: seed {seed}, {method.name}")
        cell = {"method": method.name, "seed": seed, **made_by, "note": data.note, "diverged": ""}
        trained_with = 0 if table.one_network else seed
        seeded = method.model_copy(update={"train": method.train.model_copy(update={"seed": trained_with})})
        try:
            if held.begun[0] != (seeded.train, identity):
                held.begun = (seeded.train, identity), start(seeded.train, data, compute, state, echo)
            cell["figures"] = measure(seeded, data, compute, state, echo, held.begun[1])
        except Diverged as error:  # a finding about the method
            cell |= {"figures": {}, "diverged": str(error)}
        if not table.one_network and method.train not in shared:
            shutil.rmtree(state(seeded.train), ignore_errors=True)
        records.add(path, cell | {"compute": machine(device)}, method)


def machine(device: str) -> dict[str, str | int]:
    """How this machine computes, for the page; no part of a cell's identity."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    with_ = f"torch {torch.__version__.split('+')[0]}, Python {platform.python_version()}, {platform.machine()}"
    with_ += "" if multiplies_bfloat16(torch.device(device)) else ", float32 for want of bfloat16"
    return {"device": name, "threads": torch.get_num_threads(), "with": with_}
