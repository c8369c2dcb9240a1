"""The method half of params.yaml: what is trained, how it is extended, measured and asked about."""

from __future__ import annotations

from oltr_core.layout import Layout
from oltr_core.settings import Settings, load_settings, read_yaml
from oltr_core.spec import parse
from oltr_core.training import Train


class Params(Settings):
    """Everything in params.yaml. The four method sections are Specs of their own, added here as they are built."""

    train: Train = Train()


def load_params(layout: Layout) -> Params:
    """All of params.yaml. Raises ValueError naming file and key."""
    load_settings(layout)  # first, for its message about unknown sections
    return parse(Params, read_yaml(layout.params), layout.params.name)
