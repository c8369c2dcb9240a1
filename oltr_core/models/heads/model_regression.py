"""Model regression networks (Wang and Hebert, ECCV 2016): from the weights of few images to those of many."""

from itertools import pairwise
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import nn

from oltr_core.models.heads.few_shot import RegressedHead, from_all, pairs_of, regress, with_one
from oltr_core.shapes import Float, Int, Tensor
from oltr_core.spec import Spec

SHOTS = (1, 2, 4, 8, 16)


class ModelRegression(Spec):
    """w = T(w⁰) for classes of few images, with T = argmin Σ ||T(w⁰) - w*||² + λ [1 - y T(w⁰)·x]₊ over the others.

    w⁰ is a linear SVM on few images of a class, w* one on all of them, T a network of leaky ReLUs that is the same
    for all classes. For a phase of no epochs: `build` makes the head from the features of the training images.
    Departs from the source: the widths are its multiples of D, for features of D and not 4,096 dimensions; the cost
    of the SVM, the rate and the numbers of pairs and steps are ours. It has no code of the authors to compare with.
    """

    name: Literal["model_regression"] = "model_regression"
    few: Annotated[int, Field(ge=1)] = 20  # as in "few": images up to which a class has few
    resamples: Annotated[int, Field(ge=1)] = 20  # of w⁰ for every class and number of images
    hinge_weight: Annotated[float, Field(ge=0)] = 1.0  # λ
    cost: Annotated[float, Field(gt=0)] = 100.0  # of the SVM, for features of mean length 1
    steps: Annotated[int, Field(ge=1)] = 3000
    learning_rate: Annotated[float, Field(gt=0)] = 0.05

    def __call__(self, num_classes: int, num_features: int) -> "ModelRegressionHead":
        return ModelRegressionHead(self, num_classes, num_features)


class ModelRegressionHead(RegressedHead):
    """The weights of `ModelRegression`."""

    def __init__(self, spec: ModelRegression, num_classes: int, num_features: int) -> None:
        super().__init__(num_classes, num_features)
        self.spec = spec

    def build(self, features: Float[Tensor, "N D"], labels: Int[Tensor, "N"], generator: torch.Generator) -> None:
        """Learn T from the classes of many images and apply it to the SVMs of the others."""
        spec, counts = self.spec, torch.bincount(labels, minlength=len(self.weight))
        enough = (counts > spec.few).nonzero()[:, 0].tolist()
        if not enough:
            raise ValueError(f"model_regression needs a class of more than few: {spec.few} images, found none")
        x = with_one(features)
        w = from_all(x, labels, len(counts), spec.cost)
        pairs = pairs_of(x, labels, enough, w, SHOTS * spec.resamples, spec.cost, generator)
        transform = network(x.shape[1])
        regress(transform, transform, pairs, spec.hinge_weight, spec.steps, spec.learning_rate, generator)
        with torch.no_grad():
            rare = counts <= spec.few
            w[rare] = transform(w[rare])
            self.put(w, features)


def network(num_inputs: int) -> nn.Sequential:
    """Four layers of 1.5, 1.5, 1.25 and 1 times the inputs, after the source's 6144, 6144, 5120, 4097 of 4,097."""
    widths = [num_inputs, *(int(factor * num_inputs) for factor in (1.5, 1.5, 1.25, 1.0))]
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        linear = nn.Linear(inputs, outputs)
        nn.init.kaiming_normal_(linear.weight, 0.01)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.LeakyReLU(0.01)]
    return nn.Sequential(*layers[:-1])
