"""What each kind of error costs where a model is used."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from oltr_core.spec import Spec

Price = Annotated[float, Field(ge=0)]


class Costs(Spec):
    """What an error costs, in any unit; an image that is accepted and named rightly costs nothing."""

    known_rejected: Price = 1.0  # an image of a known class is answered "unknown"
    unknown_accepted: Price = 1.0  # one of no known class is named as if it were of one
    confusion: Price = 1.0  # one of a known class is accepted, and named as another
    unknown_share: Annotated[float, Field(ge=0, le=1)] = 0.1  # of the images to come, of no known class
