"""All of params.yaml: the settings, and the sections about methods, whose types need torch."""

from __future__ import annotations

from oltr_core.layout import Layout
from oltr_core.operating.learning import Update
from oltr_core.operating.rejection import Evaluate
from oltr_core.operating.selection import Select
from oltr_core.settings.reading import load_sections
from oltr_core.settings.whole import Settings
from oltr_core.training import Train


class Params(Settings):
    """Everything in params.yaml."""

    train: Train = Train()
    update: Update = Update()
    evaluate: Evaluate = Evaluate()
    select: Select = Select()


def load_params(layout: Layout) -> Params:
    """All of params.yaml. Raises ValueError naming file and key."""
    return load_sections(Params, layout)
