from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from oltr_core.layout import Layout
from oltr_core.settings.reading import load_run
from oltr_core.settings.upgrade import upgraded
from oltr_core.settings.whole import Settings, load_settings
from oltr_core.spec import parse

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            {"gate": {"tolerance": {}}},
            "params.yaml: gate: there is no key 'tolerance' here; did you mean 'tolerances'?",
        ),
        ({"annotator": {"name": "foldr"}}, "params.yaml: annotator: there is no 'foldr'; did you mean 'folder'?"),
        ({"curate": {"seed": "x"}}, "params.yaml: curate.seed: input should be a valid integer, .*found 'x'"),
        (
            {"budget": {"share_of_arrivals": 30}},
            "params.yaml: budget.share_of_arrivals: .*less than or equal to 1.*30",
        ),
        ({"sources": [{"sources": [{}]}]}, r"params.yaml: sources\[0\].batch: this key is required"),
        (3, "params.yaml: input should be a valid dictionary"),
    ],
)
def test_a_mistake_is_one_sentence_with_file_key_expected_and_found(value, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        parse(Settings, value, "params.yaml")
    assert "\n" not in str(caught.value)


def test_a_misspelt_section_is_answered_with_the_nearest_one(tmp_path):
    (tmp_path / "params.yaml").write_text("evaluat: {}\n")
    with pytest.raises(ValueError, match="no section 'evaluat'; did you mean 'evaluate'"):
        load_settings(Layout(tmp_path))


def test_broken_yaml_is_named_with_its_line(tmp_path):
    (tmp_path / "params.yaml").write_text("gate:\n  tolerances: {a: 1\nbudget: 3\n")
    with pytest.raises(ValueError, match=r"params.yaml:3: expected YAML"):
        load_settings(Layout(tmp_path))


def test_a_missing_params_file_says_how_to_get_one(tmp_path):
    with pytest.raises(ValueError, match="`oltr init` writes a workspace"):
        load_settings(Layout(tmp_path))


def test_a_run_file_with_an_unknown_mode_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "run.yaml").write_text("{generation: '0000', parent: genesis, mode: retrain}\n")
    with pytest.raises(ValueError, match="data/run.yaml: mode: .*'train' or 'update', found 'retrain'"):
        load_run(Layout(tmp_path))


def _leaves(value, path=""):
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path


def test_an_upgraded_file_of_version_0_1_measures_as_it_did():
    """On every test image, with a threshold that counts images, and the gate's tolerances as they were."""
    old = {"update": {"keep_known": 0.9}, "gate": {"tolerances": {"closed/overall": 0.02}}}
    new = upgraded(old)
    assert new["update"] == {"target_tpr": 0.9, "class_balanced": False}
    assert new["evaluate"] == {"gate_share": 0.0}
    assert new["gate"] == old["gate"]
    assert upgraded(new) == new


def test_every_default_is_written_out_in_params_yaml():
    """A default that changes in the code must be a changed parameter for DVC."""
    from oltr_core.params import Params

    written = yaml.safe_load((ROOT / "params.yaml").read_text())
    complete = parse(Params, written, "params.yaml").model_dump(mode="json", by_alias=True)
    missing = set(_leaves(complete)) - set(_leaves(written))
    # a list of sources or phases is compared as a whole: DVC tracks it as one value
    assert not missing, f"params.yaml leaves these out: {sorted(missing)}"


def test_run_yaml_and_params_yaml_share_no_key():
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    run = yaml.safe_load((ROOT / "data" / "run.yaml").read_text())
    assert not set(params) & set(run)
