"""Headings of the report: which figures it shows, what each is called there, and what it means."""

from __future__ import annotations

#: figures of gate.json: heading, meaning
COMPARED = {
    "known_accuracy": ("known", "images of classes that both know, named rightly, all known classes competing"),
    "many_accuracy": ("many", "those of classes with 100 or more training images"),
    "medium_accuracy": ("medium", "those of classes with 21 to 99"),
    "few_accuracy": ("few", "those of classes with 20 or fewer training images"),
    "known_with_rejection": ("known, with rejection", "accepted and named rightly"),
    "auroc": ("AUROC", "classes that both know against classes that neither knows"),
    "unknown_recall": ("unknown recall", "images of classes that neither knows, rejected"),
    "learned_accuracy": ("learned", "images of classes that only this generation knows, named rightly"),
}
#: and further ones, on images that are known, or unknown, to both; the gate does not judge by them
FURTHER = {
    "closed/overall": "closed, overall",
    "closed/macro_f1": "closed, macro F1",
    "open/f_measure": "F-measure",
    "open/oscr": "OSCR",
    "open/aupr_known": "AUPR, known",
    "open/aupr_unknown": "AUPR, unknown",
    "open/fpr95": "unknown accepted where 95 % of known are (FPR95)",
}
#: estimates from images drawn by chance: name, heading, meaning
DRAWN = (
    ("audit/unknown_rate", "unknown", "images of a class that the model did not know"),
    ("audit/accuracy", "named rightly", "of all images, by the most probable class"),
    ("audit/known_accuracy", "known, named rightly", "of images of classes that the model knew"),
)
#: of the headline, the figures with a line in the chart of generations
LINES = ("closed/overall", "open/auroc", "loop/known_accuracy", "loop/unknown_accuracy")
#: and those that DVC plots
TRENDS = ("closed/overall", "now/overall", "open/auroc", "open/unknown_recall")
#: what a generation's arrivals are followed by, beside the headline: name, heading
FOLLOWED = {"pool/unknown_rate": "predicted “unknown”", "pool/drift": "told apart, AUROC"}
#: and the looks between generations
LOOKED = {"unknown_rate": FOLLOWED["pool/unknown_rate"], "drift": FOLLOWED["pool/drift"]}
#: figures of a group of images: name, heading
SLICED = (
    ("now/overall", "known"),
    ("now/few", "few now"),
    ("open/known_accuracy", "known, with rejection"),
    ("open/unknown_recall", "unknown recall"),
    ("open/auroc", "AUROC"),
)
GROUPS = {
    "closed": "Closed set: classes of generation 0, shot groups by their training images at generation 0",
    "now": "Every class known now, shot groups by the training images that it has now",
    "open": "Open set, by the model's own score; shot groups as in the closed set",
    "open_by_score": "Open set, other scores",
    "slice": "Groups of images: the worst, and the gap to the best",
    "loop": "Dynamic loop",
    "calibration": "Calibration",
    "select": "Selection (of the batch annotated last)",
    "audit": "Images drawn by chance (of the batch annotated last)",
    "agreement": "People",
    "pool": "Newest images",
    "cost": "Cost",
    "data": "Data",
    "train": "Training",
    "update": "Update",
}
#: galleries of images that are predicted wrongly: kind -> heading, what they are of all test images
WRONG = {
    "mistakes": ("Most confident mistakes", "test images of known classes are accepted as another class"),
    "accepted": ("Unknown images accepted", "test images of unknown classes are accepted as a known one"),
    "rejected": ("Known images rejected", "test images of known classes are predicted as “unknown”"),
}
#: what stands before the most probable class of such an image
VERBS = {"mistakes": "named", "accepted": "named", "rejected": "rejected, looks like"}
