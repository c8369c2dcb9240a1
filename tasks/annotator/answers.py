"""What every annotator shares: reading the question, checking the answers, storing them once and for ever."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from oltr_core import digest, schema
from oltr_core.layout import Layout, write_atomically


def asked(layout: Layout, name: str) -> list[str]:
    """Image ids of the batch of generation `name`, best first."""
    table = schema.read(layout.generation(name).selection, schema.SELECTION, ["image_id", "rank"])
    return table.sort_by("rank").column("image_id").to_pylist()


def class_names(layout: Layout, name: str) -> dict[str, str]:
    """Every name and alias of a class that generation `name` knows -> the name it stands for."""
    table = schema.read(layout.generation(name).classes, schema.CLASSES)
    return {
        word: row["name"]
        for row in table.to_pylist()
        if row["status"] == "active"
        for word in (row["name"], *row["aliases"])
    }


def check(layout: Layout, name: str, answers: pa.Table) -> None:
    """Raise ValueError at the first answer that cannot be meant: image, found, expected, what to do."""
    known = set(asked(layout, name))
    seen: set[tuple[str, str]] = set()
    for row in answers.to_pylist():
        where = f"batch {name}, image {row['image_id'][:12]}"
        if row["image_id"] not in known:
            raise ValueError(
                f"{where}: this image was never selected for it; answer those of data/exports/{name}/batch.csv"
            )
        if row["verdict"] not in schema.VERDICTS:
            raise ValueError(f"{where}: verdict {row['verdict']!r} is none of {', '.join(schema.VERDICTS)}")
        named = row["verdict"] in ("label", "new_class")
        if named != bool(row["label"]):
            expected = "needs a label" if named else "takes no label"
            raise ValueError(f"{where}: verdict {row['verdict']!r} {expected}, found {row['label']!r}")
        if (row["image_id"], row["annotator"]) in seen:
            raise ValueError(f"{where}: annotator {row['annotator']!r} answers twice; keep one of the two rows")
        seen.add((row["image_id"], row["annotator"]))


def store(layout: Layout, name: str, answers: pa.Table) -> Path:
    """Append the checked answers to the batch. The same answers again are the same file; nothing is overwritten."""
    check(layout, name, answers)
    folder = layout.answers(name)
    part = folder / ".part.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    schema.write(part, answers, schema.ANNOTATIONS)
    final = folder / f"{digest.of_file(part)[:16]}.parquet"
    if final.exists():
        part.unlink()
    else:
        write_atomically(final, part.read_bytes())
        part.unlink()
    return final


def stored(layout: Layout, name: str) -> pa.Table:
    """Every answer to the batch so far."""
    parts = [
        schema.read(p, schema.ANNOTATIONS) for p in sorted(layout.answers(name).glob("*.parquet")) if p.name[0] != "."
    ]
    return pa.concat_tables(parts) if parts else schema.empty(schema.ANNOTATIONS)


def register(layout: Layout, name: str) -> list[dict]:
    """The class register of generation `name`, as rows."""
    return schema.read(layout.generation(name).classes, schema.CLASSES).to_pylist()
