"""Analyses of a sealed generation, against its predictions, its features and scikit-learn."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from sklearn.metrics import f1_score, silhouette_samples
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from oltr_core import ledger
from oltr_core.analyses import attributes, embedding, exploration, f1_gain, identification, memory, open_threshold
from oltr_core.analyses import loaded as loading
from oltr_core.analyses.associations import SPACES, space
from oltr_core.analyses.loaded import head_of, memory_feature
from oltr_core.inference import classify
from oltr_core.layout import GENESIS, Layout
from oltr_core.metrics.identification import pseudo_shot
from oltr_core.schema import UNKNOWN
from tests.core.stages import loop_world as world
from tests.core.test_charts import points, strokes, texts

RESULTS = Path(__file__).parents[3] / "docs" / "results"
FEW = [phase.model_copy(update={"epochs": 1}) for phase in world.QUICK.phases]


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """Generation 0 of one epoch, sealed."""
    train = world.QUICK.model_copy(update={"phases": FEW}).model_dump(mode="json")
    layout = world.make(tmp_path_factory.mktemp("analysed"), train=train)
    world.compute(layout)
    world.seal(layout, "0000")
    return layout


@pytest.fixture(scope="module")
def loaded(layout):
    return loading.load(layout, "0000")


@pytest.fixture(scope="module")
def told(loaded):
    """What predictions.parquet says of the test images, by their true and nearest class."""
    card = loaded.model.card
    names = dict(zip(card.class_ids, card.class_names, strict=True))
    said = pl.read_parquet(loaded.layout.generation("0000").predictions).filter(split="test")
    rows = said.join(pl.read_parquet(loaded.layout.generation("0000").manifest).select("image_id", "label", true="class_id"), on="image_id")  # fmt: skip # noqa: E501
    rows = rows.filter(pl.col("label").is_not_null()).sort("image_id")
    return rows.with_columns(
        truth=pl.col("true").replace_strict(names, default=UNKNOWN, return_dtype=pl.String),
        nearest=pl.col("class_id").replace_strict(names, return_dtype=pl.String),
        rejected=pl.col("score") > card.threshold,
    )


def test_analyses_see_the_test_images_as_the_predictions_tell_them(loaded, told):
    found = loading.tested(loaded)
    assert found.select("image_id", "label", "truth", "nearest").equals(told.select("image_id", "label", "truth", "nearest"))  # fmt: skip # noqa: E501
    expected = [UNKNOWN if r else n for r, n in told.select("rejected", "nearest").iter_rows()]
    assert found["answer"].to_list() == expected
    assert {UNKNOWN, *loaded.model.card.class_names} >= set(found["truth"]) > {UNKNOWN}


def test_a_sample_is_drawn_by_chance_in_the_order_of_the_rows(told):
    assert loading.sample(told, told.height, "x").equals(told)
    some = loading.sample(told, told.height - 1, "x")
    assert some.height == told.height - 1
    assert some["image_id"].is_sorted()
    assert some["image_id"].is_unique().all()
    assert some.equals(loading.sample(told, told.height - 1, "x"))


def test_the_line_of_a_generation_and_what_is_not_there(layout):
    assert [one.name for one in loading.line(layout, "0000")] == ["0000"]
    assert loading.with_memory(layout, "0000").name == "0000"
    with pytest.raises(ValueError, match=r"expected a generation that flies, found none in the champion's line"):
        loading.newest(loading.line(layout, "0000"), lambda _: False, "flies")
    with pytest.raises(ValueError, match="expected a sealed generation with its images, and it is not here"):
        loading.load(layout, "0009")


def test_a_line_goes_from_a_generation_to_its_ancestors_that_are_here(tmp_path):
    layout, at = Layout(tmp_path), "2026-01-01T00:00:00+00:00"
    for name, parent in (("0000", GENESIS), ("0001", "0000"), ("0002", "0000"), ("0003", "0002")):
        ledger.append(layout.ledger, ledger.Event("opened", name, "", at, {"parent": parent, "mode": "train"}))
        ledger.append(layout.ledger, ledger.Event("sealed", name, "ab" * 32, at))
        layout.generation(name).folder.mkdir(parents=True)
        layout.generation(name).model.touch()
    names = [one.name for one in loading.line(layout, "0003")]
    assert names == ["0003", "0002", "0000"]
    layout.generation("0002").manifest.touch()
    found = loading.newest(loading.line(layout, "0003"), lambda _: True, "has images")
    assert found == "0002", "the one before has no manifest"
    with pytest.raises(ValueError, match="with its images, and an imported model has no images"):
        loading.load(layout, "0003")
    layout.generation("0002").model.unlink()
    assert [one.name for one in loading.line(layout, "0003")] == ["0003"]


def test_points_and_silhouettes_are_of_the_test_images_in_both_features(layout, loaded, told):
    result = embedding._run(layout, "0000", "thirds", lambda x, seed: np.stack([x[:, 0], x[:, 1]], 1))
    assert list(result.tables) == [
        "direct-feature-silhouettes", "meta-embedding-silhouettes", "direct-feature", "meta-embedding",
    ]  # fmt: skip
    x = loaded.features(loaded.test())
    meta = classify(loaded.model.network, x).embeddings
    counts = loaded.counts()
    for name, flat in (("direct-feature", x.flatten(1).numpy()), ("meta-embedding", meta.flatten(1).numpy())):
        points = result.tables[name]
        assert points["image_id"].to_list() == told["image_id"].to_list()
        assert points["x"].to_list() == pytest.approx(flat[:, 0].tolist())
        assert points["y"].to_list() == pytest.approx(flat[:, 1].tolist())
        known = (told["truth"] != UNKNOWN).to_numpy()
        each, of = silhouette_samples(flat[known], told["truth"].to_numpy()[known]), told["truth"].to_numpy()[known]
        compact = result.tables[f"{name}-silhouettes"]
        assert compact["training_images"].to_list() == sorted(compact["training_images"], reverse=True)
        for row in compact.iter_rows(named=True):
            assert row[name.replace("-", "_")] == pytest.approx(each[of == row["class"]].mean(), abs=1e-6)
            assert row["training_images"] == counts[row["class"]]
    groups = dict(points.group_by("group").len().iter_rows())
    assert groups[UNKNOWN] == (told["truth"] == UNKNOWN).sum()
    mean = float(result.tables["direct-feature-silhouettes"]["direct_feature"].mean())
    assert f"Mean silhouette of the known classes: {mean:.3f} in the direct feature." in result.figures[0].caption


def test_fewer_than_four_images_are_not_placed(layout, monkeypatch):
    monkeypatch.setattr(embedding, "MOST", 3)
    with pytest.raises(ValueError, match="expected at least 4 test images to place, found 3"):
        embedding.tsne(layout, "0000")


def test_f1_with_and_without_the_memory(layout, loaded, told):
    result = f1_gain.run(layout, "0000")
    table = result.tables["classes"]
    ours = loading.tested(loaded)["answer"].to_list()
    plain = f1_gain.without_memory(loaded)
    for column, said in (("f1", ours), ("f1_plain", plain)):
        names = table["class"].to_list()
        expected = f1_score(told["truth"].to_list(), said, labels=names, average=None, zero_division=0)
        assert table[column].to_list() == pytest.approx(expected.tolist())
    (gain,) = table.filter(pl.col("class") == UNKNOWN)["gain"].to_list()
    assert result.figures[0].caption.endswith(f"Unknown images: {100 * gain:+.1f} points.")
    # without its memory it rejects by a threshold of its own
    network = f1_gain.switched_off(loaded.model.network)
    logits = classify(network, loaded.features(loaded.test())).mean_logits
    names = np.array(loaded.model.card.class_names)[logits.argmax(1).numpy()]
    assert all(p in (UNKNOWN, n) for p, n in zip(plain, names, strict=True))
    assert UNKNOWN in plain
    same = f1_gain.run(layout, "0000", against="0000").tables["classes"]
    assert same["gain"].to_list() == [0.0] * same.height


def test_the_memory_is_shown_with_the_nearest_training_images_and_largest_coefficients(layout, loaded):
    result = memory.run(layout, "0000")
    test = loaded.test().filter(pl.col("truth") != UNKNOWN)
    train = loaded.training()
    x_test, x_train = loaded.features(test), loaded.features(train)
    train_of, test_of = train["truth"].to_numpy(), test["truth"].to_numpy()
    for name, share in result.tables["agreement"].iter_rows():
        distances = torch.cdist(space(loaded, x_test, name).double(), space(loaded, x_train, name).double())
        near = train_of[distances.argsort(1)[:, : memory.NEAREST].numpy()]
        assert share == pytest.approx((near == test_of[:, None]).mean(), abs=5e-3)
    assert 0 < len(result.figures) <= memory.IMAGES
    nearest = result.tables["nearest"]
    assert nearest.height == len(result.figures) * memory.NEAREST * 3
    assert nearest["rank"].to_list()[: memory.NEAREST] == list(range(memory.NEAREST))
    of = dict(train.select("image_id", "truth").iter_rows())
    assert all(of[i] == c for i, c in nearest.select("training_image", "class").iter_rows())
    for image, truth, name, value, most in result.tables["concepts"].iter_rows():
        row = test["image_id"].to_list().index(image)
        o = memory_feature(head_of(loaded), x_test[row : row + 1, 0])[0][0]
        column = loaded.model.card.class_names.index(name)
        assert (test_of[row], float(o[column])) == (truth, pytest.approx(value))
        assert value >= memory.LEAST
        assert sum(float(v) > value + 1e-6 for v in o) < memory.CONCEPTS
        trained = memory_feature(head_of(loaded), x_train[:, 0])[0][:, column]
        assert most == train["image_id"][int(trained.argmax())]


def test_what_the_memory_changes_is_told_and_an_image_is_beside_its_neighbours(layout, loaded):
    result, test = memory.run(layout, "0000"), loaded.test().filter(pl.col("truth") != UNKNOWN)
    x, names = loaded.features(test), np.array(loaded.model.card.class_names)
    with_it, without = (
        names[classify(network, x).mean_logits.argmax(1).numpy()]
        for network in (loaded.model.network, f1_gain.switched_off(loaded.model.network))
    )
    changed = int((with_it != without).sum())
    assert (
        f"Of {test.height} test images of known classes the memory changes the nearest class of {changed}."
        in (result.about[0])
    )
    assert "experts" not in result.about[0]
    of = {image: (a, b) for image, a, b in zip(test["image_id"], with_it, without, strict=True)}
    shown = result.tables["nearest"]["image_id"].unique(maintain_order=True).to_list()
    truth, counts = dict(test.select("image_id", "truth").iter_rows()), loaded.counts()
    for image, figure in zip(shown, result.figures, strict=True):
        assert figure.caption == "Classified: with memory {}, without it {}.".format(*of[image])
        assert figure.heading == f"Class {truth[image]} ({counts[truth[image]]} training images)"
        assert f'alt="test image of class {truth[image]}"' in figure.markup
        concepts = result.tables["concepts"].filter(image_id=image)
        pictures = 1 + len(SPACES) * memory.NEAREST + concepts.height * memory.NEAREST
        assert figure.markup.count("<img ") == pictures
        for name, value in concepts.select("coefficient", "o").iter_rows():
            assert f"<b>{name}: o = {value:.2f}</b>" in figure.markup
            assert f'alt="where {name} comes from in this image"' in figure.markup
        for heading in SPACES.values():
            assert f"<b>nearest by {heading}</b>" in figure.markup


def test_coefficients_of_an_attribute_are_means_over_its_test_images(layout, loaded):
    result, test = attributes.run(layout, "0000"), loaded.test()
    o = memory_feature(head_of(loaded), loaded.features(test)[:, 0])[0].numpy()
    best, table = result.tables["best"], result.tables["coefficients"]
    assert set(best["value"]) == set(test["label"])
    for value, images, name, with_it, *_ in table.rows()[::7]:
        mine = (test["label"] == value).to_numpy()
        k = loaded.model.card.class_names.index(name)
        assert (images, with_it) == (mine.sum(), pytest.approx(o[mine, k].mean(), abs=1e-6))
    for value, name, auroc in best.select("value", "coefficient", "auroc").iter_rows():
        assert auroc == table.filter(value=value)["auroc"].max()
        assert name in loaded.model.card.class_names
    with pytest.raises(ValueError, match=f"expected a value that at least {attributes.LEAST} test images have"):
        attributes.run(layout, "0000", "source")


def test_unknown_classes_are_identified_by_their_test_images(layout, loaded):
    """Against scikit-learn's nearest neighbours: a probe's pair is identified where nothing else is nearer."""
    result = identification.run(layout, "0000", attribute="source")
    rows = loaded.test().filter(truth=UNKNOWN)
    of, near = rows["label"].to_numpy(), NearestNeighbors(n_neighbors=rows.height, metric="cosine")
    near.fit(loaded.features(rows).flatten(1).numpy())
    order = near.kneighbors(return_distance=True, n_neighbors=rows.height - 1)[1]
    alike = of[order] == of[:, None]  # nearest first
    right = [int(row.argmin()) if not row.all() else len(row) for row in alike]
    found = result.tables["probes"]
    assert found["image_id"].to_list() == rows["image_id"].to_list()
    assert found["pairs"].to_list() == alike.sum(1).tolist()
    assert found["right"].to_list() == right
    assert found["pseudo_shot"].to_list() == [pseudo_shot(images) for images in found["similar"]]
    train = loaded.features(loaded.training()).flatten(1).numpy()
    cosine = cosine_similarity(loaded.features(rows).flatten(1).numpy(), train)
    assert found["similar"].to_list() == (cosine > 0.7).sum(1).tolist()
    table = result.tables["rates"]
    assert table["probes"][0] == identification.ALL
    assert table["identified"][0] == pytest.approx(sum(right) / alike.sum())
    (source,) = set(rows["source"])
    assert table.rows()[-1][1:] == table.rows()[0][1:], "all images are of one source"
    assert table["probes"][-1] == f"source: {source}"
    groups = found.group_by("pseudo_shot").agg(pl.col("pairs").sum())
    assert dict(groups.iter_rows()) == dict(table[1:-1].select("probes", "pairs").iter_rows())
    assert "against the images of all other ones." in result.about[0]
    (figure,) = result.figures
    assert figure.heading == "Identified at rank 1"
    drawn = [word for *_, word in texts(figure.markup)]
    for name, images, rate in table.select("probes", "images", "identified").iter_rows():
        beginning = f"{name} ({images})"[:12]
        (place,) = [i for i, word in enumerate(drawn) if word.startswith(beginning)]
        assert drawn[place + 1] == f"{100 * rate:.0f}"
    with pytest.raises(ValueError, match=r"--probes: expected a batch .* of generation 0000 \(.*\), found 'faces'"):
        identification.run(layout, "0000", probes="faces")


def test_probes_of_one_batch_are_compared_with_the_images_of_the_others(layout, loaded, monkeypatch):
    rows = loaded.test().filter(truth=UNKNOWN)
    first = rows["label"].min()
    batches = rows["batch"].unique().to_list()
    assert len(batches) == 1
    there, features = loading.Loaded.test, loading.Loaded.features

    def in_their_batch(self: loading.Loaded, rows: pl.DataFrame) -> torch.Tensor:
        return features(self, rows.with_columns(batch=pl.lit(batches[0])))

    def two_batches(self: loading.Loaded) -> pl.DataFrame:
        batch = pl.when(pl.col("label") == first).then(pl.lit("faces")).otherwise("batch")
        return there(self).with_columns(batch=batch)

    monkeypatch.setattr(loading.Loaded, "test", two_batches)
    monkeypatch.setattr(loading.Loaded, "features", in_their_batch)
    found = identification.run(layout, "0000", probes="faces")
    images = rows.filter(label=first)
    assert found.tables["probes"]["image_id"].to_list() == images["image_id"].to_list()
    assert (
        f"of the batch faces are the probes, against {rows.height - images.height} images of other" in found.about[0]
    )
    # with the others' images as distractors both ways find the same for this class
    both = identification.run(layout, "0000").tables["probes"].filter(label=first)
    assert found.tables["probes"].equals(both)
    found = identification.run(layout, "0000", probes=batches[0]).tables["probes"]
    assert set(found["label"]) == set(rows["label"]) - {first}
    alone = rows.unique("label", keep="first", maintain_order=True)
    monkeypatch.setattr(loading.Loaded, "test", lambda self: alone)
    with pytest.raises(ValueError, match="expected two test images of one unknown class, found one of each"):
        identification.run(layout, "0000")


def test_the_choice_of_all_unknown_classes_has_the_figures_of_the_predictions(layout, told):
    result = open_threshold.run(layout, "0000")
    unknown = (told["truth"] == UNKNOWN).to_numpy()
    count = told.filter(truth=UNKNOWN)["label"].n_unique()
    (row,) = result.tables["unknown-classes"].filter(unknown_classes=count).rows(named=True)
    kept = (told["truth"] == told["nearest"]).to_numpy() & ~told["rejected"].to_numpy()
    assert row["known_accuracy"] == pytest.approx(kept[~unknown].mean())
    assert row["unknown_recall"] == pytest.approx(told["rejected"].to_numpy()[unknown].mean())
    asked = np.where(unknown, ~told["rejected"].to_numpy(), kept)
    assert row["f"] == row["f_least"] == row["f_most"] == pytest.approx(f1_score(asked, ~unknown))
    assert f"{row['known_accuracy']:.3f} of them are accepted" in result.figures[1].caption
    one = result.tables["choices"].filter(unknown_classes=1)
    (first,) = result.tables["unknown-classes"].filter(unknown_classes=1).rows(named=True)
    assert (first["choices"], first["f"]) == (one.height, pytest.approx(one["f"].mean()))
    assert (first["f_least"], first["f_most"]) == (one["f"].min(), one["f"].max())


def test_open_figures_are_curves_over_the_threshold_in_use_and_over_the_number_of_unknown_classes(layout, loaded):
    result = open_threshold.run(layout, "0000")
    curve, means = result.tables["threshold"], result.tables["unknown-classes"]
    by_threshold, by_classes = result.figures
    # two rows above it where the threshold is named
    for figure, table, columns, top in (
        (by_threshold, curve, ["known_accuracy", "f", "unknown_recall"], 44),
        (by_classes, means, ["f", "unknown_recall"], 30),
    ):
        drawn = points(figure.markup)
        assert len(drawn) == len(columns)
        for line, column in zip(drawn, columns, strict=True):
            assert [y for _, y in line] == pytest.approx([336 - (336 - top) * y for y in table[column]], abs=0.06)
    said = [word for *_, word in texts(by_threshold.markup)]
    assert said[:3] == ["known accepted and named rightly", "F-measure", "unknown rejected"]
    assert "in use" in said
    (mark,) = [x for x, *_, kind in strokes(by_threshold.markup) if kind == "mark"]
    xs = [x for x, _ in points(by_threshold.markup)[0]]
    at = np.interp(loaded.model.card.threshold, curve["threshold"].to_numpy(), xs)
    assert mark == pytest.approx(at, abs=0.2)
    known = loaded.test().filter(pl.col("truth") != UNKNOWN).height
    assert (
        f"{known} known images, {loaded.test().height - known} of {means.height} unknown classes" in result.about[0]
    )


@pytest.mark.parametrize("table", ["digits-selection", "digits-shares"])
def test_exploration_of_a_table_has_curves_by_stream_or_by_share_with_intervals(tmp_path, table):
    layout = Layout(tmp_path)
    layout.results.mkdir(parents=True)
    shutil.copy(RESULTS / f"{table}.jsonl", layout.results)
    result = exploration.run(layout, table=table)
    curves = result.tables["curves"]
    if table == "digits-shares":
        last = exploration.by_share(curves)
        assert sorted(set(last["share"])) == [10, 20, 30]
        points = {"After the last update": last.height}
    else:
        points = {str(s).capitalize(): of.height for (s,), of in curves.group_by("stream", maintain_order=True)}
    headings = [f"{where}: {what}" for where in points for what in exploration.MEASURED.values()]
    assert [figure.heading for figure in result.figures] == headings
    assert all("95 % intervals of the mean over the seeds" in figure.caption for figure in result.figures)
    assert "mean over the published seeds (5)" in result.about[0]
    bars = [len(re.findall(r'<path d="M[\d.]+ [\d.]+V', figure.markup)) for figure in result.figures]
    assert bars == [number for number in points.values() for _ in exploration.MEASURED]


def test_exploration_has_a_point_per_update_and_the_answers_before_it(tmp_path, monkeypatch):
    layout = Layout(tmp_path)
    measured = {"0000": {}, "0001": {"loop/known_accuracy": 0.5}, "0002": {}}
    measured["0002"] = {"loop/known_accuracy": 0.75, "loop/unknown_accuracy": 0.25}
    line = [layout.generation(name) for name in reversed(measured)]
    monkeypatch.setattr(exploration, "line", lambda *_: line)
    for one in line:
        one.folder.mkdir(parents=True)
        one.metrics.write_text(json.dumps(measured[one.name]))
    with pytest.raises(ValueError, match=r"expected cost\.json"):
        exploration.run(layout, "0002")
    answers = [{"generation": name, "answers": of} for name, of in (("0000", 7), ("0001", 5), ("0002", 3))]
    line[0].cost.write_text(json.dumps(answers))
    (row,) = exploration.run(layout, "0002").tables["updates"].rows()
    assert row == ("0002", 12, 25.0, 75.0)
    line[0].metrics.write_text("{}")
    with pytest.raises(ValueError, match="expected an update with test images"):
        exploration.run(layout, "0002")
