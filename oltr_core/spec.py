"""Spec: a frozen, typed, validated set of parameters, and the one way in which user input becomes one.

A method's Spec is callable; its fields are the method's hyperparameters and its call is the paper's equation.
Nothing here imports torch, so that settings can be read before any tensor is needed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

T = TypeVar("T")


class Spec(BaseModel):
    """A frozen set of parameters in which an unknown key is an error that names its nearest neighbours."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _no_unknown_keys(cls, value: Any) -> Any:
        # pydantic would refuse them too, but without saying which keys exist
        if isinstance(value, dict):
            known = {field.alias or name for name, field in cls.model_fields.items()}
            for key in value:
                if key not in known:
                    raise ValueError(f"there is no key {key!r} here{suggest(str(key), known)}")
        return value


def suggest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about a misspelt `word`: its nearest neighbours, then every name there is."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    return (f"; did you mean {near[0]!r}?" if near else "") + f" (there are: {', '.join(names) or 'none'})"


def parse(kind: type[T] | Any, value: Any, where: str) -> T:
    """`value` as a `kind`, or a ValueError of one sentence: where, what was expected, what was found.

    `where` names the file and, where `value` stands under a key, ": key" after it.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = min(error.errors(), key=lambda e: len(e["loc"]))
        path = ".".join(filter(None, [where.partition(": ")[2], _path(first["loc"])]))
        raise ValueError(f"{where.partition(': ')[0]}: {path}: {_sentence(first)}".replace(": : ", ": ")) from None


def _path(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".")


def _sentence(error: Any) -> str:
    found = error["input"]
    match error["type"]:
        case "value_error":
            return str(error["ctx"]["error"])
        case "union_tag_invalid":
            context = error["ctx"]
            known = [name.strip(" '") for name in context["expected_tags"].split(",")]
            return f"there is no {context['tag']!r}{suggest(str(context['tag']), known)}"
        case "union_tag_not_found":
            return f"expected a mapping with a `name`, found {found!r}"
        case "missing":
            return "this key is required and was not found"
        case _:
            message = error["msg"][0].lower() + error["msg"][1:]
            return f"{message}, found {found!r}"
