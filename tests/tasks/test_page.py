"""The annotation page as a file: what is in it, what is not, and how large it becomes."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from oltr_core import schema
from oltr_core.layout import Layout
from oltr_core.upkeep import forgetting
from tasks.annotator import batch, content, folder, page, pictures
from tests.tasks import page_world as world
from tests.tasks.waiting_world import checked


@pytest.fixture(scope="module")
def layout(tmp_path_factory) -> Layout:
    return world.make(tmp_path_factory.mktemp("page") / "deer")


@pytest.fixture(scope="module")
def text(layout) -> str:
    return world.page_of(layout, inbox="data/inbox")


@pytest.fixture(scope="module")
def facts(text) -> dict:
    return json.loads(re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[0])


def decoded(address: str) -> np.ndarray:
    kind, data = re.fullmatch(r"data:image/(png|jpeg);base64,([A-Za-z0-9+/=]+)", address).groups()
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.format == kind.upper()
    return np.asarray(image)


# --- what is in it ----------------------------------------------------------------------------------------------
def test_each_asked_image_is_in_the_page_with_its_pixels_suggestion_and_reason(layout, facts):
    (group,) = facts["groups"]
    rows = batch.selected(layout, "0000")
    assert [image["image_id"] for image in group["images"]] == [row["image_id"] for row in rows]
    for image, row, pixels in zip(
        group["images"], rows, batch.pixels(layout, "0000", batch.asked(layout, "0000")), strict=True
    ):
        assert np.array_equal(decoded(image["src"]), pixels)
        assert image["small"]
        assert (image["share"], image["cluster"]) == (None, None)
        assert (image["suggested"], image["reason"]) == (row["suggested"], "far from all")
        assert image["file"] == f"images/{row['rank']:04d}_{row['image_id'][:12]}.png"
    assert (group["title"], group["together"]) == ("Images to name", False)


def test_known_classes_come_with_some_of_their_training_images_and_their_aliases(layout, facts):
    manifest = schema.read(layout.generation("0000").manifest, schema.MANIFEST).to_pylist()
    train = {(r["label"], r["image_id"]) for r in manifest if r["split"] == "train"}
    assert [one["name"] for one in facts["classes"]] == sorted(world.CLASSES)
    for one in facts["classes"]:
        mine = sorted(image for label, image in train if label == one["name"])
        assert one["images"] == len(mine)
        assert [image for image, _ in one["examples"]] == mine[: content.EXAMPLES]
        assert decoded(one["examples"][0][1]).shape == (20, 24, 3)
        assert one["aliases"] == []


def test_a_class_that_is_retired_is_no_button(layout, tmp_path):
    import shutil

    other = Layout(shutil.copytree(layout.root, tmp_path / "other"))
    rows = batch.register(other, "0000")
    rows[0] |= {"status": "retired"}
    rows[1] |= {"aliases": ["alias"]}
    schema.write(other.generation("0000").classes, schema.from_rows(schema.CLASSES, rows), schema.CLASSES)
    found = {one["name"]: one["aliases"] for one in content.known_classes(other, "0000")}
    assert rows[0]["name"] not in found
    assert found[rows[1]["name"]] == ["alias"]


def test_the_table_it_saves_has_the_columns_of_the_exported_one_and_when_it_was_answered(facts):
    assert facts["columns"] == [*batch.COLUMNS, "answered_at"]
    assert (facts["workspace"], facts["batch"], facts["inbox"], facts["post"]) == ("deer", "0000", "data/inbox", "")
    assert (facts["reserved"], facts["unknown"], facts["longest"]) == (["source", "conflict"], "unknown", 200)


# --- what cannot run --------------------------------------------------------------------------------------------
def test_no_name_is_markup_anywhere_in_the_page(text):
    assert world.HOSTILE not in text
    assert "document.title=2" in text, "it is there, as data"
    # data, script, and nothing else; `<script>` in a name is escaped
    assert len(re.findall(r"<script", text, re.IGNORECASE)) == 2
    assert len(re.findall(r"</script", text, re.IGNORECASE)) == 2


def test_only_its_own_script_and_style_may_work_and_it_may_call_nobody(layout, text):
    policy = re.findall(r'Content-Security-Policy" content="([^"]+)"', text)[0].replace("&#39;", "'")
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for tag, kind in (("script", "script-src"), ("style", "style-src")):
        source = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[0]
        expected = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert rules.pop(kind) == f"'sha256-{expected}'"
    assert rules == {
        "default-src": "'none'", "img-src": "data:", "connect-src": "'none'", "base-uri": "'none'",
        "form-action": "'none'", "require-trusted-types-for": "'script'",
    }  # fmt: skip
    assert "connect-src &#39;self&#39;;" in world.page_of(layout, post="answers/")


def test_it_names_no_file_and_no_address_beside_it(text):
    markup = re.sub(r"<script.*?</script>|<style.*?</style>", "", text, flags=re.DOTALL)
    assert not re.findall(r"(?:src|href)=|https?:", markup)
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)[0]
    assert re.findall(r"https?:[^\"]*", script) == ["http://www.w3.org/2000/svg"], "a name, not an address"
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function", script)


# --- groups, keys, pages ----------------------------------------------------------------------------------------
def test_images_of_a_cluster_are_a_group_and_the_others_are_grouped_by_share(layout):
    found = content.groups(world.clustered(layout))
    assert [(g["title"], g["together"], [i["rank"] for i in g["images"]]) for g in found] == [
        ("Cluster 3: images that look alike", True, [0, 1, 2, 3, 4, 5]),
        ("Cluster 5: images that look alike", True, [6, 7]),
        ("Unlike the known classes", False, [8]),
        ("Drawn at random", False, [9, 10, 11]),
    ]


def test_a_cluster_of_many_suggestions_is_not_answered_together_and_one_of_known_images_says_what_they_may_be():
    suggested = ["fox", "fox", "lynx", "deer", "boar"]
    rows = [{"cluster": 4, "share": "discover", "suggested": name} for name in suggested]
    assert [(g["title"], g["together"]) for g in content.groups(rows)] == [("Cluster 4: many suggestions", False)]
    rows = [{"cluster": 4, "share": share, "suggested": "fox"} for share in ("tail", "refine")]
    assert [(g["title"], g["together"]) for g in content.groups(rows)] == [("Cluster 4: perhaps fox", True)]
    rows.append({"cluster": 4, "share": "discover", "suggested": "fox"})
    assert content.groups(rows)[0]["title"] == "Cluster 4: images that look alike"


def test_share_and_cluster_are_in_the_saved_table_as_in_the_exported_one(layout):
    text = world.page_of(layout, world.clustered(layout))
    facts = json.loads(re.findall(r'id="data">(.*?)</script>', text, re.DOTALL)[0])
    found = [(image["share"], image["cluster"]) for group in facts["groups"] for image in group["images"]]
    assert found == [("discover", 3)] * 6 + [("discover", 5)] * 2 + [("discover", 9)] + [("audit", None)] * 3
    assert {"share", "cluster"} <= set(facts["columns"])


def test_keys_are_those_of_classes_called_by_a_digit_then_of_the_most_suggested():
    rows = [{"suggested": name} for name in ("b", "b", "c", "7")]
    assert content.keys(["7", "a", "b", "c"], rows) == ["b", "c", "a", None, None, None, "7", None, None, None]
    assert content.keys([str(n) for n in range(12)], []) == [*"1234567890"]


def test_a_batch_of_thousands_becomes_several_pages_and_a_group_goes_on_on_the_next():
    groups = [{"title": "a", "images": [1, 2, 3]}, {"title": "b", "images": [4, 5, 6, 7]}]
    assert content.paged(groups, most=3) == [
        [{"title": "a", "images": [1, 2, 3]}], [{"title": "b", "images": [4, 5, 6]}], [{"title": "b", "images": [7]}],
    ]  # fmt: skip
    assert content.paged(groups, most=5)[0][1] == {"title": "b", "images": [4, 5]}
    assert content.paged([], most=5) == [[]]
    assert [page.file_name(n) for n in (1, 2)] == ["annotate.html", "annotate-2.html"]


def test_pages_are_written_once_the_first_last_and_name_one_another(layout, tmp_path, monkeypatch):
    import shutil

    other = Layout(shutil.copytree(layout.root, tmp_path / "other"))
    monkeypatch.setattr(content, "PER_PAGE", 5)
    written = []
    monkeypatch.setattr(page, "write_atomically", lambda path, text: written.append((path.name, text)))
    batch.export(other, "0000")
    page.write(other, "0000", "")
    names = ["annotate.html", "annotate-2.html", "annotate-3.html"]
    assert [name for name, _ in written] == names[::-1]
    assert all(json.dumps(names) in text for _, text in written)
    assert '"page": 3' in written[0][1]
    monkeypatch.undo()
    page.write(other, "0000", "")
    assert other.export("0000").page.exists()
    other.export("0000").page.write_text("there")
    page.write(other, "0000", "")
    assert other.export("0000").page.read_text() == "there"


# --- size -------------------------------------------------------------------------------------------------------
def test_a_photograph_is_made_as_small_as_it_has_to_be_and_no_smaller():
    noise = np.random.default_rng(0).integers(0, 256, (700, 900, 3), dtype=np.uint8)
    sizes = {}
    for most in (400_000, 120_000, 25_000, 8_000):
        address = pictures.picture(noise, most)
        assert address.startswith("data:image/jpeg")
        assert len(base64.b64decode(address.split(",")[1])) <= most
        sizes[most] = max(decoded(address).shape)
    assert sizes[400_000] == 640
    assert sizes[120_000] > sizes[25_000] > sizes[8_000]
    grey = np.full((700, 900, 3), 90, np.uint8)
    assert decoded(pictures.picture(grey, 25_000)).shape == (498, 640, 3)


def test_a_small_image_keeps_its_pixels_and_a_thumbnail_is_small():
    noise = np.random.default_rng(0).integers(0, 256, (96, 40, 3), dtype=np.uint8)
    assert pictures.is_small(noise)
    assert np.array_equal(decoded(pictures.picture(noise, 20_000)), noise)
    assert pictures.picture(noise, 5_000).startswith("data:image/jpeg"), "unless there is no room"
    assert not pictures.is_small(np.zeros((97, 10, 3), np.uint8))
    assert decoded(pictures.thumbnail(np.zeros((300, 200, 3), np.uint8))).shape == (64, 43, 3)


def test_the_pictures_of_a_page_share_its_size(layout, monkeypatch):
    monkeypatch.setattr(content, "PAGE_BYTES", 12 * 900)
    images = json.loads(re.findall(r'id="data">(.*?)</script>', world.page_of(layout), re.DOTALL)[0])["groups"][0]
    assert all(len(base64.b64decode(image["src"].split(",")[1])) <= 900 for image in images["images"])
    monkeypatch.setattr(content, "EXAMPLES_IN_ALL", 2 * len(world.CLASSES))
    assert {len(one["examples"]) for one in content.known_classes(layout, "0000")} == {2}


def test_of_more_classes_than_there_is_room_for_the_most_suggested_have_an_example(layout, monkeypatch):
    rows = batch.selected(layout, "0000")
    names = ["wild boar"] * 5 + ["7"] * 4 + ["red deer"] * 3
    shown = [{**row, "suggested": name} for row, name in zip(rows, names, strict=True)]
    monkeypatch.setattr(batch, "selected", lambda *_: shown)
    monkeypatch.setattr(content, "EXAMPLES_IN_ALL", 2)
    found = {one["name"]: len(one["examples"]) for one in content.known_classes(layout, "0000")}
    assert found == dict.fromkeys(sorted(world.CLASSES), 0) | {"wild boar": 1, "7": 1}


def test_images_that_people_are_asked_about_again_have_a_group_for_each_reason():
    rows = [{"image_id": str(n), "suggested": "x", "cluster": None, "share": share}
            for n, share in enumerate(("split", "split", "adjudicate", None))]  # fmt: skip
    found = [(group["title"], len(group["images"])) for group in content.groups(rows)]
    assert found == [("Of a class that was split", 2), ("People disagree", 1), ("Images to name", 1)]


# --- beside it --------------------------------------------------------------------------------------------------
def test_a_row_that_stands_in_two_files_of_the_inbox_is_one_answer(layout, tmp_path):
    import shutil

    from oltr_core.settings.annotator import FolderAnnotator

    other = Layout(shutil.copytree(layout.root, tmp_path / "other"))
    inbox = other.root / "data" / "inbox"
    inbox.mkdir()
    one, two, *_ = batch.asked(other, "0000")
    head = "image_id,verdict,label,annotator,answered_at\n"
    first = f"{one},label,7,anna,2026-01-01T10:00:00.5Z\n"
    (inbox / "0000-anna-1.csv").write_text(f"{head}{first}")
    (inbox / "0000-anna-1 (1).csv").write_text(f"{head}{first}{two},unsure,,anna,2026-01-01T10:00:01Z\n")
    (inbox / "0001-anna-1.csv").write_text(f"{head}{first}")
    rows = folder.collect(other, FolderAnnotator(), "0000", "")
    assert sorted((row["image_id"], row["verdict"]) for row in rows) == sorted([(one, "label"), (two, "unsure")])
    assert checked(other, "0000", rows).num_rows == 2
    (inbox / "0000-anna-1.csv").write_text(f"{head}{one},label,nobody,anna,2026-01-01T10:00:00.5Z\n")
    (inbox / "0000-anna-2.csv").write_text(f"{head}{one},label,nobody,anna,2026-01-01T10:00:00.5Z\n")
    wrong = [row for row in folder.collect(other, FolderAnnotator(), "0000", "") if "problem" in row]
    assert len(wrong) == 2, "each wrong row is named"


@pytest.mark.parametrize("shown", ["asked", "example"])
def test_forgetting_an_image_removes_the_page_that_shows_it_and_no_other(layout, facts, tmp_path, shown):
    import shutil

    other = Layout(shutil.copytree(layout.root, tmp_path / "other"))
    batch.export(other, "0000")
    page.write(other, "0000", "")
    gone = facts["groups"][0]["images"][0]["image_id"] if shown == "asked" else facts["classes"][0]["examples"][0][0]
    forgetting._from_export(other.export("0000").folder, ["f" * 64])
    assert other.export("0000").page.exists()
    forgetting._from_export(other.export("0000").folder, [gone])
    assert not other.export("0000").page.exists()
    assert other.export("0000").table.exists()
