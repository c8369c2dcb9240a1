"""People's answers: checked row by row against what was asked, and several about an image made one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl
import pyarrow as pa

from oltr_core import schema
from oltr_core.curation import text_values
from oltr_core.curation.agreement import dawid_skene
from oltr_core.settings.curate import MAJORITY, Consensus, DawidSkene
from oltr_core.spec import suggest

DISCARDED = "discarded by "  # and by whom: why an image is in quarantine
RESERVED = ("source", "conflict")  # values of `label_source` beside an annotator's name
SHOWN = 10  # errors listed before "and N more"


def listed(errors: list[str]) -> str:
    """One line each, and how many more there are."""
    return "\n".join(errors[:SHOWN]) + (f"\nand {len(errors) - SHOWN} more" if len(errors) > SHOWN else "")


def sort_answers(
    answers: Iterable[Mapping[str, Any]], selection: Any, where: str = "answers"
) -> tuple[list[dict[str, Any]], list[str]]:
    """The answers that can be imported, and a sentence for each other one.

    `selection`: that table, or its image ids. An answer is a mapping with image_id, verdict, label, annotator,
    answered_at (a datetime or ISO 8601 text), seconds and batch_id. Under `where` it may carry file and line, and
    under `problem` what is wrong with it, as far as who collected it knows.
    """
    asked = set(selection.column("image_id").to_pylist() if isinstance(selection, pa.Table) else selection)
    found: list[tuple[str, dict[str, Any] | str]] = []  # line, and the row or what is wrong with it
    said: dict[tuple[Any, ...], dict[tuple[Any, ...], str]] = {}  # key -> answer -> the line that gives it first
    for number, answer in enumerate(answers, start=1):
        line = answer.get("where") or f"{where}:{number}"
        try:
            row = _row(answer, asked)
            if said.setdefault(_key(row), {}).setdefault((row["verdict"], row["label"]), line) == line:
                found.append((line, row))
        except ValueError as error:
            found.append((line, str(error)))
    good, errors = [], []
    for line, row in found:
        others = [] if isinstance(row, str) else [other for other in said[_key(row)].values() if other != line]
        if isinstance(row, str):
            errors.append(f"{line}: {row}")
        elif others:  # which of them is meant, nobody knows
            also = f"{', '.join(others)} too"
            errors.append(f"{line}: {row['annotator']} answers this image twice ({also}); keep one row")
        else:
            good.append(row)
    return good, errors


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in schema.key(schema.ANNOTATIONS))


def _row(answer: Mapping[str, Any], asked: set[str]) -> dict[str, Any]:
    if "problem" in answer:
        raise ValueError(answer["problem"])
    text = {name: str(answer.get(name) or "").strip() for name in ("image_id", "verdict", "label", "annotator")}
    if text["image_id"] not in asked:
        found = text["image_id"] or "no image_id"
        why = f"this image was never selected ({found})"
        raise ValueError(f"image_id: {why}; answer the images of the exported batch only")
    if text["verdict"] not in schema.VERDICTS:
        raise ValueError(
            f"verdict: there is no verdict {text['verdict']!r}{suggest(text['verdict'], schema.VERDICTS)}"
        )
    if text["verdict"] in ("label", "new_class") and not text["label"]:
        raise ValueError(f"the verdict {text['verdict']!r} needs a label, and there is none")
    if text["verdict"] in ("discard", "unsure") and text["label"]:
        raise ValueError(f"the verdict {text['verdict']!r} takes no label, and {text['label']!r} stands there")
    if text["verdict"] == "new_class" and schema.is_unknown(text["label"]):
        said = f"no class is called {text['label']!r}: it is what predictions say of an image of no class"
        raise ValueError(f"label: {said}; write the verdict unsure, or the name of the class")
    if text["verdict"] == "new_class" and text_values.is_error(text["label"]):
        raise ValueError(f"label: expected a class's name, found {text['label']!r}, an error of the spreadsheet")
    for name in ("label", "annotator"):
        if (problem := schema.name_problem(text[name])) is not None:
            raise ValueError(f"{name}: {problem}")
    if not text["annotator"] or text["annotator"] in RESERVED:
        raise ValueError(f"annotator: expected a name, found {text['annotator']!r}")
    if not answer.get("batch_id"):
        raise ValueError("expected the batch_id of the exported batch, found none")
    return {
        **text,
        "label": text["label"] or None,
        "answered_at": text_values.timestamp(answer.get("answered_at")),
        "seconds": text_values.seconds(answer.get("seconds")),
        "batch_id": str(answer["batch_id"]),
    }


def votes_of(answers: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """Of each annotator the latest answer about an image, under the name that the register has, and `answer`.

    `names` maps what people may write (names and aliases of classes) to class names, so that two aliases agree.
    `answer`: verdict and label in one text, the same where two answers are. A known and a new class are both `label`.
    """
    latest = answers.sort("answered_at", "batch_id").unique(["image_id", "annotator"], keep="last")
    votes = latest.with_columns(pl.col("label").replace(dict(names)), pl.col("verdict").replace("new_class", "label"))
    return votes.with_columns(answer=pl.concat_str("verdict", pl.col("label").fill_null(""), separator=":"))


def consensus(
    answers: pl.DataFrame, names: Mapping[str, str], rule: Consensus = MAJORITY, gold: pl.DataFrame | None = None
) -> pl.DataFrame:
    """One answer per image: image_id, verdict (label, discard, unsure, conflict), label, label_source, batch_id.

    Of each annotator the latest answer counts, and `label_source` names those who gave the one that won. Where none
    wins by the `rule` the verdict is conflict. `gold`: answers to gold items with their right class as `truth`, from
    which Dawid-Skene learns how people err; null where the class is none now.
    """
    votes = votes_of(answers, names)
    counted = votes.group_by("image_id", "answer").agg(
        pl.col("verdict", "label").first(), n=pl.len(), label_source=pl.col("annotator").unique().sort().str.join("+")
    )
    of_image = votes.group_by("image_id").agg(total=pl.len(), batch_id=pl.col("batch_id").min())
    found = counted.join(of_image, on="image_id")
    if isinstance(rule, DawidSkene):
        sure = _dawid_skene(votes, gold, names).filter(pl.col("probability") >= rule.probability)
        won = found.join(sure, on=["image_id", "answer"], how="semi")
    else:
        won = found.filter(2 * pl.col("n") > pl.col("total"))
    tied = of_image.join(won, on="image_id", how="anti").with_columns(
        verdict=pl.lit("conflict"), label=pl.lit(None, pl.String), label_source=pl.lit("conflict")
    )
    columns = ["image_id", "verdict", "label", "label_source", "batch_id"]
    return pl.concat([won.select(columns), tied.select(columns)]).sort("image_id")


def _dawid_skene(votes: pl.DataFrame, gold: pl.DataFrame | None, names: Mapping[str, str]) -> pl.DataFrame:
    """With gold items as images of their own: one that was asked about for another reason too stays what it is."""
    if gold is None or gold.is_empty():
        return dawid_skene(votes)
    apart = pl.concat_str(pl.lit("gold "), "image_id")
    known = gold.drop_nulls("truth").with_columns(image_id=apart)
    truth = pl.col("truth").replace(dict(names))
    right = known.select("image_id", answer=pl.concat_str(pl.lit("label:"), truth)).unique("image_id")
    columns = ["image_id", "annotator", "answer"]
    return dawid_skene(pl.concat([votes.select(columns), votes_of(known, names).select(columns)]), right)
