"""Analyses of the paper on a sealed generation: each a function of the workspace to numbers and figures.

| name | paper | asks |
|---|---|---|
| `embedding` | Fig. 6 | does the meta-embedding keep classes together? (t-SNE) |
| `embedding-umap` | Fig. 6 | the same by UMAP, where umap-learn is installed |
| `ablation` | Fig. 9 | what is each part of the method worth? |
| `f1-gain` | Fig. 10 | which classes gain over a plain model? |
| `open-threshold` | Fig. 11 | what do another threshold and more unknown classes do? |
| `identification` | Table 6 | are two images of an unknown class nearer than those of others? |
| `memory` | Fig. 13-15 | what does the memory feature add to an image? |
| `attributes` | Table 10 | which coefficients fire for images of an attribute? |
| `imbalance` | Fig. 11a | what does a longer tail cost? |
| `exploration` | Fig. 12a | how much is learned from so many answers? |

A call takes the Layout and the name of a sealed generation, and returns a `Result`; `page.write` keeps it.
"""

from collections.abc import Callable

from oltr_core.analyses import (
    ablation,
    attributes,
    embedding,
    exploration,
    f1_gain,
    identification,
    imbalance,
    memory,
    open_threshold,
)
from oltr_core.analyses.page import Result
from oltr_core.spec import suggest

#: name -> where in the paper, in a few words, the call
ANALYSES: dict[str, tuple[str, str, Callable[..., Result]]] = {
    "embedding": ("Fig. 6", "test images, known and unknown, as points in the plane (t-SNE)", embedding.tsne),
    "embedding-umap": ("Fig. 6", "the same by UMAP, where umap-learn is installed", embedding.umap),
    "ablation": ("Fig. 9", "the method without one part at a time, from a benchmark table", ablation.run),
    "f1-gain": ("Fig. 10", "F1 of each class against a plain model, by training images", f1_gain.run),
    "open-threshold": ("Fig. 11", "accuracy and F against threshold and unknown classes", open_threshold.run),
    "identification": ("Table 6", "pairs of images of unknown classes that features identify", identification.run),
    "memory": ("Fig. 13-15", "what the memory feature adds, in pictures", memory.run),
    "attributes": ("Table 10", "coefficients that fire for images of an attribute", attributes.run),
    "imbalance": ("Fig. 11a", "accuracy and F against imbalance, from a benchmark table", imbalance.run),
    "exploration": ("Fig. 12a", "accuracy against answers; --table: of strategies", exploration.run),
}


def find(name: str) -> Callable[..., Result]:
    """Raises ValueError for an analysis that there is not."""
    if name not in ANALYSES:
        raise ValueError(f"oltr analyse: there is no analysis {name!r}{suggest(name, ANALYSES)}")
    return ANALYSES[name][2]


__all__ = ["ANALYSES", "Result", "find"]
