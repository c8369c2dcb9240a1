"""A checkpoint is one file, comes back as it went in, and says what is wrong with a bad one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from oltr_core import checkpoint
from oltr_core.checkpoint import Card, OutputClasses
from oltr_core.images.transforms import Transform
from oltr_core.interfaces import ClassStatistics
from oltr_core.models.heads import Linear
from tests.core.training.worlds import NETWORK


def _saved(path, **fields):
    network = NETWORK(3, seed=5)
    network.heads[0].memory.centroids.normal_()
    card = Card(
        class_ids=[4, 0, 7],
        class_names=["d", "a", "g"],
        class_counts=[5, 9, 2],
        network=network.spec,
        transform=Transform(size=8),
        **fields,
    )
    statistics = ClassStatistics(
        torch.rand(1, 3, 8),
        torch.rand(1, 3, 8),
        torch.tensor([5.0, 9.0, 2.0]),
        {"labels": torch.tensor([0, 1])},
        {"sums": torch.rand(1, 3, 8, dtype=torch.float64)},
        {"labels": torch.tensor([2])},
        {"scatter": torch.rand(1, 5, 5, dtype=torch.float64)},
    )
    card = checkpoint.save(path, network, card, {"median": torch.tensor([0.5])}, statistics)
    return network, card, statistics


def test_it_comes_back_as_it_went_in(tmp_path):
    network, card, statistics = _saved(tmp_path / "m.safetensors", score={"name": "msp"}, threshold=0.25)
    found = checkpoint.load(tmp_path / "m.safetensors")
    assert found.card == card == checkpoint.read_card(tmp_path / "m.safetensors")
    assert not found.network.training
    images = torch.rand(2, 3, 8, 8)
    torch.testing.assert_close(found.network(images).logits, network.eval()(images).logits, rtol=0, atol=0)
    assert torch.equal(found.score_state["median"], torch.tensor([0.5]))
    assert found.statistics is not None
    assert torch.equal(found.statistics.means, statistics.means)
    assert torch.equal(found.statistics.kept["labels"], torch.tensor([0, 1]))


def test_equal_content_has_equal_bytes(tmp_path):
    for name in ("a", "b"):
        torch.manual_seed(0)
        _saved(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_trunk_digest_follows_the_trunk_and_the_head_digest_the_head(tmp_path):
    network, first, _ = _saved(tmp_path / "m")
    network.heads[0].extend(torch.rand(1, 8), torch.rand(1, 8))
    grown = first.model_copy(
        update={"class_ids": [4, 0, 7, 9], "class_names": list("dagz"), "class_counts": [5, 9, 2, 1]}
    )
    second = checkpoint.save(tmp_path / "m", network, grown)
    assert second.trunk_digest == first.trunk_digest
    assert second.head_digest != first.head_digest
    assert checkpoint.load(tmp_path / "m").network.num_classes == 4


def test_the_card_tells_the_network_as_it_is_and_not_as_it_began(tmp_path):
    network, card, _ = _saved(tmp_path / "m")
    network.replace_heads(Linear())
    assert checkpoint.save(tmp_path / "m", network, card).network.head == Linear()


def test_reading_the_card_needs_no_more_of_the_file_than_its_header(tmp_path):
    _, card, _ = _saved(tmp_path / "m")
    assert checkpoint.read_card(tmp_path / "m").class_names == card.class_names


def test_a_missing_file_says_how_to_get_it(tmp_path):
    with pytest.raises(ValueError, match="is not here; `dvc pull`"):
        checkpoint.load(tmp_path / "none")


def test_a_file_of_another_kind_is_named(tmp_path):
    (tmp_path / "m").write_bytes(b"\x80\x04pickle")
    with pytest.raises(ValueError, match="expected a safetensors file"):
        checkpoint.load(tmp_path / "m")


def test_safetensors_without_a_card_are_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "m")
    with pytest.raises(ValueError, match="without its card"):
        checkpoint.load(tmp_path / "m")


def test_changed_weights_are_refused(tmp_path):
    _, card, _ = _saved(tmp_path / "m")
    tensors = load_file(tmp_path / "m")
    tensors["heads.0.classifier.weight"] += 1
    save_file(tensors, tmp_path / "m", metadata={"oltr.card": card.model_dump_json()})
    with pytest.raises(ValueError, match="changed after they were written"):
        checkpoint.load(tmp_path / "m")


def test_weights_of_another_network_are_refused(tmp_path):
    _, card, _ = _saved(tmp_path / "m")
    tensors = load_file(tmp_path / "m")
    del tensors["heads.0.memory.centroids"]
    save_file(tensors, tmp_path / "m", metadata={"oltr.card": card.model_dump_json()})
    with pytest.raises(ValueError, match="not those of the network on its card"):
        checkpoint.load(tmp_path / "m")


def test_another_version_is_named(tmp_path):
    _, card, _ = _saved(tmp_path / "m")
    text = card.model_dump_json().replace('"version":3', '"version":4')
    save_file(load_file(tmp_path / "m"), tmp_path / "m", metadata={"oltr.card": text})
    with pytest.raises(ValueError, match="expected a checkpoint of version 3, found version 4"):
        checkpoint.read_card(tmp_path / "m")


def test_no_pickle_is_read_or_written_by_the_checkpoint_and_the_resume_state():
    code = (
        "import pickle, pathlib, tempfile, torch\n"
        "def refuse(*a, **k): raise AssertionError('pickled')\n"
        "from tests.core.test_checkpoint import _saved\n"
        "from oltr_core import checkpoint\n"
        "pickle.dump = pickle.dumps = pickle.load = pickle.loads = torch.save = torch.load = refuse\n"
        "path = pathlib.Path(tempfile.mkdtemp()) / 'm'\n"
        "_saved(path); checkpoint.load(path)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_statistic_comes_back_and_none_where_there_was_none(tmp_path):
    network, card, statistics = _saved(tmp_path / "m")
    found = checkpoint.load(tmp_path / "m").statistics
    for name in ("means", "stds", "counts"):
        assert torch.equal(getattr(found, name), getattr(statistics, name))
    for group in ("kept", "totals", "exemplars", "projected"):
        (name,) = getattr(statistics, group)
        assert getattr(found, group).keys() == {name}
        assert torch.equal(getattr(found, group)[name], getattr(statistics, group)[name])
    checkpoint.save(tmp_path / "bare", network, card)
    bare = checkpoint.load(tmp_path / "bare")
    assert bare.statistics is None
    assert bare.score_state == {}


def test_a_digest_is_of_names_types_shapes_and_values_in_any_order():
    base = {"a": torch.zeros(2, 3), "b": torch.ones(1)}
    same = checkpoint.digest_of(base)
    assert checkpoint.digest_of({"b": torch.ones(1), "a": torch.zeros(2, 3)}) == same
    others = [
        {"a": torch.zeros(2, 3), "c": torch.ones(1)},
        {"a": torch.zeros(3, 2), "b": torch.ones(1)},
        {"a": torch.zeros(2, 3, dtype=torch.int32), "b": torch.ones(1)},
        {"a": torch.zeros(2, 3), "b": torch.zeros(1)},
        {"a": torch.zeros(2, 3)},
    ]
    assert len({same, *map(checkpoint.digest_of, others)}) == 6


def test_a_card_is_read_that_calls_its_output_classes_answers(tmp_path):
    _, card, _ = _saved(tmp_path / "m")
    raw = json.loads(card.model_dump_json())
    assert raw.pop("output_classes") is None
    raw["answers"] = {"ids": [4], "names": ["deer"], "of": [0, -1, 0, 0]}
    save_file(load_file(tmp_path / "m"), tmp_path / "old", metadata={"oltr.card": json.dumps(raw)})
    expected = OutputClasses(ids=[4], names=["deer"], of=[0, -1, 0, 0])
    assert checkpoint.read_card(tmp_path / "old").output_classes == expected


def test_a_card_of_version_1_is_read_with_its_rate_under_the_new_name(tmp_path):
    _, card, _ = _saved(tmp_path / "m")
    raw = json.loads(card.model_dump_json())
    raw["version"] = 1
    raw["network"]["head"]["rate"] = 0.25
    del raw["network"]["head"]["centroid_rate"]
    save_file(load_file(tmp_path / "m"), tmp_path / "old", metadata={"oltr.card": json.dumps(raw)})
    found = checkpoint.load(tmp_path / "old")
    assert (found.card.version, found.card.network.head.centroid_rate) == (3, 0.25)
    assert found.network.heads[0].memory.rate == 0.25
    raw["network"]["head"] = {"name": "linear"}  # which has no rate
    save_file({}, tmp_path / "linear", metadata={"oltr.card": json.dumps(raw)})
    assert checkpoint.read_card(tmp_path / "linear").network.head == Linear()


@pytest.mark.parametrize("version", [1, 2])
def test_statistics_of_an_older_version_have_neither_totals_nor_exemplars(tmp_path, version):
    _, card, statistics = _saved(tmp_path / "m")
    raw = json.loads(card.model_dump_json()) | {"version": version}
    tensors = {
        name: tensor
        for name, tensor in load_file(tmp_path / "m").items()
        if not any(group in name for group in ("totals", "exemplars", "projected"))
    }
    save_file(tensors, tmp_path / "old", metadata={"oltr.card": json.dumps(raw)})
    found = checkpoint.load(tmp_path / "old").statistics
    assert torch.equal(found.means, statistics.means)
    assert (found.totals, found.exemplars, found.projected) == ({}, {}, {})


def test_the_classes_that_a_model_can_predict_are_its_columns_or_those_that_a_register_left():
    network = NETWORK(4)
    card = Card(
        class_ids=[4, 0, 7, 9], class_names=list("dagz"), class_counts=[5, 9, 2, 1], network=network.spec,
        transform=Transform(),
    )  # fmt: skip
    outputs = network.eval().classify(torch.rand(3, 1, network.num_features))
    assert (card.output_class_ids, card.output_class_names, card.output_class_counts) == (
        [4, 0, 7, 9],
        list("dagz"),
        [5, 9, 2, 1],
    )
    assert card.merge_columns(outputs) is outputs
    merged = card.model_copy(
        update={"output_classes": OutputClasses(ids=[4, 7], names=["deer", "goat"], of=[0, -1, 1, 0])}
    )
    assert (merged.output_class_ids, merged.output_class_names, merged.output_class_counts) == (
        [4, 7],
        ["deer", "goat"],
        [6, 2],
    )
    p, found = (o.logits[:, 0].double().exp() for o in (outputs, merged.merge_columns(outputs)))
    torch.testing.assert_close(found, torch.stack([p[:, 0] + p[:, 3], p[:, 2]], 1), rtol=1e-4, atol=1e-5)
    values = torch.tensor([0.5, 8.0, 2.0, 1.5], dtype=torch.float64)
    assert merged.output_classes is not None
    assert torch.equal(merged.output_classes.of_columns(values), torch.tensor([2.0, 2.0], dtype=torch.float64))


def test_a_card_says_by_default_that_nothing_was_chosen_merged_or_rolled_up():
    card = Card(class_ids=[], class_counts=[], network=NETWORK, transform=Transform())
    assert card.version == 3
    assert (card.threshold, card.target_tpr, card.threshold_by, card.unknown_accepted) == (None, 0.95, "known_kept", 0.2)  # fmt: skip # noqa: E501
    assert (card.roll_up, card.temperature, card.reference_seed, card.tuned_on_unknown) == (0, 1, 0, 0)
    assert (card.output_classes, card.class_balanced, card.score, card.parent, card.recipe) == (
        None,
        False,
        {},
        "",
        {},
    )


@pytest.mark.parametrize(
    ("version", "read"), [(0, False), (1, True), (2, True), (3, True), (4, False), (None, False)]
)
def test_versions_1_to_3_are_read(tmp_path, version, read):
    _, card, _ = _saved(tmp_path / "m")
    raw = json.loads(card.model_dump_json()) | {"version": version}
    save_file({}, tmp_path / "other", metadata={"oltr.card": json.dumps(raw)})
    if read:
        assert checkpoint.read_card(tmp_path / "other").version == 3
        return
    with pytest.raises(ValueError, match=f"other: expected a checkpoint of version 3, found version {version}"):
        checkpoint.read_card(tmp_path / "other")


def test_a_rate_is_renamed_in_version_1_alone(tmp_path):
    _, card, _ = _saved(tmp_path / "m")
    raw = json.loads(card.model_dump_json()) | {"version": 2}
    raw["network"]["head"]["rate"] = 0.25
    save_file({}, tmp_path / "m", metadata={"oltr.card": json.dumps(raw)})
    with pytest.raises(ValueError, match="rate"):
        checkpoint.read_card(tmp_path / "m")


def test_a_column_without_an_id_is_an_error_of_ours(tmp_path):
    network, card, _ = _saved(tmp_path / "m")
    with pytest.raises(AssertionError, match="one class id per column"):
        checkpoint.save(tmp_path / "n", network, card.model_copy(update={"class_ids": [4, 0]}))
