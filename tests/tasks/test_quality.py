"""The gate of Great Expectations: curate's own checks, over the manifest that was written."""

from __future__ import annotations

import re

import polars as pl
import pytest

from oltr_core import schema
from oltr_core.curation import checks
from oltr_core.settings.whole import load_settings
from tasks import quality
from tests.core.data_world import manifest
from tests.core.ingest.broken import BREAKS, sound


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    layout = sound(tmp_path_factory.mktemp("sound"))
    return layout, manifest(layout)


def test_a_sound_manifest_passes_and_its_pages_open_offline(world):
    layout, rows = world
    schema.write(layout.work.manifest, rows.to_arrow(), schema.MANIFEST)
    quality.validate(layout)
    assert "<style>body{font:" in (layout.quality_docs / "index.html").read_text()
    (page,) = layout.quality_docs.rglob("validations/**/*.html")
    text = " ".join(re.sub("<[^>]*>", " ", page.read_text()).split())
    count = len(checks.declared(checks.Context.of(layout, load_settings(layout).curate), rows.lazy()))
    assert f"Successful Expectations {count} Unsuccessful Expectations 0" in text
    assert "a group never straddles two splits" in text


@pytest.mark.parametrize("name", BREAKS)
def test_a_planted_bad_row_stops_the_gate_with_the_sentence_of_the_check(world, name):
    layout, rows = world
    schema.write(layout.work.manifest, BREAKS[name](rows).to_arrow(), schema.MANIFEST)
    with pytest.raises(ValueError) as caught:
        quality.validate(layout)
    assert str(caught.value).startswith(f"quality: manifest: {name}: ")


def test_the_image_that_is_named_is_one_that_breaks_the_check(world):
    layout, rows = world
    last = rows["image_id"].max()
    broken = rows.with_columns(width=pl.when(image_id=last).then(0).otherwise("width"))
    schema.write(layout.work.manifest, broken.to_arrow(), schema.MANIFEST)
    with pytest.raises(ValueError, match=rf"1 row breaks this, first image {last[:12]} \(width 0\)"):
        quality.validate(layout)
