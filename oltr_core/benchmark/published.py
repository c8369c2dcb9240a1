"""Figures published elsewhere, in percent: title -> figure -> value.

A title that begins with a row's name and ", " stands below that row, any other at the end of a page. Tables are those
of the paper (Liu et al., TPAMI 2022), networks and lengths of training the publications' own.
"""

from __future__ import annotations

Published = dict[str, dict[str, float]]

_RESIZED = "TinyImageNet (resized)"


def _closed(overall: float, *groups: float) -> dict[str, float]:
    """Percent of all images, and of those of many, medium and few."""
    return {f"closed/{name}": v for name, v in zip(("overall", "many", "medium", "few"), (overall, *groups))}  # noqa: B905


CIFAR100_LT = {
    "cross-entropy (RIDE's model zoo)": _closed(39.1, 66.1, 37.3, 10.6),
    "LDAM-DRW (the paper's Table 7)": _closed(42.0, 61.5, 41.7, 20.2),
    "OLTR++ (Table 7)": _closed(41.2, 61.8, 41.4, 17.6),
    "OLTR++ two-headed (Table 7)": _closed(47.4, 68.0, 48.9, 22.6),
    "RIDE, 3 experts (its authors' model zoo)": _closed(48.6, 67.0, 49.9, 25.7),
    "RIDE (Table 7)": _closed(47.0, 67.9, 48.4, 21.8),
    "ProCo, 200 epochs, AutoAugment": _closed(52.8),
    "ProCo, 400 epochs, AutoAugment": _closed(54.2, 70.1, 53.4, 36.4),
    "SHIKE, 3 experts": _closed(56.3, 73.4, 56.5, 36.0),
}
#: under the row that each begins with; the literature's networks are ResNet-32, its split is drawn anew
RIVALS = {
    "cross-entropy, 200 epochs": _closed(38.3, 65.2, 37.1, 9.1),
    "tau-norm, 200 epochs": _closed(41.0),
    "cRT, 200 epochs and more": _closed(40.3),
    "LWS, 200 epochs and more": _closed(40.2),
    "MiSLAS, 200 + 10 epochs": _closed(47.0),
    "focal, 200 epochs (the paper's Table 1)": _closed(38.4),
    "class-balanced focal, 200 epochs (Table 1)": _closed(36.0),
    "cost-sensitive, 200 epochs": _closed(32.3),
    "deferred cost-sensitive, 200 epochs": _closed(41.6),
    "balanced softmax, 200 epochs": _closed(43.0),
    "logit adjusted, 200 epochs": _closed(43.9),
    "LDAM-DRW, 200 epochs (Table 7)": _closed(42.0, 61.5, 41.7, 20.2),
    "BBN, 200 epochs": _closed(42.6),
    "RIDE, 200 epochs, rotations too (Table 7)": _closed(47.0, 67.9, 48.4, 21.8),
    "BalPoE, 200 epochs, rotations too": _closed(52.0),
    "OLTR++, 200 epochs (Table 7)": _closed(41.2, 61.8, 41.4, 17.6),
    "Decoupling (Table 7)": _closed(43.2, 65.7, 43.6, 17.3),
    "OLTR++ two-headed (Table 7)": _closed(47.4, 68.0, 48.9, 22.6),
}
CIFAR10_RIVALS = {
    "cross-entropy, 200 epochs (Table 7)": _closed(70.4),
    "focal, 200 epochs (Table 1)": _closed(70.4),
    "class-balanced focal, 200 epochs (Table 7)": _closed(74.6),
    "LDAM-DRW, 200 epochs (Table 7)": _closed(77.0, 80.5, 67.0),
    "BBN, 200 epochs (Table 7)": _closed(79.8),
    "OLTR++, 200 epochs (Table 7)": _closed(76.3, 79.7, 62.0),
    "OLTR++ two-headed (Table 7)": _closed(80.8, 84.1, 68.3),
}
CIFAR10_LT = {
    "cross-entropy": _closed(70.4),
    "LDAM-DRW": _closed(77.0),
    "BBN": _closed(79.8),
    "OLTR++ (Table 7)": _closed(76.3),
    "OLTR++ two-headed (Table 7)": _closed(80.8),
    "ProCo": _closed(85.9),
    "BalPoE": _closed(86.8),
}
_TUNED = "tuned on open images"
#: score -> FPR95 and detection error
_TABLE_5 = {
    "msp": (82.2, 43.6),
    "OLTR++": (51.5, 29.9),
    f"odin, {_TUNED}": (44.3, 24.6),
    f"energy, {_TUNED}": (40.7, 21.1),
    f"OLTR++, {_TUNED}": (35.4, 18.0),
}
CIFAR100_OPEN = {
    f"{score} (Table 5)": {f"{_RESIZED}/{score}/fpr95": fpr95, f"{_RESIZED}/{score}/error": error}
    for score, (fpr95, error) in _TABLE_5.items()
}


def _table_4(many: float, medium: float, few: float, overall: float, *rejecting: float) -> dict[str, float]:
    """In the paper's order: closed, then many, medium, few and F in the open set."""
    names = ("open/many", "open/medium", "open/few", "open/f_measure")
    return _closed(overall, many, medium, few) | dict(zip(names, rejecting))  # noqa: B905


_WITH_OPENMAX = "range, and OpenMax, Table 4"
IMAGENET_LT = {
    "plain model, Table 4": _table_4(40.9, 10.7, 0.4, 20.9, 40.1, 10.4, 0.4, 29.5),
    "lifted, Table 4": _table_4(35.8, 30.4, 17.9, 30.8, 34.8, 29.3, 17.4, 37.4),
    "focal, Table 4": _table_4(36.4, 29.9, 16.0, 30.5, 35.7, 29.3, 15.6, 37.1),
    "range, Table 4": _table_4(35.8, 30.3, 17.6, 30.7, 34.7, 29.4, 17.2, 37.3),
    _WITH_OPENMAX: {"open/many": 35.8, "open/medium": 30.3, "open/few": 17.6, "open/f_measure": 36.8},
    "FSLwF, Table 4": _table_4(40.9, 22.1, 15.0, 28.4, 40.8, 21.7, 14.5, 34.7),
    "class-balanced focal, Table 4": _table_4(35.0, 27.9, 21.4, 29.7, 34.3, 27.4, 21.1, 36.1),
    "LDAM-DRW, Table 4": _table_4(47.1, 31.7, 20.9, 36.2, 46.8, 31.4, 20.6, 42.4),
    "cRT, Decoupling in Table 4": _closed(41.4),
    "OLTR++, Table 4": _table_4(47.8, 38.4, 18.4, 39.6, 44.2, 35.2, 17.5, 44.6),
    "plain model with ResNet-50 (Table 4)": _closed(41.6, 64.0, 33.8, 5.8),
    "Decoupling with ResNet-50 (Table 4)": _closed(47.7, 57.1, 45.2, 29.3),
    "RIDE with ResNet-50 (Table 4)": _closed(54.4, 65.8, 51.0, 34.6),
    "OLTR++ with two-headed ResNet-50 (Table 4)": _closed(55.0, 65.5, 51.8, 35.2),
}
PLACES_LT = {
    "plain model, Table 4": _table_4(45.9, 22.4, 0.36, 27.2, 45.9, 22.4, 0.36, 36.6),
    "lifted, Table 4": _table_4(41.1, 35.4, 24.0, 35.2, 41.0, 35.2, 23.8, 45.9),
    "focal, Table 4": _table_4(41.1, 34.8, 22.4, 34.6, 41.0, 34.8, 22.3, 45.3),
    "range, Table 4": _table_4(41.1, 35.4, 23.2, 35.1, 41.0, 35.3, 23.1, 45.7),
    _WITH_OPENMAX: {"open/many": 41.1, "open/medium": 35.4, "open/few": 23.2, "open/f_measure": 45.8},
    "FSLwF, Table 4": _table_4(43.9, 29.9, 29.5, 34.9, 38.1, 19.5, 14.8, 37.5),
    "class-balanced focal, Table 4": _table_4(43.4, 39.1, 30.5, 38.9, 42.3, 37.7, 28.8, 49.0),
    "LDAM-DRW, Table 4": _table_4(45.6, 37.8, 23.9, 35.7, 45.6, 37.7, 23.5, 48.5),
    "cRT, Decoupling in Table 4": _closed(37.3, 40.6, 39.1, 28.6),
    "OLTR++, Table 4": _table_4(44.0, 40.6, 28.5, 39.3, 43.7, 40.2, 28.0, 50.0),
}
_MEGAFACE = "many few one-shot zero-shot all male female Caucasian Asian Indian African".split()
MS1M_LT = {
    title: {f"MegaFace/{name}": value for name, value in zip(_MEGAFACE[-len(of) :], of, strict=True)}
    for title, of in {
        "plain model, Table 6": (80.64, 71.98, 84.60, 77.72, 73.88, 78.30, 78.70, 85.83, 75.67, 76.42, 79.28),
        "range, Table 6": (78.60, 71.36, 83.14, 77.40, 72.17, 78.12, 77.45, 86.11, 74.86, 75.94, 76.37),
        "OLTR++, Table 6": (80.82, 72.44, 87.60, 79.50, 74.51, 79.04, 79.08, 86.59, 76.22, 77.05, 80.37),
        "fair features, `lfr` (Table 6)": (78.23, 77.61, 86.34, 74.97, 76.25, 77.62),
        "de-biasing, `latent_debiasing` (Table 6)": (78.73, 78.85, 86.36, 75.89, 76.90, 79.77),
    }.items()
}
SUN_LT = {
    f"{row}, Table 8": {"closed/overall": one, "closed/top5": five}
    for row, one, five in (
        ("plain model", 48.0, 77.8),
        ("cost-sensitive", 52.4, 81.9),
        ("Model Regression", 54.7, 82.4),
        ("MetaModelNet", 57.3, 83.6),
        ("OLTR++", 58.7, 84.2),
    )
}
INATURALIST_18 = {
    "plain model, Table 7": _closed(61.7, 72.2, 63.0, 57.2),
    "class-balanced focal, Table 7": _closed(61.1),
    "LDAM-DRW, Table 7": _closed(64.6),
    "cRT, Decoupling in Table 7": _closed(65.9, 65.0, 66.3, 65.5),
    "OLTR++, Table 7": _closed(65.3, 62.4, 66.7, 65.9),
    "BBN (Table 7)": _closed(66.3, 49.4, 70.8, 65.3),
    "RIDE (Table 7)": _closed(71.4, 70.2, 71.3, 71.7),
    "OLTR++ two-headed (Table 7)": _closed(71.9, 70.5, 72.0, 72.2),
}


def _table_9(*pairs: tuple[float, float]) -> dict[str, float]:
    """Known and unknown after the first update, and after the second."""
    return {
        f"two stages/{stage}/loop/{of}_accuracy": value
        for stage, pair in enumerate(pairs, 1)
        for of, value in zip(("known", "unknown"), pair, strict=True)
    }


TWO_STAGES = {
    "lwf, Table 9 on ImageNet-LT": _table_9((26.5, 17.2), (24.1, 11.3)),
    "plain model (Table 9 on ImageNet-LT)": _table_9((21.4, 10.8), (18.2, 6.6)),
    "acl, Table 9 on ImageNet-LT": _table_9((30.0, 21.2), (27.9, 16.5)),
    "OLTR++ (Table 9 on ImageNet-LT)": _table_9((38.5, 26.7), (36.3, 24.9)),
}
