"""params.yaml as text, from Specs: every default written out, its comment the one that stands in the source."""

from __future__ import annotations

import inspect
import io
import textwrap
import tokenize
import typing
from typing import Any

import yaml

from oltr_core.spec import Spec, members

HEAD = """\
# The only file people configure. Every default is written out; nothing overrides it. Secrets and endpoints are not in
# it: credentials come from the environment. `oltr check` reads it whole and names what is wrong.
# Written by `oltr init` from the comments in the source.
"""
COMMENT_AT = 28  # column
WIDTH = 112


def params_yaml(params: Spec) -> str:
    """The text of params.yaml: a paragraph per section, its docstring above it."""
    parts = [HEAD]
    for name, field in type(params).model_fields.items():
        value = getattr(params, name)
        said = comments(type(params)).get(name, "")
        if isinstance(value, Spec):
            said = " ".join(filter(None, [inspect.cleandoc(type(value).__doc__ or "").partition("\n\n")[0], said]))
        parts.append("\n".join([*_wrapped(said), *_entry(name, value, field.annotation, "", 0)]) + "\n")
    return "\n".join(parts)


def comments(kind: type[Spec]) -> dict[str, str]:
    """Field -> the comment behind it, or within its value, in the source of `kind` and its bases."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not issubclass(base, Spec) or base is Spec:
            continue
        name, depth = "", 0
        said: list[str] = []
        for token in tokenize.generate_tokens(io.StringIO(inspect.getsource(base)).readline):
            depth += (token.string in {"(", "[", "{"}) - (token.string in {")", "]", "}"})
            if token.start[1] == 4 and not depth and token.string in base.model_fields:
                name, said = token.string, []
            elif token.type == tokenize.COMMENT and name:
                said.append(token.string.lstrip("#: "))
                found[name] = " ".join(said)
            elif token.type == tokenize.NEWLINE:
                name = ""
    return found


def _entry(key: str, value: Any, annotation: Any, comment: str, indent: int) -> list[str]:
    pad = " " * indent
    if isinstance(value, Spec):
        if len(_flow(value)) < 40 and not comments(type(value)):
            return [_line(f"{pad}{key}: {_flow(value)}", _choices(annotation, "") if indent == 0 else comment)]
        own = comment if comment != _choices(annotation, "") else ""  # the choices stand behind its name
        return [_line(f"{pad}{key}:", own), *_fields(value, annotation, indent + 2)]
    if isinstance(value, list) and value and isinstance(value[0], Spec):
        lines = [_line(f"{pad}{key}:", comment)]
        for item in value:
            first, *rest = [_flow(item)]
            if len(first) + indent + 4 > WIDTH or any(isinstance(v, Spec) for _, v in item):
                first, *rest = _fields(item, None, indent + 4)
            lines += [f"{pad}  - {first.lstrip()}", *rest]
        return lines
    return [_line(f"{pad}{key}: {_flow(value)}", comment)]


def _fields(value: Spec, annotation: Any, indent: int) -> list[str]:
    kind, said = type(value), comments(type(value))
    lines: list[str] = []
    for name in sorted(kind.model_fields, key="name".__ne__):  # the name first
        field = kind.model_fields[name]
        comment = _choices(annotation if name == "name" else field.annotation, said.get(name, ""))
        lines += _entry(name, getattr(value, name), field.annotation, comment, indent)
    return lines or [" " * indent + "{}"]


def _choices(annotation: Any, comment: str) -> str:
    """The values that a field may have, or the names of a union's members, where there are several."""
    if typing.get_origin(annotation) is typing.Literal:
        names = [str(value) for value in typing.get_args(annotation)]
    else:
        names = [str(m.model_fields["name"].default) for m in members(annotation) if "name" in m.model_fields]
    return "; ".join(filter(None, [" | ".join(names) if len(names) > 1 else "", comment]))


def _flow(value: Any) -> str:
    """On one line, as YAML."""
    text = yaml.safe_dump(_plain(value), default_flow_style=True, sort_keys=False, width=10**6, allow_unicode=True)
    return text.removesuffix("\n...\n").strip()


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        dumped = value.model_dump(mode="json")
        return {name: dumped[name] for name in sorted(dumped, key="name".__ne__)}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _line(text: str, comment: str) -> str:
    """With its comment behind it, aligned; above it where the line would be too long."""
    if not comment:
        return text
    line = f"{text:<{COMMENT_AT - 2}}  # {comment}"
    indent = len(text) - len(text.lstrip())
    return line if len(line) <= 120 else "\n".join([*(" " * indent + c for c in _wrapped(comment)), text])


def _wrapped(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(" ".join(text.split()), WIDTH)]
