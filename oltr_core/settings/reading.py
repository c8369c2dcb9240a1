"""Reading params.yaml and data/run.yaml: one sentence with file and key for what is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import Field

from oltr_core.layout import Layout
from oltr_core.settings.masking import masked
from oltr_core.settings.sections import SECTIONS
from oltr_core.settings.upgrade import read_as_today
from oltr_core.spec import Spec, parse, suggest

S = TypeVar("S", bound=Spec)


class Run(Spec):
    """data/run.yaml: what is being made. Its keys may not stand in params.yaml (DVC would refuse both)."""

    generation: Annotated[str, Field(pattern=r"^\d{4,}$")]
    parent: str
    mode: Literal["train", "update"]  # a full training, or an extension of the parent's classifier
    looks: list[dict[str, Any]] = []  # of `oltr monitor` before the opening: at, batch, unknown_rate, drift


def load_run(layout: Layout) -> Run:
    """data/run.yaml. Raises ValueError naming file and key."""
    return parse(Run, read_yaml(layout.run), "data/run.yaml")


def load_sections(kind: type[S], layout: Layout) -> S:
    """The sections of params.yaml that `kind` has fields for. Raises ValueError naming file and key."""
    name, raw = layout.params.name, read_yaml(layout.params)
    for section in raw:
        if section not in SECTIONS:
            raise ValueError(f"{name}: there is no section {section!r}{suggest(str(section), SECTIONS)}")
    try:
        return parse(kind, {key: of for key, of in read_as_today(raw).items() if key in kind.model_fields}, name)
    except ValueError as error:
        # a file without this section was written for version 0.1, which had its keys elsewhere
        older = "" if "compute" in raw else "; a file of an older version is rewritten by `oltr upgrade`"
        raise ValueError(f"{masked(as_written(str(error), raw))}{older}") from None


def as_written(sentence: str, raw: Any) -> str:
    """The sentence with its key as the file has it: pydantic puts a union's member into it, update.score.knn.k."""
    file, _, rest = sentence.partition(": ")
    key, _, said = rest.partition(": ")
    if " " in key:
        return sentence
    kept, at = "", raw
    for part in re.findall(r"\[\d+\]|\.?[^.\[]+(?:\[\D[^\]]*\])?", key):
        name = part.strip(".[]")
        if isinstance(at, list) and name.isdigit() and int(name) < len(at):
            at = at[int(name)]
        elif isinstance(at, dict) and name in at:
            at = at[name]
        elif not isinstance(at, dict) or at.get("name") == name:
            continue  # a member of a union, and no key
        else:
            at = {}  # a key that is not there
        kept += part
    return f"{file}: {kept}: {said}"


class _Loader(yaml.SafeLoader):
    """YAML in which a key may stand once (of two, the first would be lost without a word), and that DVC reads too."""

    def scan_plain(self) -> Any:
        token = super().scan_plain()
        if self.flow_level and ":" in token.value:  # DVC's parser refuses it: "found unexpected ':'"
            problem = f"{masked(token.value)!r} between braces or brackets without quotes; put it in quotes"
            raise yaml.MarkedYAMLError(None, None, problem, token.start_mark)
        return token

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys: set[str] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in keys:
                    problem = f"the key {key.value!r} a second time; keep one of the two"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                keys.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping. Raises ValueError naming the file, the line and what to do."""
    if not path.exists():
        raise ValueError(f"{path}: this file is not here; `oltr init` writes a workspace with its defaults")
    try:
        value = yaml.load(path.read_text(), _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ValueError(f"{path}{line}: expected YAML, found {getattr(error, 'problem', error)}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: expected `key: value` lines, found {type(value).__name__}")
    return value


def flat(value: Any, path: str = "") -> dict[str, str]:
    """{"a": {"b": 1}} -> {"a.b": "1"}; a list is one value."""
    if not isinstance(value, dict) or not value:
        return {path: masked(str(value))[:6000]}
    inner = (flat(of_key, f"{path}.{key}".lstrip(".")) for key, of_key in value.items())
    return {name: text for part in inner for name, text in part.items()}
