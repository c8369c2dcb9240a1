"""The figures of an example workspace over several trainings, which differ widely where there are few images.

    python benchmarks/examples.py inspection --generations 2 --seeds 0 1 2 [--json]

Each seed is `train.seed` of a workspace of its own; the images that the example draws are the same for all. Of each
generation come how often it was promoted and figures of its sealed metrics: least, median and largest over the seeds.
`cost` is that of the errors in 1,000 images, as `oltr threshold` prints it for the threshold in force.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from oltr_core.layout import generation_name

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FIGURES = ("now/overall", "open/auroc", "open/unknown_recall", "open/known_accuracy", "loop/unknown_accuracy")
NOW = re.compile(r"^now .* ([\d,.]+)$", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("example", choices=sorted(folder.name for folder in EXAMPLES.iterdir() if folder.is_dir()))
    parser.add_argument("--generations", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json", action="store_true")
    o = parser.parse_args()
    names = [generation_name(number) for number in range(o.generations)]
    found = [computed(o.example, seed, names) for seed in o.seeds]
    page = {name: summary([of[name] for of in found]) for name in names}
    if o.json:
        print(json.dumps({"example": o.example, "seeds": o.seeds, "generations": page}))
        return
    for name, of in page.items():
        print(name)
        for figure, (least, middle, most) in of.items():
            print(f"  {figure:<22} {middle:9.3f}   {least:.3f} to {most:.3f}")


def computed(example: str, seed: int, names: list[str]) -> dict[str, dict[str, float]]:
    """The figures of each generation, of a workspace that is removed again."""
    with tempfile.TemporaryDirectory() as root:
        called("init", root, "--like", "small_photos")
        params = yaml.safe_load((EXAMPLES / example / "params.yaml").read_text())
        params["train"]["seed"] = seed
        (Path(root) / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        subprocess.run([sys.executable, EXAMPLES / example / "draw.py", root], check=True, capture_output=True)
        called("--workspace", root, "loop", "--generations", str(len(names)))
        listed = json.loads(called("--workspace", root, "generations", "--json"))
        return {row["generation"]: figures(root, row) for row in listed if row["generation"] in names}


def figures(root: str, row: dict[str, Any]) -> dict[str, float]:
    """Those that a sealed generation has."""
    found = {name: row["metrics"][name] for name in FIGURES if name in row["metrics"]}
    if "open/unknown_recall" in found:  # else nothing says what an unknown image costs
        cost = NOW.search(called("--workspace", root, "threshold", row["generation"]))
        assert cost is not None, "`oltr threshold` prints a line for the threshold in force"
        found["cost"] = float(cost[1].replace(",", ""))
    return {"promoted": float(row["status"] == "promoted"), **found}


def summary(of: list[dict[str, float]]) -> dict[str, tuple[float, float, float]]:
    """The least, the median and the largest of each figure that all have."""
    values = {name: [one[name] for one in of] for name in of[0] if all(name in one for one in of)}
    return {name: (min(v), statistics.median(v), max(v)) for name, v in values.items()}


def called(*arguments: str) -> str:
    done = subprocess.run([Path(sys.executable).parent / "oltr", *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"oltr {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
