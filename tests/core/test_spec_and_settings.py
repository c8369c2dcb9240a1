from __future__ import annotations

import os
import stat
from itertools import permutations
from pathlib import Path

import pytest
import yaml

from oltr_core.augmentation.policies import Policy
from oltr_core.layout import Layout
from oltr_core.learners import ImprintReplay, Learner, NearestClassMean
from oltr_core.losses import Loss
from oltr_core.models.backbones import Backbone
from oltr_core.models.heads import HeadSpec
from oltr_core.operating.learning import Update
from oltr_core.params import Params
from oltr_core.profiles import PROFILES
from oltr_core.samplers import Sampler
from oltr_core.scores import Score
from oltr_core.settings import kinds, workspace
from oltr_core.settings.annotator import Annotator
from oltr_core.settings.budget import Budget
from oltr_core.settings.curate import Consensus
from oltr_core.settings.operations import Monitor, RawBatch, Schedule, Storage, Tracking
from oltr_core.settings.reading import flat, load_run, read_yaml
from oltr_core.settings.upgrade import upgraded
from oltr_core.settings.whole import Settings, load_settings
from oltr_core.spec import Spec, members, parse, suggest
from oltr_core.strategies import Strategy
from oltr_core.training.mixing import Mix

ROOT = Path(__file__).parents[2]
UNIONS = {
    "annotator": Annotator,
    "backbone": Backbone,
    "consensus": Consensus,
    "head": HeadSpec,
    "learner": Learner,
    "loss": Loss,
    "mix": Mix,
    "policy": Policy,
    "sampler": Sampler,
    "score": Score,
    "strategy": Strategy,
}


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            {"gate": {"tolerance": {}}},
            "params.yaml: gate: there is no key 'tolerance' here; did you mean 'tolerances'?",
        ),
        ({"annotator": {"name": "foldr"}}, "params.yaml: annotator: there is no 'foldr'; did you mean 'folder'?"),
        (
            {"curate": {"consensus": {"name": "majority", "probability": 0.9}}},
            "params.yaml: curate.consensus.probability: 'majority' has no such key; it is one of dawid_skene",
        ),
        (
            {"curate": {"consensus": {"name": "dawid_skene", "probability": 0.5}}},
            "params.yaml: curate.consensus.*probability: input should be greater than 0.5, found 0.5",
        ),
        (
            {"curate": {"consensus": {"name": "dawid_skene"}}},
            "params.yaml.*'dawid_skene' does nothing where the annotator is 'truth'",
        ),
        (
            {"budget": {"share_of_arrivals": 0, "gold": 0.1}},
            "params.yaml: budget.*gold 0.1 does nothing where share_of_arrivals is 0",
        ),
        ({"budget": {"gold": 1}}, "params.yaml: budget.gold: input should be less than 1"),
        ({"curate": {"seed": "x"}}, "params.yaml: curate.seed: input should be a valid integer, .*found 'x'"),
        (
            {"budget": {"share_of_arrivals": 30}},
            "params.yaml: budget.share_of_arrivals: .*less than or equal to 1.*30",
        ),
        ({"sources": [{"sources": [{}]}]}, r"params.yaml: sources\[0\].batch: this key is required"),
        (3, "params.yaml: input should be a valid dictionary"),
        ({"sources": 3}, "params.yaml: sources: input should be a valid list, found 3"),
        ({"curate": {"seed": [1]}}, r"params.yaml: curate.seed: input should be a valid integer, found \[1\]"),
        (
            {"sources": [{"batch": name, "sources": [{}]} for name in "abcb"]},
            "params.yaml: sources.*2 batches are called 'b'; give each a name of its own",
        ),
        ({"sources": [{"batch": "../b", "sources": [{}]}]}, r"params.yaml: sources\[0\].batch: .*found '../b'"),
        ({"sources": [{"batch": "b", "sources": []}]}, r"params.yaml: sources\[0\].sources: .*at least 1 item"),
        (
            {"schedule": {"monitor": {"quiet_hours": [22, 22]}}},
            r"quiet_hours.*expected two different hours as \[22, 6\], or \[\], found \[22, 22\]",
        ),
        ({"schedule": {"monitor": {"quiet_hours": [22]}}}, r"quiet_hours.*two different hours .*found \[22\]"),
        ({"schedule": {"monitor": {"quiet_hours": [22, 24]}}}, r"quiet_hours\[1\].*less than or equal to 23.*24"),
        (
            {"storage": {"remote": "/mnt/dvc", "features": True}},
            "storage.*features: true does nothing with the remote '/mnt/dvc', .*into S3 alone; write features: false",
        ),
        (
            {"tracking": {"uri": "localhost:5000"}},
            "params.yaml: tracking.uri: expected a folder, or an address that begins with http, .* or databricks "
            "and a colon, found one that begins with 'localhost:'; a server's is written http://localhost:5000$",
        ),
        ({"tracking": {"uri": "htp://here"}}, "tracking.uri: expected a folder, .*begins with 'htp:'"),
    ],
)
def test_a_mistake_is_one_sentence_with_file_key_expected_and_found(value, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        parse(Settings, value, "params.yaml")
    assert "\n" not in str(caught.value)


def _required(kind) -> dict:
    """A value for each field that has no default."""
    values = {"model": "resnet18"}
    return {name: values[name] for name, field in kind.model_fields.items() if field.is_required()}


@pytest.mark.parametrize("union", UNIONS.values(), ids=UNIONS)
def test_a_name_that_is_changed_alone_leaves_the_defaults_of_the_member_before_behind(union):
    """What `dvc exp run -S update.learner.name=...` writes."""
    for before, after in permutations(members(union), 2):
        left = before(**_required(before)).model_dump(mode="json", exclude=set(_required(before)))
        value = {**left, **_required(after), "name": after.model_fields["name"].default}
        assert type(parse(union, value, "params.yaml")) is after


def test_keys_of_another_member_are_left_out_below_other_keys_and_in_lists():
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["update"]["learner"]["name"] = "nearest_class_mean"
    params["train"]["phases"][1]["losses"][1]["name"] = "focal"
    found = parse(Params, params, "params.yaml")
    assert found.update.learner == NearestClassMean()
    assert [loss.name for loss in found.train.phases[1].losses] == ["cross_entropy", "focal"]
    assert parse(list[Score], [{"name": "msp", "k": 3}], "params.yaml")[0].name == "msp"


def test_a_key_of_another_member_that_was_set_is_refused_with_its_owner():
    left = ImprintReplay(steps=200).model_dump(mode="json")
    with pytest.raises(ValueError, match=r"^params.yaml: update.learner.steps: 'nearest_class_mean' has no such key; "
                       r"it is one of imprint_replay, .*set to 200: remove it$"):  # fmt: skip
        parse(Params, {"update": {"learner": {**left, "name": "nearest_class_mean"}}}, "params.yaml")
    with pytest.raises(ValueError, match=r"^params.yaml: update.learner.steps: 'imprint' has no such key"):
        parse(Update, {"learner": {"name": "imprint", "steps": None}}, "params.yaml: update")


def test_a_key_that_no_member_has_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match="there is no key 'steqs' here; did you mean 'steps'?"):
        parse(Learner, {"name": "imprint_replay", "steqs": 300}, "params.yaml")
    with pytest.raises(ValueError, match="there is no key 'steqs' here .there are: name"):
        parse(Learner, {"name": "nearest_class_mean", "steqs": 300}, "params.yaml")


def test_what_may_stand_beside_what_is_refused():
    for remote in ("", "s3://bucket/deer"):
        assert Storage(remote=remote, features=True).features
    for hours in ([], [22, 6], [6, 22], [0, 23]):
        assert Monitor(quiet_hours=hours).quiet_hours == hours
    assert [b.batch for b in Settings(sources=[RawBatch(batch=b, sources=[{}]) for b in ("a.b-2", "0")]).sources]
    databases = ["sqlite:///m.db", "postgresql://u@h/d", "mysql+pymysql://u@h/d", "mssql+pyodbc://u@h/d"]
    for uri in ("", "runs", "/srv/runs", "http://h:5000", "https://h", "file:///r", "databricks", *databases):
        assert Tracking(uri=uri).uri == uri
    secret = "s3://eve:hunter2@bucket/deer"
    with pytest.raises(ValueError, match="storage.remote.*expected an address without a user, password or token"):
        parse(Settings, {"storage": {"remote": secret}}, "params.yaml")


@pytest.mark.parametrize(
    ("budget", "arrivals", "waiting", "images"),
    [
        ({"share_of_arrivals": 0.3}, 10, 0, 3),
        ({"share_of_arrivals": 0.3}, 0, 0, 0),
        ({"share_of_arrivals": 0.3}, 10, 2, 3),
        ({"share_of_arrivals": 0.3}, 10, 50, 50),
        ({"share_of_arrivals": 0.3}, 10, 500, 100),
        ({"share_of_arrivals": 0.3}, 1000, 500, 300),
        ({"share_of_arrivals": 0.3, "max_images": 20}, 1000, 0, 20),
        ({"share_of_arrivals": 0.3, "max_images": 20}, 10, 500, 20),
        ({"share_of_arrivals": 0.3, "max_images": 20}, 10, 0, 3),
        ({"share_of_arrivals": 0.0}, 1000, 500, 0),
    ],
)
def test_people_are_asked_about_a_share_of_the_arrivals_and_images_of_split_classes_do_not_wait_without_end(
    budget, arrivals, waiting, images
):
    assert Budget(**budget).images(arrivals, waiting) == images


# --- the workspace ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("written", "private"),
    [
        ("workspace: {private: true}", True),
        ("workspace: {private: false}", False),
        ("workspace: {name: deer}", False),
        ("workspace:", False),
        ("sources: []", False),
        ("workspace: [", True),
        ("workspace: {private: perhaps}", True),
        (None, True),
    ],
)
def test_a_workspace_is_private_where_it_says_so_or_nobody_knows(tmp_path, written, private):
    if written is not None:
        (tmp_path / "params.yaml").write_text(written)
    assert workspace.is_private(Layout(tmp_path)) is private


def test_a_name_for_servers_is_of_small_letters_digits_and_dashes(tmp_path):
    for folder, name in (("My Deer_2.", "my-deer-2"), ("\u9ce5", "workspace")):
        assert workspace.name_of(Layout(tmp_path / folder)) == name
    (tmp_path / "params.yaml").write_text("workspace: {name: ' Elk & Co '}")
    assert workspace.name_of(Layout(tmp_path)) == "elk-co"


@pytest.mark.parametrize(
    ("private", "before", "new", "old"),
    [(True, 0o002, 0o640, 0o750), (True, 0o077, 0o600, 0o750), (False, 0o002, 0o664, 0o777)],
)
def test_what_a_private_workspace_has_and_gets_is_for_owner_and_group(tmp_path, private, before, new, old):
    layout = Layout(tmp_path)
    layout.params.write_text(f"workspace: {{private: {str(private).lower()}}}")
    held = [layout.data, layout.remote.parent, layout.mlflow_artifacts, layout.mlflow_db, layout.dvc_cache]
    for path in held:
        path.mkdir(parents=True)  # a file in the place of a folder would do as well
        path.chmod(0o777)
    mask = os.umask(before)
    try:
        workspace.keep_private(layout)
        (tmp_path / "later").touch()
    finally:
        os.umask(mask)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "later", *held)] == [new, *[old] * 5]
    workspace.keep_private(Layout(tmp_path / "none"))


def test_every_kind_of_images_is_listed_with_when_to_take_it():
    lines = kinds.listing().splitlines()
    assert set(kinds.KINDS) == set(PROFILES)
    for line, (name, when) in zip(lines, kinds.KINDS.items(), strict=True):
        assert line.split()[0] == name
        assert line.endswith(f" {when}")
    assert len({line.index(when) for line, when in zip(lines, kinds.KINDS.values(), strict=True)}) == 1, "aligned"


# --- files ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "budget: {gold: 0}\ncurate: {}\nbudget: {}\n",
            "yaml:3: expected YAML, found the key 'budget' a second time",
        ),
        ("curate:\n  seed: 1\n  seed: 2\n", "yaml:3: expected YAML, found the key 'seed' a second time; keep one"),
        (
            "compute: {}\nannotator: {name: label_studio,\n  url: http://eve:hunter2@host:8080}\n",
            r"yaml:3: expected YAML, found 'http://\*\*\*@host:8080' between braces or brackets without quotes; put",
        ),
        ("storage:\n  remote: [s3://shop/oltr]\n", "yaml:2: .*'s3://shop/oltr' between braces or brackets without"),
        ("- budget\n", "yaml: expected `key: value` lines, found list"),
        ("", "yaml: expected `key: value` lines, found NoneType"),
        ("curate: {seed: x}\n", "seed: .*found 'x'; a file of an older version is rewritten by `oltr upgrade`$"),
        ("curate: {seed: x}\ncompute: {}\n", "curate.seed: .*found 'x'$"),
        ("annotator: {name: folder, share: 0}\ncompute: {}\n", "yaml: annotator.share: .*greater than 0, found 0$"),
        ("curate: {hold_out_classes: -1}\ncompute: {}\n", "yaml: curate.hold_out_classes: .*found -1$"),
        ("sources: [{batch: b}]\ncompute: {}\n", r"yaml: sources\[0\].sources: this key is required"),
        ("curate: {sead: 3}\ncompute: {}\n", "yaml: curate: there is no key 'sead' here; did you mean 'seed'"),
        ("curate: {seed: 's3://eve:hunter2@host'}\ncompute: {}\n", r"curate.seed: .*found 's3://\*\*\*@host'$"),
    ],
)
def test_a_params_file_that_is_wrong_is_one_sentence(tmp_path, text, sentence):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        load_settings(Layout(tmp_path))


def test_keys_that_yaml_merges_are_there_once_and_a_stage_reads_its_own_sections_alone(tmp_path):
    (tmp_path / "params.yaml").write_text(
        "budget: &b {max_images: 3}\ncurate: {}\nselect: {<<: *b, max_images: 4}\ntrain: 3\n"
    )
    assert load_settings(Layout(tmp_path)).budget.max_images == 3
    assert read_yaml(tmp_path / "params.yaml")["select"] == {"max_images": 4}


def test_an_address_is_read_in_quotes_or_outside_of_braces(tmp_path):
    (tmp_path / "params.yaml").write_text("a: {b: 's3://shop/x', 'c:d': 1}\ne: s3://shop/y\n")
    assert read_yaml(tmp_path / "params.yaml") == {"a": {"b": "s3://shop/x", "c:d": 1}, "e": "s3://shop/y"}


def test_parameters_are_shown_flat_masked_and_no_longer_than_mlflow_takes():
    shown = flat({"a": {"b": 1, "c": {}}, "d": [1, {"e": 2}], "f": "s3://eve:hunter2@host", "g": {"h": "x" * 7000}})
    assert shown == {"a.b": "1", "a.c": "{}", "d": "[1, {'e': 2}]", "f": "s3://***@host", "g.h": "x" * 6000}


@pytest.mark.parametrize(("generation", "wrong"), [("0012", False), ("00012", False), ("012", True), ("001a", True)])
def test_a_generation_has_four_digits_or_more(tmp_path, generation, wrong):
    (tmp_path / "data").mkdir()
    layout = Layout(tmp_path)
    layout.run.write_text(f"{{generation: '{generation}', parent: '0001', mode: update}}\n")
    if wrong:
        with pytest.raises(ValueError, match="data/run.yaml: generation: .*found"):
            load_run(layout)
    else:
        run = load_run(layout)
        assert (run.generation, run.parent, run.mode, run.looks) == (generation, "0001", "update", [])


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
    """On every test image, with a threshold that counts images; tolerances of the gate and learner as they were."""
    old = {"update": {"keep_known": 0.9}, "gate": {"tolerances": {"closed/overall": 0.02}}}
    new = upgraded(old)
    learner = {"name": "imprint_replay"}  # version 0.1 took it where the file named none
    assert new["update"] == {"learner": learner, "target_tpr": 0.9, "class_balanced": False}
    named = {"name": "nearest_class_mean"}
    assert upgraded({"update": {"learner": named}})["update"]["learner"] == named
    assert new["evaluate"] == {"gate_share": 0.0}
    assert new["gate"] == old["gate"]
    assert upgraded(new) == new


def test_every_default_is_written_out_in_params_yaml():
    """A default that changes in the code must be a changed parameter for DVC."""
    written = yaml.safe_load((ROOT / "params.yaml").read_text())
    complete = parse(Params, written, "params.yaml").model_dump(mode="json", by_alias=True)
    missing = set(_leaves(complete)) - set(_leaves(written))
    # a list of sources or phases is compared as a whole: DVC tracks it as one value
    assert not missing, f"params.yaml leaves these out: {sorted(missing)}"


def test_run_yaml_and_params_yaml_share_no_key():
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    run = yaml.safe_load((ROOT / "data" / "run.yaml").read_text())
    assert not set(params) & set(run)


def test_a_field_may_be_called_as_pydantic_calls_its_own():
    class Named(Spec):
        model_dump_to: str = "x"

    assert Named().model_dump_to == "x"


def test_a_spec_is_frozen_and_checks_its_own_defaults():
    class Wrong(Spec):
        number: int = "x"  # pyright: ignore

    with pytest.raises(ValueError, match="integer"):
        Wrong()
    with pytest.raises(ValueError, match="frozen"):
        Settings().storage = None  # pyright: ignore


def test_the_shallowest_mistake_is_the_one_that_is_told():
    value = {"sources": [{"batch": "b", "sources": [{}], "x": 1}], "budget": 3}
    with pytest.raises(ValueError, match=r"^params.yaml: budget: .*found 3$"):
        parse(Settings, value, "params.yaml")


def test_names_of_a_suggestion_are_sorted_and_none_is_said_so():
    assert suggest("bat", ["cat", "bee"]) == "; did you mean 'cat'? (there are: bee, cat)"
    assert suggest("zzz", ["cat", "bee"]) == " (there are: bee, cat)"
    assert suggest("x", []) == " (there are: none)"


@pytest.mark.parametrize(("every", "due"), [(0, []), (1, [1, 2, 3, 4, 5, 6]), (3, [3, 6])])
def test_every_so_many_generations_a_full_training_is_due_and_the_first_is_none_of_them(every, due):
    schedule = Schedule(full_training_every=every)
    assert [number for number in range(7) if schedule.is_due(number)] == due
