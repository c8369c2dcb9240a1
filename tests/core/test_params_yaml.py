"""params.yaml as `oltr init` writes it: the committed file, every profile, and small Specs line by line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import Field

from oltr_core.layout import Layout
from oltr_core.params import Params
from oltr_core.profiles import PROFILES
from oltr_core.settings.upgrade import upgraded
from oltr_core.settings.whole import load_settings
from oltr_core.settings.writing import HEAD, comments, params_yaml
from oltr_core.spec import Spec, parse

ROOT = Path(__file__).parents[2]


def test_the_committed_file_is_what_the_defaults_write():
    """So a default that changes unnoticed changes a parameter that DVC sees, and this test."""
    assert params_yaml(PROFILES["digits"]()) == (ROOT / "params.yaml").read_text(), "`make generated` writes it"


@pytest.mark.parametrize("name", PROFILES)
def test_what_is_written_is_read_back_as_it_was_and_no_line_is_too_long(name):
    params = PROFILES[name]()
    text = params_yaml(params)
    assert parse(Params, yaml.safe_load(text), "params.yaml") == params
    assert max(len(line) for line in text.splitlines()) <= 120
    assert not [line for line in text.splitlines() if line != line.rstrip()]


class Plain(Spec):
    """One line."""

    name: Literal["plain"] = "plain"


class Tuned(Spec):
    """Another.

    This paragraph stays in the source.
    """

    seed: int = 0
    rate: float = 0.5  # a share
    name: Literal["tuned"] = "tuned"
    kind: Literal["mean", "median"] = "mean"  # how
    pair: tuple[int, int] = (1, 2)
    wide: dict[str, float] = {
        "a": 1.0,  # of the first
        "b": 2.0,  # of the second
    }


class Inherits(Tuned):
    """With a field of its base."""

    more: str = "é"  # last


Member = Annotated[Plain | Tuned, Field(discriminator="name")]


class Item(Spec):
    """In a list."""

    label: str = "x"
    inner: Member = Plain()


class Whole(Spec):
    """Everything at once."""

    few: Member = Plain()  # chosen
    many: Member = Tuned()
    items: list[Item] = [Item(), Item(label="y", inner=Tuned())]  # in turn
    short: list[Plain] = [Plain()]
    empty: list[int] = []
    number: int = 3  # of them


EXPECTED = """
# One line. chosen
few: {name: plain}          # plain | tuned

# Another.
many:
  name: tuned               # plain | tuned
  seed: 0
  rate: 0.5                 # a share
  kind: mean                # mean | median; how
  pair: [1, 2]
  wide: {a: 1.0, b: 2.0}    # of the first of the second

# in turn
items:
  - label: x
    inner: {name: plain}    # plain | tuned
  - label: y
    inner:
      name: tuned           # plain | tuned
      seed: 0
      rate: 0.5             # a share
      kind: mean            # mean | median; how
      pair: [1, 2]
      wide: {a: 1.0, b: 2.0}  # of the first of the second

short:
  - {name: plain}

empty: []

# of them
number: 3
"""


def test_a_file_is_written_line_by_line():
    assert params_yaml(Whole()) == HEAD + EXPECTED


def test_comments_are_those_behind_a_field_or_within_its_value_and_of_its_bases():
    assert comments(Inherits) == {
        "rate": "a share", "kind": "how", "wide": "of the first of the second", "more": "last",
    }  # fmt: skip


class Long(Spec):
    """A comment that is too long for its line."""

    inner: Inherits = Inherits()
    text: str = "t" * 60
    after: Tuned = Tuned(wide={f"key_{n}": n for n in range(3)})


class Holder(Spec):
    """Holds it."""

    value: str = "v" * 60  # a comment of so many words that the line of value and comment would be over 120 letters


class Outer(Spec):
    """Outer."""

    held: Holder = Holder()


def test_a_comment_that_is_too_long_for_its_line_stands_above_it():
    assert params_yaml(Outer()).splitlines()[-3:] == [
        "held:",
        "  # a comment of so many words that the line of value and comment would be over 120 letters",
        f"  value: {'v' * 60}",
    ]


def test_words_that_are_not_ascii_are_written_as_they_are():
    assert "    more: é" in params_yaml(Long()).replace("  more", "    more")


# --- files of version 0.1 ----------------------------------------------------------------------------------------
def test_keys_of_version_0_1_are_renamed_in_their_place_and_moved_to_compute():
    old = {
        "train": {
            "device": "cuda", "workers": 4, "seed": 1,
            "network": {"head": {"name": "meta_embedding", "rate": 0.1, "x": 2}},
            "phases": [{"rates": {"trunk": 1}, "epochs": 3, "head": {"rate": 0.2}}, {"epochs": 1}],
        },
        "update": {"learner": {"name": "imprint_replay", "rate": 0.5, "sharpness": 16}, "keep_known": 0.9},
        "evaluate": {"batch_size": 64, "share": 1}, "curate": {"seed": 3, "val_from": 7},
        "budget": {"share_of_arrivals": 0.2},
    }  # fmt: skip
    before = yaml.safe_dump(old)
    new = upgraded(old)
    assert yaml.safe_dump(old) == before, "the file as it was stays"
    assert new == {
        "train": {
            "seed": 1,
            "network": {"head": {"name": "meta_embedding", "centroid_rate": 0.1, "x": 2}},
            "phases": [{"learning_rates": {"trunk": 1}, "epochs": 3, "head": {"centroid_rate": 0.2}}, {"epochs": 1}],
        },
        "update": {
            "learner": {"name": "imprint_replay", "learning_rate": 0.5, "logit_scale": 16}, "target_tpr": 0.9,
            "class_balanced": False,
        },
        "evaluate": {"share": 1, "gate_share": 0.0}, "curate": {"seed": 3, "min_labels_for_val": 7},
        "budget": {"share_of_arrivals": 0.2},
        "compute": {"device": "cuda", "workers": 4, "batch_size": 64},
    }  # fmt: skip
    assert list(new["train"]["network"]["head"]) == ["name", "centroid_rate", "x"]
    assert list(new["train"]["phases"][0]) == ["learning_rates", "epochs", "head"]


def test_commands_that_only_read_take_a_section_of_version_0_1_as_it_is(tmp_path):
    layout = Layout(tmp_path)
    layout.params.write_text("curate: {val_from: 7}\nupdate: 3\n")
    assert load_settings(layout).curate.min_labels_for_val == 7
    layout.params.write_text("compute: {}\ncurate: {val_from: 7}\n")
    with pytest.raises(ValueError, match="params.yaml: curate: there is no key 'val_from' here"):
        load_settings(layout)
    layout.params.write_text("curate: 3\n")
    with pytest.raises(ValueError, match="params.yaml: curate: "):
        load_settings(layout)


def test_empty_sections_and_a_file_of_today_are_taken_as_they_are():
    assert upgraded({"train": None, "update": None, "evaluate": None})["compute"] == {}
    today = {"compute": {}, "update": {"keep_known": 0.9}}
    assert upgraded(today) is today


class Short(Spec):
    """Of one key."""

    name: str = "x"


class Two(Spec):
    """Two of them."""

    inline: Short = Short(name="n" * 31)
    block: Short = Short(name="n" * 32)


def test_a_spec_without_comments_is_on_one_line_as_long_as_it_is_under_40_letters():
    lines = params_yaml(Two()).splitlines()
    assert f"inline: {{name: {'n' * 31}}}" in lines
    assert lines[-2:] == ["block:", f"  name: {'n' * 32}"]
