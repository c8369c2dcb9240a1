"""The images of a recognition table, few and small, for a GPU host that reads nothing but what is copied to it.

    python benchmarks/carry.py cifar100-lt --data FOLDER --out carried
    python benchmarks/recognition.py cifar100-lt --data carried --device cuda      (there)

cifar100-lt: the long tail with its validation images, the test set and TinyImageNet (resized), bytes as they are.
cifar100-open: the complete set and TinyImageNet as JPEG of quality 75, both sides alike. The others: as they are.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from oltr_core.benchmark.image_sets import TAIL, drawn, files_of, to_jpeg

FOLDERS = {
    "cifar10-lt": ["cifar10"],
    "cifar100-lt": ["cifar100", "tiny-imagenet-resized"],
    "cifar100-open": ["cifar100", "tiny-imagenet-resized"],
    "tiny-imagenet-lt": ["tiny-imagenet-32"],
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=sorted(FOLDERS))
    parser.add_argument("--data", type=Path, required=True, help="the folder of benchmarks")
    parser.add_argument("--out", type=Path, required=True, help="a new folder")
    o = parser.parse_args()
    for name in FOLDERS[o.table]:
        if not (o.data / name).is_dir():
            parser.error(f"--data: expected the folder {o.data / name}, which is not there")
        (o.out / name).mkdir(parents=True)
        for file in sorted((o.data / name).glob("*.parquet")):
            shutil.copy(file, o.out / name / file.name)
    if o.table == "cifar100-lt":
        draw_tail(o.out)
    if o.table == "cifar100-open":
        for file in sorted(o.out.glob("*/*.parquet")):
            pq.write_table(as_jpeg(pq.read_table(file)), file)
    size = sum(file.stat().st_size for file in o.out.glob("*/*.parquet"))
    print(f"{o.out}: {size / 2**20:.0f} MiB")
    return 0


def draw_tail(out: Path) -> None:
    """Leave of the training images the long tail, and validation images in files of their own."""
    files = files_of(out, "cifar100", "train")
    table = pa.concat_tables([pq.read_table(file) for file in files])
    label = next(name for name in table.column_names if name.endswith("fine_label"))
    rows, val = drawn(torch.tensor(table.column(label).to_pylist()), TAIL)
    for file in files:
        file.unlink()
    for split, chosen in (("train", rows), ("valid", val)):
        pq.write_table(table.take(chosen), out / "cifar100" / f"{split}-00000-of-00001.parquet")


def as_jpeg(table: pa.Table) -> pa.Table:
    """The same rows, their images encoded anew."""
    place = next(i for i, f in enumerate(table.schema) if pa.types.is_struct(f.type))
    cells = []
    for cell in table.column(place).to_pylist():
        image = Image.open(BytesIO(cell["bytes"])).convert("RGB")
        cells.append({**cell, "bytes": to_jpeg(image)})
    field = table.schema.field(place)
    return table.set_column(place, field.name, pa.array(cells, field.type))


if __name__ == "__main__":
    sys.exit(main())
