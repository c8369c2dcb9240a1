"""Files of a workspace that were changed, cut, exchanged or lost since the product wrote them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import save_file

from oltr_core import checkpoint, digest, ledger, schema, verification
from oltr_core.curation import checks
from oltr_core.layout import Layout
from oltr_core.ledger import Event
from oltr_core.settings.whole import load_settings
from tasks.dvc import inputs, pointers, repair
from tasks.mlflow import database
from tests.core import test_verification as inputs_world
from tests.core.data_world import configure, manifest, picture, run_ingest, workspace
from tests.core.ingest.broken import BREAKS, NULLS, Break, sound
from tests.reliability import REFUSED, Case

AT = "2026-11-21T00:00:00Z"


@cache
def world() -> tuple[pl.DataFrame, checks.Context]:
    root = Path(tempfile.mkdtemp(prefix="oltr-sound-"))
    try:
        layout = sound(root)
        return manifest(layout), checks.Context.of(layout, load_settings(layout).curate)
    finally:
        shutil.rmtree(root)


def broken(change: Break) -> Callable[[Path], object]:
    def run(root: Path) -> object:
        rows, context = world()
        return checks.enforce(change(rows), context, "manifest.parquet")

    return run


def history(change: Callable[[list[str]], list[str]]) -> Callable[[Path], object]:
    """A ledger of three lines, changed."""

    def run(root: Path) -> object:
        path = Layout(root).ledger
        for content in "abc":
            ledger.append(path, Event("opened", "0000", digest.of_value(content), AT))
        path.write_text("".join(f"{line}\n" for line in change(path.read_text().splitlines())))
        return ledger.read(path)

    return run


def torn(root: Path) -> str:
    """A last line cut by a crash: set aside by the next writing, and nothing is lost."""
    import warnings

    path = Layout(root).ledger
    ledger.append(path, Event("opened", "0000", "a", AT))
    path.write_bytes(path.read_bytes() + b'{"event": "sealed", "gener')
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        ledger.append(path, Event("opened", "0000", "b", AT))
    assert len(ledger.read(path)) == 2
    return str(found[0].message)


def without_head(root: Path) -> object:
    path = Layout(root).ledger
    for event in ("ingested", "opened"):
        ledger.append(path, Event(event, "0000", "a", AT))
    ledger.head_of(path).unlink()
    return ledger.read(path)


def inputs_changed(change: Callable[[Layout], object]) -> Callable[[Path], object]:
    """A batch, its truth and its annotations, one of them changed, and verified."""

    def run(root: Path) -> object:
        layout = inputs_world.with_inputs(root)
        change(layout)
        return verification.verify(layout)

    return run


def edited_parent(root: Path) -> object:
    layout = Layout(root)
    parent = layout.generation("0000")
    parent.folder.mkdir(parents=True)
    parent.metrics.write_text("{}")
    ledger.append(layout.ledger, Event("sealed", "0000", digest.of_folder(parent.folder), AT))
    layout.run.write_text("generation: '0001'\nparent: '0000'\nmode: update\n")
    parent.metrics.write_text("1")
    return inputs.verify_parent(layout)


def torn_file(name: str, content: bytes) -> Callable[[Path], object]:
    """A file of DVC's that a crash cut: found, removed, and said so."""

    def run(root: Path) -> object:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
        (found,) = repair.torn(Layout(root))
        found.repair()
        assert not (root / name).exists()
        return found.sentence

    return run


def torn_pointer(root: Path) -> object:
    (root / "first.dvc").write_text("outs:\n- md5: 3ab")
    return pointers.pointer(root / "first")


def broken_database(root: Path) -> object:
    layout = Layout(root)
    layout.mlflow_db.write_bytes(b"no database" * 100)
    said = database.set_aside(layout)
    assert not layout.mlflow_db.exists()
    return said


def sealed(change: Callable[[Path], object]) -> Callable[[Path], object]:
    """A sealed generation, changed, and verified."""

    def run(root: Path) -> object:
        layout = Layout(root)
        folder = layout.generation("0000").folder
        (folder / "plots").mkdir(parents=True)
        (folder / "metrics.json").write_text("{}")
        (folder / "plots" / "roc.csv").write_text("a,b\n")
        ledger.append(layout.ledger, Event("sealed", "0000", digest.of_folder(folder), AT))
        change(folder)
        return ledger.verify_sealed(layout.ledger, folder)

    return run


def table(change: Callable[[Path], object]) -> Callable[[Path], object]:
    def run(root: Path) -> object:
        change(root / "truth.parquet")
        return schema.read(root / "truth.parquet", schema.TRUTH)

    return run


def meta(version: str) -> pa.Table:
    """A table of one column that claims to be a truth table."""
    return pa.table({"image_id": ["a"]}).replace_schema_metadata({"oltr.table": "truth", "oltr.version": version})


def model(change: Callable[[Path], object]) -> Callable[[Path], object]:
    def run(root: Path) -> object:
        change(root / "model.safetensors")
        return checkpoint.load(root / "model.safetensors")

    return run


def other_sources(root: Path) -> object:
    layout = workspace(root, [{"batch": "b", "sources": [{"name": "unlabelled", "path": "in"}]}])
    picture(root / "in" / "a.png", 1)
    run_ingest(layout, "b")
    configure(layout, [{"batch": "b", "sources": [{"name": "unlabelled", "path": "in", "follow_links": True}]}])
    return run_ingest(layout, "b")


def case(kind: str, run: Callable[[Path], object], said: str, happens: str = REFUSED) -> Case:
    return Case("tampering", kind, happens, said, run)


CAME_IN = "this file was changed after it came in"
REMOVED = "is removed, and made again when it is needed"
CHANGED = "0000: a file in this sealed generation was changed"
CASES = [
    *(
        case(f"a manifest that breaks: {name}", broken(change), "^manifest.parquet: ")
        for name, change in (BREAKS | NULLS).items()
    ),
    case(
        "an edited line of the ledger",
        history(lambda x: [x[0], x[1].replace("-21", "-22"), x[2]]),
        "ledger.jsonl:3: the line before was changed",
    ),
    case(
        "a removed line of the ledger", history(lambda x: [x[0], x[2]]), "ledger.jsonl:2: the line before was chang"
    ),
    case("two lines of the ledger exchanged", history(lambda x: [x[0], x[2], x[1]]), "ledger.jsonl:2: the line befo"),
    case(
        "a line of the ledger twice", history(lambda x: [x[0], x[1], x[1]]), "ledger.jsonl:3: the line before was c"
    ),
    case(
        "an empty line in the ledger", history(lambda x: [x[0], "", *x[1:]]), "ledger.jsonl:2: this line is not a le"
    ),
    case(
        "a line of another file in the ledger", history(lambda x: ["{}", *x]), "ledger.jsonl:1: this line is not a l"
    ),
    case("the last line of the ledger cut off", history(lambda x: x[:2]), "ledger.jsonl: lines were cut off its end"),
    case(
        "an edited last line of the ledger",
        history(lambda x: [*x[:2], x[2].replace("-21", "-22")]),
        "ledger.jsonl:3: this line was changed after it was written",
    ),
    case("a ledger whose head is gone", without_head, "ledger.head: this file is missing"),
    case(
        "a torn last line of the ledger",
        torn,
        "the last line was torn by a crash; it was moved to ledger.torn-",
        "is set aside, the next event is written",
    ),
    case("a flipped bit of a raw shard", inputs_changed(inputs_world.a_shard), CAME_IN),
    case("a raw shard and its card changed", inputs_changed(inputs_world.a_shard_and_its_card), CAME_IN),
    case("truth set to one class", inputs_changed(inputs_world.truth_of_one_class), CAME_IN),
    case("a label more in annotations", inputs_changed(inputs_world.a_label_more_in_annotations), CAME_IN),
    case(
        "annotations that were never imported",
        inputs_changed(inputs_world.annotations_that_were_never_imported),
        "expected ",
    ),
    case("a parent that was edited before its stages run", edited_parent, "0000: a file in this sealed generation w"),
    case("a torn pointer of DVC's", torn_pointer, "first.dvc: expected what DVC writes beside data"),
    case("a torn dvc.lock", torn_file("dvc.lock", b"schema: '2.0'\nstages:\n  cu"), "dvc.lock: this is not", REMOVED),
    case("a torn rwlock of DVC's", torn_file(".dvc/tmp/rwlock", b'{"write": {"/x'), "rwlock: a DVC process", REMOVED),
    case(
        "a broken database of MLflow's",
        broken_database,
        "MLflow cannot use this file",
        "is set aside, and made again from the ledger",
    ),
    case("an edited file of a sealed generation", sealed(lambda f: (f / "metrics.json").write_text("1")), CHANGED),
    case("a removed file of a sealed generation", sealed(lambda f: (f / "plots" / "roc.csv").unlink()), CHANGED),
    case("an added file in a sealed generation", sealed(lambda f: (f / "plots" / "x").write_text("")), CHANGED),
    case("a renamed file of a sealed generation", sealed(lambda f: (f / "metrics.json").rename(f / "m")), CHANGED),
    case("a sealed generation that is not here", sealed(shutil.rmtree), "0000: this sealed generation is not here"),
    case(
        "a generation that was never sealed",
        lambda f: ledger.verify_sealed(f / "l", f / "0007"),
        "0007: the ledger knows no sealed generation",
    ),
    case("a table that is not here", table(lambda p: None), "this truth table is not here; `dvc pull`"),
    case("text for a table", table(lambda p: p.write_text("a,b\n")), "expected a Parquet file, found something else"),
    case(
        "a table cut in the middle", table(lambda p: p.write_bytes(b"PAR1" + b"\0" * 50)), "expected a Parquet file"
    ),
    case(
        "a table without a header", table(lambda p: pq.write_table(pa.table({"a": [1]}), p)), "expected table truth"
    ),
    case(
        "another table in its place",
        table(lambda p: schema.write(p, schema.empty(schema.INDEX), schema.INDEX)),
        "expected table truth, found index",
    ),
    case("a table of a later version", table(lambda p: pq.write_table(meta("99"), p)), "99"),
    case("a table without a column", table(lambda p: pq.write_table(meta("1"), p)), "the column 'label' is missing"),
    case("a model that is not here", model(lambda p: None), "this model is not here; `dvc pull`"),
    case(
        "text for a model", model(lambda p: p.write_text("weights")), "expected a safetensors file, found something"
    ),
    case("an empty model", model(lambda p: p.write_bytes(b"")), "expected a safetensors file, found something else"),
    case("a model of another program", model(lambda p: save_file({}, p)), "expected an oltr checkpoint, found"),
    case("other sources for a batch that is in", other_sources, "a batch never changes; give the new sources a new"),
]
