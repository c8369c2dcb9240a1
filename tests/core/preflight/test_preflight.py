"""What is known of a workspace's images before anything is trained, and what is said about it."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from shutil import rmtree

import numpy as np
import pytest
import torch
from PIL import Image

from oltr_core import ledger
from oltr_core.images.transforms import Transform
from oltr_core.ingest.record import SourceAccess
from oltr_core.layout import Layout
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import SmallResNet, Timm
from oltr_core.params import Params
from oltr_core.pictures import encoded
from oltr_core.preflight import advice, duration, images
from oltr_core.profiles import PROFILES
from oltr_core.settings.compute import Compute
from oltr_core.settings.kinds import KINDS
from oltr_core.spec import parse
from oltr_core.stages import ingest
from oltr_core.training import Phase, Train
from oltr_core.upkeep import forgetting
from tests.core.data_world import index_row, picture, put_batch, run_curate, workspace

PHOTOS = {"roe deer": 30, "fox": 12, "lynx": 4}
FOLDERS = [{"name": "folder", "path": "labelled"}, {"name": "unlabelled", "path": "new"}]
TINY = NetworkSpec(backbone=SmallResNet(widths=(8, 8, 8, 8)))


@pytest.fixture
def photos(tmp_path):
    """60 x 40 pixels: a folder per class, and a folder of new ones."""
    seed = 0
    for name, number in PHOTOS.items():
        for n in range(number):
            picture(tmp_path / "labelled" / name / f"{n}.png", seed := seed + 1, (60, 40))
    for n in range(10):
        picture(tmp_path / "new" / f"{n}.png", seed := seed + 1, (60, 40))
    return tmp_path


def params(**sections) -> Params:
    said = {"sources": [{"batch": "first", "sources": FOLDERS}], "annotator": {"name": "folder"}} | sections
    return parse(Params, said, "params.yaml")


def seen(root, settings: Params) -> images.Seen:
    return images.look(settings, Layout(root), SourceAccess(root))


def said_of(root, settings: Params) -> tuple[str, list[str], list[str]]:
    """Summary, advice and refusals."""
    found = seen(root, settings)
    plan = images.expected(found, settings.curate)
    return (
        advice.summary(found, plan, settings),
        list(advice.advice(found, plan, settings)),
        list(advice.refusals(found, plan, settings)),
    )


# --- what is seen -----------------------------------------------------------------------------------------------
def test_sources_and_the_batch_made_of_them_say_the_same(photos):
    settings = params()
    before = seen(photos, settings)
    sources = [{"batch": "first", "sources": [{**s, "path": str(photos / s["path"])} for s in FOLDERS]}]
    layout = workspace(photos / "w", sources)
    ingest.run(params(sources=sources), layout, "first")
    after = images.look(settings, layout, SourceAccess(photos))
    assert (before.where, after.where) == ("first", "ingested")
    assert before.labelled == after.labelled
    assert before.pool == after.pool == 10
    assert set(before.sides) == set(after.sides) == {(60, 40)}


@pytest.mark.parametrize("hold", [0, ["fox"], ["fox", "lynx"], 1])
def test_the_expected_split_is_the_one_that_curate_draws(photos, hold):
    sources = [{"batch": "first", "sources": [{**s, "path": str(photos / s["path"])} for s in FOLDERS]}]
    layout = workspace(photos / "w", sources, curate={"hold_out_classes": hold})
    settings = params(sources=sources, curate={"hold_out_classes": hold})
    ingest.run(settings, layout, "first")
    rows = run_curate(layout)
    plan = images.expected(images.look(settings, layout, SourceAccess(photos)), settings.curate)
    of_split = dict(rows.group_by("split").len().iter_rows())
    is_open = rows.filter((rows["split"] == "test") & rows["class_id"].is_null()).height
    assert (sum(plan.train.values()), plan.val, plan.pool) == tuple(
        of_split.get(s, 0) for s in ("train", "val", "pool")
    )
    assert plan.open_test == is_open
    assert bool(is_open) == bool(hold)


def test_only_some_headers_are_read_and_a_broken_file_is_nobodys_side(photos, monkeypatch):
    (photos / "new" / "broken.png").write_bytes(b"not an image")
    monkeypatch.setattr(images, "LOOKED_AT", 20)
    found = seen(photos, params())
    assert 18 <= len(found.sides) <= 20
    assert found.number == sum(PHOTOS.values()) + 11


def test_images_that_come_into_the_folder_of_an_ingested_batch_are_named(photos, monkeypatch):
    layout = workspace(photos, [{"batch": "first", "sources": FOLDERS}])
    settings, access = params(), SourceAccess(photos)
    (photos / "labelled" / "fox" / "notes.txt").write_text("a file that is no image")
    assert images.came_since(settings, layout, access) == {}  # nothing is ingested: all of it will be
    ingest.run(settings, layout, "first")
    assert images.came_since(settings, layout, access) == {}
    picture(photos / "labelled" / "lynx" / "later.png", 90, (60, 40))
    picture(photos / "new" / "later.png", 91, (60, 40))
    (photos / "new" / "later.txt").write_text("a file that is no image")
    (photos / "labelled" / "bear").mkdir()
    arrived = images.came_since(settings, layout, access)
    assert arrived == {"first": ["labelled/lynx/later.png", "new/later.png"]}
    (said,) = advice.about_arrivals(arrived)
    assert said.startswith(
        "first is ingested and never changes: 2 images that came into its sources since, such as l"
    )
    drawn = [{"batch": "first", "sources": [{**FOLDERS[0], "draw": {}}, FOLDERS[1]]}]
    assert images.came_since(params(sources=drawn), layout, access) == {"first": ["new/later.png"]}
    monkeypatch.setattr(images, "PIXELS", ("unlabelled",))
    assert images.came_since(settings, layout, access) == {"first": ["labelled/lynx/later.png"]}
    monkeypatch.setattr(images, "MOST", 5)
    assert images.came_since(settings, layout, access) == {}
    rmtree(photos / "labelled")
    assert images.came_since(settings, layout, access) == {}  # what is in is kept


def test_the_file_of_an_image_that_was_forgotten_did_not_come_since(photos, monkeypatch):
    layout = workspace(photos, [{"batch": "first", "sources": FOLDERS}])
    settings, access = params(), SourceAccess(photos)
    ingest.run(settings, layout, "first")
    file = photos / "new" / "3.png"
    gone = sha256(file.read_bytes()).hexdigest()
    forgetting.clean_batches(layout, [gone])
    picture(photos / "new" / "later.png", 91, (60, 40))
    assert images.came_since(settings, layout, access) == {"first": ["new/3.png", "new/later.png"]}
    details = {"images": [gone], "generations": {}}
    ledger.append(layout.ledger, ledger.Event("forgotten", "0000", "x", "2026-01-01", details))
    assert images.came_since(settings, layout, access) == {"first": ["new/later.png"]}
    picture(photos / "new" / "locked.png", 92, (60, 40))
    whole = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == "locked.png":
            raise PermissionError(path)
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    arrived = ["new/later.png", "new/locked.png"]
    assert sorted(images.came_since(settings, layout, access)["first"]) == arrived, "it hides no other"
    monkeypatch.setattr(images, "LOOKED_AT", 2)
    three = sorted(images.came_since(settings, layout, access)["first"])
    assert three == ["new/3.png", *arrived], "more than two, which are not opened"


@pytest.mark.parametrize(("most", "counted"), [(46, None), (45, 45)])
def test_of_a_large_source_so_many_images_are_counted_and_that_is_said(photos, monkeypatch, most, counted):
    monkeypatch.setattr(images, "MOST", most)
    found = seen(photos, params())
    assert found.number == (counted or sum(PHOTOS.values())) + 10, "the pool is another source"
    said = [f"labelled has more than {counted} images, which takes long to count"] if counted else []
    assert found.left_out == said


def test_images_whose_sides_are_read_come_from_all_of_a_source_and_of_a_batch(photos, monkeypatch):
    for n in range(PHOTOS["roe deer"]):
        picture(photos / "labelled" / "roe deer" / f"{n}.png", 100 + n, (90, 40))
    monkeypatch.setattr(images, "LOOKED_AT", 28)
    sides = seen(photos, params()).sides
    assert len(sides) == 28
    assert 5 < sides.count((90, 40)) < 25, "30 of 56 are so, and each is read with the same chance"
    layout = Layout(photos / "w")
    put_batch(layout, "b", [index_row(n, width=n, height=2 * n, label=None if n % 2 else "fox") for n in range(57)])
    found = images.look(params(), layout, SourceAccess(photos))
    assert len(set(found.sides)) == 29, "every second one"
    assert all(height == 2 * width for width, height in found.sides)
    assert (found.pool, found.labelled[""]["fox"], found.number) == (28, 29, 57)


def test_the_sides_of_an_image_are_those_of_its_part_and_of_what_is_no_image_there_are_none():
    from oltr_core.ingest.record import Record

    pixels = np.zeros((40, 60, 3), np.uint8)
    for content, box, expected in (
        (pixels, None, [(60, 40)]),
        (encoded(Image.fromarray(pixels), "PNG"), None, [(60, 40)]),
        (encoded(Image.fromarray(pixels), "PNG"), (0.5, 0.25, 0.5, 0.26), [(30, 10)]),
        (encoded(Image.fromarray(pixels), "PNG"), (0, 0, 0.001, 0.001), [(1, 1)]),
        (b"not an image", None, []),
    ):
        assert list(images._size(Record("a", content, box=box))) == expected


def test_what_lies_elsewhere_is_not_fetched_to_be_looked_at(photos):
    far = [{"name": "folder", "path": "s3://bucket/photos"}, FOLDERS[1]]
    summary, *_ = said_of(photos, params(sources=[{"batch": "first", "sources": far}]))
    assert summary == (
        "10 images in first so far; s3://bucket/photos is not looked at before it is ingested: `oltr ingest`, then "
        "check again"
    )


# --- what is said of it -----------------------------------------------------------------------------------------
def test_the_summary_counts_shot_groups_and_names_sides(photos):
    summary, _, refused = said_of(photos, params())
    assert "56 images in first: 3 classes to train (1 medium, 2 few-shot)" in summary
    assert "60 x 40 pixels, and the network sees 16" in summary
    assert not refused


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({}, "your images are 60 x 40 pixels (median), and the network sees 16 x 16: what is smaller than"),
        ({"train": {"transform": {"size": 128}}}, "enlarging costs time and shows no more; lower train.trans"),
        ({}, "1 class, lynx (3), would have fewer than 5 training images"),
        ({"train": {"phases": [{"name": "p", "epochs": 1, "batch_size": 256}]}}, "phase 'p' steps on 256 images"),
        ({"sources": [{"batch": "first", "sources": FOLDERS[:1]}]}, "there is no pool"),
        ({"curate": {"hold_out_classes": ["fox"]}}, "unknown classes have only 2 images to test on: open/* figures"),
        ({"curate": {"hold_out_classes": ["fox"]}}, "is one class, which is open only until people have named it"),
        ({}, "add a source with `role: test` that holds classes which nothing else labels, or let curate.hold"),
        ({"train": {"network": {"backbone": {"name": "timm"}}}}, "resnet50 of timm begins with random weights: with"),
    ],
)  # fmt: skip
def test_a_setting_that_does_not_fit_the_images_is_named(photos, sections, sentence):
    _, said, _ = said_of(photos, params(**sections))
    assert any(sentence in one for one in said), said


def test_settings_that_fit_get_no_advice(photos):
    phases = [{"name": "p", "epochs": 1, "batch_size": 16}]
    fitting = {"train": {"transform": {"size": 32}, "phases": phases}, "curate": {"hold_out_classes": ["fox"]}}
    _, said, refused = said_of(photos, params(**fitting))
    assert [one for one in said if "lynx" not in one and "open" not in one] == []
    assert not refused


def test_frozen_random_weights_of_timm_are_named_and_a_file_of_weights_is_not(photos):
    backbone = {"name": "timm", "model": "resnet18"}
    phases = [{"name": "p", "epochs": 1, "freeze": ["trunk"]}]
    _, said, _ = said_of(photos, params(train={"network": {"backbone": backbone}, "phases": phases}))
    assert any("phase 'p' freezes them: name a file" in one for one in said)
    with_file = {"network": {"backbone": backbone | {"weights": "w.safetensors"}}, "phases": phases}
    assert not any("timm" in one for one in said_of(photos, params(train=with_file))[1])


def advised(sides: list[tuple[int, int]], sections: dict, **of) -> list[str]:
    """Of two classes of 40 training images, 20 open test images and a pool, but for what is said."""
    plan = images.Expected(**{"train": {"fox": 40, "lynx": 40}, "val": 8, "pool": 9, "open_test": 20} | of)
    return list(advice.advice(images.Seen("ingested", sides=sides), plan, params(**sections)))


PAPER = {"threshold_by": "paper", "score": {"name": "msp"}}


def steps(batch_size: int) -> dict:
    return {"train": {"phases": [{"name": "p", "epochs": 1, "batch_size": batch_size}]}}


@pytest.mark.parametrize(
    ("of", "sections", "said"),
    [
        ({"train": {"fox": 5, "lynx": 75}}, {}, None),
        ({"train": {"fox": 4, "lynx": 76}}, {}, "1 class, fox (4), would have fewer than 5 training images"),
        ({"train": dict.fromkeys("abcdefgh", 4) | {"i": 50}}, {},
         "8 classes, a (4), b (4), c (4), d (4), e (4), f (4) and 2 more, would have fewer than 5"),
        ({"train": dict.fromkeys("abcdef", 4) | {"i": 50}}, {}, "a (4), b (4), c (4), d (4), e (4), f (4), would"),
        ({}, steps(80), None),
        ({}, steps(81), "phase 'p' steps on 81 images at once, more than the 80 to train on"),
        ({"train": dict.fromkeys(map(str, range(9)), 40)}, {"update": PAPER}, "with 9 classes"),
        ({"train": dict.fromkeys(map(str, range(11)), 40)}, {"update": PAPER}, None),
        ({"pool": 0}, {}, "there is no pool"),
        ({"open_test": 0}, {}, "no test image is of an unknown class"),
        ({"open_test": 1}, {}, "unknown classes have only 1 image to test on: open/*"),
        ({"open_test": 19}, {}, "unknown classes have only 19 images to test on"),
        ({}, {"curate": {"hold_out_classes": 1}}, "hold_out_classes is one class"),
        ({}, {"curate": {"hold_out_classes": 2}}, None),
        ({}, {"curate": {"hold_out_classes": ["fox", "lynx"]}}, None),
    ],
)  # fmt: skip
def test_advice_begins_where_something_is_too_little(of, sections, said):
    found = advised([], sections, **of)
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_labels_that_differ_in_capitals_or_blanks_alone_are_named():
    seen = images.Seen("ingested")
    for given, label in (("", "Red Fox"), ("test", "red  fox"), ("", "lynx"), ("train", "lynx")):
        seen.count(given, label)
    (said,) = advice.advice(seen, images.Expected({"Red Fox": 40, "lynx": 40}, 8, 9, 20), params())
    assert said.startswith("'Red Fox' and 'red  fox' differ in capitals or blanks alone and are different classes")


@pytest.mark.parametrize(
    ("sides", "size", "said"),
    [
        ([(32, 50)], 16, None),
        ([(33, 50)], 16, "your images are 33 x 50 pixels (median), and the network sees 16 x 16: what is small"),
        ([(90, 64)], 16, "what is smaller than 4 of their pixels is lost"),
        ([(16, 90)], 40, None),
        ([(90, 15)], 40, "and the network sees 40 x 40: enlarging costs time and shows no more; "
         "lower train.transform.size to about 15"),
        ([(10, 90), (90, 10), (30, 40)], 16, None),  # the shorter sides are 10, 10 and 30
        ([(40, 90), (90, 40), (30, 31)], 16, "your images are 40 x 40 pixels (median), and"),
    ],
)  # fmt: skip
def test_the_shorter_side_of_most_images_is_what_a_network_sees_too_little_or_too_much_of(sides, size, said):
    found = advised(sides, {"train": {"transform": {"size": size}}})
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_the_summary_has_every_number_of_the_split_and_the_sides_from_least_to_largest():
    found = images.Seen("first", pool=1000, sides=[(10, 40), (30, 40), (20, 40)])
    found.labelled[""].update({"fox": 150, "lynx": 90})
    plan = images.Expected({"fox": 120, "wolf": 100, "lynx": 60, "boar": 0}, 1234, 2345, 3456)
    assert advice.summary(found, plan, params(train={"transform": {"size": 24}})) == (
        "1,240 images in first: 4 classes to train (2 many, 1 medium, 1 few-shot), 280 images of them, "
        "1,234 for validation, 3,456 test images of unknown classes, 2,345 in the pool; "
        "10 to 30 (median 20) x 40 pixels, and the network sees 24"
    )
    nothing = images.Expected({}, 0, 0, 0)
    assert advice.summary(images.Seen("ingested"), nothing, params()) == (
        "0 images: 0 classes to train, 0 images of them, 0 for validation, 0 test images of unknown classes, "
        "0 in the pool"
    )


@pytest.mark.parametrize(
    ("of", "sections", "said"),
    [
        ({"train": {"fox": 2, "lynx": 2}}, {}, None),
        ({"train": {"fox": 2, "lynx": 1}}, {}, "1 class, lynx (1), would have fewer than 2 training images"),
        ({"val": 1}, {}, None),
        ({"val": 0}, {}, "no image is left for validation"),
        ({}, {"annotator": {"name": "truth"}, "sources": [{"batch": "b", "sources": FOLDERS[:1]}]}, None),
        ({}, {"update": {"threshold_by": "unknown_accepted"}},
         "update.threshold_by: unknown_accepted needs validation images of classes that nothing trains on"),
        ({}, {"update": {"threshold_by": "cheapest"}}, "update.threshold_by: cheapest needs validation images"),
        ({"open_val": 1}, {"update": {"threshold_by": "cheapest"}}, None),
        ({}, {"update": {"threshold_by": "shots_kept"}}, None),
        ({}, {"evaluate": {"slices": ["site", "source"]}}, None),
        ({}, {"evaluate": {"slices": ["site", "sit"]}},
         "evaluate.slices: no image to evaluate has an attribute 'sit'; did you mean 'site'? (there are: site,"),
    ],
)  # fmt: skip
def test_a_loop_is_refused_only_where_it_would_stop(of, sections, said):
    plan = images.Expected(**{"train": {"fox": 40, "lynx": 40}, "val": 8, "pool": 9, "open_test": 20} | of)
    seen = images.Seen("ingested", attributes={"source", "site"})
    found = list(advice.refusals(seen, plan, params(**sections)))
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        ({"sources": [{"batch": "one", "sources": [{"name": "folder", "path": "one"}]}]}, "of one class (roe deer)"),
        ({"sources": [{"batch": "first", "sources": FOLDERS[1:]}]}, "no image has a label to train on"),
        ({"curate": {"hold_out_classes": ["fox", "lynx", "roe deer"]}},
         "curate.hold_out_classes holds out every class that has labels (3), so that none is left to train on"),
        ({"curate": {"min_train_per_class": 5}}, "1 class, lynx (4), would have fewer than 5 training images, which"),
        ({"curate": {"val_share": 0.0}}, "no image is left for validation, which sets the threshold"),
        ({"annotator": {"name": "truth"}}, "the annotator `truth` cannot name images that came without a label"),
    ],
)  # fmt: skip
def test_what_would_stop_the_loop_is_said_before(photos, sections, sentence):
    (photos / "one").mkdir()
    (photos / "one" / "roe deer").symlink_to(photos / "labelled" / "roe deer")
    if sections.get("sources", [{}])[0].get("batch") == "one":
        sections["sources"][0]["sources"][0]["follow_links"] = True
    _, _, refused = said_of(photos, params(**sections))
    assert any(sentence in one for one in refused), refused


def test_a_class_of_validation_images_alone_is_refused_or_where_it_is_allowed_counted_nowhere(photos):
    (photos / "made").mkdir()
    (photos / "labelled" / "lynx").rename(photos / "made" / "lynx")
    sources = [{"batch": "first", "sources": [*FOLDERS, {"name": "folder", "path": "made", "role": "val"}]}]
    _, _, refused = said_of(photos, params(sources=sources))
    assert any("1 class, lynx (0), would have fewer than 2 training images" in one for one in refused)
    summary, _, refused = said_of(photos, params(sources=sources, curate={"unknown_validation": True}))
    assert not refused
    assert "2 classes to train" in summary
    assert "10 in the pool" in summary


def test_validation_images_of_unknown_classes_are_counted_where_the_threshold_may_be_chosen_on_them(photos):
    (photos / "made").mkdir()
    (photos / "labelled" / "lynx").rename(photos / "made" / "lynx")
    sources = [{"batch": "first", "sources": [*FOLDERS, {"name": "folder", "path": "made", "role": "val"}]}]
    for unknown, hold, number in ((True, 0, 4), (False, 0, 0), (True, ["lynx"], 0)):
        settings = params(sources=sources, curate={"unknown_validation": unknown, "hold_out_classes": hold})
        assert images.expected(seen(photos, settings), settings.curate).open_val == number


def test_attributes_are_those_of_images_that_no_source_gives_to_training(photos):
    lines = ["path,label,site", *(f"labelled/fox/{n}.png,fox,north" for n in range(3))]
    (photos / "t.csv").write_text("\n".join(lines))
    (photos / "u.csv").write_text("\n".join([lines[0].replace("site", "camera"), *lines[1:]]))
    for role, found in (("train", {"source", "camera"}), ("", {"source", "site", "camera"})):
        tables = [{"name": "table", "path": "t.csv"} | ({"role": role} if role else {})]
        tables += [{"name": "table", "path": "u.csv", "role": "test"}]
        sources = [{"batch": "first", "sources": tables}]
        assert seen(photos, params(sources=sources)).attributes == found
    layout = Layout(photos / "w")
    rows = [index_row(n, split=split, label="fox", attributes=f'{{"{split}": 1}}') for n, split in
            enumerate(("train", "val", "test"))]  # fmt: skip
    put_batch(layout, "b", [*rows, index_row(3, label="fox")])
    assert images.look(params(), layout, SourceAccess(photos)).attributes == {"source", "val", "test"}


# --- how long it takes ------------------------------------------------------------------------------------------
def test_the_estimate_is_seconds_per_step_times_steps(monkeypatch):
    phases = [Phase(name="a", epochs=3, batch_size=8), Phase(name="b", epochs=2, batch_size=16, freeze=["trunk"])]
    train = Train(network=TINY, transform=Transform(size=8), phases=phases)
    monkeypatch.setattr(duration, "_measured", lambda train, phase, compute, k, size: 0.01 * size)
    found = duration.estimate(train, Compute(), {"ant": 30, "bee": 10})
    assert found.steps == 3 * (40 // 8) + 2 * (40 // 16)
    assert found.seconds == pytest.approx(15 * 0.08 + 4 * 0.16)
    shared = duration.estimate(train, Compute(processes=2), {"ant": 30, "bee": 10})
    assert shared.seconds == pytest.approx(found.seconds / 2)


def test_a_slow_step_is_measured_on_fewer_images_and_reckoned_in_proportion(monkeypatch):
    sizes = []

    def measured(train, phase, compute, classes, size):
        sizes.append(size)
        return 0.1 * size

    monkeypatch.setattr(duration, "_measured", measured)
    train = Train(phases=[Phase(name="a", epochs=1, batch_size=64)])
    found = duration.estimate(train, Compute(), {"ant": 128})
    assert sizes == [4]
    assert found.seconds == pytest.approx(2 * 6.4)


def test_the_real_step_of_the_recipe_is_measured_and_random_names_stay_alone(monkeypatch):
    train = Train(network=TINY, transform=Transform(size=8))
    before = torch.get_rng_state()
    found = duration.estimate(train, Compute(), {"ant": 40, "bee": 30})
    assert torch.equal(before, torch.get_rng_state())
    assert found.steps == 60 * (70 // 32)
    assert 0 < found.seconds < 3600
    sentence = found.sentence(Compute())
    assert f"{found.steps} steps of" in sentence
    assert "as measured here with" in sentence


@pytest.mark.parametrize(("seconds", "said"), [(12.4, "12 seconds"), (125, "2 minutes"), (7200, "2.0 hours")])
def test_a_duration_is_said_as_people_say_it(seconds, said):
    assert f"about {said}:" in duration.Estimate(seconds, 10, seconds / 10).sentence(Compute())


def test_a_network_that_cannot_take_the_images_is_one_sentence():
    vit = NetworkSpec(backbone=Timm(model="test_vit_relpos"))
    train = Train(network=vit, transform=Transform(size=32), phases=[Phase(name="a", epochs=1)])
    with pytest.raises(ValueError, match=r"train: no step on 4 images of 32 pixels: .*\(160\)"):
        duration.estimate(train, Compute(), {"ant": 40, "bee": 30})


def test_an_absent_device_is_the_users_to_correct():
    with pytest.raises(ValueError, match="compute.device: expected one of cpu"):
        duration.estimate(Train(), Compute(device="cuda:9"), {"ant": 40, "bee": 30})


# --- profiles ---------------------------------------------------------------------------------------------------
def test_every_kind_of_images_has_a_profile_and_every_profile_says_when_to_take_it():
    assert list(PROFILES) == list(KINDS)
    for name, profile in PROFILES.items():
        found = profile()
        assert found.workspace.name == name
        assert found.annotator.name == ("truth" if name == "digits" else "folder")


@pytest.mark.parametrize("name", [n for n in KINDS if n != "digits"])
def test_a_training_by_a_profile_begins_near_the_loss_of_a_guess(name):
    """Its first head does not continue the network's, whose scale of 20 makes a random classifier sure of itself."""
    phase, network = PROFILES[name]().train.phases[0], NetworkSpec()
    features = torch.nn.functional.normalize(
        torch.randn(400, 1, 64, generator=torch.Generator().manual_seed(0)), dim=2
    )
    labels = torch.arange(400) % 4
    for seed in range(5):
        trained = network(4, seed)
        trained.replace_heads(phase.head, seed, phase.fresh_head)
        loss = torch.nn.functional.cross_entropy(trained.classify(features).mean_logits, labels).item()
        assert loss == pytest.approx(np.log(4), abs=0.1)


@pytest.mark.parametrize("name", [n for n in KINDS if n != "photos"])
def test_the_network_of_a_profile_takes_its_images(name):
    train = PROFILES[name]().train
    side = train.transform.size
    batch = train.transform(train.transform.canvas(np.zeros((side, side + 10, 3), np.uint8))[None])
    assert train.network(3).eval()(batch).mean_logits.shape == (1, 3)


@pytest.mark.parametrize(
    ("seconds", "batch_size", "sizes"),
    [
        (0.0, 48, [4, 16, 48]),
        (duration.ENOUGH / 4, 48, [4, 16, 48]),
        (duration.ENOUGH / 2, 48, [4, 8, 16, 32, 48]),
        (duration.ENOUGH, 8, [4, 8]),
        (2 * duration.ENOUGH, 48, [4]),
        (0.0, 2, [2]),
    ],
)
def test_the_batch_that_is_measured_grows_until_its_time_can_be_told(monkeypatch, seconds, batch_size, sizes):
    found = []

    def measured(train, phase, compute, classes, size):
        found.append(size)
        assert classes == 2
        return seconds

    monkeypatch.setattr(duration, "_measured", measured)
    train = Train(phases=[Phase(name="a", epochs=1, batch_size=batch_size)])
    said = duration.estimate(train, Compute(), {"ant": 40, "bee": 56})
    assert found == sizes
    assert said.steps == 96 // batch_size
    assert said.seconds == pytest.approx(said.steps * seconds * batch_size / sizes[-1])


def test_phases_that_step_alike_are_measured_once_and_others_begin_where_the_last_ended(monkeypatch):
    sizes = []

    def measured(train, phase, compute, classes, size):
        sizes.append(size)
        return 0.001

    monkeypatch.setattr(duration, "_measured", measured)
    alike = [Phase(name=name, epochs=n, batch_size=32) for name, n in (("a", 1), ("b", 4))]
    train = Train(phases=[*alike, Phase(name="c", epochs=1, batch_size=64, freeze=["trunk"])])
    found = duration.estimate(train, Compute(), {"ant": 128})
    assert sizes == [4, 16, 32, 32, 64]
    assert found.steps == 5 * 4 + 2
    assert (found.seconds, found.per_step) == (pytest.approx(0.022), pytest.approx(0.001))


@pytest.mark.parametrize(("seconds", "said"), [(89, "89 seconds"), (90, "2 minutes"), (5399, "90 minutes"),
                                              (5400, "1.5 hours")])  # fmt: skip
def test_seconds_become_minutes_and_minutes_hours(seconds, said):
    assert f"about {said}:" in duration.Estimate(seconds, 10, seconds / 10).sentence(Compute())


def test_sides_are_told_from_the_least_to_the_largest():
    assert (advice._range((9, 4, 5)), advice._range((7, 7))) == ("4 to 9 (median 5)", "7")
