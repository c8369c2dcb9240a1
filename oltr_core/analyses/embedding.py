"""Fig. 6: test images as points in the plane, in the direct feature and in what the classifier sees of it."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import polars as pl

from oltr_core import charts
from oltr_core.analyses import loaded as loading
from oltr_core.analyses.loaded import Loaded
from oltr_core.analyses.page import Figure, Result
from oltr_core.analyses.plots import Series, plot
from oltr_core.inference import classify
from oltr_core.layout import Layout
from oltr_core.schema import UNKNOWN
from oltr_core.seeding import numpy_generator
from oltr_core.shots import shot

HEADINGS = {"direct_feature": "direct feature", "meta_embedding": "meta-embedding"}
MOST = 2000  # points: more hide one another
MEANING = {
    "many": "many: 100 or more training images",
    "medium": "medium",
    "few": "few: 20 or fewer",
    UNKNOWN: "unknown: no class of the model",
}
Method = Callable[[np.ndarray, int], np.ndarray]


def tsne(layout: Layout, generation: str) -> Result:
    """By t-SNE (van der Maaten and Hinton 2008)."""
    return _run(layout, generation, "t-SNE", by_tsne)


def umap(layout: Layout, generation: str) -> Result:
    """By UMAP (McInnes, Healy and Melville 2018). Raises ValueError where umap-learn is not installed."""
    return _run(layout, generation, "UMAP", by_umap)


def by_tsne(features: np.ndarray, seed: int) -> np.ndarray:
    """Features [N, D] as points [N, 2]; the same every time for one seed."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(features) - 1) / 3)
    made = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1).fit_transform(features)
    return np.asarray(made, float)


def by_umap(features: np.ndarray, seed: int) -> np.ndarray:
    """The same by UMAP; with a seed it works in one thread."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that there is no TensorFlow, and that a seed costs the other threads
        try:
            from umap import UMAP  # pyright: ignore[reportMissingImports]
        except ImportError:
            raise ValueError(
                "embedding-umap: umap-learn is not installed; install oltr[umap], or use `embedding`"
            ) from None
        made = UMAP(n_neighbors=min(15, len(features) - 1), random_state=seed).fit_transform(features)
    return np.asarray(made, float)


def silhouettes(features: np.ndarray, classes: list[str]) -> dict[str, float]:
    """Mean silhouette of each class (Rousseeuw 1987), in the features and not in the plane; none for one class."""
    from sklearn.metrics import silhouette_samples

    if not 2 <= len(set(classes)) < len(classes):
        return {}
    each = pl.DataFrame({"name": classes, "value": np.asarray(silhouette_samples(features, classes), float)})
    return dict(each.group_by("name").mean().sort("name").iter_rows())


def _run(layout: Layout, generation: str, called: str, method: Method) -> Result:
    pictures = [("direct feature", loading.load(layout, generation))]
    try:
        pictures.append(("meta-embedding", loading.with_memory(layout, generation)))
        memory = (
            f"The meta-embedding is that of generation {pictures[1][1].name}, the newest of the line with a memory "
            "feature: an image is known there if its class was."
        )
    except ValueError:
        memory = "No generation of the line has a memory feature, so there is no meta-embedding to show."
    figures, summaries, tables = [], {}, {}
    for what, loaded in pictures:
        points, compact = _points(loaded, what, method)
        tables[what.replace(" ", "-")] = points
        summaries[f"{what.replace(' ', '-')}-silhouettes"] = compact
        figures.append(_figure(points, compact, loaded, what, called))
    about = [
        f"Test images of generation {generation} in the direct feature, as {called} places them: near images stay "
        f"near, distances and directions mean nothing else. {memory}",
        "Each point is an image: known classes by how many training images they have, crosses are images of classes "
        f"that the model does not know. A name stands at the median of its class. Of more than {MOST:,} images so "
        "many are drawn by chance.",
        "The silhouette of a class, from -1 to 1, is measured in the features themselves: above 0, its images are "
        "nearer to one another than to the next class.",
    ]
    return Result(f"Fig. 6: test images by {called}, generation {generation}", about, figures, summaries | tables)


def _points(loaded: Loaded, what: str, method: Method) -> tuple[pl.DataFrame, pl.DataFrame]:
    """A row per image with its place, and one per known class with its silhouettes."""
    rows = loading.sample(loaded.test(), MOST, "embedding")
    if rows.height < 4:
        raise ValueError(f"generation {loaded.name}: expected at least 4 test images to place, found {rows.height}")
    features = {"direct feature": loaded.features(rows)}
    if what == "meta-embedding":
        features[what] = classify(loaded.model.network, features["direct feature"]).embeddings
    flat = {name: of.flatten(1).numpy() for name, of in features.items()}
    x, y = method(flat[what], int(numpy_generator(0, "analyses", "places").integers(2**31))).T
    counts = loaded.counts()
    groups = [UNKNOWN if t == UNKNOWN else shot(counts[t]) for t in rows["truth"]]
    points = rows.select("image_id", "label").with_columns(group=pl.Series(groups), x=x, y=y)
    known = rows["truth"] != UNKNOWN
    classes = rows["truth"].filter(known).to_list()
    found = {name: silhouettes(of[known.to_numpy()], classes) for name, of in flat.items()}
    compact = pl.DataFrame(
        {"class": list(found[what]), "training_images": [counts[name] for name in found[what]]}
        | {name.replace(" ", "_").replace("-", "_"): list(of.values()) for name, of in found.items()},
        schema_overrides={"class": pl.String, "training_images": pl.Int64},
    )
    return points, compact.sort("training_images", "class", descending=[True, False])


def _figure(points: pl.DataFrame, compact: pl.DataFrame, loaded: Loaded, what: str, called: str) -> Figure:
    series = []
    for group, colour in {**charts.OF_SHOT, UNKNOWN: "red"}.items():
        mine = points.filter(group=group).select("x", "y").rows()
        series += [Series(f"{MEANING[group]} ({len(mine)})", mine, colour, cross=group == UNKNOWN)] if mine else []
    middles = points.group_by("label").agg(pl.col("x", "y").median(), pl.len())
    middles = middles.sort("len", "label", descending=[True, False]).head(60)
    words = [((x, y), label) for label, x, y, _ in middles.iter_rows()]
    means = {name: compact[name].mean() for name in compact.columns[2:]} if compact.height else {}
    told = ", ".join(f"{mean:.3f} in the {HEADINGS[name]}" for name, mean in means.items())
    caption = f"Mean silhouette of the known classes: {told}." if told else ""
    chart = plot(series, f"{what}, {called}", f"{called}, first axis", "second axis", 460, words=words, bare=True)
    return Figure(f"{what.capitalize()}, generation {loaded.name}", chart, caption)
