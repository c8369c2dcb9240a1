"""Learners: extend a network by the classes that people named, without the images it was trained on.

`(parent, ClassStatistics, AnnotatedFeatures, generator) -> (network, ClassStatistics)`: the parent is untouched, old
columns keep their place and meaning, and without annotations nothing changes.

| name | new rows | then | source |
|---|---|---|---|
| `imprint` | mean of unit meta-embeddings, equal or energy-weighted | | Sec. 3.4.4 |
| `imprint_replay` | as `imprint` | fine-tunes all rows with pseudo-replay, diagonal or correlated | |
| `exemplar_replay` | as `imprint` | fine-tunes all rows on stored features | Rebuffi et al. 2017 |
| `lwf` | as `imprint` | fine-tunes on annotated images, distils the parent's logits | Li and Hoiem 2016; Table 9 |
| `acl` | as `imprint` | maps that tasks share and that the new one has alone | Ebrahimi et al. 2020; Table 9 |
| `fine_tune_new_only` | as `imprint` | fine-tunes on annotated images alone: forgets | control; Table 8 |
| `nearest_class_mean` | class means, of old classes too | | Mensink et al. 2013 |
| `slda` | discriminants of class means under one covariance; linear heads | | Hayes and Kanan 2020 |
| `ridge` | class-balanced least squares from the same statistics; linear heads | | Fang et al. 2024 (AIR) |
| `ridge` with `projection` | the same on relu(R x), R fixed and random | | McDonnell et al. 2023 (RanPAC) |

Rows of `ridge` and `slda` are solved for and not trained: nothing is drawn by chance but what sets the logits' scale.
"""

from typing import Annotated, get_args

from pydantic import Field

from oltr_core.learners.acl import AdversarialContinualLearning
from oltr_core.learners.exemplar_replay import ExemplarReplay
from oltr_core.learners.fine_tune_new_only import FineTuneNewOnly
from oltr_core.learners.imprint import Imprint
from oltr_core.learners.imprint_replay import ImprintReplay
from oltr_core.learners.lwf import LearningWithoutForgetting
from oltr_core.learners.nearest_class_mean import NearestClassMean
from oltr_core.learners.ridge import Ridge
from oltr_core.learners.slda import StreamingLDA

Learner = Annotated[
    Imprint
    | ImprintReplay
    | ExemplarReplay
    | FineTuneNewOnly
    | LearningWithoutForgetting
    | AdversarialContinualLearning
    | NearestClassMean
    | StreamingLDA
    | Ridge,
    Field(discriminator="name"),
]
MEMBERS = get_args(get_args(Learner)[0])
