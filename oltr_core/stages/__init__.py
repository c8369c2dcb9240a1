"""The stages of one generation: `stage(parameters, layout) -> None`, local files in, local files out.

`run` is what `oltr <stage>` calls: it reads the sections of params.yaml that the stage's `Parameters` name, runs the
stage, and turns a failure into one sentence, a file that tasks can read, and an exit code.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from importlib import import_module

from oltr_core.files import write_atomically
from oltr_core.layout import Layout
from oltr_core.pipeline import STAGES
from oltr_core.settings.masking import masked
from oltr_core.settings.reading import load_sections

EXIT = {"user": 2, "internal": 1, "infrastructure": 75}


def run(stage: str, layout: Layout) -> int:
    """Run one stage in the workspace; returns the exit code (0, or one of EXIT)."""
    assert stage in STAGES, stage
    started = time.perf_counter()
    layout.failure(stage).unlink(missing_ok=True)
    layout.said(stage).unlink(missing_ok=True)
    try:
        module = import_module(f"oltr_core.stages.{stage}")
        module.run(load_sections(module.Parameters, layout), layout)
    except Exception as error:
        kind = kind_of(error)
        sentence = masked(str(error)) or type(error).__name__
        if kind == "internal":
            print(masked(traceback.format_exc()), end="", file=sys.stderr)
        write_atomically(layout.failure(stage), json.dumps({"stage": stage, "kind": kind, "sentence": sentence}))
        print(f"oltr {stage}: {sentence}", file=sys.stderr)
        return EXIT[kind]
    seconds = round(time.perf_counter() - started, 3)
    write_atomically(layout.timing(stage), json.dumps({"stage": stage, "seconds": seconds}))
    return 0


def say(stage: str, layout: Layout, sentence: str) -> None:
    """One line on the terminal that is also kept for whoever ran the stage, as for the log of Prefect's run."""
    print(f"{stage}: {sentence}", file=sys.stderr)
    layout.said(stage).parent.mkdir(parents=True, exist_ok=True)
    with layout.said(stage).open("a") as file:
        file.write(f"{sentence}\n")


def kind_of(error: BaseException) -> str:
    """Who can correct it: the user (what they wrote), the infrastructure (try again), or us."""
    if isinstance(error, ValueError):
        return "user"
    if isinstance(error, (MemoryError, OSError)):
        return "infrastructure"
    return "internal"
