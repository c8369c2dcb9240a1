"""Imprint, then fine-tune the class weights on the answers and on pseudo-features of everything older."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.batch import Answered, OldStatistics
from oltr_core.learners.fine_tune import fine_tune
from oltr_core.learners.imprint import Imprint
from oltr_core.learners.statistics import draw
from oltr_core.models import Network
from oltr_core.spec import Spec


class ImprintReplay(Spec):
    """After `imprint`, SGD on the rows w_1 ... w_{K+Z} with softmax cross-entropy; nothing else moves.

    A step draws `per_class` features of every class: with probability `real` an answered image of that class, where
    it has one, else a pseudo-feature m + s * noise from the memory (centroid and spread). So no image of the full
    training is needed. Departs from the paper, which imprints only: imprinted rows are longer-armed than trained
    ones and take images from the old classes.
    """

    name: Literal["imprint_replay"] = "imprint_replay"
    imprint: Imprint = Imprint()
    steps: Annotated[int, Field(ge=1)] = 300
    per_class: Annotated[int, Field(ge=1)] = 16
    rate: Annotated[float, Field(gt=0)] = 0.3  # learning rate, falling to zero along a cosine
    real: Annotated[float, Field(ge=0, le=1)] = 0.5

    def __call__(
        self, parent: Network, old: OldStatistics, new: Answered, generator: torch.Generator
    ) -> tuple[Network, OldStatistics]:
        network, statistics = self.imprint(parent, old, new, generator)
        if len(new.labels) == 0:
            return network, statistics
        kept, kept_labels = statistics.kept["features"], statistics.kept["labels"]
        counts = torch.bincount(kept_labels, minlength=network.num_classes)
        order, starts = kept_labels.argsort(stable=True), counts.cumsum(0) - counts
        classes = torch.arange(network.num_classes).repeat_interleave(self.per_class)

        def batch() -> tuple[torch.Tensor, torch.Tensor]:
            features = draw(statistics, classes, network.spec.normalise, generator)
            chance = torch.rand(2, len(classes), generator=generator)
            use_real = (chance[0] < self.real) & (counts[classes] > 0)
            which = starts[classes] + (chance[1] * counts[classes]).long()
            features[use_real] = kept[order[which[use_real]]]
            return features, classes

        fine_tune(network, batch, self.steps, self.rate)
        return network, statistics
