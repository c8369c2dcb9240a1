"""How many images people are asked about."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from oltr_core.spec import Spec


class Budget(Spec):
    """How many images people are asked about per generation."""

    share_of_arrivals: Annotated[float, Field(ge=0, le=1)] = 0.3  # of the newest pool batch
