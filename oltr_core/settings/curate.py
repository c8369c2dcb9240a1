"""How images become rows with a split and a class."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from oltr_core.spec import Spec

Share = Annotated[float, Field(ge=0, le=1)]


class Majority(Spec):
    """The answer of more than half of the people."""

    name: Literal["majority"] = "majority"


class DawidSkene(Spec):
    """The most probable answer, given how each person confuses classes. Of two people nothing tells who is right."""

    name: Literal["dawid_skene"] = "dawid_skene"
    probability: Annotated[float, Field(gt=0.5, lt=1)] = 0.8  # an image whose answer is less probable is in conflict


Consensus = Annotated[Majority | DawidSkene, Field(discriminator="name")]
MAJORITY = Majority()


class Curate(Spec):
    """How images become rows with a split and a class."""

    seed: int = 0
    val_share: Share = 0.1  # of labelled groups that came without a split
    test_share: Share = 0.2
    val_share_of_new: Share = 0.2  # of a new class's labels go to validation, when there are
    min_labels_for_val: Annotated[int, Field(ge=1)] = 5  # this many or more
    unknown_validation: bool = False  # true: a class of validation images alone is allowed, and stays unknown
    min_train_per_class: Annotated[int, Field(ge=1)] = 2  # a full training with fewer images in a class is refused
    min_test_per_class: Annotated[int, Field(ge=0)] = 0  # of each labelled class, as far as training can spare them
    near_duplicate_bits: Annotated[int, Field(ge=-1, le=3)] = 3  # of 64 hash bits that may differ; -1: do not look
    near_duplicate_side: Annotated[int, Field(ge=1)] = 64  # pixels of the shorter side; smaller are not compared
    hold_out_classes: Annotated[int, Field(ge=0)] | list[str] = (
        # classes to treat as unknown, so that openness can be measured: names, or how many of those of 30 images or
        # more to draw by seed in the first generation. Their test images are the open ones; their other images wait
        # in the pool, without their labels, until an annotation names them (annotator truth knows them). 0: none
        0
    )
    consensus: Consensus = MAJORITY  # what several people's answers about an image are taken for
    max_drift: Share = 0.5  # of class proportions against the parent (total variation); more stops the generation
