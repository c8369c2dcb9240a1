"""Files of what people said: each named by its digest, added and never changed, known to the ledger."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from oltr_core import digest, ledger, schema
from oltr_core.files import write_atomically
from oltr_core.layout import Layout


def store(folder: Path, table: pa.Table, kind: pa.Schema) -> Path:
    """Add the table to the folder. The same one again is the same file; nothing is overwritten."""
    part = folder / ".part.parquet"
    folder.mkdir(parents=True, exist_ok=True)
    schema.write(part, table, kind)
    final = folder / f"{digest.of_file(part)[:16]}.parquet"
    if not final.exists():
        write_atomically(final, part.read_bytes())
    part.unlink()
    return final


def remove_unrecorded(layout: Layout) -> list[Path]:
    """Remove files of commands that were killed before the ledger had their event; the folders that held one."""
    events = ledger.read(layout.ledger)
    known = {e.digest for e in events if e.event == "corrected" or e.event.startswith("class_")}
    folders = (layout.register, layout.corrections)
    left = [file for folder in folders for file in folder.glob("[!.]*.parquet") if file.stem not in known]
    for file in left:
        file.unlink()
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return sorted({file.parent for file in left if file.parent.exists()})
