"""Groups of images that look alike, so that one answer can name many of them."""

from typing import NamedTuple

import torch

from oltr_core.shapes import Float, Int, Tensor

SAMPLE = 5000  # images that are clustered among themselves: the time grows with the square of their number
BLOCK = 65536  # images compared with all centres at once
FAR = 2.0  # times the median distance to the centre of a cluster: beyond that an image is not of it


class Clusters(NamedTuple):
    """Cluster 0 comes first: the largest, and of two as large the one whose images lie closer together."""

    labels: Int[Tensor, "N"]  # -1: of none
    distances: Float[Tensor, "N"]  # to the centre of its cluster; infinite where there is none


def flat(features: Float[Tensor, "N E D"]) -> Float[Tensor, "N F"]:
    """One vector per image, whose Euclidean distance is the root mean square of the experts' distances."""
    return features.flatten(1) / features.shape[1] ** 0.5


def cluster(features: Float[Tensor, "N F"], least: int, generator: torch.Generator) -> Clusters:
    """HDBSCAN (Campello, Moulavi and Sander, 2013), the leaves of its tree: many pure groups of `least` or more.

    Of more than SAMPLE images, as many are drawn and clustered; each other one joins the nearest centre, unless it is
    farther from it than every member. O(N C) time for C clusters, O(N) memory beside the features.
    """
    rows = torch.randperm(len(features), generator=generator)[:SAMPLE].sort().values
    sample = features[rows]
    found = _compact(sample, _leaves(sample, least))
    labels = torch.full((len(features),), -1)
    distances = torch.full((len(features),), torch.inf)
    if not len(found) or int(found.max()) < 0:
        return Clusters(labels, distances)
    centres = _centres(sample, found)
    inside = found >= 0
    labels[rows], distances[rows[inside]] = found, (sample - centres[found]).norm(dim=1)[inside]
    radius = torch.stack([distances[labels == c].max() for c in range(len(centres))])
    others = torch.ones(len(features), dtype=torch.bool).index_fill_(0, rows, False).nonzero()[:, 0]
    for part in others.split(BLOCK):
        nearest, place = torch.cdist(features[part], centres).min(1)
        near = nearest <= radius[place]
        labels[part[near]], distances[part[near]] = place[near], nearest[near]
    return _in_order(labels, distances, len(centres))


def _leaves(features: Float[Tensor, "N F"], least: int) -> Int[Tensor, "N"]:
    if len(features) < 2 * least:  # one group, or none
        return torch.full((len(features),), -1)
    from sklearn.cluster import HDBSCAN  # not needed where a single cell of a table is computed

    how = HDBSCAN(
        min_cluster_size=least,
        min_samples=1,
        cluster_selection_method="leaf",
        copy=True,  # pyright: ignore[reportArgumentType]  # scikit-learn 1.9 says str, and means bool
    )
    return torch.from_numpy(how.fit_predict(features.double().numpy())).long()


def _compact(features: Float[Tensor, "N F"], found: Int[Tensor, "N"]) -> Int[Tensor, "N"]:
    """Without images that are far from their cluster: a leaf keeps what parted from it last, however far that is."""
    if not len(found) or int(found.max()) < 0:
        return found
    distances = (features - _centres(features, found)[found]).norm(dim=1)
    middle = torch.stack([distances[found == c].median() for c in range(1 + int(found.max()))])
    return torch.where((found >= 0) & (distances <= FAR * middle[found]), found, -1)


def _centres(features: Float[Tensor, "N F"], found: Int[Tensor, "N"]) -> Float[Tensor, "C F"]:
    return torch.stack([features[found == c].mean(0) for c in range(1 + int(found.max()))])


def _in_order(labels: Tensor, distances: Tensor, count: int) -> Clusters:
    sizes = torch.bincount(labels[labels >= 0], minlength=count)
    spread = torch.stack([distances[labels == c].mean() for c in range(count)])
    order = sorted(range(count), key=lambda c: (-int(sizes[c]), float(spread[c])))
    place = torch.empty(count + 1, dtype=torch.long)
    place[order], place[-1] = torch.arange(count), -1  # a label of -1 is the last
    return Clusters(place[labels], distances)
