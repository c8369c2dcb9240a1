"""The recipes for sets that are not here, from their lists to the figures, on a few images laid out alike."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import yaml

from oltr_core import frames, schema
from oltr_core.analyses import identification
from oltr_core.ingest.record import SourceAccess
from oltr_core.layout import Layout
from oltr_core.measured import read_all
from oltr_core.settings.whole import load_settings
from oltr_core.stages import ingest
from tests.core.data_world import picture, workspace
from tests.core.stages import loop_world

ROOT = Path(__file__).parents[3]
TAIL = (24, 12, 6, 4)  # training images per class


def faces(sets: Path) -> None:
    for person, images in enumerate((12, 8, 5, 1)):
        for image in range(images):
            picture(sets / f"ms1m-lt/m.{person:02d}/{image}.jpg", 100 * person + image)
    for stranger in range(3):
        picture(sets / f"megaface/{stranger}/0.jpg", 900 + stranger)
    for probe in range(4):
        picture(sets / f"facescrub/f.{probe // 2}/{probe}.jpg", 950 + probe)


def lists(of: str, name: str) -> Callable[[Path], None]:
    """`path label` in lists for training, validation, test and open images (label -1)."""

    def write(sets: Path) -> None:
        parts = {
            "train": list(enumerate(TAIL)),
            "val": [(k, 2) for k in range(4)],
            "test": [(k, 3) for k in range(4)],
        }
        seed = 0
        for part, sizes in {**parts, "open": [(-1, 6)]}.items():
            lines = []
            for label, images in sizes:
                for _ in range(images):
                    seed += 1
                    lines.append(f"{part}/n{label}/{seed}.JPEG {label}")
                    picture(sets / of / lines[-1].split()[0], seed, format="JPEG")
            (sets / of / f"{name}_{part}.txt").write_text("\n".join(lines) + "\n")

    return write


def species(sets: Path) -> None:
    """Two files, as iNaturalist 2018 has them: classes are numbers, and nobody says where a picture was taken."""
    root, seed = sets / "inaturalist-18", 0
    for part, sizes in (("train", TAIL), ("val", (3, 3, 3, 3))):
        images, annotations = [], []
        for category, number in enumerate(sizes):
            for _ in range(number):
                seed += 1
                name = f"train_val2018/Plantae/{7000 + category}/{seed:08x}.jpg"
                picture(root / name, seed)
                image = {"id": seed, "file_name": name, "license": 3, "rights_holder": "A. Person", "width": 24}
                images.append(image)
                annotations.append({"id": seed, "image_id": seed, "category_id": category})
        categories = [{"id": k, "name": str(k), "supercategory": "Plantae"} for k in range(4)]
        text = json.dumps({"images": images, "annotations": annotations, "categories": categories, "licenses": []})
        (root / f"{part}2018.json").write_text(text)


RECIPES = {
    "imagenet-lt": lists("imagenet", "ImageNet_LT"),
    "places-lt": lists("places", "Places_LT"),
    "sun-lt": lists("sun", "SUN_LT"),
    "ms1m-lt": faces,
    "inaturalist-18": species,
}
AS_LISTED = {"train": sum(TAIL), "val": 8, "test": 12 + 6, "classes": 4, "imbalance_ratio": 6}
EXPECTED = {
    "imagenet-lt": AS_LISTED,
    "places-lt": AS_LISTED,
    "sun-lt": AS_LISTED | {"test": 12},
    "ms1m-lt": {"images": 12 + 8 + 5 + 1 + 3 + 4, "classes": 4},
    "inaturalist-18": {"images": sum(TAIL) + 12, "test": 12, "classes": 4},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_from_its_lists_to_the_figures(tmp_path, name):
    """With a network of eight channels for one epoch a phase, on images of 16 pixels; the rest is the recipe's."""
    RECIPES[name](tmp_path / "sets")
    layout: Layout = workspace(tmp_path / "w")
    recipe = yaml.safe_load((ROOT / f"configs/{name}.yaml").read_text())
    recipe["compute"] = {"device": "cpu", "workers": 0}
    recipe["train"]["network"]["backbone"] = {"name": "resnet10", "stem": "small", "widths": [8, 8, 8, 8]}
    recipe["train"]["transform"] |= {"size": 16}
    for phase in recipe["train"]["phases"]:
        phase |= {"epochs": 1, "batch_size": 16}
    layout.params.write_text(yaml.safe_dump(recipe))
    settings = load_settings(layout)
    for one in settings.sources:
        ingest.run(settings, layout, one.batch, access=SourceAccess(layout.root, data_root=tmp_path / "sets"))
    loop_world.compute(layout)
    measured = read_all(layout.work.stage_metrics)
    assert measured.values["data/quarantine"] == measured.values["data/refused_files"] == 0
    has_open = name not in ("inaturalist-18", "sun-lt")
    assert ("open/auroc" in measured.values) == has_open, measured.absent
    said = frames.read(layout.work.predictions, schema.PREDICTIONS).filter(split="test")
    known = said.filter(pl.col("true_class_id") >= 0)
    right = known.filter(pl.col("true_class_id") == pl.col("class_id")).height
    assert right > 0, "it learned something"
    assert measured.values["closed/overall"] == pytest.approx(right / known.height, abs=1e-4)
    if has_open:
        unknown = said.filter(true_class_id=-1)
        above = [u > k for u in unknown["score"] for k in known["score"]]
        assert measured.values["open/auroc"] == pytest.approx(sum(above) / len(above), abs=1e-2)
    assert {key: measured.values[f"data/{key}"] for key in EXPECTED[name]} == EXPECTED[name]
    if name == "ms1m-lt":
        loop_world.seal(layout, "0000")
        probes = identification.run(layout, "0000", probes="facescrub").tables["probes"]
        assert probes.select("label", "pairs").sort("label").rows() == [("f.0", 1)] * 2 + [("f.1", 1)] * 2
