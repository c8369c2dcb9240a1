"""What strategies share: take the best of a figure of merit."""

from collections.abc import Callable

from oltr_core.interfaces import Picks
from oltr_core.shapes import Float, Tensor


def best(merit: Float[Tensor, "N"], budget: int, reason: Callable[[int], str]) -> Picks:
    """The `budget` rows of the largest merit, best first; equal merits in the order of the rows."""
    indices = merit.argsort(descending=True, stable=True)[:budget]
    return Picks(indices, [reason(int(i)) for i in indices], merit[indices])
