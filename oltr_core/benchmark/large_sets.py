"""Sets that are not read as a whole: `oltr loop` trains on them, by the recipe that a row of their table is.

`oltr bench imagenet-lt --row focal > params.yaml` in a workspace, then `oltr loop --generations 1`. The row OLTR++ is
configs/<set>.yaml as it is, the others have its images and schedule and the training of a rival.
docs/large_sets.md has the published figures; `python -m oltr_core.benchmark.large_sets` writes it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oltr_core.benchmark import rivals
from oltr_core.benchmark.cell import Method
from oltr_core.code_closure import ROOT
from oltr_core.models.heads import Linear
from oltr_core.spec import parse
from oltr_core.training import Train

if TYPE_CHECKING:
    from oltr_core.benchmark.data import BenchmarkData
    from oltr_core.benchmark.table import Table

_TABLE_4 = ("lifted", "focal", "range", "FSLwF", "class-balanced focal", "LDAM-DRW", "cRT")
#: set -> the rivals whose figures are published
RIVALS = {
    "imagenet-lt": _TABLE_4,
    "places-lt": _TABLE_4,
    "ms1m-lt": ("range",),
    "sun-lt": ("cost-sensitive", "Model Regression", "MetaModelNet"),
    "inaturalist-18": ("class-balanced focal", "LDAM-DRW", "cRT"),
}
PLAIN = "plain model"


def methods(name: str) -> Any:
    """The rows of a set's table, as a function of the epochs, of which it has those of its recipe."""
    return partial(_rows, name)


def _rows(name: str, epochs: int) -> list[Method]:
    where = ROOT / "configs" / f"{name}.yaml"
    train = parse(Train, config(name)["train"], f"{where}: train")
    update = {"attention": "none", "last_relu": True, "normalise": False, "head": Linear()}
    network = train.network.model_copy(update=update)
    epochs = sum(phase.epochs for phase in train.phases)  # as many as OLTR++ in all its phases
    first = train.phases[0].model_copy(update={"head": None, "epochs": epochs})
    plain = Method(name=PLAIN, train=train.model_copy(update={"network": network, "phases": [first]}))
    known = {method.name: method for method in rivals.after(plain)}
    return [plain, *(known[row] for row in RIVALS[name]), Method(name="OLTR++", train=train)]


def config(name: str) -> dict[str, Any]:
    """configs/<name>.yaml. Raises ValueError where it is not: it comes with the repository."""
    import yaml  # not needed where a cell is computed

    where = ROOT / "configs" / f"{name}.yaml"
    if not where.exists():
        raise ValueError(f"{where}: expected the recipe of this set, found none; it comes with the repository's code")
    return yaml.safe_load(where.read_text())


def recipe(name: str, row: Method) -> str:
    """params.yaml of a row."""
    import yaml

    return yaml.safe_dump(config(name) | {"train": row.train.model_dump(mode="json")}, sort_keys=False)


def not_in_memory(name: str) -> Any:
    """In the place of a table's data: a ValueError that says what to do."""
    return partial(_refuse, name)


def _refuse(name: str, root: Path | None, seed: int) -> BenchmarkData:
    raise ValueError(
        f"oltr bench {name}: expected --row, found none: `oltr loop` trains on this set; in a workspace, "
        f"`oltr bench {name} --row OLTR++ > params.yaml` writes a row's recipe, `oltr loop --generations 1` runs it"
    )


def page(tables: dict[str, Table]) -> str:
    """docs/large_sets.md."""
    from oltr_core.benchmark.page import figures

    parts = [INTRODUCTION.strip()]
    for name in RIVALS:
        table = tables[name]
        parts.append(f"## {table.title}\n\n`oltr bench {name} --row NAME`, by `configs/{name}.yaml`")
        parts.append(figures(table, table.methods(0), []))
    return "\n\n".join(parts) + "\n"


INTRODUCTION = """# Sets that are not here

Tables 4, 6, 7 and 8 of the paper, on sets that this project does not have: every row has its recipe, whose training a
test runs on a few generated images, and no figure of ours; the cells stay empty until somebody measures them. In a
workspace, `oltr bench imagenet-lt --row focal > params.yaml` writes the recipe of a row, `oltr loop --generations 1`
runs it, and `closed/*` and `open/*` of its metrics.json are the figures below; those of MegaFace are the rates of
`oltr analyse identification --probes facescrub` ([analyses](analyses.md)). The row OLTR++ is the file in configs/ as
it is; the others have its images, schedule and number of epochs (second stages on a frozen trunk 10 more), and the
training of a rival in [cifar100-lt-rivals](results/cifar100-lt-rivals.md). Figures are in percent. `make generated`
writes this page.
"""


def main() -> None:
    """Write docs/large_sets.md."""
    from oltr_core.benchmark.table import TABLES
    from oltr_core.files import write_atomically

    write_atomically(ROOT / "docs" / "large_sets.md", page(TABLES))


if __name__ == "__main__":
    main()
