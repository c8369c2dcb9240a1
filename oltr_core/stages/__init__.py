"""The stages of one generation: `stage(params, layout) -> None`, local files in, local files out.

`run` is what `oltr <stage>` calls: it reads the parameters, runs the stage, and turns a failure into one
sentence, a file that tasks can read, and an exit code.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from importlib import import_module

from oltr_core.layout import STAGES, Layout, write_atomically

TORCH_FREE = ("curate", "report")  # these read settings only, and import no torch
EXIT = {"user": 2, "internal": 1, "infrastructure": 75}


def run(stage: str, layout: Layout) -> int:
    """Run one stage in the workspace; returns the exit code (0, or one of EXIT)."""
    assert stage in STAGES, stage
    started = time.perf_counter()
    layout.failure(stage).unlink(missing_ok=True)
    try:
        import_module(f"oltr_core.stages.{stage}").run(load_parameters(stage, layout), layout)
    except Exception as error:
        kind = kind_of(error)
        sentence = str(error) or type(error).__name__
        if kind == "internal":
            traceback.print_exc()
        write_atomically(layout.failure(stage), json.dumps({"stage": stage, "kind": kind, "sentence": sentence}))
        print(f"oltr {stage}: {sentence}", file=sys.stderr)
        return EXIT[kind]
    seconds = {"stage": stage, "seconds": round(time.perf_counter() - started, 3)}
    write_atomically(layout.timings / f"{stage}.json", json.dumps(seconds))
    return 0


def load_parameters(stage: str, layout: Layout):
    """Settings for a torch-free stage, Params for the others."""
    if stage in TORCH_FREE:
        from oltr_core.settings import load_settings

        return load_settings(layout)
    from oltr_core.params import load_params

    return load_params(layout)


def kind_of(error: BaseException) -> str:
    """Who can mend it: the user (what they wrote), the infrastructure (try again), or us."""
    if isinstance(error, ValueError):
        return "user"
    if isinstance(error, (MemoryError, ConnectionError, TimeoutError, OSError)):
        return "infrastructure"
    return "internal"
