"""People's answers: checked row by row against what was asked, and several about an image made one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa

from oltr_core import schema
from oltr_core.curation.agreement import dawid_skene
from oltr_core.settings.curate import MAJORITY, Consensus, DawidSkene
from oltr_core.spec import suggest

RESERVED = ("source", "conflict")  # values of `label_source` beside an annotator's name
SHOWN = 10  # errors listed before "and N more"


def check_annotations(answers: Iterable[Mapping[str, Any]], selection: Any, where: str = "answers") -> pa.Table:
    """`answers` as an annotations table, if every one of them answers an image that was asked about.

    Raises ValueError that lists the wrong rows, each with what was expected and found; none is taken then.
    """
    good, errors = sort_answers(answers, selection, where)
    if errors:
        raise ValueError(listed(errors))
    return schema.from_rows(schema.ANNOTATIONS, good)


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
    good, errors = [], []
    seen: dict[tuple[str, ...], str] = {}
    for number, answer in enumerate(answers, start=1):
        line = answer.get("where") or f"{where}:{number}"
        try:
            row = _row(answer, asked)
            key = tuple(row[name] for name in schema.key(schema.ANNOTATIONS))
            if key in seen:
                raise ValueError(f"{row['annotator']} answers this image twice ({seen[key]} too); keep one row")
            seen[key] = line
            good.append(row)
        except ValueError as error:
            errors.append(f"{line}: {error}")
    return good, errors


def _row(answer: Mapping[str, Any], asked: set[str]) -> dict[str, Any]:
    if "problem" in answer:
        raise ValueError(answer["problem"])
    text = {name: str(answer.get(name) or "").strip() for name in ("image_id", "verdict", "label", "annotator")}
    if text["image_id"] not in asked:
        found = text["image_id"] or "no image_id"
        raise ValueError(f"this image was never selected ({found}); answer the images of the exported batch only")
    if text["verdict"] not in schema.VERDICTS:
        raise ValueError(f"there is no verdict {text['verdict']!r}{suggest(text['verdict'], schema.VERDICTS)}")
    if text["verdict"] in ("label", "new_class") and not text["label"]:
        raise ValueError(f"the verdict {text['verdict']!r} needs a label, and there is none")
    if text["verdict"] in ("discard", "unsure") and text["label"]:
        raise ValueError(f"the verdict {text['verdict']!r} takes no label, and {text['label']!r} stands there")
    if text["verdict"] == "new_class" and text["label"] == schema.UNKNOWN:
        raise ValueError(f"no class is called {schema.UNKNOWN!r}: it is what predictions say of an image of no class")
    for name in ("label", "annotator"):
        if (problem := schema.name_problem(text[name])) is not None:
            raise ValueError(f"{name}: {problem}")
    if not text["annotator"] or text["annotator"] in RESERVED:
        raise ValueError(f"expected the annotator's name, found {text['annotator']!r}")
    if not answer.get("batch_id"):
        raise ValueError("expected the batch_id of the exported batch, found none")
    return {
        **text,
        "label": text["label"] or None,
        "answered_at": _moment(answer.get("answered_at")),
        "seconds": _seconds(answer.get("seconds")),
        "batch_id": str(answer["batch_id"]),
    }


def _moment(value: Any) -> datetime:
    try:
        at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"answered_at: expected ISO 8601 (2026-03-29T14:05:00), found {value!r}") from None
    if not 1970 <= at.year <= 2100:
        raise ValueError(f"answered_at: expected a year from 1970 to 2100, found {str(value)!r}")
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _seconds(value: Any) -> float | None:
    if value in (None, ""):
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"seconds: expected a number of 0 or more, found {value!r}")
    return seconds


def votes_of(answers: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """Of each annotator the latest answer about an image, under the name that the register has, and `answer`.

    `names` maps what people may write (names and aliases of classes) to class names, so that two aliases agree.
    `answer`: verdict and label in one text, the same where two answers are. A known and a new class are both `label`.
    """
    latest = answers.sort("answered_at", "batch_id").unique(["image_id", "annotator"], keep="last")
    votes = latest.with_columns(pl.col("label").replace(dict(names)), pl.col("verdict").replace("new_class", "label"))
    return votes.with_columns(answer=pl.concat_str("verdict", pl.col("label").fill_null(""), separator=":"))


def consensus(answers: pl.DataFrame, names: Mapping[str, str], rule: Consensus = MAJORITY) -> pl.DataFrame:
    """One answer per image: image_id, verdict (label, discard, unsure, conflict), label, label_source, batch_id.

    Of each annotator the latest answer counts, and `label_source` names those who gave the one that won. Where none
    wins by the `rule` the verdict is conflict.
    """
    votes = votes_of(answers, names)
    counted = votes.group_by("image_id", "answer").agg(
        pl.col("verdict", "label").first(),
        n=pl.len(),
        label_source=pl.col("annotator").unique().sort().str.join("+"),
    )
    of_image = votes.group_by("image_id").agg(total=pl.len(), batch_id=pl.col("batch_id").min())
    found = counted.join(of_image, on="image_id")
    if isinstance(rule, DawidSkene):
        sure = dawid_skene(votes).filter(pl.col("probability") >= rule.probability)
        won = found.join(sure, on=["image_id", "answer"], how="semi")
    else:
        won = found.filter(2 * pl.col("n") > pl.col("total"))
    tied = of_image.join(won, on="image_id", how="anti").with_columns(
        verdict=pl.lit("conflict"), label=pl.lit(None, pl.String), label_source=pl.lit("conflict")
    )
    columns = ["image_id", "verdict", "label", "label_source", "batch_id"]
    return pl.concat([won.select(columns), tied.select(columns)]).sort("image_id")
