"""Fig. 10 and 11 b, c on the digits: F1 by shot group, and F at other thresholds and with fewer unknown classes.

The plain model of Fig. 10 is the first row, so that differences from it are the gains that the figure draws.
"""

from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import torch

from oltr_core import digest
from oltr_core.benchmark import image_sets
from oltr_core.benchmark.cell import Method
from oltr_core.benchmark.data import BenchmarkData, Stream, from_stream
from oltr_core.benchmark.methods import changed
from oltr_core.benchmark.methods import digits as rows_of_digits
from oltr_core.benchmark.outputs import device_of, predict, resident
from oltr_core.benchmark.rivals import BESIDE
from oltr_core.class_statistics import measure
from oltr_core.inference import with_distances
from oltr_core.losses import CrossEntropy, Range
from oltr_core.metrics.recognition import OPEN, f_measure, shot_groups
from oltr_core.models import Network
from oltr_core.models.heads import Cosine
from oltr_core.operating.rejection import reference_from_statistics
from oltr_core.samplers import ClassAware
from oltr_core.scores import operating_threshold
from oltr_core.shapes import Bool, Int, Tensor
from oltr_core.training import direct_features

ACCEPTED = (80, 85, 90, 95, 99)  # per cent of known validation images that a threshold accepts, classes alike
IN_USE = 95  # that of the other figures


@dataclass(frozen=True)
class OpenClasses(BenchmarkData):
    """Data whose open images are told by class."""

    open_images: Tensor = field(kw_only=True)
    open_labels: Tensor = field(kw_only=True)

    @property
    def identity(self) -> str:
        """That of the other images, the open ones, and those that thresholds are chosen on."""
        assert self.val is not None
        parts = [t.numpy().tobytes() for t in (self.open_images, self.open_labels, *self.val)]
        return digest.of_value([super().identity, *map(digest.of_bytes, parts)])[:16]


def with_open_classes(stream: Stream, note: str) -> OpenClasses:
    """The start of a stream, with the test images of its open classes and no other open set."""
    start = from_stream(stream, "", note)
    known = {stream.labels[row] for row in stream.rows("train")}
    rows = [row for row in stream.rows("test") if stream.labels[row] not in known]
    labels = torch.tensor([stream.labels[row] for row in rows])
    closed = (start.train, start.train_labels, start.test, start.test_labels)
    return OpenClasses(*closed, note=note, val=start.val, open_images=stream.images[rows], open_labels=labels)


def digits(root: Path | None, seed: int) -> OpenClasses:
    """Generation 0 of the embedded protocol: six known classes and four open ones."""
    start = image_sets.digits(root, seed)
    return with_open_classes(start.streams["mixed pool"], start.note)


class Curves(Method):
    """A row that rejects by the score of its update."""

    def beside(self, network: Network, data: BenchmarkData) -> dict[str, float]:
        """F1 by group, F by threshold and F by the number of unknown classes."""
        assert isinstance(data, OpenClasses)
        assert data.val is not None
        images = resident(data.train, self.train, device_of(network))
        features = direct_features(network, images, self.train).cpu()
        statistics = measure(features, data.train_labels, network.num_classes)
        held_out, known, unknown = (
            with_distances(predict(network, images, self.train), statistics)
            for images in (data.val[0], data.test, data.open_images)
        )
        reference = reference_from_statistics(network, statistics, self.train.seed)
        score = self.update.score
        state = score.fit(replace(reference, held_out=held_out, held_out_labels=data.val[1]))
        scores, of_known, of_unknown = (score(outputs, state) for outputs in (held_out, known, unknown))
        thresholds = {share: operating_threshold(scores, share / 100, data.val[1]) for share in ACCEPTED}
        named, found = known.mean_logits.argmax(1), dict[str, float]()
        for share, threshold in thresholds.items():
            right, rejected = (of_known <= threshold) & (named == data.test_labels), of_unknown > threshold
            found[f"Known accuracy by threshold/{share} %"] = float(right.double().mean())
            found[f"Unknown recall by threshold/{share} %"] = float(rejected.double().mean())
            found[f"F by threshold/{share} %"] = f_measure(right, rejected)
        kept, rejected = of_known <= thresholds[IN_USE], of_unknown > thresholds[IN_USE]
        said = torch.cat([named.where(kept, OPEN), unknown.mean_logits.argmax(1).where(~rejected, OPEN)])
        labels = torch.cat([data.test_labels, torch.full_like(data.open_labels, OPEN)])
        found |= by_group(f1(labels, said, network.num_classes), data.train_labels)
        return found | by_number(kept & (named == data.test_labels), rejected, data.open_labels)


def f1(labels: Int[Tensor, "N"], predicted: Int[Tensor, "N"], num_classes: int) -> dict[int, float]:
    """2TP / (2TP + FP + FN) of every class and of OPEN, "unknown", which is a prediction as any class."""
    of = {}
    for k in [*range(num_classes), OPEN]:
        both = ((labels == k) & (predicted == k)).sum()
        of[k] = float(2 * both / ((labels == k).sum() + (predicted == k).sum()).clamp(min=1))
    return of


def by_group(of_class: dict[int, float], train_labels: Tensor) -> dict[str, float]:
    """Fig. 10: means of the classes of each shot group, and that of unknown images."""
    counts = torch.bincount(train_labels).float()
    groups = {name: of.nonzero()[:, 0].tolist() for name, of in shot_groups(counts).items() if bool(of.any())}
    found = {f"F1 by shot group/{name}": sum(of_class[k] for k in of) / len(of) for name, of in groups.items()}
    return found | {"F1 by shot group/unknown": of_class[OPEN]}


def by_number(
    right: Bool[Tensor, "N"], rejected: Bool[Tensor, "M"], open_labels: Int[Tensor, "M"]
) -> dict[str, float]:
    """Fig. 11 c: F with 1, 2, ... of the unknown classes, the mean over all choices of so many."""
    classes, found = open_labels.unique().tolist(), dict[str, float]()
    for number in range(1, len(classes) + 1):
        choices = [torch.isin(open_labels, torch.tensor(of)) for of in combinations(classes, number)]
        name = f"F by number of unknown classes/{number} class{'es' if number > 1 else ''}"
        found[name] = sum(f_measure(right, rejected[of]) for of in choices) / len(choices)
    return found


def methods(epochs: int) -> list[Method]:
    """The plain softmax of `digits`, the same with a range loss beside, and OLTR++ as params.yaml has it."""
    rows = {row.name: row for row in rows_of_digits(epochs)}
    plain = rows["plain softmax"]
    network = changed(plain.train.network, normalise=True, head=Cosine(scale=30.0))
    mixed = {"losses": [CrossEntropy(), Range(weight=BESIDE)], "sampler": ClassAware()}
    phases = [changed(phase, **mixed) for phase in plain.train.phases]
    ranged = changed(plain, name="range", train=changed(plain.train, network=network, phases=phases))
    return [Curves(**dict(row)) for row in (plain, ranged, rows["OLTR++"])]
