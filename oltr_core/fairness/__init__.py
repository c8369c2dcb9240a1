"""Features from which a protected attribute (a sex, a camera, a site) has less say in the answer.

| name | what becomes of the features | source |
|---|---|---|
| `lfr` | each is a mixture of prototypes, taken as often by one group as by another | Zemel et al. 2013; Table 6 |
| `latent_debiasing` | each has a twin of the other group, to train on | Ramaswamy et al. 2021; Table 6 |

`fit(features, labels, groups, generator) -> State` on the training images, `(features, state) -> features` for any
image: the attribute is needed for the first and not for the second. For programs: no setting names them and no stage
uses them, since a training sees no attribute of its images. `oltr bench digits-cameras` measures what they do.
"""

from typing import Annotated, get_args

from pydantic import Field

from oltr_core.fairness.latent_debiasing import LatentDebiasing
from oltr_core.fairness.lfr import LearnedFairRepresentation

Fairness = Annotated[LearnedFairRepresentation | LatentDebiasing, Field(discriminator="name")]
MEMBERS = get_args(get_args(Fairness)[0])
