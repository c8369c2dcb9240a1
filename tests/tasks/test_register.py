"""Operations on the class register and corrections of labels on their way into the next generation."""

from __future__ import annotations

import polars as pl
import pytest

from flows import answers
from oltr_core import ledger, schema, verification
from oltr_core.curation import text_values
from oltr_core.curation.operations import corrections_of, operations_of
from oltr_core.layout import Layout
from tasks.annotator import batch, corrections, records, register, returned
from tests.core.curation.test_curate import two_classes
from tests.core.data_world import answer, image_id, opened, put_annotations, put_batch, run_curate, seal, workspace

AT = "2026-02-01T00:00:00+00:00"


def event(layout: Layout, kind: str, name: str, **details) -> None:
    ledger.append(layout.ledger, ledger.Event(kind, name, name + kind, AT, details))


def generation(layout: Layout, number: int, parent: str, verdict: str = "promoted") -> str:
    name = f"{number:04d}"
    event(layout, "opened", name, parent=parent, mode="update" if number else "train")
    opened(layout, number, parent, "update" if number else "train")
    run_curate(layout)
    seal(layout, number)
    event(layout, verdict, name)
    return name


@pytest.fixture
def layout(tmp_path) -> Layout:
    """Generation 0, promoted: cats, dogs and birds, with 40 images in the pool."""
    layout = workspace(tmp_path, curate={"max_drift": 1.0})
    birds = [row | {"label": "bird"} for row in two_classes()[10:16]]
    for n, row in enumerate(birds):
        row |= {"image_id": image_id(300 + n), "row": 300 + n, "address": f"photos/bird-{n}.jpg", "phash": 300 + n}
    put_batch(layout, "b", [*two_classes(), *birds])
    generation(layout, 0, "genesis")
    return layout


def asks(layout: Layout, name: str) -> None:
    """Generation `name` has a batch, of no image."""
    schema.write(layout.generation(name).selection, schema.empty(schema.SELECTION), schema.SELECTION)


def keep(layout: Layout, what: str, *arguments: object) -> list[str]:
    """What `answers.change_classes` does, but for DVC."""
    rows, warnings = register.change(layout, what, *arguments)
    _, told = register.store(layout, rows, AT, {"reason": "so", "by": "ann"})
    ledger.append(layout.ledger, told)
    return warnings


def test_an_operation_is_recorded_for_the_next_generation_and_seen_at_once(layout):
    assert keep(layout, "rename", "cat", "bird-cat") == []
    assert keep(layout, "rename", "dog", "birds") == ["'birds' is nearly the name 'bird' of another class"]
    found = operations_of(layout)
    assert found.select("number", "generation", "operation", "class_id", "name").rows() == [
        (0, "0001", "renamed", 1, "bird-cat"),
        (1, "0001", "renamed", 2, "birds"),
    ]
    assert register.current(layout)["name"].to_list() == ["bird", "bird-cat", "birds"]
    events = [e for e in ledger.read(layout.ledger) if e.event == "class_renamed"]
    assert [e.details["reason"] for e in events] == ["so", "so"]
    assert [e.details["classes"][0]["name"] for e in events] == ["bird-cat", "birds"]
    assert layout.generation("0000").classes.exists()
    verification.verify(layout)
    generation(layout, 1, "0000")
    assert pl.DataFrame(schema.read(layout.generation("0001").classes, schema.CLASSES)).equals(
        register.current(layout)
    )


def test_a_generation_that_is_being_made_is_not_touched(layout):
    event(layout, "opened", "0001", parent="0000", mode="update")
    keep(layout, "merge", "dog", "cat")
    assert operations_of(layout)["generation"].to_list() == ["0002"]
    said = register.said(layout, operations_of(layout).to_dicts(), "0002")
    assert said == "'dog' (class 2) is merged into 'cat'\nthis holds from generation 0002 on"


def test_before_the_first_generation_there_is_no_class(tmp_path):
    with pytest.raises(ValueError, match="there is no class yet; `oltr loop`"):
        register.current(workspace(tmp_path))


def test_the_listing_counts_images_by_the_class_that_their_label_stands_for_now(layout):
    before = {row["name"]: row["images"] for row in register.listing(layout)}
    assert before == {"bird": 6, "cat": 13, "dog": 6}
    keep(layout, "merge", "dog", "cat")
    keep(layout, "describe", "cat", "9685", "Felis", ["puss"])
    rows = {row["name"]: row for row in register.listing(layout)}
    assert (rows["cat"]["images"], rows["dog"]["images"], rows["dog"]["successor"]) == (
        19,
        0,
        rows["cat"]["class_id"],
    )
    assert (rows["cat"]["taxon"], rows["cat"]["parent"], rows["cat"]["aliases"]) == ("9685", "Felis", ["puss"])


def test_a_class_of_a_refused_generation_keeps_its_id(layout):
    """Without a memory of it, the next new name of an earlier letter would get that id."""
    put_annotations(layout, "0000", [answer(100, "zebra"), answer(101, "zebra")])
    generation(layout, 1, "0000", "refused")
    ids = dict(pl.read_parquet(layout.generation("0001").classes).select("name", "class_id").iter_rows())
    strays = register.strays(layout, ["0001"])
    assert strays == [{"operation": "added", "class_id": ids["zebra"], "name": "zebra", "generation": "0001"}]
    ledger.append(layout.ledger, register.store(layout, strays, AT, {})[1])
    assert register.strays(layout, ["0001"]) == [], "told once"
    put_annotations(layout, "0001", [answer(102, "ant"), answer(103, "ant")])
    generation(layout, 2, "0000")
    now = dict(pl.read_parquet(layout.generation("0002").classes).select("name", "class_id").iter_rows())
    assert now == ids | {"ant": 4}


def test_a_name_that_an_older_version_gave_two_ids_does_not_come_twice(layout):
    put_annotations(layout, "0000", [answer(100, "zebra"), answer(101, "ant")])
    generation(layout, 1, "0000", "refused")
    event(layout, "opened", "0002", parent="0000", mode="update")
    generation(layout, 2, "0000")
    assert register.strays(layout, ["0001"]) == []


# --- files -----------------------------------------------------------------------------------------------


def test_a_file_of_operations_that_was_changed_or_that_nobody_recorded_is_refused(layout):
    keep(layout, "rename", "cat", "puss")
    (path,) = layout.register.glob("*.parquet")
    before = path.read_bytes()
    path.write_bytes(before + b" ")
    with pytest.raises(ValueError, match="was changed after it came in"):
        verification.verify(layout)
    path.write_bytes(before)
    verification.verify(layout)
    other = layout.corrections / "0123456789abcdef.parquet"
    other.parent.mkdir()
    other.write_bytes(before)
    with pytest.raises(ValueError, match="expected files that a batch's card or the ledger names"):
        verification.verify(layout)
    path.unlink()
    other.unlink()
    with pytest.raises(ValueError, match="expected this file, and it is not here"):
        verification.verify(layout)


def test_what_a_kill_left_without_its_event_is_removed(layout):
    rows, _ = register.change(layout, "retire", "cat")
    path, told = register.store(layout, rows, AT, {})
    assert records.remove_unrecorded(layout) == []
    assert not layout.register.exists(), "an empty folder would be given to DVC"
    path, told = register.store(layout, rows, AT, {})
    ledger.append(layout.ledger, told)
    assert records.remove_unrecorded(layout) == []
    assert path.exists()
    (layout.register / "0123456789abcdef.parquet").write_bytes(b"")
    assert records.remove_unrecorded(layout) == [layout.register]
    assert [p.name for p in layout.register.iterdir()] == [path.name]


# --- corrections -----------------------------------------------------------------------------------------


def set_right(layout: Layout, image: str, label: str, new: bool = False, at: str = AT) -> dict:
    row, _ = corrections.correction(layout, image, label, new)
    _, told = corrections.store(layout, row | {"annotator": "eva", "reason": "seen"}, at)
    ledger.append(layout.ledger, told)
    return row


def test_an_image_is_found_by_id_by_its_first_letters_by_address_and_as_a_file(layout, monkeypatch):
    bird = image_id(300)
    for name in (bird, bird[:8], bird[:8].upper(), "photos/bird-0.jpg"):
        assert corrections.find(layout, name) == bird
    layout.root.joinpath("photos").mkdir()
    monkeypatch.chdir(layout.root / "photos")
    for name in ("bird-0.jpg", "../photos/bird-0.jpg", str(layout.root / "photos" / "bird-0.jpg")):
        assert corrections.find(layout, name) == bird, "a file, from the current folder"
    for name in ("photos/bird-9.jpg", "zzzz", bird[:3]):
        with pytest.raises(ValueError, match="this id or address .of an id the first 4 letters are enough"):
            corrections.find(layout, name)
    put_batch(layout, "c", [two_classes()[0] | {"image_id": bird[:10] + "f" * 54}])
    with pytest.raises(ValueError, match="2 images are called so .*more letters"):
        corrections.find(layout, bird[:10])
    put_batch(layout, "c", [two_classes()[0] | {"image_id": "f" * 64, "address": "photos/bird-0.jpg"}])
    with pytest.raises(ValueError, match="2 images are called so"):
        corrections.find(layout, "photos/bird-0.jpg")


def test_one_box_of_a_picture_is_corrected_and_the_picture_names_its_boxes(layout):
    boxes = [two_classes()[0] | {"image_id": c * 64, "address": f"cam/a.jpg#{n}"} for n, c in ((1, "e"), (2, "f"))]
    put_batch(layout, "c", boxes)
    assert corrections.find(layout, "cam/a.jpg#2") == "f" * 64
    with pytest.raises(
        ValueError,
        match="cam/a.jpg: 2 boxes of this picture are images; name one of them .cam/a.jpg#1, cam/a.jpg#2, ...",
    ):
        corrections.find(layout, "cam/a.jpg")


def test_a_correction_keeps_who_when_why_and_what_was_there(layout):
    row = set_right(layout, image_id(300), "dog")
    assert row == {
        "image_id": image_id(300), "label": "dog", "generation": "0001", "label_before": "bird",
        "label_source_before": "source",
    }  # fmt: skip
    again = set_right(layout, image_id(300), "finch", new=True, at="2026-02-02T00:00:00+00:00")
    assert (again["label_before"], again["label_source_before"]) == ("dog", "eva")
    found = corrections_of(layout)
    assert found.select("label", "annotator", "reason").rows() == [("dog", "eva", "seen"), ("finch", "eva", "seen")]
    told = [e.details for e in ledger.read(layout.ledger) if e.event == "corrected"]
    assert [(d["before"], d["label"], d["by"], d["reason"]) for d in told] == [
        ("bird", "dog", "eva", "seen"),
        ("dog", "finch", "eva", "seen"),
    ]
    verification.verify(layout)
    generation(layout, 1, "0000")
    manifest = pl.read_parquet(layout.generation("0001").manifest).filter(image_id=image_id(300))
    assert manifest.select("label", "label_source", "split").row(0) == ("finch", "eva", "train")


@pytest.mark.parametrize(
    ("label", "new", "said"),
    [
        ("bird", False, "its label is 'bird' already"),
        ("brid", False, "no class is called 'brid'; did you mean 'bird'"),
        ("unknown", True, "no class is called 'unknown'"),
    ],
)
def test_a_correction_that_says_nothing_new_or_names_no_class_is_refused(layout, label, new, said):
    with pytest.raises(ValueError, match=said):
        corrections.correction(layout, image_id(300), label, new)


def test_a_new_name_that_is_nearly_a_known_one_is_pointed_out(layout):
    _, warnings = corrections.correction(layout, image_id(300), "Bird", True)
    assert warnings == ["'Bird' is nearly the name 'bird' of another class"]
    assert corrections.correction(layout, image_id(300), "gnu", True)[1] == []


def test_an_image_in_quarantine_is_not_corrected_but_for_one_that_people_alone_have_named_and_discarded(layout):
    discards = [answer(n, None, verdict="discard") for n in (0, 100)]
    put_annotations(layout, "0000", discards, {"suspects": [image_id(0)]})
    generation(layout, 1, "0000")
    with pytest.raises(ValueError, match="in quarantine .discarded by ann."):
        corrections.correction(layout, image_id(0), "dog", False)
    set_right(layout, image_id(100), "cat")
    generation(layout, 2, "0001")
    manifest = pl.read_parquet(layout.generation("0002").manifest)
    found = manifest.filter(image_id=image_id(100)).select("label", "label_source", "split", "reason").row(0)
    assert found == ("cat", "eva", "train", None)
    assert manifest.filter(image_id=image_id(0))["split"].item() == "quarantine"


def test_an_answer_is_the_same_whatever_its_class_is_called_since(layout):
    keep(layout, "rename", "cat", "Cat")
    keep(layout, "rename", "Cat", "CAT")
    assert batch.names_meant(layout, "0000") == dict.fromkeys(("cat", "Cat", "CAT"), "cat") | {
        "dog": "dog",
        "bird": "bird",
    }
    keep(layout, "rename", "dog", "cAt dog")
    generation(layout, 1, "0000")
    keep(layout, "rename", "cAt dog", "cat dog")
    names = batch.names_meant(layout, "0001")
    assert {names[word] for word in ("cAt dog", "cat dog", "dog")} == {"cAt dog"}
    assert text_values.class_finder(names)("CAT  DOG") == "cAt dog", "two spellings of one class are one"


def test_what_a_split_class_was_called_is_no_answer_to_a_batch_that_asks_about_its_images_anew(layout):
    generation(layout, 1, "0000")
    keep(layout, "split", "cat")
    assert register.split_before(layout, "0001") == set(), "that batch was made before"
    generation(layout, 2, "0001")
    assert register.split_before(layout, "0002") == {"cat"}
    names = batch.names_meant(layout, "0002")
    rows = [
        {"verdict": v, "label": n, "image_id": "a"}
        for v, n in (("new_class", "Cat"), ("label", "dog"), ("discard", None))
    ]
    asks(layout, "0001"), asks(layout, "0002")
    first, *others = returned.by_image(layout, "0002", rows, names)
    assert first["problem"] == (
        "label: the class 'Cat' was split; give the part another name, or call `oltr classes restore Cat`"
    )
    assert others == rows[1:]
    assert "problem" not in returned.by_image(layout, "0001", rows, names)[0]


def test_a_new_name_is_spelled_as_in_an_older_batch_or_a_correction(layout):
    put_annotations(layout, "0000", [answer(100, "Okapi", verdict="new_class")])
    set_right(layout, image_id(101), "OKAPI", new=True)
    set_right(layout, image_id(102), "gnu", new=True)
    assert set(corrections_of(layout)["label"]) == {"Okapi", "gnu"}
    generation(layout, 1, "0000")
    assert returned.new_names(layout) == ["Okapi", "gnu"]
    asks(layout, "0001")
    rows = [{"verdict": "new_class", "label": name, "image_id": "a"} for name in ("okapi", "GNU", "eel", "EEL")]
    found = returned.by_image(layout, "0001", rows, {})
    assert [row["label"] for row in found] == ["Okapi", "gnu", "eel", "eel"]


def test_people_may_write_the_name_of_a_merged_class(layout):
    keep(layout, "merge", "dog", "cat")
    generation(layout, 1, "0000")
    assert batch.class_names(layout, "0001") == {"bird": "bird", "cat": "cat", "dog": "cat"}


def test_ids_are_kept_before_a_generation_of_another_line_is_opened(layout, monkeypatch):
    kept = []
    monkeypatch.setattr(answers, "_keep", lambda layout, path, event: kept.append(event))
    answers.keep_ids(layout)
    put_annotations(layout, "0000", [answer(100, "zebra")])
    generation(layout, 1, "0000")
    answers.keep_ids(layout)
    assert kept == [], "there is one line"
    event(layout, "rolled_back", "0000")
    answers.keep_ids(layout)
    assert [(e.event, e.details["classes"][0]["name"]) for e in kept] == [("class_added", "zebra")]


def test_a_table_of_names_is_read_as_it_was_meant(tmp_path):
    file = tmp_path / "names.csv"
    wanted = {2: {"name": "lynx", "taxon": ""}, 4: {"name": "=fox", "taxon": "Vulpes, red"}}
    text = '\ufeffname , Taxon\n lynx,\n,\n\'=fox,"Vulpes, red"\n'
    for content in (text.encode(), text.encode("utf-16-le"), text.replace(",", ";").encode()):
        file.write_bytes(content)
        assert [*register.read_csv(file)] == [*wanted]
    file.write_bytes(text.encode())
    assert register.read_csv(file) == wanted


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"name,taxon\neel,7,\n", r":2: expected 2 cells, found 3; put a cell that holds ',' into quotes"),
        (b'name\nlynx\n"a"b\n', r":3: expected a row of a CSV table, found none"),
        (b"taxon\n7\n", r": there is no column 'name' \(there are: taxon\)"),
        (b"\xff\xfe", r": there is no column 'name' \(there are: none\)"),
        (b"name,aliases\nlynx,b\xe4r\n", r": expected UTF-8 text, found another encoding; save the table again"),
        (b"PK\x03\x04", r": expected a CSV table, found a workbook"),
    ],
)
def test_a_table_of_names_that_cannot_be_read_is_refused_with_file_and_line(tmp_path, content, sentence):
    file = tmp_path / "names.csv"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"names\.csv{sentence}"):
        register.read_csv(file)
