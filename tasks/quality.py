"""Great Expectations over a manifest: the checks of `oltr_core.curation.checks`, as a gate and as pages to read.

The checks are declared once; curate runs the same ones on polars. Here each becomes an expectation: Great
Expectations' own where it has one for the sentence, else "this column is true" on a column that polars computed.
"""

from __future__ import annotations

import logging
import os
import warnings
from typing import Any

from oltr_core import schema
from oltr_core.curation import checks
from oltr_core.frames import read
from oltr_core.layout import Layout
from oltr_core.settings.whole import load_settings

# the pages ask the network for their style; without one this makes them readable
_OFFLINE = (
    "<style>body{font:15px/1.5 system-ui,sans-serif;margin:2rem;max-width:70rem}table{border-collapse:collapse}"
    "td,th{border:1px solid #ccc;padding:.3rem .6rem;text-align:left}.d-none,.modal,footer,"
    'img[src^="http"]{display:none!important}.fa-check-circle:after{content:"passed"}'
    '.fa-times:after{content:"failed"}</style></head>'
)


def validate(layout: Layout) -> None:
    """Hold data/work/manifest.parquet against every check and write the data docs.

    Raises ValueError with the sentence of the first check that fails; the docs are written all the same.
    """
    manifest = read(layout.work.manifest, schema.MANIFEST)
    context = checks.Context.of(layout, load_settings(layout).curate)
    declared = checks.declared(context, manifest.lazy())
    rows = checks.prepared(manifest.lazy(), context).collect()
    # what Great Expectations looks at, as the pandas frame that it needs: the columns that its own expectations name,
    # and one of true and false for every other check
    named = sorted({check.column for check in declared if check.expectation})
    others = ((~check.bad).alias(check.name) for check in declared if not check.expectation)
    passed = _checked(rows.select(*named, *others).to_pandas(), declared, layout, context.run.generation)
    for check, good in zip(declared, passed, strict=True):
        if not good:
            bad = rows.filter(check.bad)
            first = (bad if bad.height else rows).sort("image_id").row(0, named=True)
            found, count = first[check.column], max(1, bad.height)
            raise ValueError(checks.sentence(check, count, found, first["image_id"], "quality: manifest"))


def _checked(frame: Any, declared: list[checks.Check], layout: Layout, generation: str) -> list[bool]:
    """Run the suite and build the pages; which checks passed, in their order."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies' future
        import great_expectations as gx
        import great_expectations.expectations as expectations
        from great_expectations.core.run_identifier import RunIdentifier

        context = gx.get_context(mode="ephemeral")
        context.enable_analytics(False)
        context.variables.progress_bars = {"globally": False}  # pyright: ignore[reportAttributeAccessIssue]
        suite = gx.ExpectationSuite(name="manifest")
        for check in declared:
            kind = getattr(expectations, check.expectation or "ExpectColumnValuesToBeInSet")
            arguments = {"value_set": [True], "column": check.name}
            if check.expectation:
                arguments = {"column": check.column, **check.arguments}
            suite.add_expectation(kind(**arguments, notes=check.name, meta={"check": check.name}))
        suite = context.suites.add(suite)
        batches = (
            context.data_sources.add_pandas("tables")
            .add_dataframe_asset("manifest")
            .add_batch_definition_whole_dataframe("all")
        )
        definition = gx.ValidationDefinition(name=f"generation {generation}", data=batches, suite=suite)
        definition = context.validation_definitions.add(definition)
        layout.quality_docs.mkdir(parents=True, exist_ok=True)
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(layout.quality_docs)}
        site: Any = {"class_name": "SiteBuilder", "store_backend": store}
        site["site_index_builder"] = {"class_name": "DefaultSiteIndexBuilder"}
        context.add_data_docs_site(site_name="pages", site_config=site)
        action = gx.checkpoint.UpdateDataDocsAction(name="pages", site_names=["pages"])
        checkpoint = context.checkpoints.add(
            gx.Checkpoint(name=f"generation-{generation}", validation_definitions=[definition], actions=[action])
        )
        result = checkpoint.run({"dataframe": frame}, run_id=RunIdentifier(f"generation-{generation}"))
    for page in layout.quality_docs.rglob("*.html"):
        text = page.read_text()
        if _OFFLINE not in text:
            page.write_text(text.replace("</head>", _OFFLINE, 1))
    (run,) = result.run_results.values()
    outcome = {(r.expectation_config.meta or {})["check"]: bool(r.success) for r in run.results}  # pyright: ignore[reportOptionalMemberAccess]
    return [outcome[check.name] for check in declared]
