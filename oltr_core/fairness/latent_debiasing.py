"""Latent space de-biasing (Ramaswamy et al., CVPR 2021), in feature space: "Latent De-biasing" of Table 6."""

from typing import Annotated, Literal

import torch
from pydantic import Field

from oltr_core.interfaces import State
from oltr_core.shapes import Float, Int, Tensor
from oltr_core.spec import Spec

LEAST = 1e-3  # sine of the angle between the attribute's normal and those of the classes


class LatentDebiasing(Spec):
    """x' = x - 2 (w_g x + b_g) / (w_g u) u, u the unit of w_g less its part along the normals w_a of the classes.

    w_g x + b_g = 0 separates the groups, w_a x + b_a = 0 a class from the others (linear support vector machines),
    |w_g| = 1, and w_g u is the sine of the angle between w_g and the w_a (Eq. 2). So x' lies as far on the other side
    of the groups' plane and where x does for every class: a classifier is trained on images and their twins, under
    the same labels, among which no group has more of a class than the other.
    Departs from the paper: there x is the latent code of a generative network, and x' shows an image; no generator
    is here, so that x is the direct feature. Its planes are fitted to generated codes, these to the training images,
    with the same weight for every class of every group: a class's plane that has learned the skew would give a twin
    its image's score, and training on both would teach the same skew. Its classes are two, here any number.
    """

    name: Literal["latent_debiasing"] = "latent_debiasing"
    penalty: Annotated[float, Field(gt=0)] = 1.0  # C of the support vector machines

    def fit(
        self,
        features: Float[Tensor, "N D"],
        labels: Int[Tensor, "N"],
        groups: Int[Tensor, "N"],
        generator: torch.Generator,
    ) -> State:
        """The state: normal w_g [D], offset b_g [], along u [D]. Nothing is drawn.

        Raises ValueError for other than two groups, and where the classes' normals leave u no direction.
        """
        if len(groups.unique()) != 2:
            raise ValueError(f"latent_debiasing: expected an attribute of two values, found {len(groups.unique())}")
        weights = balanced(labels, groups)
        of_group, offset = self._planes(features, groups, weights)
        length = of_group.norm()
        normal, offset = of_group[0] / length, offset[0] / length
        of_classes, _ = torch.linalg.qr(self._planes(features, labels, weights)[0].T)
        rest = normal - of_classes @ (of_classes.T @ normal)
        if rest.norm() < LEAST:
            raise ValueError(
                "latent_debiasing: expected a direction of the attribute that no class is told by, found none among "
                f"{features.shape[1]} dimensions; the attribute and the classes are the same there"
            )
        state = {"normal": normal, "offset": offset, "along": rest / rest.norm()}
        return {name: value.to(features.dtype) for name, value in state.items()}

    def __call__(self, features: Float[Tensor, "N D"], state: State) -> Float[Tensor, "N D"]:
        """The twin of each image. Where features have length 1, theirs is another."""
        normal, along = state["normal"], state["along"]
        height = features @ normal + state["offset"]
        return features - 2 * height[:, None] / (normal @ along) * along

    def _planes(self, x: Tensor, of: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Normals [1, D] and offsets [1] between two values, [C, D] and [C] of each of C against the others."""
        from sklearn.svm import LinearSVC  # not needed on a bare host

        found = LinearSVC(C=self.penalty, dual=False).fit(  # pyright: ignore[reportArgumentType]
            x.double().numpy(), of.numpy(), weights.numpy()
        )
        return torch.from_numpy(found.coef_), torch.from_numpy(found.intercept_)


def balanced(labels: Int[Tensor, "N"], groups: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
    """A weight per image: that of every class of every group adds up to the same, and all to N."""
    _, cell, counts = torch.stack([labels, groups]).unique(dim=1, return_inverse=True, return_counts=True)
    return len(labels) / (len(counts) * counts[cell].double())
