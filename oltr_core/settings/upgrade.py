"""A params.yaml of version 0.1 with the keys of today."""

from __future__ import annotations

import copy
from typing import Any

#: keys of `train` and `evaluate` that say how a machine computes, and are in `compute` now
_COMPUTE = {
    "train": ("device", "processes", "threads", "workers", "channels_last", "compile", "save_every"),
    "evaluate": ("batch_size",),
}


def upgraded(params: dict[str, Any]) -> dict[str, Any]:
    """`params` with every key that was renamed or moved under its new name; the rest as it is.

    Where a default of today would change the figures, that of version 0.1 is written out.
    A file that has the section `compute` is of today, and comes back unchanged.
    """
    if "compute" in params:
        return params
    new = read_as_today(params)
    moved = [(new.get(section) or {}, key) for section, keys in _COMPUTE.items() for key in keys]
    new["compute"] = {key: section.pop(key) for section, key in moved if key in section}
    train, update = new.get("train") or {}, new.get("update") or {}
    for head in [(train.get("network") or {}).get("head"), *(p.get("head") for p in train.get("phases") or [])]:
        _rename(head, "rate", "centroid_rate")
    for phase in train.get("phases") or []:
        _rename(phase, "rates", "learning_rates")
    _rename(update, "keep_known", "target_tpr")
    _rename(update.get("learner"), "rate", "learning_rate")
    _rename(update.get("learner"), "sharpness", "logit_scale")
    new["update"] = {"learner": {"name": "imprint_replay"}, **update, "class_balanced": False}
    new["evaluate"] = {**(new.get("evaluate") or {}), "gate_share": 0.0}
    return new


def read_as_today(params: dict[str, Any]) -> dict[str, Any]:
    """`params` with the keys of today in the sections that commands read before an upgrade; else as it is."""
    if "compute" in params:
        return params
    new = copy.deepcopy(params)
    if isinstance(new.get("curate"), dict):
        _rename(new["curate"], "val_from", "min_labels_for_val")
    return new


def _rename(section: dict[str, Any] | None, old: str, new: str) -> None:
    """In place, and in its place."""
    if section and old in section:
        items = [(new if key == old else key, value) for key, value in section.items()]
        section.clear()
        section.update(items)
