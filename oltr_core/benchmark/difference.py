"""What differs between the settings of two methods, in words."""

from __future__ import annotations

from typing import Any

ABSENT = "not there"


def difference(before: Any, after: Any, path: str = "") -> list[str]:
    """`path: value` for each part of `after` that is other than in `before`.

    A training phase that `before` lacks is compared with the phase before it. A switch that is off is one that
    older settings lack.
    """
    if before == after or (before is False and after == ABSENT):
        return []
    # one method with other parameters, and not two; phases, which have epochs, have names of their own
    if (
        isinstance(before, dict)
        and isinstance(after, dict)
        and (before.get("name") == after.get("name") or before.keys() == after.keys() or "epochs" in before)
    ):
        keys = {**after, **before}
        changes = [difference(before.get(k, ABSENT), after.get(k, ABSENT), f"{path}.{k}".lstrip(".")) for k in keys]
        return [change for of_key in changes for change in of_key]
    if path.endswith("phases") and before and after:
        changes = [f"{path}: {len(after)} in the place of {len(before)}"] if len(after) != len(before) else []
        known = [*before[: len(after)], *after[len(before) - 1 : -1]]
        for i, (old, new) in enumerate(zip(known, after, strict=True)):
            changes += difference(old, new, f"{path}[{i}]")
        return changes
    return [f"{path}: {_text(after)}"]


def _text(value: Any) -> str:
    match value:
        case {"name": name, **fields}:
            return f"{name}({', '.join(f'{k}={_text(v)}' for k, v in fields.items())})" if fields else str(name)
        case dict():
            return f"{{{', '.join(f'{k}={_text(v)}' for k, v in value.items())}}}"
        case list() | tuple():
            return f"[{', '.join(map(_text, value))}]"
        case bool() | None:
            return {True: "true", False: "false", None: "null"}[value]
        case float():
            return f"{value:g}"
        case _:
            return str(value)
