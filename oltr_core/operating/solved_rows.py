"""Whether a model has class rows that a closed-form learner solved; see `parent`."""

from __future__ import annotations

from typing import Any

from oltr_core.checkpoint import read_card
from oltr_core.layout import Generation
from oltr_core.models.heads import Linear, RandomProjection
from oltr_core.settings.reading import read_yaml

CLOSED_FORM = ("slda", "ridge")
SOLVED = f"class rows that {' or '.join(CLOSED_FORM)} solved"


def has_solved_rows(generation: Generation) -> bool:
    """Whether `slda` or `ridge` put solved rows in the place of trained ones.

    Of a model that was linear before, the card does not say so: then the learner of its own update counts.
    """
    card = read_card(generation.model)
    head = card.network.head.name
    if not isinstance(card.network.head, (Linear, RandomProjection)):
        return False
    return (bool(card.recipe) and _trained(card.recipe) != head) or _learner_of(generation) in CLOSED_FORM


def acts_as(learner: str, solved: bool) -> str:
    """The learner by whose name `void` is asked: rows solved by `slda` stay so in part unless `ridge` solves them."""
    return "slda" if solved and learner != "ridge" else learner


def _trained(recipe: dict[str, Any]) -> str:
    """The head at the end of the full training."""
    return (recipe["phases"][-1].get("head") or recipe["network"]["head"])["name"]


def _learner_of(generation: Generation) -> str:
    """The learner that its sealed params.yaml names; empty where it was a full training or names none."""
    if not generation.params.exists() or read_yaml(generation.run)["mode"] != "update":
        return ""
    return read_yaml(generation.params).get("update", {}).get("learner", {}).get("name", "")
