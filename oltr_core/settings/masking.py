"""Secrets in addresses: what stands before the @, and tokens of a query, are masked where a text is shown or kept."""

from __future__ import annotations

import contextlib
import logging
import re
import traceback
from typing import Any

_BEFORE_AT = re.compile(r"(?<=://)(?:[^\s/:@'\"<>]*:[^\s'\"<>]*|[^\s/?#'\"<>]+)(?=@)")
_TOKEN = re.compile(
    r"([?&;\s'\"](?:[\w.%-]*(?:token|secret|passw|pwd|key|sig|credential|auth)[\w.%-]*)=)[^\s&#;'\"<>]+",
    re.IGNORECASE,
)


def masked(text: str) -> str:
    """`text` with *** in the place of users, passwords and tokens of its addresses."""
    return _TOKEN.sub(r"\1***", _BEFORE_AT.sub("***", text))


def mask_error(error: BaseException) -> None:
    """Mask the sentences of `error` and of its causes, in place: whoever catches it shows or stores them."""
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        error.args = tuple(masked(a) if isinstance(a, str) else a for a in error.args)
        error = error.__cause__ or error.__context__ or error


def mask_logs() -> None:
    """From now on, whatever any package of this process logs is masked first."""
    make = logging.getLogRecordFactory()
    if getattr(make, "masks", False):
        return

    def make_masked(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = make(*arguments, **named)
        with contextlib.suppress(Exception):  # arguments that do not fit are for the handler to report
            said = record.getMessage()
            if masked(said) != said:
                record.msg, record.args = masked(said), None
        if record.exc_info and record.exc_info[1]:
            record.exc_text = masked("".join(traceback.format_exception(record.exc_info[1]))).rstrip()
        return record

    make_masked.masks = True  # pyright: ignore[reportFunctionMemberAccess]
    logging.setLogRecordFactory(make_masked)
