"""Imprint, then fine-tune on the annotated images alone: a control that forgets, kept to be beaten."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.learners.base import LearnerSpec
from oltr_core.learners.fine_tune import batches_of, fine_tune
from oltr_core.learners.imprint import Imprint
from oltr_core.models import Network


class FineTuneNewOnly(LearnerSpec):
    """As `imprint_replay` without replay: every batch is drawn from this generation's annotated images."""

    name: Literal["fine_tune_new_only"] = "fine_tune_new_only"
    imprint: Imprint = Imprint()
    steps: Annotated[int, Field(ge=1)] = 100
    batch_size: Annotated[int, Field(ge=1)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 0.1

    def __call__(
        self, parent: Network, old: ClassStatistics, new: AnnotatedFeatures, generator: torch.Generator
    ) -> tuple[Network, ClassStatistics]:
        network, statistics = self.imprint(parent, old, new, generator)
        if len(new.labels) == 0:
            return network, statistics
        fine_tune(network, batches_of(new, self.batch_size, generator), self.steps, self.learning_rate)
        return network, statistics
