"""What people and their spreadsheets write, as what is meant, where only one thing can be meant."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

_DATE = re.compile(
    r"(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})(?:,?[ T]+(\d{1,2}):(\d\d)(?::(\d\d))?(?: ?([AP])M)?)?", re.IGNORECASE
)
SIMILAR = 0.85  # of two names, by difflib
_ERROR = re.compile(r"#\S*[!?]|#N/A|#NV", re.IGNORECASE)


def word(text: str) -> str:
    """A verdict or the name of a column: `New class` is new_class."""
    return "_".join(text.casefold().replace("-", " ").split())


def class_finder(names: Mapping[str, str]) -> Callable[[str], str | None]:
    """What finds the class that a label names, where capitals, composed letters and blanks may differ.

    `names`: every name and alias -> the class. Of none, and of two that differ in nothing else, it finds None.
    """
    alike: dict[str, set[str]] = {}
    for name, known in names.items():
        alike.setdefault(folded(name), set()).add(known)

    def find(label: str) -> str | None:
        of = {names[label]} if label in names else alike.get(folded(label), set())
        return next(iter(of)) if len(of) == 1 else None

    return find


def folded(name: str) -> str:
    """What names have in common that differ in capitals, composed letters and blanks alone."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def similar_name(name: str, others: Iterable[str]) -> str | None:
    """The other name that `name` is probably a typing error for, or None: "type 1" is none for "type 2"."""
    like = {folded(other): other for other in others if other != name and _digits(other) == _digits(name)}
    match = difflib.get_close_matches(folded(name), like, n=1, cutoff=SIMILAR)
    return like[match[0]] if match else None


def _digits(name: str) -> str:
    return re.sub(r"\D", "", name)


def is_error(text: str) -> bool:
    """Whether it is what a spreadsheet shows for a formula that failed, such as #NAME? or #REF!."""
    return _ERROR.fullmatch(text) is not None


def timestamp(value: Any) -> datetime:
    """A time, UTC where none is said: ISO 8601, or what Excel makes of it where that is one day only.

    29.3.2026 14:05 has the day first, 3/29/2026 can only be March, 3/4/2026 is refused. Raises ValueError.
    """
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        at = _rewritten(str(value))
    if not 1970 <= at.year <= 2100:
        raise ValueError(f"answered_at: expected a year from 1970 to 2100, found {str(value)!r}")
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _rewritten(text: str) -> datetime:
    expected = "answered_at: expected ISO 8601 (2026-03-29T14:05:00)"
    if (found := _DATE.fullmatch(text)) is None or len(found[1]) != 4 != len(found[4]):
        raise ValueError(f"{expected}, found {text!r}")
    first, by, second, last, hour, minute, second_of, half = found.groups()
    days = [(first, second, last)] if len(first) == 4 else [(last, second, first)]
    if len(first) != 4 and by != ".":
        days.append((last, first, second))
    clock = [int(part or 0) for part in (hour, minute, second_of)]
    if half:
        clock[0] = clock[0] % 12 + 12 * (half.upper() == "P") if 1 <= clock[0] <= 12 else 24
    possible = set()
    for year, month, day in days:
        try:
            possible.add(datetime(int(year), int(month), int(day), clock[0], clock[1], clock[2]))
        except ValueError:
            continue
    if len(possible) > 1:
        one, other = sorted(possible)
        raise ValueError(f"{expected}, found {text!r}, which may be {one:%Y-%m-%d} or {other:%Y-%m-%d}")
    if not possible:
        raise ValueError(f"{expected}, found {text!r}")
    return possible.pop()


def seconds(value: Any) -> float | None:
    """A duration, with a decimal comma too; 1,234 is refused, for it may be a thousand. Raises ValueError."""
    if value in (None, ""):
        return None
    text = str(value)
    try:
        found = float(text.replace(",", ".") if re.fullmatch(r"\d+,(\d{1,2}|\d{4,})", text) else text)
    except ValueError:
        found = -1.0
    if not 0 <= found < float("inf"):
        raise ValueError(f"seconds: expected a number of 0 or more, found {value!r}")
    return found
