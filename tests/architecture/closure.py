"""Which files of oltr_core a stage executes: what it imports, at any depth and wherever the import stands."""

from __future__ import annotations

from importlib import import_module

from oltr_core.benchmark import code
from tests.architecture.imports import ROOT


def executed(stage: str) -> set[str]:
    """Paths below oltr_core, those of templates that a file renders included."""
    files = set(code.executed(f"oltr_core.stages.{stage}").values())
    files |= {p for f in files if 'templates("' in f.read_text() for p in (f.parent / "templates").iterdir()}
    return {f.relative_to(ROOT / "oltr_core").as_posix() for f in files}


def sections(stage: str) -> set[str]:
    """The sections of params.yaml that a stage reads."""
    return set(import_module(f"oltr_core.stages.{stage}").Parameters.model_fields)
