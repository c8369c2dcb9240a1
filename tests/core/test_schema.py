from __future__ import annotations

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
