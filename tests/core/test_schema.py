from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oltr_core import schema

ROWS = [{"image_id": "b", "label": "lynx"}, {"image_id": "a", "label": "deer"}]


def test_equal_content_has_equal_bytes_whatever_the_order(tmp_path):
    for name, rows in (("one", ROWS), ("two", ROWS[::-1])):
        schema.write(tmp_path / name, schema.from_rows(schema.TRUTH, rows), schema.TRUTH)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_rows_come_back_sorted_by_their_key(tmp_path):
    schema.write(tmp_path / "t", schema.from_rows(schema.TRUTH, ROWS), schema.TRUTH)
    assert schema.read(tmp_path / "t", schema.TRUTH)["image_id"].to_pylist() == ["a", "b"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda path: None, "this truth table is not here; `dvc pull`"),
        (lambda path: path.write_text("image_id,label\n"), "expected a Parquet file, found something else"),
        (lambda path: pq.write_table(pa.table({"a": [1]}), path), "expected table truth, found none"),
        (
            lambda path: schema.write(path, schema.empty(schema.INDEX), schema.INDEX),
            "expected table truth, found index",
        ),
        (
            lambda path: pq.write_table(
                pa.table({"image_id": ["a"]}).replace_schema_metadata({"oltr.table": "truth", "oltr.version": "1"}),
                path,
            ),
            "the column 'label' is missing",
        ),
    ],
)
def test_a_table_that_is_not_what_it_should_be_is_named(tmp_path, make, sentence):
    path = tmp_path / "t.parquet"
    make(path)
    with pytest.raises(ValueError, match=sentence):
        schema.read(path, schema.TRUTH)


def test_a_required_column_refuses_a_missing_value(tmp_path):
    table = pa.table({"image_id": ["a", None], "label": ["x", "y"]})
    with pytest.raises((ValueError, pa.ArrowInvalid)):
        schema.write(tmp_path / "t", table, schema.TRUTH)


#: table -> version, key, and the columns that may be without a value
TABLES = {
    "index": (1, "image_id", "group_id captured_at attributes label split"),
    "quarantine": (1, "address reason", "image_id"),
    "thumbnails": (1, "image_id", ""),
    "manifest": (2, "image_id", "address group_id captured_at label class_id label_source labelled_in reason"),
    "classes": (2, "class_id", "successor taxon parent"),
    "operations": (1, "number", "name successor aliases taxon parent"),
    "corrections": (1, "image_id corrected_at", "label_before label_source_before"),
    "predictions": (3, "image_id", "true_class_id rejected start_class_id shot shot_now asked"),
    "selection": (3, "rank", "share cluster"),
    "annotations": (1, "image_id annotator answered_at", "label seconds"),
    "truth": (1, "image_id", ""),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_has_its_version_its_key_and_values_in_all_columns_but_these(name):
    kind = getattr(schema, name.upper())
    version, key, optional = TABLES[name]
    assert schema.version(kind) == schema.version(schema.empty(kind).schema) == version
    assert schema.key(kind) == tuple(key.split())
    assert {field.name for field in kind if field.nullable} == set(optional.split())
    assert schema.version(pa.schema([])) == 0


def as_version_1(path, table: pa.Table, name: str, version: str = "1") -> None:
    pq.write_table(table.replace_schema_metadata({"oltr.table": name, "oltr.version": version}), path)


def test_a_manifest_of_version_1_is_read_with_an_empty_address_in_its_place(tmp_path):
    place = {"shard": 0, "row": 3, "width": 8, "height": 9}
    row = {"image_id": "a", "batch": "b", "source": "s", "split": "pool", **place}
    as_version_1(tmp_path / "m", schema.from_rows(schema.MANIFEST, [row]).drop_columns(["address"]), "manifest")
    read = schema.read(tmp_path / "m", schema.MANIFEST)
    assert read.column_names == schema.MANIFEST.names
    assert read.to_pylist() == [dict.fromkeys(schema.MANIFEST.names) | row]
    assert schema.read(tmp_path / "m", schema.MANIFEST, ["row", "address"]).to_pylist() == [
        {"row": 3, "address": None}
    ]
    assert schema.check_header(tmp_path / "m", schema.MANIFEST) == 1


def test_a_selection_of_version_1_called_the_merit_energy(tmp_path):
    row = {"image_id": "a", "rank": 0, "u_open": 1.0, "u_info": 2.0, "merit": 3.0, "reason": "r", "suggested": "x",
           "strategy": "y"}  # fmt: skip
    table = schema.from_rows(schema.SELECTION, [row]).drop_columns(["share", "cluster"])
    old = table.rename_columns(["energy" if c == "merit" else c for c in table.column_names])
    as_version_1(tmp_path / "s", old, "selection")
    today = [row | {"share": None, "cluster": None}]
    assert schema.read(tmp_path / "s", schema.SELECTION).to_pylist() == today
    as_version_1(tmp_path / "s", table, "selection", "2")
    assert schema.read(tmp_path / "s", schema.SELECTION).to_pylist() == today


def test_predictions_of_version_1_do_not_say_which_image_was_rejected(tmp_path):
    row = {"image_id": "a", "class_id": 1, "probability": 0.5, "score": 2.0, "split": "test"}
    later = ["start_class_id", "shot", "shot_now", "asked"]
    table = schema.from_rows(schema.PREDICTIONS, [row]).drop_columns(["true_class_id", "rejected", *later])
    as_version_1(tmp_path / "p", table, "predictions")
    today = [row | dict.fromkeys(["true_class_id", "rejected", *later])]
    assert schema.read(tmp_path / "p", schema.PREDICTIONS).to_pylist() == today
    said = row | {"true_class_id": 2, "rejected": True}
    table = schema.from_rows(schema.PREDICTIONS, [said]).drop_columns(later)
    as_version_1(tmp_path / "p", table, "predictions", "2")
    assert schema.read(tmp_path / "p", schema.PREDICTIONS).to_pylist() == [said | dict.fromkeys(later)]


def test_a_table_of_a_newer_version_is_refused_with_both_numbers(tmp_path):
    newer = schema.empty(schema.TRUTH).replace_schema_metadata({"oltr.table": "truth", "oltr.version": "2"})
    pq.write_table(newer, tmp_path / "t")
    with pytest.raises(ValueError, match="expected version 1 or older of this table, found 2: it was written by"):
        schema.read(tmp_path / "t", schema.TRUTH)


def test_rows_are_sorted_by_every_column_of_the_key_and_columns_are_in_the_order_of_the_schema(tmp_path):
    at = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2)]
    rows = [
        {"image_id": image, "annotator": who, "answered_at": when, "verdict": "label", "label": "x", "batch_id": "0"}
        for image in "ba" for who in "dc" for when in at[::-1]
    ]  # fmt: skip
    table = schema.from_rows(schema.ANNOTATIONS, rows)
    schema.write(tmp_path / "deep" / "t", table.select(table.column_names[::-1]), schema.ANNOTATIONS)
    read = schema.read(tmp_path / "deep" / "t", schema.ANNOTATIONS)
    assert read.column_names == schema.ANNOTATIONS.names
    assert list(zip(*(read.column(c).to_pylist() for c in schema.key(schema.ANNOTATIONS)), strict=True)) == [
        (image, who, when) for image in "ab" for who in "cd" for when in at
    ]
    assert schema.read(tmp_path / "deep" / "t", schema.ANNOTATIONS, ["label"]).column_names == ["label"]
    assert read.schema.metadata == schema.ANNOTATIONS.metadata


def test_joiners_belong_to_the_scripts_that_write_them():
    assert schema.name_problem("می\u200cش") is None  # a Persian word with its non-joiner
    assert schema.name_problem("क्\u200dष") is None
    for name in ("de\u200cer", "می\u200c", "\u200cمی", "م\u202eی"):
        assert schema.name_problem(name) is not None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("x" * 200, None),
        ("x" * 201, "at most 200 characters, found 201"),
        ("red deer", None),
        ("Hirschkäfer (♀)", None),
        ("", None),
        (None, None),
        ("de\ter", "without control characters"),
        ("de\x00er", "without control characters"),
        ("deer\n", "without control characters"),
        ("de\u200ber", "without control characters"),  # without a width
        ("\u202edeer", "without control characters"),  # turns the direction of writing
        ("de\ud800er", "without control characters"),  # half of a pair
        ("de\u2028er", "without control characters"),  # ends of a line and of a paragraph
        ("de\u2029er", "without control characters"),
    ],
)
def test_a_name_is_text_of_200_characters_that_pages_and_terminals_can_show(name, problem):
    found = schema.name_problem(name)
    assert (found is None) is (problem is None)
    assert (problem or "") in (found or "")


def test_the_name_of_no_class_is_known_in_any_case():
    assert [schema.is_unknown(name) for name in ("unknown", "Unknown", "UNKNOWN")] == [True] * 3
    assert [schema.is_unknown(name) for name in ("unknowns", "", None)] == [False] * 3


@pytest.mark.parametrize("sign", list("=+-@\t\r"))
def test_a_cell_that_a_spreadsheet_would_execute_is_quoted_and_read_back(sign):
    for cell in (f"{sign}1", f"  {sign}1", f"'{sign}1"):
        assert schema.defused(cell) == f"'{cell}"
        assert schema.as_meant(f"'{cell}") == cell
    for cell in (f"a{sign}1", "'tis", 1, -1.5, None):
        assert schema.defused(cell) is cell
    assert [schema.as_meant(cell) for cell in ("'tis", f"a{sign}1", f"{sign}1", "")] == ["'tis", f"a{sign}1", f"{sign}1", ""]  # fmt: skip # noqa: E501


def test_a_table_is_compressed_with_zstd(tmp_path):
    """Its bytes are in the digests of sealed generations: another way to write it would change them."""
    schema.write(tmp_path / "t", schema.from_rows(schema.TRUTH, ROWS), schema.TRUTH)
    column = pq.ParquetFile(tmp_path / "t").metadata.row_group(0).column(0)
    assert column.compression == "ZSTD"
