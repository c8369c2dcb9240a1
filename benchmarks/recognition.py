"""A recognition table on a bare host: from the source tree, with torch, torchvision, numpy, pyarrow, pydantic,
safetensors and timm (with what these bring) alone.

    PYTHONPATH=. python benchmarks/recognition.py cifar100-lt --data FOLDER --device cuda --out results

The same as `oltr bench TABLE`: results below OUT/docs/results, training states below OUT/data/store.
`benchmarks/carry.py` makes of the folder of benchmarks what a table needs, in less than 60 MB. Small images leave
most of a GPU idle: run a process per seed (`--seeds 0 &`, `--seeds 1 &`, ...), they write into the same table.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from oltr_core.benchmark.run import run
from oltr_core.benchmark.table import TABLES
from oltr_core.layout import Layout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=sorted(TABLES))
    parser.add_argument("--data", type=Path, help="the folder of benchmarks")
    parser.add_argument("--out", type=Path, default=Path())
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--epochs", type=int, default=0, help="0: the table's")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--row", dest="rows", action="append", default=[], help="this row only; may be repeated")
    parser.add_argument("--validation", action="store_true", help="measure on validation images")
    o = parser.parse_args()
    return run(o.table, Layout(o.out), o.data, o.seeds, o.epochs, o.device, o.rows, o.validation)


if __name__ == "__main__":
    sys.exit(main())
