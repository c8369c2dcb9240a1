"""Spec: a frozen, typed, validated set of parameters, and the one way in which user input becomes one.

A method's Spec is callable; its fields are the method's hyperparameters and its call is the paper's equation.
Nothing here imports torch, so that settings can be read before any tensor is needed.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator
from pydantic.fields import FieldInfo

T = TypeVar("T")


class Spec(BaseModel):
    """A frozen set of parameters in which an unknown key is an error that names its nearest neighbours."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _no_unknown_keys(cls, value: Any) -> Any:
        # pydantic would refuse them too, but without saying which keys exist
        for key in value if isinstance(value, dict) else ():
            if key not in cls.model_fields:
                raise ValueError(f"there is no key {key!r} here{suggest(str(key), cls.model_fields)}")
        return value


def suggest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about a misspelt `word`: its nearest neighbours, then every name there is."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1)
    return (f"; did you mean {near[0]!r}?" if near else "") + f" (there are: {', '.join(names) or 'none'})"


def parse(kind: type[T] | Any, value: Any, where: str) -> T:
    """`value` as a `kind`, or a ValueError of one sentence: where, what was expected, what was found.

    `where` names the file and, where `value` stands under a key, ": key" after it. Where a union's `name` was changed
    and nothing else (`dvc exp run -S update.learner.name=...`), the keys of the member before are left out.
    """
    file, _, key = where.partition(": ")
    try:
        return TypeAdapter(kind).validate_python(_fitting(kind, value, key))
    except ValidationError as error:
        first = min(error.errors(), key=lambda e: len(e["loc"]))
        sentence = f"{key}{_path(first['loc'])}: {_sentence(first)}"
    except ValueError as error:
        sentence = str(error)
    raise ValueError(f"{file}: {sentence.lstrip('.')}".replace(": : ", ": ")) from None


def members(annotation: Any) -> list[type[Spec]]:
    """The Specs that an annotation allows: those of a union, or the one that it is."""
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return [annotation]
    if typing.get_origin(annotation) in (types.UnionType, typing.Union, typing.Annotated):
        return [member for part in typing.get_args(annotation) for member in members(part)]
    return []


def _fitting(annotation: Any, value: Any, where: str) -> Any:
    """`value` without the keys that its Spec lacks and another member of the same union has, at that one's default.

    Raises ValueError where such a key was set to something else: it may be meant, and would do nothing.
    """
    if isinstance(value, list) and typing.get_origin(annotation) is list:
        return [_fitting(typing.get_args(annotation)[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    specs = members(annotation)
    if not isinstance(value, dict) or not specs:
        return value
    name = value.get("name")
    chosen = specs if len(specs) == 1 else [s for s in specs if s.model_fields["name"].default == name]
    if not chosen:
        return value  # for pydantic to refuse
    fields, kept = chosen[0].model_fields, {}
    for key, inner in value.items():
        if key in fields:
            kept[key] = _fitting(fields[key].annotation, inner, f"{where}.{key}")
        elif not (owners := [spec for spec in specs if key in spec.model_fields]):
            kept[key] = inner  # for the Spec to refuse
        elif not any(_is_default(spec.model_fields[key], inner) for spec in owners):
            others = ", ".join(spec.model_fields["name"].default for spec in owners)
            raise ValueError(
                f"{where}.{key}: {name!r} has no such key; it is one of {others}, set to {inner!r}: remove it"
            )
    return kept


def _is_default(field: FieldInfo, value: Any) -> bool:
    kind: Any = field.annotation
    try:
        found = TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return not field.is_required() and found == field.get_default(call_default_factory=True)


def _path(loc: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)


def _sentence(error: Any) -> str:
    found = error["input"]
    match error["type"]:
        case "value_error":
            return str(error["ctx"]["error"])
        case "union_tag_invalid":
            tag, known = error["ctx"]["tag"], [name.strip(" '") for name in error["ctx"]["expected_tags"].split(",")]
            return f"there is no {tag!r}{suggest(str(tag), known)}"
        case "union_tag_not_found":
            return f"expected a mapping with a `name`, found {found!r}"
        case "missing":
            return "this key is required and was not found"
        case _:
            return f"{error['msg'][0].lower()}{error['msg'][1:]}, found {found!r}"
