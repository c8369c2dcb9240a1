"""Fig. 10: F1 of each class, and of the unknown images, less that of a plain model; by number of training images."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import polars as pl
import torch

from oltr_core import charts, manifest_rows
from oltr_core.analyses import loaded as loading
from oltr_core.analyses.loaded import Loaded
from oltr_core.analyses.page import Figure, Result
from oltr_core.analyses.plots import Series, plot
from oltr_core.inference import classify, outputs_for
from oltr_core.layout import Layout
from oltr_core.metrics import OPEN
from oltr_core.models import Network
from oltr_core.models.heads import MetaEmbeddingHead
from oltr_core.operating.rejection import operating_point, reference_from_statistics, reference_of_output_classes
from oltr_core.schema import UNKNOWN
from oltr_core.scores import Score
from oltr_core.seeding import numpy_generator
from oltr_core.shots import shot
from oltr_core.spec import parse


def run(layout: Layout, generation: str, against: str | None = None) -> Result:
    """Against generation `against`, or without it against the same network with its memory switched off."""
    if against is None:
        ours = loading.with_memory(layout, generation)
        told = loading.tested(ours)
        plain = told.select("image_id").with_columns(plain=pl.Series(without_memory(ours)))
        names = ours.model.card.output_class_names
        about = (
            f"Compared is generation {ours.name}, the newest of the line with a memory feature, with itself without "
            "one: the same weights, but the classifier sees the direct feature (no memory feature, no reachability). "
            "It was not trained so; a network trained as a plain model is compared in docs/results/ablation.md. "
            "The plain model has a threshold of its own, fitted in the same way on the same validation images."
        )
    else:
        ours, other = loading.load(layout, generation), loading.load(layout, against)
        told, theirs = loading.tested(ours), loading.tested(other)
        plain = theirs.select("image_id", plain="answer", plain_truth="truth")
        names = [name for name in ours.model.card.output_class_names if name in other.model.card.output_class_names]
        about = (
            f"Compared is generation {ours.name} with generation {against}, each with its own threshold, on the test "
            "images that both were measured on. Images of classes that only one of them knows are left out."
        )
    told = told.join(plain, on="image_id", how="inner")
    if against is not None:
        told = told.filter(pl.col("truth") == pl.col("plain_truth"))
    if told.is_empty():
        raise ValueError(f"generations {generation} and {against}: there is no test image that both were measured on")
    table = gains(told["truth"].to_list(), told["answer"].to_list(), told["plain"].to_list(), ours.counts(), names)
    return _result(
        ours.name, f"generation {against}" if against else "itself without memory", about, table, len(told)
    )


def gains(
    truth: Sequence[str], ours: Sequence[str], plain: Sequence[str], counts: dict[str, int], names: Sequence[str]
) -> pl.DataFrame:
    """A row per class with images, and one for UNKNOWN: F1 of both models and their difference; most images first.

    F1 = 2TP / (2TP + FP + FN), where UNKNOWN counts as a class. `gain_low` to `gain_high` is the 95 % interval of the
    difference (paired bootstrap, percentiles).
    """
    rows, ends = [], gain_intervals(truth, ours, plain)
    for name in [name for name in [*names, UNKNOWN] if name in truth]:
        group = UNKNOWN if name == UNKNOWN else shot(counts[name])
        f1 = [_f1(truth, said, name) for said in (ours, plain)]
        rows.append((name, group, counts.get(name), list(truth).count(name), *f1, f1[0] - f1[1], *ends[name]))
    shape = ["class", "group", "training_images", "test_images", "f1", "f1_plain", "gain", "gain_low", "gain_high"]
    table = pl.DataFrame(rows, shape, orient="row")
    return table.sort("training_images", "class", descending=[True, False], nulls_last=True)


def gain_intervals(
    truth: Sequence[str], ours: Sequence[str], plain: Sequence[str], resamples: int = 1000
) -> dict[str, tuple[float, float]]:
    """Of each class of `truth`, the interval of the difference in F1 over test images drawn with replacement."""
    names = sorted({*truth, *ours, *plain})
    label, *said = (np.searchsorted(names, np.array(of)) for of in (truth, ours, plain))
    generator, size = numpy_generator(0, "analyses", "f1-gain"), len(names)
    differences = np.empty((resamples, size))
    for row in differences:
        drawn = generator.integers(0, len(label), len(label))
        of = np.bincount(label[drawn], minlength=size)
        f1 = []
        for answer in (answers[drawn] for answers in said):
            hit = np.bincount(answer[answer == label[drawn]], minlength=size)
            f1.append(2 * hit / np.maximum(of + np.bincount(answer, minlength=size), 1))
        row[:] = np.where(of > 0, f1[0] - f1[1], np.nan)
    ends = {
        name: np.nanquantile(differences[:, i], (0.025, 0.975)).tolist()
        for i, name in enumerate(names)
        if name in truth
    }
    return {name: (low, high) for name, (low, high) in ends.items()}


def _f1(truth: Sequence[str], said: Sequence[str], name: str) -> float:
    right = sum(t == s == name for t, s in zip(truth, said, strict=True))
    return 2 * right / (list(truth).count(name) + list(said).count(name))


def switched_off(network: Network) -> Network:
    """A copy whose classifier sees the direct feature: no memory feature (Eq. 2), no reachability (Eq. 3)."""
    plain = copy.deepcopy(network)
    for head in plain.heads:
        assert isinstance(head, MetaEmbeddingHead)
        head.spec = head.spec.model_copy(update={"memory": False, "reachability": False})
    return plain


def without_memory(loaded: Loaded) -> list[str]:
    """The predictions of the network without its memory for its test images, at a threshold of its own."""
    model, card, layout = loaded.model, loaded.model.card, loaded.layout
    assert model.statistics is not None
    network = switched_off(model.network)
    val = loaded.rows("val").filter(pl.col("label").is_not_null())
    known = torch.from_numpy((val["truth"] != UNKNOWN).to_numpy())
    score = parse(Score, card.score, f"generation {loaded.name}: score")
    outputs, scored = [], []
    for rows in (val, loaded.test()):
        outputs.append(card.merge_columns(classify(network, loaded.features(rows), model.statistics)))
        scored.append(outputs_for(score, rows.to_arrow(), outputs[-1], network, card.transform, layout, card=card))
    reference = reference_of_output_classes(
        reference_from_statistics(network, model.statistics, card.reference_seed), card
    )
    labels = manifest_rows.columns(val.to_arrow(), card.output_class_ids, other=OPEN)[known]
    how = card.target_tpr, card.class_balanced, card.threshold_by, scored[0][~known]
    point = operating_point(
        score, reference, outputs[0][known], scored[0][known], labels, *how, card.unknown_accepted, card.costs
    )
    unknown = score(scored[1], point.state) > point.threshold
    columns = outputs[1].mean_logits.argmax(1)
    return [
        UNKNOWN if u else card.output_class_names[k] for u, k in zip(unknown.tolist(), columns.tolist(), strict=True)
    ]


def _result(ours: str, plain: str, about: str, table: pl.DataFrame, images: int) -> Result:
    known = table.filter(pl.col("group") != UNKNOWN)
    groups = table.group_by("group", maintain_order=True).agg(
        pl.len().alias("classes"), pl.col("f1", "f1_plain", "gain").mean()
    )
    series = []
    for group, colour in charts.OF_SHOT.items():
        mine = known.filter(group=group)
        points = list(zip(mine["training_images"], (100 * mine["gain"]).to_list(), strict=True))
        labels = mine["class"].to_list() if known.height <= 60 else []
        ends = list(zip((100 * mine["gain_low"]).to_list(), (100 * mine["gain_high"]).to_list(), strict=True))
        series += (
            [
                Series(
                    f"{group} ({mine.height} {'class' if mine.height == 1 else 'classes'})",
                    points,
                    colour,
                    labels=labels,
                    intervals=ends,
                )
            ]
            if points
            else []
        )
    open_gain = table.filter(group=UNKNOWN)["gain"].to_list()
    told = f"Unknown images: {100 * open_gain[0]:+.1f} points." if open_gain else ""
    figures = []
    if series:
        chart = plot(
            series, "Gain in F1 by training images", "training images of the class (logarithmic)",
            "gain in F1, points", log_x=True, zero=True,
        )  # fmt: skip
        figures.append(
            Figure("Gain by training images", chart, f"Above the dashed line a class gains. {told}".strip())
        )
    about_f1 = (
        f"F1 of a class is 2TP / (2TP + FP + FN) over {images} test images, where “unknown” is a prediction as any "
        "class. A bar is the 95 % interval of the gain (paired bootstrap over test images): a class gains, or loses, "
        "where it does not reach zero. Of so many classes some do so by chance."
    )
    return Result(
        f"Fig. 10: F1 of generation {ours} less that of {plain}",
        [about, about_f1],
        figures,
        {"groups": groups, "classes": table},
    )
