"""Names of parameters and metrics as MLflow accepts them: they may hold names of classes, attributes and places."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from oltr_core import digest

LONGEST = 250  # letters that MLflow takes
_REFUSED = re.compile(r"[^/\w.\- :]")
#: where a part of a path begins that is refused: one that is empty, "." or "..", and ".." before any name
_NO_PATH = re.compile(r"(?<![^/])(?=\.{0,2}(/|\Z))|\A(?=\.\.)")


def accepted(named: Mapping[str, Any]) -> dict[str, Any]:
    """`named` under names that MLflow accepts.

    A name that has to be changed ends with a digest of what it was: no two become one, in a run or along a line.
    """
    return {_accepted(name): value for name, value in named.items()}


def _accepted(name: str) -> str:
    text = _NO_PATH.sub("_", _REFUSED.sub("_", name))
    if text == name and len(name) <= LONGEST:
        return name
    end = f" {digest.of_value(name)[:8]}"
    return text[: LONGEST - len(end)] + end
