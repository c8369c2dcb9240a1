"""Learners side by side: what arrives when, that all see the same answers, and what is measured of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from oltr_core.benchmark import learners, page, records, run, worlds
from oltr_core.benchmark.ceiling import logistic
from oltr_core.benchmark.cell import Method
from oltr_core.benchmark.data import from_stream
from oltr_core.benchmark.image_sets import stream_of
from oltr_core.benchmark.steps import AT_THE_END, BY_GENERATION, steps
from oltr_core.benchmark.table import TABLES
from oltr_core.layout import Layout
from oltr_core.learners import MEMBERS, Imprint, NearestClassMean, StreamingLDA
from oltr_core.models import NetworkSpec
from oltr_core.models.heads import Cosine
from oltr_core.operating.learning import Update
from oltr_core.seeding import numpy_generator
from tests.core.contracts import worlds as features_of
from tests.core.training.worlds import recipe


# --- what arrives -------------------------------------------------------------------------------------------------
def free():
    return {k: np.arange(100 * k, 100 * k + 60) for k in range(60)}


def test_two_to_four_classes_arrive_in_each_of_ten_generations_with_5_to_49_answers():
    found = worlds.arrivals(free(), list(range(40, 60)), numpy_generator(3, "arrivals"))
    known, pools = set(range(40)), [(part, rows) for part, split, rows in found if split == "pool"]
    assert [part for part, _ in pools] == list(range(len(pools)))
    for part, rows in pools:
        held = [row for p, split, val in found if split == "val" and p == part + 1 for row in val]
        new = {row // 100 for row in [*rows, *held]} - known
        assert 2 <= len(new) <= 4 or part == len(pools) - 1
        for k in new:
            train, val = sum(row // 100 == k for row in rows), sum(row // 100 == k for row in held)
            assert 5 <= train + val <= 49
            assert val == (train + val) // 5
        assert sum(row // 100 in known for row in rows) == worlds.ANSWERS
        known |= new
    assert known == set(range(60)), "the open classes are used up before the tenth generation"
    rows = [row for _, _, mine in found for row in mine]
    assert len(rows) == len(set(rows)), "no image is annotated twice"


def test_the_arrivals_are_those_of_their_seed():
    one, again, other = (
        worlds.arrivals(free(), list(range(40, 60)), numpy_generator(seed, "arrivals")) for seed in (3, 3, 4)
    )
    assert one == again != other


def test_cifar_world_is_ten_generations_and_tunes_on_other_classes_and_images(monkeypatch):
    def made(root, name, split):
        number = 500 if split == "train" else 3
        labels = torch.arange(100).repeat_interleave(number)
        images = torch.zeros(len(labels), 3, 2, 2, dtype=torch.uint8)
        number = torch.arange(len(labels)) + (split == "test") * 50000
        images[:, 0, 0, 0], images[:, 0, 0, 1], images[:, 0, 1, 0] = (
            number % 256,
            number // 256 % 256,
            number // 65536,
        )
        return images, labels

    monkeypatch.setattr(worlds, "cifar", made)
    published, tuning = worlds.cifar_world(None, 0), worlds.cifar_world(None, 100)
    assert torch.equal(published.train, tuning.train)
    assert published.identity_of_training == tuning.identity_of_training
    assert published.identity != tuning.identity
    counts = torch.bincount(published.train_labels)
    assert (len(counts), int(counts[0]), int(counts[-1])) == (40, 400, 4)
    stream, tuned = published.streams["arrivals"], tuning.streams["arrivals"]
    assert stream.annotated
    assert max(stream.parts) == 10
    annotated = {k for k, split in zip(stream.labels, stream.splits, strict=True) if split == "pool"}
    assert 60 <= len(annotated) <= 80
    assert max(annotated) < 80
    assert {k for k in tuned.labels if k >= 40} == set(range(80, 100))
    tested = {i for i, split in zip(tuned.ids, tuned.splits, strict=True) if split == "test"}
    assert not tested & {i for i, split in zip(tuned.ids, tuned.splits, strict=True) if split != "test"}
    assert not tested & {i for i, split in zip(stream.ids, stream.splits, strict=True) if split == "test"}
    assert len(tested) == 60 * worlds.HELD_OUT


# --- what is measured ---------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def world():
    """A parent of 3 classes, features of a stream in which 2 and then 1 arrive and one never does."""
    network = NetworkSpec(head=Cosine())(3, seed=3).eval()
    means = features_of.centroids(7, 1, network.num_features)
    parts, features = [], []
    for split, part, classes, number in [
        ("train", 0, (0, 1, 2), 12), ("val", 0, (0, 1, 2), 4), ("pool", 0, (3, 4, 0), 6), ("val", 1, (3, 4), 2),
        ("pool", 1, (5, 3), 6), ("val", 2, (5,), 2), ("test", 0, (0, 1, 2, 3, 4, 5, 6), 10),
    ]:  # fmt: skip
        labels = torch.tensor(classes).repeat(number)
        x = means[:, labels].transpose(0, 1)
        generator = torch.Generator().manual_seed(len(parts))
        features.append(torch.nn.functional.normalize(x + 0.08 * torch.randn(x.shape, generator=generator), dim=2))
        images = torch.zeros(len(labels), 3, 2, 2, dtype=torch.uint8)
        images[:, 0, 0, 0], images[:, 0, 0, 1] = len(parts), torch.arange(len(labels))
        parts.append((split, part, images, labels))
    network.heads[0].weight.data = means[0, :3].clone()
    return network, torch.cat(features), replace(stream_of(parts), annotated=True)


def test_a_world_of_well_apart_classes_is_learned_and_the_one_that_never_arrives_is_told_apart(world):
    network, features, stream = world
    figures = steps(network, features, stream, Update(learner=StreamingLDA()))
    assert figures["known_accuracy/1"] == figures["unknown_accuracy/1"] == figures["harmonic_mean/2"] == 1
    assert figures["end/loop/forgetting"] == 0
    assert figures["end/open/auroc"] > 0.95
    assert "known_accuracy/3" not in figures
    assert set(figures) == {f"{m}/{g}" for m in BY_GENERATION for g in (1, 2)} | {f"end/{m}" for m in AT_THE_END}


def test_only_classes_that_have_arrived_count_as_unknown_ones(world, monkeypatch):
    network, features, stream = world
    asked = []

    def learn(update, parent, statistics, answers):
        asked.append(answers.labels.tolist())
        return update.learner(parent, statistics, answers, torch.Generator().manual_seed(0))

    monkeypatch.setattr("oltr_core.benchmark.steps.learn", learn)
    figures = steps(network, features, stream, Update(learner=NearestClassMean()))
    assert asked == [[3, 4, 0] * 6, [5, 3] * 6]
    assert figures["unknown_accuracy/1"] == 1, "of classes 3 and 4; 5 and 6 are not known yet"
    mean = np.mean([figures["harmonic_mean/1"], figures["harmonic_mean/2"]])
    assert figures["end/mean_harmonic_mean"] == pytest.approx(mean)


def test_the_ceiling_is_logistic_regression_on_every_image_so_far(world):
    network, features, stream = world
    labels = torch.tensor(stream.labels)
    rows = stream.rows("train") + stream.rows("pool", 0)
    found = logistic(0.01)(network, features[rows], labels[rows])
    x, y = features[rows, 0].numpy().astype(float), labels[rows].numpy()
    weights = np.array([1 / (5 * np.sum(y == k)) for k in y])
    reference = LogisticRegression(C=1 / 0.01, max_iter=1000).fit(x, y, sample_weight=weights)
    with torch.no_grad():
        z = found.classify(features[rows]).mean_logits.numpy()
    np.testing.assert_allclose(
        z - z[:, :1], (reference.decision_function(x) @ (np.eye(5) - np.eye(5)[:1].T)), atol=0.02
    )
    seen = []
    fit = logistic(0.01)

    def from_all(parent, features, labels):
        seen.append((parent.num_classes, len(labels)))
        return fit(parent, features, labels)

    figures = steps(network, features, stream, Update(learner=Imprint()), from_all)
    assert seen == [(3, 36 + 18), (5, 36 + 18 + 12)]
    assert figures["harmonic_mean/2"] == 1


# --- the tables ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rows", [learners.cifar_world(10), learners.digits(0)])
def test_every_learner_has_a_row_on_the_same_training(rows):
    assert {type(method.update.learner) for method in rows} == set(MEMBERS)
    assert len({records.digest_of_method(method) for method in rows}) == len({method.name for method in rows})
    assert all(method.train == rows[0].train for method in rows)


def test_rows_and_seeds_of_one_network_train_it_once_and_the_page_has_every_generation(tmp_path, monkeypatch):
    trained = []
    fit = run.start

    def start(train, *others):
        trained.append(train.seed)
        return fit(train, *others)

    def data(root, seed):
        generator = torch.Generator().manual_seed(7)
        parts = []
        for split, part, classes in [("train", 0, 2), ("val", 0, 2), ("pool", 0, 3), ("test", 0, 3)]:
            labels = torch.arange(classes).repeat_interleave(6)
            parts.append(
                (split, part, torch.randint(256, (len(labels), 3, 8, 8), generator=generator).byte(), labels)
            )
        start = from_stream(stream_of(parts), "open", "")
        return replace(start, streams={"arrivals": replace(stream_of(parts), annotated=True)})

    rows = [
        Method(name=m.name, train=recipe(), update=Update(learner=m)) for m in (StreamingLDA(), NearestClassMean())
    ]
    table = TABLES["cifar-world"]._replace(
        data=data, methods=lambda epochs: rows, epochs=0, seeds=range(2), seeded=False
    )
    monkeypatch.setitem(TABLES, "small", table)
    monkeypatch.setattr(run, "start", start)
    layout = Layout(tmp_path)
    run.run("small", layout, echo=lambda _: None)
    assert trained == [0], "with one seed, and once"
    assert list((layout.store / "resume").iterdir()), "and it is kept"
    text = (layout.results / "small.md").read_text()
    for title in ("By generation: known / unknown / harmonic mean", "At the end and over all generations"):
        assert f"### {title}" in text
    assert "| | gen. 1 |" in text
    cells = [
        cell["figures"]
        for (row, _), cell in records.read(layout.results / "small.jsonl").cells.items()
        if row == "slda"
    ]
    means = (100 * np.mean([of[f"arrivals/{metric}/1"] for of in cells]) for metric in BY_GENERATION)
    assert f"| slda | {' / '.join(f'{mean:.1f}' for mean in means)} |" in text


def test_the_page_shows_one_line_of_generations_and_what_is_measured_at_the_end():
    names = {f"a/{metric}/{n}" for metric in BY_GENERATION for n in (10, 2, 3)} | {"a/end/open/auroc", "b/end/x"}
    end = {"At the end and over all generations": {"a/end/open/auroc": "AUROC"}}
    line = {"a/harmonic_mean/2": "gen. 2", "a/harmonic_mean/3": "gen. 3", "a/harmonic_mean/10": "gen. 10"}
    heading = "By generation: known / unknown / harmonic mean, over seeds"
    assert page.of_steps("a", names, brief=False) == {heading: line} | end
    assert page.of_steps("a", names, brief=True) == end
