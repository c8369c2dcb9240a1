"""What a stage opens and changes below data/ is what the table of stages says, in a full training and an update."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from oltr_core.layout import Layout
from oltr_core.pipeline import BY_NAME, PARENT, STAGES, TABLE, Stage
from oltr_core.settings import reading
from oltr_core.settings.reading import load_sections
from tests.architecture.opened import opened
from tests.core.stages import loop_world as world

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is opened is seen by Linux's inotify")

TRAIN = world.QUICK.model_copy(
    update={"phases": [phase.model_copy(update={"epochs": 1}) for phase in world.QUICK.phases]}
)


#: what stages may also open: keys of run.yaml are parameters; by the ledger they verify what came in and was sealed;
#: images are named by their digests in the tables that they read; the rest is in no result
ALSO_OPENED = ("data/run.yaml", "data/ledger.jsonl", "data/ledger.head", "data/raw", "data/store", "data/timings")
#: kept under the digest of what it was made from, and what a stage says while it runs
ALSO_CHANGED = ("data/store", "data/timings")
MODES = ("train", "update")


@dataclass
class Seen:
    """What one run of a stage has opened and changed, as a row names it, and the keys of run.yaml that it took."""

    opened: set[str]
    changed: set[str]
    taken: set[str]


def named(names: Iterable[str]) -> list[str]:
    """Files and folders of a row from the root of the workspace."""
    return [name if name.startswith("data/") else f"data/work/{name}" for name in names]


def within(path: str, places: Iterable[str]) -> bool:
    return any(Path(path).is_relative_to(place) for place in places)


def state(folder: Path) -> dict[Path, tuple[int, int]]:
    """What tells that a file was written again."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}


def run(stage: Stage, layout: Layout, parent: str) -> Seen:
    """Run a stage as DVC does, which removes its results first."""
    taken: set[str] = set()

    class Taking(reading.Run):
        def __getattribute__(self, name: str) -> Any:
            if name in reading.Run.model_fields:
                taken.add(name)
            return super().__getattribute__(name)

    def names(paths: Iterable[Path]) -> set[str]:
        found = (path.relative_to(layout.root).as_posix() for path in paths)
        return {name.replace(f"data/generations/{parent}/", f"{PARENT}/") for name in found}

    for name in named((*stage.writes, *stage.metrics)):
        path = layout.root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    before = state(layout.data)
    with pytest.MonkeyPatch.context() as patch, opened(layout.data) as files:
        patch.setattr(reading, "Run", Taking)
        module = import_module(f"oltr_core.stages.{stage.name}")
        module.run(load_sections(module.Parameters, layout), layout)
    return Seen(
        names(files), names(path for path, now in state(layout.data).items() if now != before.get(path)), taken
    )


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict[tuple[str, str], Seen]:
    """Mode and stage -> what was seen: a full training, and an update that learns its answers."""
    select = {"strategy": {"name": "composed"}}  # which also reads what is known of earlier batches
    layout = world.make(tmp_path_factory.mktemp("w"), train=TRAIN.model_dump(mode="json"), select=select)
    found = {}
    for name, parent, mode in zip(("0000", "0001"), ("genesis", "0000"), MODES, strict=True):
        world.opened(layout, name, parent, mode)
        found |= {(mode, stage.name): run(stage, layout, parent) for stage in TABLE}
        world.seal(layout, name)
        world.answer(layout, name)
    return found


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("mode", MODES)
def test_a_stage_opens_only_what_it_reads_and_writes(seen, mode, stage):
    row, places = BY_NAME[stage], seen[mode, stage].opened
    declared = [*named((*row.reads, *row.writes, *row.metrics)), *ALSO_OPENED]
    assert [path for path in sorted(places) if not within(path, declared)] == []


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_reads_it_opens_in_a_full_training_or_an_update(seen, stage):
    both = seen["train", stage].opened | seen["update", stage].opened
    assert [name for name in named(BY_NAME[stage].reads) if not any(within(path, [name]) for path in both)] == []


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("mode", MODES)
def test_a_stage_writes_all_that_its_row_says_and_nothing_else(seen, mode, stage):
    row, places = BY_NAME[stage], seen[mode, stage].changed
    declared = named((*row.writes, *row.metrics))
    assert [name for name in declared if not any(within(path, [name]) for path in places)] == []
    assert [path for path in sorted(places) if not within(path, [*declared, *ALSO_CHANGED])] == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_keys_of_the_run_that_it_takes(seen, stage):
    taken = seen["train", stage].taken | seen["update", stage].taken
    assert taken - {"looks"} == set(BY_NAME[stage].run), "looks are written when the generation is opened"
