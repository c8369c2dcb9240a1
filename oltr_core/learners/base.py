"""What all learners have in common: what they ask for beside the statistics of a full training."""

from oltr_core.class_statistics import measure
from oltr_core.interfaces import ClassStatistics
from oltr_core.shapes import Float, Int, Tensor
from oltr_core.spec import Spec


class LearnerSpec(Spec):
    """One learner's settings; `__call__` extends a network, see `oltr_core.learners`."""

    def measured(
        self, features: Float[Tensor, "N E D"], labels: Int[Tensor, "N"], num_classes: int
    ) -> ClassStatistics:
        """The statistics of a full training's features, before there is any annotation."""
        return measure(features, labels, num_classes)
