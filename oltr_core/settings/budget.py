"""How many images people are asked about."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from oltr_core.spec import Spec

ANYWAY = 100  # images of split classes that a batch asks about where its budget is smaller, for they wait unused


class Budget(Spec):
    """How many images people are asked about per generation."""

    share_of_arrivals: Annotated[float, Field(ge=0, le=1)] = 0.3  # of the newest pool batch
    max_images: Annotated[int, Field(ge=0)] = 0  # images, however large that share is; 0: no limit
    gold: Annotated[float, Field(ge=0, lt=1)] = (
        # share of the batch that is, instead of what was chosen, training images whose label a source gave: people
        # are not told which, and their answers to them only measure how often each is right
        0.0
    )

    def images(self, arrivals: int, waiting: int = 0) -> int:
        """How many images people are asked about: `arrivals` came in the newest batch, `waiting` of split classes."""
        wanted = round(self.share_of_arrivals * arrivals)
        if self.share_of_arrivals:
            wanted = max(wanted, min(ANYWAY, waiting))
        return min(wanted, self.max_images) if self.max_images else wanted

    @model_validator(mode="after")
    def _asked(self) -> Budget:
        if self.gold and not self.share_of_arrivals:
            raise ValueError(
                f"gold {self.gold:g} does nothing where share_of_arrivals is 0, for nobody is asked; set it to 0 too"
            )
        return self
