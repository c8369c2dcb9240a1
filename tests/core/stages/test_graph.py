"""A generation as ONNX: the predictions of torch for every test image, without torch; and what no graph can hold."""

from __future__ import annotations

import json
import math
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from oltr_core import checkpoint, manifest_rows, schema
from oltr_core.checkpoint import Card, Checkpoint
from oltr_core.images.dataset import from_pixels
from oltr_core.images.decode import decode
from oltr_core.images.shards import Shards
from oltr_core.images.transforms import Transform
from oltr_core.inference import classify, features_of
from oltr_core.interfaces import Reference
from oltr_core.models import NetworkSpec
from oltr_core.models.backbones import ResNet32, SmallResNet, Timm
from oltr_core.models.heads import Cosine, Linear, MetaEmbedding
from oltr_core.prediction import graph, predict
from oltr_core.prediction.predictions import predicted_fields
from oltr_core.scores import MEMBERS, Energy, Entropy, Gen, Knn, Odin
from oltr_core.seeding import torch_generator
from tests.core.stages import loop_world as world

ROOT = Path(__file__).parents[3]
REFUSED = {"knn", "odin", "gen"}


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """Generation 0 with its checkpoint, its validation rows, and canvases of its test images, known and open."""
    layout = world.make(tmp_path_factory.mktemp("graph"))
    world.compute(layout)
    world.seal(layout, "0000")
    model = checkpoint.load(layout.generation("0000").model)
    manifest = schema.read(layout.generation("0000").manifest, schema.MANIFEST)
    test = manifest_rows.of_splits(manifest, "test")
    canvases = from_pixels(list(Shards(layout.raw).read_many(test)), model.card.transform).images
    return (
        layout,
        model,
        manifest_rows.of_classes(manifest_rows.of_splits(manifest, "val"), model.card.class_ids),
        canvases,
    )


def said(path: Path, canvases: torch.Tensor) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["images"]
    assert session.get_inputs()[0].shape == ["batch", *canvases.shape[2:], 3]
    assert [o.name for o in session.get_outputs()] == ["probability", "score", "unknown"]
    return session.run(None, {"images": canvases.permute(0, 2, 3, 1).contiguous().numpy()})


def agrees(path: Path, model: Checkpoint, canvases: torch.Tensor) -> int:
    """Compare the file with `predicted_fields`; how many of the images are unknown to both."""
    from oltr_core.prediction.predictions import score_of

    score = score_of(model, "0000")
    probability, scores, unknown = said(path, canvases)
    wanted = list(predicted_fields(model, score, canvases, "0000", top_k=99))
    names = model.card.class_names
    for p, s, u, row in zip(probability, scores, unknown, wanted, strict=True):
        of = {top["label"]: top["probability"] for top in row["top"]}
        assert p == pytest.approx([of[name] for name in names], abs=1e-5)
        assert s == pytest.approx(row["score"], abs=1e-4, rel=1e-5)  # rmds is a difference of squares
        assert ("unknown" if u else names[p.argmax()]) == row["label"]
    return int(unknown.sum())


def with_score(score, sealed, network=None) -> Checkpoint:
    """The model with another score, fitted as `update` would, and a threshold that half of the val images pass."""
    layout, model, val, _ = sealed
    network = network or model.network
    outputs = classify(network, features_of(val, network, model.card.transform, layout), model.statistics)
    labels = manifest_rows.columns(val, model.card.class_ids)
    state = score.fit(Reference(outputs, labels, labels.bincount().float(), outputs, labels))
    threshold = 0.0 if score.needs == "network" else float(score(outputs, state).median())
    card = model.card.model_copy(update={"score": score.model_dump(mode="json"), "threshold": threshold})
    return replace(model, network=network, card=card, score_state=state)


@pytest.mark.parametrize("score", [m() for m in MEMBERS if m().name not in REFUSED], ids=lambda s: s.name)
def test_every_test_image_has_the_same_prediction_as_from_torch(score, sealed, tmp_path):
    model = with_score(score, sealed)
    graph.write(tmp_path / "m.onnx", model, "0000")
    unknown = agrees(tmp_path / "m.onnx", model, sealed[3])
    assert 0 < unknown < len(sealed[3])


def test_the_files_own_score_threshold_and_temperature_are_those_of_the_card(sealed, tmp_path):
    model = sealed[1]
    graph.write(tmp_path / "m.onnx", model, "0007")
    agrees(tmp_path / "m.onnx", model, sealed[3][:1])
    agrees(tmp_path / "m.onnx", model, sealed[3])
    about = onnxruntime.InferenceSession(tmp_path / "m.onnx").get_modelmeta().custom_metadata_map
    assert about["oltr.generation"] == "0007"
    assert json.loads(about["oltr.classes"]) == [
        {"id": i, "name": n} for i, n in zip(model.card.class_ids, model.card.class_names, strict=True)
    ]
    assert Transform(**json.loads(about["oltr.transform"])) == model.card.transform
    assert float(about["oltr.threshold"]) == model.card.threshold
    assert float(about["oltr.temperature"]) == model.card.temperature != 1
    assert about["oltr.score"] == "entropy"


def test_where_a_network_keeps_no_memory_the_class_means_go_into_the_file(sealed, tmp_path):
    layout, _, _, canvases = sealed
    network = checkpoint.load(layout.generation("0000").model).network
    network.replace_heads(Linear())
    plain = with_score(next(m() for m in MEMBERS if m().name == "u_product"), sealed, network.eval())
    graph.write(tmp_path / "m.onnx", plain, "0000")
    agrees(tmp_path / "m.onnx", plain, canvases)


NETWORKS = [
    NetworkSpec(backbone=SmallResNet(widths=(4, 8, 8, 8)), experts=2, attention="spatial", projection=6),
    NetworkSpec(backbone=SmallResNet(widths=(4, 8, 8, 8)), head=Cosine(), normalise=False, last_relu=True),
    NetworkSpec(backbone=ResNet32(), attention="none", head=MetaEmbedding(reachability=False, squash="linear")),
    NetworkSpec(backbone=Timm(model="test_resnet"), head=Linear()),
    NetworkSpec(backbone=Timm(model="test_vit"), attention="none", head=Linear()),
]


@pytest.mark.parametrize("spec", NETWORKS, ids=lambda spec: f"{spec.backbone.name}-{spec.head.name}")
def test_other_networks_predict_alike_too(spec, tmp_path):
    size = 160 if spec.backbone.name == "timm" else 16
    transform, names = Transform(size=size), ["a", "b", "c"]
    card = Card(
        class_ids=[4, 2, 7], class_names=names, class_counts=[1] * 3, network=spec, transform=transform,
        score=Entropy().model_dump(mode="json"), threshold=1.0, temperature=0.5,
    )  # fmt: skip
    model = Checkpoint(spec(3).eval(), card)
    graph.write(tmp_path / "m.onnx", model, "0000")
    shape = 5, 3, size, size
    canvases = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch_generator(1, "canvases"))
    agrees(tmp_path / "m.onnx", model, canvases)


@pytest.mark.parametrize(
    ("score", "why"), [(Knn(), "every reference image"), (Gen(), "expm1"), (Odin(), "follows a gradient")]
)
def test_a_score_that_no_graph_can_hold_is_refused_in_a_sentence(score, why, sealed, tmp_path, capfd):
    with pytest.raises(ValueError, match=f"the score {score.name}.*{why}"):
        graph.write(tmp_path / "m.onnx", with_score(score, sealed), "0000")
    assert not (tmp_path / "m.onnx").exists()
    assert capfd.readouterr().out == ""


def test_a_file_that_would_predict_otherwise_is_not_written(sealed, tmp_path, monkeypatch):
    monkeypatch.setattr(graph, "CLOSE", 0.0)
    with pytest.raises(ValueError, match="not written, for as ONNX"):
        graph.write(tmp_path / "m.onnx", with_score(Energy(), sealed), "0000")
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(("fit", "roll_up"), [("stretch", 0.0), ("crop", 0.9)])
def test_the_edge_program_predicts_as_oltr_predict_does_and_imports_no_torch(sealed, tmp_path, fit, roll_up):
    model = sealed[1]
    first, second, *_ = model.card.class_names
    changes = {
        "transform": Transform(size=8, fit=fit),
        "roll_up": roll_up,
        "parents": dict.fromkeys(model.card.class_names, "thing") | {first: second, "thing": "all", "all": "thing"},
        "threshold": math.inf if roll_up else model.card.threshold,
    }
    model = replace(model, card=model.card.model_copy(update=changes))
    graph.write(tmp_path / "m.onnx", model, "0000")
    generator = torch_generator(0, "pictures")
    paths = []
    for number, (width, height) in enumerate([(8, 8), (50, 31), (9, 20), (5, 6), (333, 120)]):
        shape = (math.ceil(height / 4), math.ceil(width / 4), 4)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        picture = Image.fromarray(pixels.numpy()).resize((width, height))
        path = tmp_path / f"{number}.{'png' if number % 2 else 'jpg'}"
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by a quarter
        picture.save(path) if number % 2 else picture.convert("RGB").save(path, exif=exif)
        paths.append(str(path))
    (tmp_path / "broken.png").write_text("no image")
    paths.insert(2, str(tmp_path / "broken.png"))
    code = f"import runpy, sys; sys.argv = ['edge', {str(tmp_path / 'm.onnx')!r}, *{paths!r}]; "
    code += f"runpy.run_path({str(ROOT / 'examples' / 'edge.py')!r}, run_name='__main__'); "
    code += "assert not {'torch', 'oltr_core'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    broken = found.pop(2)
    assert (broken["path"], "cannot identify image file" in broken["error"]) == (paths.pop(2), True)
    if roll_up:
        assert {row["label"] for row in found} & {"thing", "all", second} > set(), "some are not sure enough"
        assert any(row["label"] != row["nearest"] for row in found)
    for row, wanted in zip(found, predict(paths, model, "0000"), strict=True):
        assert (row["path"], row["label"], row["nearest"]) == (wanted.path, wanted.label, wanted.nearest)
        assert row["label_probability"] == pytest.approx(wanted.label_probability, abs=1e-3)
        # where a resized pixel lies halfway between two bytes, Pillow and torch may round it to either
        assert row["probability"] == pytest.approx(wanted.probability, abs=1e-3)
        assert row["score"] == pytest.approx(wanted.score, abs=1e-3)


def test_the_edge_program_scales_16_bit_grey_and_refuses_other_ranges_as_oltr_does(tmp_path):
    canvas, transform = runpy.run_path(str(ROOT / "examples" / "edge.py"))["canvas"], Transform(size=16)
    grey = torch.randint(0, 65536, (40, 31), generator=torch_generator(0, "grey")).numpy()
    for name, kind in (("a.png", np.uint16), ("b.tif", np.int32)):
        Image.fromarray(grey.astype(kind)).save(tmp_path / name)
        ours = transform.canvas(decode((tmp_path / name).read_bytes())).permute(1, 2, 0).numpy().astype(int)
        theirs = canvas(Image.open(tmp_path / name), **transform.model_dump())
        assert np.abs(ours - theirs).max() <= 1
        assert ours.std() > 10, "not clipped"
    path = tmp_path / "c.tif"
    for pixels, kind in ((grey.astype(np.float32), "floating-point"), (grey.astype(np.int32) + 65536, "32-bit")):
        Image.fromarray(pixels).save(path)
        for read in (lambda: decode(path.read_bytes()), lambda: canvas(Image.open(path), **transform.model_dump())):
            with pytest.raises(ValueError, match=f"{kind} pixels: their range is not known"):
                read()


@pytest.mark.parametrize(
    "transform", [Transform(size=16), Transform(size=32, fit="crop"), Transform(size=8, resize=9)]
)
def test_the_edge_programs_canvas_is_ours_but_for_a_byte_in_a_thousand_that_is_rounded_otherwise(transform):
    canvas = runpy.run_path(str(ROOT / "examples" / "edge.py"))["canvas"]
    apart = []
    for number, (height, width) in enumerate([(16, 16), (40, 31), (20, 90), (7, 6), (120, 333)]):
        generator = torch_generator(number, "pixels")
        pixels = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator).numpy()
        ours = transform.canvas(pixels).permute(1, 2, 0).numpy()
        theirs = canvas(Image.fromarray(pixels), **transform.model_dump())
        apart.append(np.abs(ours.astype(int) - theirs.astype(int)))
    every = np.concatenate([a.ravel() for a in apart])
    assert every.max() <= 1
    assert every.mean() <= 1e-3
