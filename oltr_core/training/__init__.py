"""Training: a recipe of phases, and the loop that follows it and yields reports."""

from oltr_core.training.fit import Diverged, Report, direct_features, fit
from oltr_core.training.recipe import LearningRates, Phase, Schedule, Train

__all__ = ["Diverged", "LearningRates", "Phase", "Report", "Schedule", "Train", "direct_features", "fit"]
