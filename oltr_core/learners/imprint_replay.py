"""Imprint, then fine-tune the class weights on the annotated images and on pseudo-features of everything older."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.learners.base import LearnerSpec
from oltr_core.learners.fine_tune import fine_tune
from oltr_core.learners.imprint import Imprint
from oltr_core.learners.replay import batches
from oltr_core.models import Network
from oltr_core.pseudo_features import correlation


class ImprintReplay(LearnerSpec):
    """After `imprint`, SGD on the rows w_1 ... w_{K+Z} with softmax cross-entropy; nothing else moves.

    A step draws `per_class` features of every class, or of `classes` drawn ones where there are more. With a_k
    annotated images of class k and g_k that are gone, each is an annotated image's own with probability
    a_k / (a_k + pseudo_weight * g_k), else a pseudo-feature m_k + s_k * noise from the memory. So a new class is
    learned from its images alone, an old one mostly from the memory, since the few images asked about are its
    most atypical, and no image of the full training is needed.

    Departs from the paper, which imprints only: imprinted rows take images from old classes. `logit_scale` multiplies
    the logits while the rows are tuned (the answer keeps its scale): at the network's own scale cosines cannot come
    near the targets, and the loss is spent on images that are right already.
    """

    name: Literal["imprint_replay"] = "imprint_replay"
    imprint: Imprint = Imprint()
    steps: Annotated[int, Field(ge=1)] = 300  # of fine-tuning the class weights; the trunk is frozen
    per_class: Annotated[int, Field(ge=1)] = 16  # features of every class per step,
    classes: Annotated[int, Field(ge=1)] = 128  # of so many classes at most, so that a step costs the same for any K
    learning_rate: Annotated[float, Field(gt=0)] = 0.1  # falling to zero along a cosine
    logit_scale: Annotated[float, Field(gt=0)] = 8.0  # multiplies the logits while the weights are tuned
    pseudo_weight: Annotated[float, Field(ge=0)] = 3.0  # of an image that is gone against an annotated one
    covariance: Literal["diagonal", "full"] = "diagonal"  # of pseudo-features; full: correlated as within a class

    def __call__(
        self, parent: Network, old: ClassStatistics, new: AnnotatedFeatures, generator: torch.Generator
    ) -> tuple[Network, ClassStatistics]:
        network, statistics = self.imprint(parent, old, new, generator)
        if len(new.labels) == 0:
            return network, statistics
        kept, labels = statistics.kept["features"], statistics.kept["labels"]
        annotated = torch.bincount(labels, minlength=network.num_classes)
        gone = statistics.counts - annotated
        share = annotated / (annotated + self.pseudo_weight * gone).clamp(min=1e-9)
        factor = correlation(statistics) if self.covariance == "full" else None
        unit = network.spec.normalise
        batch = batches(statistics, kept, labels, share, self.per_class, self.classes, unit, generator, factor)
        fine_tune(network, batch, self.steps, self.learning_rate, self.logit_scale)
        return network, statistics
