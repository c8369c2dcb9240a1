"""Learners: extend a network by the classes that people named, without the images it was trained on.

`(parent, ClassStatistics, AnnotatedFeatures, generator) -> (network, ClassStatistics)`: the parent is untouched, old
columns keep their place and meaning, and without annotations nothing changes.

| name | new rows | then | source |
|---|---|---|---|
| `imprint` | mean of unit meta-embeddings, equal or energy-weighted | | Sec. 3.4.4 |
| `imprint_replay` | as `imprint` | fine-tunes all rows with pseudo-replay | |
| `fine_tune_new_only` | as `imprint` | fine-tunes on the answers alone: forgets | control; Table 8 |
| `nearest_class_mean` | class means, of old classes too | | Mensink et al. 2013 |
"""

from typing import Annotated, get_args

from pydantic import Field

from oltr_core.learners.fine_tune_new_only import FineTuneNewOnly
from oltr_core.learners.imprint import Imprint
from oltr_core.learners.imprint_replay import ImprintReplay
from oltr_core.learners.nearest_class_mean import NearestClassMean

Learner = Annotated[
    Imprint | ImprintReplay | FineTuneNewOnly | NearestClassMean,
    Field(discriminator="name"),
]
MEMBERS = get_args(get_args(Learner)[0])
