"""Numbers by name, and the reasons for those that could not be computed."""

import math
from dataclasses import dataclass, field


@dataclass
class Measured:
    """A metric is in one of the two: a finite number in `values`, or a reason in `absent`; never NaN."""

    values: dict[str, float] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, value: float | str) -> None:
        """Record a number, or the reason why there is none."""
        if isinstance(value, str):
            self.absent[name] = value
        else:
            assert math.isfinite(value), f"{name} is {value}: say why it is absent instead"
            self.values[name] = float(value)

    def under(self, group: str) -> "Measured":
        """The same with `group/` before every name."""
        return Measured(
            {f"{group}/{name}": value for name, value in self.values.items()},
            {f"{group}/{name}": reason for name, reason in self.absent.items()},
        )

    def __or__(self, other: "Measured") -> "Measured":
        return Measured(self.values | other.values, self.absent | other.absent)
