"""CelebA, from files as its authors lay them out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from oltr_core.ingest.record import SourceAccess
from oltr_core.ingest.sources.celeba import CelebA
from tests.core.data_world import picture
from tests.core.ingest.test_published_sources import ingested

FACES = {  # file: person, part, Male, Smiling
    "000001.jpg": (7, 0, -1, 1),
    "000002.jpg": (7, 0, -1, -1),
    "000003.jpg": (9, 1, 1, -1),
    "000004.jpg": (9, 1, 1, 1),
    "000005.jpg": (11, 2, 1, 1),
    "000006.jpg": (12, 2, -1, 1),
}


@pytest.fixture
def faces(tmp_path, monkeypatch) -> Path:
    """A small set in the folder `sets`."""
    published(tmp_path / "sets", FACES, monkeypatch, picture)
    return tmp_path


def published(
    root: Path,
    people: dict[str, tuple[int, int, int, int]],
    monkeypatch: pytest.MonkeyPatch,
    paint: Callable[[Path, int], object],
) -> None:
    """CelebA of these `people`, known to torchvision by its MD5s; `paint` makes the picture of a path and a seed."""
    from torchvision import datasets

    folder, number = root / "celeba", str(len(people))
    for seed, file in enumerate(people):
        paint(folder / "img_align_celeba" / file, seed)
    lists = {
        "list_attr_celeba.txt": [
            number, "Male Smiling ", *(f"{f} {m:2d} {s:2d}" for f, (_, _, m, s) in people.items())
        ],
        "identity_CelebA.txt": [f"{f} {person}" for f, (person, *_) in people.items()],
        "list_bbox_celeba.txt": [number, "image_id x_1 y_1 width height", *(f"{f}  95  71 226 313" for f in people)],
        "list_landmarks_align_celeba.txt": [number, "lefteye_x lefteye_y", *(f"{f} 69 109" for f in people)],
        "list_eval_partition.txt": [f"{f} {part}" for f, (_, part, *_) in people.items()],
    }  # fmt: skip
    known = [("", "", "img_align_celeba.zip")]
    for name, lines in lists.items():
        text = ("\n".join(lines) + "\n").encode()
        (folder / name).write_bytes(text)
        known.append(("", hashlib.md5(text).hexdigest(), name))
    monkeypatch.setattr(datasets.CelebA, "file_list", known)


def test_the_class_is_the_person_and_attributes_become_columns(faces):
    rows, bad = ingested(faces / "w", {"name": "celeba", "root": str(faces / "sets")})
    assert bad == []
    assert [(r["address"], r["label"], r["group_id"]) for r in rows] == [
        ("celeba/000001.jpg", "7", None),
        ("celeba/000002.jpg", "7", None),
        ("celeba/000003.jpg", "9", None),
        ("celeba/000004.jpg", "9", None),
        ("celeba/000005.jpg", "11", None),
        ("celeba/000006.jpg", "12", None),
    ]
    assert [json.loads(r["attributes"]) for r in rows[1:4]] == [
        {"Male": "no", "Smiling": "no"},
        {"Male": "yes", "Smiling": "no"},
        {"Male": "yes", "Smiling": "yes"},
    ]


def test_the_class_may_be_an_attribute_and_people_stay_together(faces):
    source = CelebA(root=str(faces / "sets"), label="Smiling")
    records = list(source(SourceAccess(faces)))
    assert [(r.label, r.group_id) for r in records] == [
        ("Smiling", "identity:7"),
        ("not Smiling", "identity:7"),
        ("not Smiling", "identity:9"),
        ("Smiling", "identity:9"),
        ("Smiling", "identity:11"),
        ("Smiling", "identity:12"),
    ]
    assert records[0].attributes == {"Male": "no", "Smiling": "yes"}
    assert source.classes(SourceAccess(faces)) == ["Smiling", "not Smiling"]


@pytest.mark.parametrize(("part", "files"), [("train", (1, 2)), ("valid", (3, 4)), ("test", (5, 6))])
def test_a_part_is_that_of_the_published_partition(faces, part, files):
    found = CelebA(root=str(faces / "sets"), part=part)(SourceAccess(faces))
    assert [r.address for r in found] == [f"celeba/00000{number}.jpg" for number in files]


def test_what_is_not_there_is_said(faces):
    (faces / "sets/celeba/img_align_celeba/000003.jpg").unlink()
    _, bad = ingested(faces / "w", {"name": "celeba", "root": str(faces / "sets")})
    assert bad == [("celeba/000003.jpg", "missing file")]
    with pytest.raises(ValueError, match="there is no 'Smilling'; did you mean 'Smiling'"):
        CelebA(root=str(faces / "sets"), label="Smilling").labels(SourceAccess(faces))
    (faces / "sets/celeba/identity_CelebA.txt").write_text("")
    with pytest.raises(ValueError, match="expected img_align_celeba and the five lists .* found others or none"):
        CelebA(root=str(faces / "sets")).labels(SourceAccess(faces))
