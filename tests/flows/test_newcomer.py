"""Somebody with a folder of photographs: `oltr init`, a generation, the page in a browser, the next generation."""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from oltr_core import ledger, schema
from oltr_core.layout import Layout
from tests.flows.worlds import edit, environment, give_databases, run, shorten
from tests.tasks import browser
from tests.tasks.browser import Page

COAT = {"roe deer": (170, 110, 60), "fox": (220, 110, 30), "badger": (150, 150, 160), "wild boar": (50, 40, 40)}
NEW = "wild boar"  # no labelled photograph shows one


def photograph(path: Path, animal: str, rng: np.random.Generator) -> None:
    """An animal of its coat and build somewhere in a meadow, with the noise of a camera."""
    image = Image.new("RGB", (72, 48), tuple(int(c) for c in rng.integers((90, 130, 60), (130, 180, 110))))
    draw, (x, y) = ImageDraw.Draw(image), (int(at) for at in rng.integers((8, 12), (30, 22)))
    long, high = {"roe deer": (22, 10), "fox": (24, 8), "badger": (20, 12), NEW: (30, 16)}[animal]
    draw.ellipse((x, y, x + long, y + high), COAT[animal])
    draw.ellipse((x + long - 4, y - 4, x + long + 6, y + 6), COAT[animal])
    if animal == "badger":
        draw.line((x, y + high // 2, x + long + 6, y + 1), (240, 240, 240), 2)
    for leg in (x + 4, x + long - 6):
        draw.rectangle((leg, y + high - 2, leg + 2, y + high + (12 if animal == "roe deer" else 5)), COAT[animal])
    noisy = np.asarray(image).astype(int) + rng.integers(-12, 13, (48, 72, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(path)


@pytest.fixture
def page(tmp_path) -> Iterator[Page]:
    (tmp_path / "downloads").mkdir()
    yield from browser.started(tmp_path / "downloads")


def answer(page: Page, animals: dict[str, str]) -> None:
    """Groups as the page has them: where several are selected those that are of another kind are left out first."""
    known = set(page.driver.execute_script("return DATA.classes.map((one) => one.name)"))
    total = page.driver.execute_script("return IMAGES.size")
    while len(page.answers()) < total:
        ids = page.driver.execute_script("return chosen()")
        if not ids:
            page.press("g")  # nothing is selected: one at a time
            continue
        ((animal, _),) = Counter(animals[image] for image in ids).most_common(1)
        for image in (image for image in ids if animals[image] != animal):
            page.driver.execute_script("view.selected.delete(arguments[0]); refresh()", image)
        if animal in known:
            page.choose(animal)
            continue
        page.search(animal)
        page.one("#new").click()
        known.add(animal)


def test_photographs_become_a_classifier_that_learns_a_new_class_from_the_page(tmp_path, page):
    layout, rng = Layout(tmp_path / "deer"), np.random.default_rng(0)
    command = ["oltr", "init", str(layout.root), "--like", "small_photos"]
    made = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    give_databases(layout)
    for animal in COAT:
        for n in range(14 if animal != NEW else 0):
            photograph(layout.root / "images" / "labelled" / animal / f"{n}.png", animal, rng)
        for n in range(12 if animal == NEW else 4):
            photograph(layout.root / "images" / "unlabelled" / f"{animal}-{n}.png", animal, rng)
    edit(layout, shorten)
    edit(layout, lambda params: params["budget"].update(share_of_arrivals=0.75))

    first = run(layout, "oltr", "loop")
    assert first.returncode == 0, first.stderr
    assert "run `oltr annotate open`, answer in the browser, then `oltr loop --more 1`" in first.stdout + first.stderr
    (kept,) = layout.batches
    rows = schema.read(kept.index, schema.INDEX, ["image_id", "address", "label"]).to_pylist()
    animals = {row["image_id"]: row["label"] or Path(row["address"]).name.rpartition("-")[0] for row in rows}
    page.open(layout.export("0000").page.as_uri())
    answer(page, animals)
    file = page.saved()
    answers = list(csv.DictReader(file.read_text().splitlines()))
    asked = schema.read(layout.generation("0000").selection, schema.SELECTION, ["image_id"])
    assert {row["image_id"]: row["label"] for row in answers} == {
        image: animals[image] for image in asked.column("image_id").to_pylist()
    }
    assert {row["verdict"] for row in answers if row["label"] == NEW} == {"new_class"}
    inbox = layout.root / "data" / "inbox"
    inbox.mkdir(exist_ok=True)
    shutil.copy(file, inbox)

    second = run(layout, "oltr", "loop", "--more", "1")
    assert second.returncode == 0, second.stderr
    state = ledger.replay(ledger.read(layout.ledger))
    assert state.champion == "0001", second.stderr
    classes = schema.read(layout.generation("0001").classes, schema.CLASSES).to_pylist()
    assert {row["name"] for row in classes if row["first_generation"] == "0001"} == {NEW}
    manifest = schema.read(layout.generation("0001").manifest, schema.MANIFEST).to_pylist()
    learned = [row for row in manifest if row["label"] == NEW]
    assert {row["label_source"] for row in learned} == {"Anna"}
    assert len(learned) == sum(row["label"] == NEW for row in answers) > 1
