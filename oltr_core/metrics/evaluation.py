"""Test images under one model, and every figure that can be had from them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from oltr_core.measured import Measured
from oltr_core.metrics.calibration import calibration
from oltr_core.metrics.continual import History, loop
from oltr_core.metrics.recognition import OPEN, closed, known_now, open_set
from oltr_core.shapes import Bool, Float, Int, Tensor


@dataclass(frozen=True)
class Evaluation:
    """B test images and a model that knows K classes."""

    logits: Float[Tensor, "B K"]
    labels: Int[Tensor, "B"]  # columns; OPEN for a class that the model does not know
    was_open: Bool[Tensor, "B"]  # of a class that was open and that an earlier generation could have found
    open_classes: int  # distinct classes among the images of label OPEN
    shots: Float[Tensor, "K"]  # training images at generation 0
    groups: Sequence[str]  # of each column, the generation that first knew the class
    counts: Float[Tensor, "K"] | None = None  # training images now; None: `now/` is not measured

    @property
    def predicted(self) -> Int[Tensor, "B"]:
        return self.logits.argmax(1)

    @property
    def correct(self) -> Bool[Tensor, "B"]:
        """Named rightly, all known classes competing and nothing rejected."""
        return self.predicted == self.labels

    def taken(self, rows: Bool[Tensor, "B"]) -> "Evaluation":
        """The same model on some of the images."""
        parts = {name: getattr(self, name)[rows] for name in ("logits", "labels", "was_open")}
        return replace(self, **parts)

    def measure(self, scores: Float[Tensor, "B"], threshold: float, temperature: float) -> Measured:
        """`closed/`, `now/`, `open/` by these scores, and `calibration/`."""
        known = self.labels != OPEN
        probability = (self.logits[known] / temperature).softmax(1).amax(1)
        now = Measured() if self.counts is None else known_now(self.predicted, self.labels, self.counts)
        return (
            closed(self.logits, self.labels, self.shots).with_prefix("closed")
            | now.with_prefix("now")
            | self.open_by(scores, threshold).with_prefix("open")
            | calibration(probability, self.correct[known], temperature).with_prefix("calibration")
        )

    def open_by(self, scores: Float[Tensor, "B"], threshold: float) -> Measured:
        return open_set(self.predicted, self.labels, scores, threshold, self.shots, self.open_classes)

    def loop(self, scores: Float[Tensor, "B"], threshold: float, history: Sequence[History]) -> Measured:
        """`loop/`, once there has been an update; `history` ends with this generation."""
        from_start = (self.labels != OPEN) & (self.shots > 0)[self.labels.clamp(min=0)]
        right = self.correct[from_start]
        kept = right & (scores[from_start] <= threshold)
        return loop(right, kept, self.correct[self.was_open], list(history)).with_prefix("loop")

    def history(self, generation: str) -> list[History]:
        """This model's accuracy on each group of classes that were first known together."""
        out = []
        for group in sorted(set(self.groups)):
            columns = [column for column, name in enumerate(self.groups) if name == group]
            mine = sum((self.labels == column for column in columns), self.labels.new_zeros(len(self.labels))).bool()
            if bool(mine.any()):
                out.append(History(generation, group, float(self.correct[mine].double().mean()), int(mine.sum())))
        return out


def names(scores: Sequence[str] = ()) -> set[str]:
    """The name of every figure that an evaluation has, also by further `scores`: those of one on a single image."""
    one, score = torch.ones(1), torch.zeros(1)
    tested = Evaluation(torch.zeros(1, 1), torch.zeros(1).long(), one.bool(), 0, one, ["0000"], one)
    found = tested.measure(score, 0.0, 1.0) | tested.loop(score, 0.0, tested.history("0000"))
    for name in scores:
        found |= tested.open_by(score, 0.0).with_prefix(f"open_by_score/{name}")
    return {*found.values, *found.absent}
