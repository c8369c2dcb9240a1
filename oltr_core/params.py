"""All of params.yaml: the settings, and the sections about methods, whose types need torch.

`python -m oltr_core.params WORKSPACE` reads them in a process of its own; what is wrong is the last line of stderr.
"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from pydantic import model_validator

from oltr_core.ingest.sources import parse_sources
from oltr_core.layout import Layout
from oltr_core.measured import OF_CLASS, OF_SLICE
from oltr_core.metrics import comparison, evaluation
from oltr_core.operating import contradictions
from oltr_core.operating.learning import Update
from oltr_core.operating.rejection import Evaluate
from oltr_core.operating.selection import Select
from oltr_core.settings.reading import load_sections
from oltr_core.settings.whole import Settings
from oltr_core.spec import suggest
from oltr_core.training import Train

#: the last parts of the names of metrics of which no value is better than another
WITHOUT_BETTER = ("threshold", "classes", "temperature")


class Params(Settings):
    """Everything in params.yaml."""

    train: Train = Train()
    update: Update = Update()
    evaluate: Evaluate = Evaluate()
    select: Select = Select()

    @model_validator(mode="after")
    def _without_contradiction(self) -> Params:
        for sentence in (
            *contradictions.no_number(self.model_dump()),
            *contradictions.divided_by_nothing(self.train),
            *contradictions.nothing_to_train(self.train, self.curate),
            *contradictions.two_of_one_name(self.train, self.evaluate),
            *contradictions.void_after_an_update(self.update, self.select, self.schedule),
            *contradictions.without_memory(self.update, self.train, self.schedule),
        ):
            raise ValueError(sentence)
        return self


def load_params(layout: Layout) -> Params:
    """All of params.yaml, keys of sources and figures of the gate included. Raises ValueError naming file and key."""
    params = load_sections(Params, layout)
    for batch in params.sources:
        parse_sources(batch)
    _check_gate(params)
    return params


def _check_gate(params: Params) -> None:
    """A tolerance is about a figure that the code measures: one with another name would never refuse anything."""
    figures = {*comparison.names()} - {"learned_accuracy"}  # the champion's is always 0
    metrics = evaluation.names([score.name for score in params.evaluate.scores])
    for name in params.gate.tolerances:
        if name in metrics and name.rpartition("/")[2] in WITHOUT_BETTER:
            raise ValueError(
                f"params.yaml: gate.tolerances: {name} is neither better nor worse where it is larger; remove it"
            )
        # which classes and values of attributes there will be is not known yet
        later = (OF_CLASS, *(f"{OF_SLICE}{attribute}/" for attribute in params.evaluate.slices))
        if name.startswith(OF_SLICE) and not name.startswith(later):
            raise ValueError(
                f"params.yaml: gate.tolerances: {name!r} is about an attribute that is not in evaluate.slices "
                f"({', '.join(params.evaluate.slices) or 'none'}); add it there"
            )
        if name not in figures and name not in metrics and not name.startswith(later):
            near = difflib.get_close_matches(name, {*figures, *metrics}, n=1)
            raise ValueError(
                f"params.yaml: gate.tolerances: no figure is called {name!r}{suggest(name, {*figures, *near})}; any "
                "other is one that evaluate writes into metrics.json"
            )


if __name__ == "__main__":
    try:
        load_params(Layout(Path(sys.argv[1])))
    except (ValueError, OSError) as error:
        sys.exit(str(error))
