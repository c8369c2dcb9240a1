"""docs/methods.md is what the slots, the tables and the published cells say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from oltr_core.benchmark import catalogue, compared, large_sets, records
from oltr_core.benchmark.cell import Method
from oltr_core.benchmark.compared import Compared, differences, headline, of_cell
from oltr_core.benchmark.table import TABLES, Table
from oltr_core.code_closure import ROOT
from oltr_core.layout import Layout
from oltr_core.losses import Focal, Lifted
from oltr_core.models.backbones import Timm
from oltr_core.operating.learning import Update
from oltr_core.scores import Msp, Odin
from tests.core.training.worlds import recipe

LAYOUT = Layout(ROOT)
PAGE = (ROOT / "docs" / "methods.md").read_text()


def test_the_page_is_that_of_the_code():
    assert catalogue.page(LAYOUT) == PAGE, "`make generated` writes it anew"
    files = [line.split("](../")[1].split(")")[0] for line in PAGE.splitlines() if line.startswith("| [")]
    assert all((ROOT / file).is_file() for file in files)
    assert len(files) == sum(len(catalogue.members(slot)) for slot, _ in catalogue.SLOTS.values())


def line(name: str, heading: str) -> list[str]:
    """The cells of a method's line, below a heading."""
    part = PAGE.split(f"## {heading}\n")[1].split("\n## ")[0]
    (found,) = (of for of in part.splitlines() if of.startswith((f"| [{name}](", f"| {name} |")))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", found)[1:-1]]


@pytest.mark.parametrize("stem", ["cifar100-lt-rivals", "cifar100-lt-strong", "digits-learners"])
def test_ours_is_the_mean_of_the_cells(stem):
    kept, table = records.read(LAYOUT.cells(stem)), TABLES[stem]
    name, heading = {
        "cifar100-lt-rivals": ("tau_norm", "Heads"),
        "cifar100-lt-strong": ("resnet32_fused", "Backbones"),
        "digits-learners": ("ridge", "Learners of annotations"),
    }[stem]
    row = next(row for row, pairs in differences(table).items() if name in {of for _, of in pairs})
    figures = [c["figures"] for c in kept.cells.values() if c["method"] == row and c["seed"] not in table.tuning]
    figure = headline(figures[0], loops=stem == "digits-learners")
    mean = sum(100 * of[figure] for of in figures) / len(figures)
    assert re.search(rf"\b{mean:.1f}\b.*: \[{stem}\]", line(name, heading)[5])


def test_published_figures_stand_in_the_lines_of_the_methods_that_their_rows_differ_by():
    assert "38.4 (200 epochs (the paper's Table 1); cifar100-lt-rivals)" in line("focal", "Losses")[4]
    assert " of unknown classes after two updates (10 % asked), 30 + 30 epochs: [digits-shares]" in line("random", "Strategies of selection")[5]  # fmt: skip # noqa: E501
    assert "Table 1" in line("focal", "Losses")[3]
    assert "42.0 in LDAM-DRW (" in line("ldam", "Losses")[4]
    assert "FPR95 82.2 (msp (Table 5)" in line("msp", "Scores of the unknown")[4]
    assert "FPR95 44.3 (odin, tuned on open images (Table 5)" in line("odin", "Scores of the unknown")[4]
    assert "FPR95 73.5 in cross-entropy, two stages, 66.7 in OLTR++, 73.5 in cross-entropy: [cifar100-open-resnet18]" in line("msp", "Scores of the unknown")[5]  # fmt: skip # noqa: E501
    recipe = line("BBN", "Whole recipes: the table cifar100-lt-rivals")
    assert recipe[1:3] == ["bbn, bilateral", "42.6 (200 epochs; cifar100-lt-rivals)"]
    assert line("SHIKE, 3 experts", "Whole recipes: the table cifar100-lt-strong")[2] == "56.3"


def test_the_page_of_the_sets_that_are_not_here_is_that_of_the_code():
    found = (ROOT / "docs" / "large_sets.md").read_text()
    assert found == large_sets.page(TABLES), "`make generated` writes it anew"
    assert "| focal |  |  |  |  |\n| *published: focal, Table 4* | 30.5 | 36.4 | 29.9 | 16.0 |" in found
    assert "| *published: OLTR++, Table 4* | 44.2 | 35.2 | 17.5 | 44.6 |" in found
    assert "| *published: OLTR++, Table 8* | 58.7 | 84.2 |" in found


def test_a_row_says_what_a_method_is_and_where_it_comes_from():
    said = catalogue.row(Lifted, Compared(("1.0 (Table 4; x)",), ("2.0",), ("a", "b")))
    assert said.startswith("| [lifted](../oltr_core/losses/lifted.py) | L = 1/(2 \\|P\\|) Σ")
    assert "| Lifted structured embedding (Song et al., CVPR 2016, Eq. 4)" in said
    assert said.endswith("| Table 4 | 1.0 (Table 4; x) | 2.0 | [a](results/a.md); [b](results/b.md) |")
    assert catalogue.some(list("abc")) == "a; b; c"
    assert catalogue.some(list("abcde")) == "a; b; c; 2 more"
    assert catalogue.row(Timm, Compared()).endswith("|  |  |  |  |")


def test_what_is_equal_in_all_rows_or_not_of_the_training_makes_no_difference():
    first, second = recipe().phases
    other = recipe(phases=[first, second.model_copy(update={"losses": [Focal()]})])
    rows = [Method(name="a", train=recipe()), Method(name="b", train=other, update=Update(score=Msp()))]
    found = differences(Table("", lambda root, seed: None, lambda n: rows))
    assert found == {"a": {("losses", "large_margin")}, "b": {("losses", "focal")}}
    same = [Method(name="a"), Method(name="b", update=Update(score=Odin()))]
    found = differences(Table("", lambda root, seed: None, lambda n: same))
    assert found == {"a": {("score", "entropy")}, "b": {("score", "odin")}}


SETTINGS = {
    "train": {"network": {"head": {"name": "linear"}}, "phases": [{"losses": [{"name": "focal"}]}]},
    "update": {"score": {"name": "msp"}, "learner": {"name": "slda"}},
    "select": {"strategy": {"name": "random"}},
}
TRAINED = {("head", "linear"), ("losses", "focal")}
UPDATED = {("score", "msp"), ("learner", "slda")}


@pytest.mark.parametrize(
    ("figures", "beside"),
    [
        (["closed/overall", "seconds/train"], set()),
        (["far/energy/auroc", "far/untrained/auroc"], {("score", "energy"), ("score", "untrained")}),
        (["pool/0/open/auroc", "pool/0/select/open_hit_rate"], UPDATED | {("strategy", "random")}),
        (["answers/end/open/auroc", "answers/known_accuracy/1"], UPDATED),
    ],
)
def test_a_method_was_measured_where_the_figures_of_a_cell_depend_on_it(figures, beside):
    assert of_cell({"figures": dict.fromkeys(figures, 0.5)}, SETTINGS) == TRAINED | beside


def test_tables_of_finished_cells_alone_count(tmp_path: Path):
    cells = [{"method": name, "seed": 0, "spec": name, "figures": of} for name, of in (("a", {"closed/few": 1}), ("b", {}))]  # fmt: skip # noqa: E501
    heads = {"a": "linear", "b": "cosine"}
    settings = [{"spec": spec, "settings": {"train": {"head": {"name": head}}}} for spec, head in heads.items()]
    (tmp_path / "table.jsonl").write_text("".join(json.dumps(of) + "\n" for of in settings + cells))
    kept = {"table": records.read(tmp_path / "table.jsonl")}
    assert compared.measured(kept) == {("head", "linear"): ["table"]}
