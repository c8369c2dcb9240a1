"""oltr_core as an ordinary PyTorch package: train, score, select and update in memory, without a workspace.

python examples/library.py    a few seconds on a CPU; the images are the digit scans that scikit-learn carries
"""

from __future__ import annotations

import torch

from oltr_core.class_statistics import measure
from oltr_core.images.dataset import from_pixels
from oltr_core.inference import classify
from oltr_core.ingest.sources.digits import protocol, roles, scans, to_rgb
from oltr_core.interfaces import AnnotatedFeatures
from oltr_core.metrics.detection import auroc
from oltr_core.operating.learning import Update, learn
from oltr_core.operating.rejection import operating_point, reference_from_statistics
from oltr_core.operating.selection import Select, pick
from oltr_core.training import LearningRates, Phase, Train, direct_features, fit

SPLITS = ("train", "val", "test", "pool")


def main(seed: int = 0, epochs: int = 10) -> dict[str, float]:
    """Train on six classes, ask about 80 images of the pool, learn the two open classes in it; what was measured."""
    train = Train(seed=seed, phases=[Phase(name="only", epochs=epochs, learning_rates=LearningRates(trunk=0.05))])
    grey, _ = scans()
    column = {digit: k for k, digit in enumerate(roles(seed)[:8])}  # six known classes, then two open ones
    of = {s: [d for d in protocol(seed) if d.split == s and d.part == 0 and d.digit in column] for s in SPLITS}
    images = {s: from_pixels([to_rgb(grey[d.index]) for d in of[s]], train.transform) for s in SPLITS}
    labels = {s: torch.tensor([column[d.digit] for d in of[s]]) for s in SPLITS}
    is_open = labels["test"] >= 6

    # train: `fit` changes the network in place and yields a report per epoch
    network = train.network(num_classes=6, seed=seed)
    for report in fit(network, images["train"], labels["train"], train):
        print(f"epoch {report['epoch']}: loss {report['loss']:.3f}")

    # all that follows works on direct features [N, experts, D], and on class statistics in place of the train images
    features = {s: direct_features(network, images[s], train) for s in SPLITS}
    statistics = measure(features["train"], labels["train"], network.num_classes)
    outputs = {s: classify(network, features[s], statistics) for s in SPLITS}

    # score: larger is more unknown; no open image is needed to fit it, and 95 % of the known val images are accepted
    update, reference = Update(seed=seed), reference_from_statistics(network, statistics, seed)
    val = outputs["val"]
    fitted = operating_point(update.score, reference, val, val, labels["val"], update.target_tpr)
    scores = update.score(outputs["test"], fitted.state)

    # select: the pool images most useful to annotate; here the labels that we have are the answers
    asked = pick(Select(seed=seed), outputs["pool"], budget=80, generation="0000").indices
    answers = AnnotatedFeatures(features["pool"][asked], labels["pool"][asked])

    # update: columns for the new classes, from the answers alone
    grown, statistics = learn(update, network, statistics, answers)
    correct = classify(grown, features["test"], statistics).mean_logits.argmax(1) == labels["test"]
    before = outputs["test"].mean_logits.argmax(1) == labels["test"]
    return {
        "known classes, before": before[~is_open].double().mean().item(),
        "known classes, after": correct[~is_open].double().mean().item(),
        "new classes, after": correct[is_open].double().mean().item(),
        "AUROC of the score": auroc(scores[~is_open], scores[is_open]),
        "open images rejected": (scores[is_open] > fitted.threshold).double().mean().item(),
        "open among the images asked about": (answers.labels >= 6).double().mean().item(),
    }


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:<34} {value:.3f}")
