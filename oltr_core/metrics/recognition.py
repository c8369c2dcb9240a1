"""Closed- and open-set recognition of test images, overall and by how many training images a class had.

`labels` are class columns, and OPEN (-1) for an image of a class that the model does not know. `shots` holds the
training images that each column had at generation 0; a class added later has 0 and belongs to no shot group.
`counts` holds those that it has now, and every class belongs to a group.
"""

import torch

from oltr_core.measured import Measured
from oltr_core.metrics import detection
from oltr_core.shapes import Bool, Float, Int, Tensor
from oltr_core.shots import FEW, MANY

OPEN = -1
BEST = 5  # classes of an image, of which one may be right


def shot_groups(shots: Float[Tensor, "K"]) -> dict[str, Bool[Tensor, "K"]]:
    """Columns of each group: many >= 100, few <= 20 training images, medium between; with none, in no group."""
    many, few = shots >= MANY, (shots > 0) & (shots <= FEW)
    return {"many": many, "medium": (shots > 0) & ~many & ~few, "few": few}


def closed(logits: Float[Tensor, "B K"], labels: Int[Tensor, "B"], shots: Float[Tensor, "K"]) -> Measured:
    """`overall many medium few macro_f1 top5` among the classes of generation 0; nothing is rejected.

    Both are restricted to those classes: images of other classes are left out, and other columns do not compete.
    Overall is the share of images; a shot group is the mean of its classes' accuracies. top5 is the share of images
    whose class is among the five most probable (Table 8), where there are more.
    """
    measured = Measured()
    base = shots > 0
    asked = (labels >= 0) & base[labels.clamp(min=0)]
    if not bool(asked.any()):
        for name in ("overall", "many", "medium", "few", "macro_f1", "top5"):
            measured.put(name, "no test image of a class of generation 0")
        return measured
    labels = labels[asked]
    among = logits[asked].masked_fill(~base, -torch.inf)
    predicted = among.argmax(1)
    correct = predicted == labels
    measured.put("overall", float(correct.double().mean()))
    _by_shots(measured, labels, correct, shots)
    measured.put("macro_f1", macro_f1(predicted, labels, len(shots)))
    if int(base.sum()) > BEST:
        measured.put("top5", float(among_best(among, labels).double().mean()))
    else:
        measured.put("top5", f"{BEST} classes or fewer in generation 0")
    return measured


def among_best(logits: Float[Tensor, "B K"], labels: Int[Tensor, "B"]) -> Bool[Tensor, "B"]:
    """Whether the class of an image is among the five of the largest logits."""
    return (logits.topk(min(BEST, logits.shape[1]), dim=1).indices == labels[:, None]).any(1)


def known_now(predicted: Int[Tensor, "B"], labels: Int[Tensor, "B"], counts: Float[Tensor, "K"]) -> Measured:
    """`overall many medium few` over every class known now, all of which compete; nothing is rejected.

    A class is in the shot group of its training images now, `counts`. At generation 0 the figures are those of
    `closed`.
    """
    measured = Measured()
    known = labels != OPEN
    correct = (predicted == labels)[known]
    measured.put("overall", float(correct.double().mean()) if len(correct) else "no test image of a known class")
    _by_shots(measured, labels[known], correct, counts, "now")
    return measured


def open_set(
    predicted: Int[Tensor, "B"],
    labels: Int[Tensor, "B"],
    scores: Float[Tensor, "B"],
    threshold: float,
    shots: Float[Tensor, "K"],
    open_classes: int,
) -> Measured:
    """The `open/` group: every class known now competes, and an image that scores above `threshold` is rejected.

    A rejected known image counts as wrong. `open_classes`: distinct open classes among the test images.
    """
    measured = Measured()
    is_open, rejected = labels == OPEN, scores > threshold
    correct = (predicted == labels) & ~is_open
    kept = correct & ~rejected
    measured.put("threshold", threshold)
    measured.put("classes", float(open_classes))
    no_known = "no test image of a known class" if bool(is_open.all()) else None
    no_open = None if bool(is_open.any()) else "no test image of a class that is still open"

    measured.put("known_accuracy", no_known or float(kept[~is_open].double().mean()))
    _by_shots(measured, labels[~is_open], kept[~is_open], shots)
    measured.put("unknown_recall", no_open or float(rejected[is_open].double().mean()))
    both = {
        "f_measure": lambda: f_measure(kept[~is_open], rejected[is_open]),
        "f_measure_never_reject": lambda: f_measure(correct[~is_open], torch.zeros(int(is_open.sum())).bool()),
        "auroc": lambda: detection.auroc(scores[~is_open], scores[is_open]),
        "aupr_known": lambda: detection.aupr(-scores[~is_open], -scores[is_open]),
        "aupr_unknown": lambda: detection.aupr(scores[is_open], scores[~is_open]),
        "fpr95": lambda: detection.fpr_at_tpr(-scores[~is_open], -scores[is_open]),
        "fpr95_unknown_positive": lambda: detection.fpr_at_tpr(scores[is_open], scores[~is_open]),
        "oscr": lambda: detection.oscr(scores[~is_open], correct[~is_open], scores[is_open]),
    }
    for name, compute in both.items():
        measured.put(name, no_known or no_open or compute())
    return measured


def f_measure(kept: Bool[Tensor, "N"], rejected: Bool[Tensor, "M"]) -> float:
    """F of the authors' current code. `kept`: known, accepted and correct; `rejected`: open and rejected.

    TP = known and correct, FP = every other known image, FN = open and accepted; F = 2TP / (2TP + FP + FN).
    With nothing rejected this is 2A / (1 + A + r), A the closed accuracy and r the ratio of open to known
    images: most of the figure says nothing of open images, so both are reported side by side.
    """
    tp = float(kept.sum())
    fp = len(kept) - tp
    fn = float((~rejected).sum())
    total = 2 * tp + fp + fn
    return 2 * tp / total if tp else 0.0


def macro_f1(predicted: Int[Tensor, "B"], labels: Int[Tensor, "B"], num_classes: int) -> float:
    """Mean over the classes that occur, in labels or in predictions, of 2TP / (2TP + FP + FN)."""
    tp = torch.bincount(labels[predicted == labels], minlength=num_classes).double()
    occurring = torch.bincount(labels, minlength=num_classes) + torch.bincount(predicted, minlength=num_classes)
    return float((2 * tp / occurring.clamp(min=1))[occurring > 0].mean())


def per_class_accuracy(
    labels: Int[Tensor, "B"], correct: Bool[Tensor, "B"], num_classes: int
) -> tuple[Float[Tensor, "K"], Float[Tensor, "K"]]:
    """Accuracy of each class (0 where it has no image), and how many images it has."""
    count = torch.bincount(labels, minlength=num_classes).double()
    right = torch.bincount(labels, weights=correct.double(), minlength=num_classes)
    return right / count.clamp(min=1), count


def _by_shots(
    measured: Measured, labels: Tensor, correct: Tensor, shots: Tensor, when: str = "at generation 0"
) -> None:
    accuracy, count = per_class_accuracy(labels, correct, len(shots))
    for name, group in shot_groups(shots).items():
        tested = group & (count > 0)
        none = f"no test image of a class with {name} training images {when}"
        measured.put(name, float(accuracy[tested].mean()) if bool(tested.any()) else none)
