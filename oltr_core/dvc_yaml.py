"""dvc.yaml: written from the table of stages, and what DVC shows of their results.

What is shown makes no stage stale.
"""

from __future__ import annotations

from oltr_core.pipeline import PARENT, TABLE, Stage

HEAD = """\
# One generation. `dvc repro` alone makes the whole of it; `oltr loop` brings one stage at a time up to date.
# Written by `make generated` from oltr_core/dvc_yaml.py. data/work/code holds digests of the code that each stage
# executes in the installed package, and the stage `code` writes them at every run: so DVC sees code change.
vars:
  - data/run.yaml   # generation, parent, mode: written when a generation is opened

stages:
"""
SHOWN = """
# `dvc metrics show` gives these; all of them: `dvc metrics show data/work/metrics/*.json`
metrics:
  - data/work/summary.json

artifacts:
  model:
    path: data/work/model.safetensors
    type: model
    desc: The classifier of the generation at work, with its threshold for unknown images

plots:
  - training loss over epochs:
      template: linear
      x: {data/work/trends/training.csv: epoch}
      y: {data/work/trends/training.csv: loss}
  - training accuracy over epochs:
      template: linear
      x: {data/work/trends/training.csv: epoch}
      y: {data/work/trends/training.csv: accuracy}
  - accuracy per class:
      template: bar_horizontal
      x: accuracy
      y: {data/work/plots/per_class.csv: class}
  - figures over generations:
      template: linear
      x: generation
      y:
        data/work/trends/closed_overall.csv: closed/overall
        data/work/trends/now_overall.csv: now/overall
        data/work/trends/open_auroc.csv: open/auroc
        data/work/trends/open_unknown_recall.csv: open/unknown_recall
  - what images are and what was said of them:
      template: confusion
      x: predicted
      y: {data/work/plots/confusion.csv: actual}
  - unknown images rejected over known images rejected:
      x: {data/work/plots/roc.csv: known_rejected}
      y: {data/work/plots/roc.csv: unknown_rejected}
  - risk over coverage:
      x: {data/work/plots/risk.csv: coverage}
      y: {data/work/plots/risk.csv: risk}
  - accuracy over probability:
      x: {data/work/plots/reliability.csv: probability}
      y: {data/work/plots/reliability.csv: accuracy}
"""


def dvc_yaml() -> str:
    """The text of dvc.yaml."""
    return HEAD + "\n".join(_entry(stage) for stage in TABLE) + SHOWN


def _entry(stage: Stage) -> str:
    lines = [f"  {stage.name}:", f"    cmd: oltr {stage.name}"]
    if stage.name == "code":
        lines += ["    always_changed: true", "    outs:", "      - data/work/code: {cache: false}"]
        return "\n".join(lines) + "\n"
    lines += ["    deps:", f"      - data/work/code/{stage.name}.json", *(f"      - {_path(n)}" for n in stage.reads)]
    params = [*stage.sections, *([f"data/run.yaml: [{', '.join(stage.run)}]"] if stage.run else [])]
    lines += ["    params:", *(f"      - {entry}" for entry in params)] if params else []
    lines += ["    outs:", *(f"      - {_path(n)}" for n in stage.writes)]
    lines += [f"      - {_path(name)}" for name in reversed(stage.metrics)]
    return "\n".join(lines) + "\n"


def _path(name: str) -> str:
    if name.startswith("data/"):
        return f'"{name}"' if name == PARENT else name
    return f"data/work/{name}"
