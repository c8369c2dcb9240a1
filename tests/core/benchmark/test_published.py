"""The pages under docs/results are what their cells, notes and the code of the page say."""

from __future__ import annotations

import re
import shutil
from itertools import permutations
from pathlib import Path

import pytest

from oltr_core import digest
from oltr_core.benchmark import published, records, run
from oltr_core.benchmark.page import AFTER, BEFORE, notes
from oltr_core.benchmark.paired import paired
from oltr_core.benchmark.table import TABLES
from oltr_core.layout import Layout

ROOT = Path(__file__).parents[3]
RESULTS = Layout(ROOT).results
PUBLISHED = {
    "digits": ("digits", 0),
    "digits-selection": ("digits-selection", 0),
    "digits-shares": ("digits-shares", 0),
    "digits-imbalance": ("digits-imbalance", 0),
    "digits-open": ("digits-open", 0),
    "digits-learners": ("digits-learners", 0),
    "cifar-world": ("cifar-world", 0),
    "digits-cameras": ("digits-cameras", 0),
    "ablation": ("ablation", 0),
    "cifar100-lt-strong": ("cifar100-lt-strong", 0),
    "cifar10-lt-strong": ("cifar10-lt-strong", 0),
    "cifar10-lt-rivals": ("cifar10-lt-rivals", 0),
    "cifar100-lt-rivals": ("cifar100-lt-rivals", 0),
    "cifar100-lt-exponents-validation": ("cifar100-lt-exponents", 0),
    "cifar100-lt-variants-validation": ("cifar100-lt-variants", 0),
    "cifar100-open-resnet18": ("cifar100-open-resnet18", 0),
    "cifar100-lt-scores-30-epochs": ("cifar100-lt-scores", 30),
    "tiny-imagenet-lt-strong": ("tiny-imagenet-lt-strong", 0),
    "tiny-imagenet-lt-learners": ("tiny-imagenet-lt-learners", 0),
    "tiny-imagenet-lt-learners-30-epochs": ("tiny-imagenet-lt-learners", 30),
}


def test_every_table_of_cells_is_looked_at():
    assert {path.stem for path in RESULTS.glob("*.jsonl")} == set(PUBLISHED)


@pytest.mark.parametrize("name", [name for name, table in TABLES.items() if table.published])
def test_figures_of_others_are_percentages_and_overall_lies_among_the_groups(name):
    for title, figures in TABLES[name].published.items():
        assert all(0 < value <= 100 for value in figures.values()), title
        groups = [figures[f"closed/{group}"] for group in ("many", "medium", "few") if f"closed/{group}" in figures]
        if len(groups) == 3:
            assert min(groups) < figures["closed/overall"] < max(groups), title


@pytest.mark.parametrize("stem", PUBLISHED)
def test_a_published_page_is_what_its_cells_say(stem, tmp_path):
    layout = Layout(tmp_path)
    shutil.copytree(RESULTS, layout.results)
    name, epochs = PUBLISHED[stem]
    validation = stem.endswith("-validation")
    run.run(name, layout, epochs=epochs, validation=validation, page_only=True, echo=lambda _: None)
    again = (layout.results / f"{stem}.md").read_text()
    command = f"oltr bench {name} --page" + (f" --epochs {epochs}" if epochs else "")
    command += " --validation" if validation else ""
    assert again == (RESULTS / f"{stem}.md").read_text(), f"`{command}` writes it anew"


@pytest.mark.parametrize("stem", PUBLISHED)
def test_cells_of_unrecorded_origin_are_named_on_the_page(stem):
    cells = records.read(RESULTS / f"{stem}.jsonl").cells.values()
    text = (RESULTS / f"{stem}.md").read_text()
    assert ("digest of the data was not recorded" in text) == any(cell["data"] is None for cell in cells)


def intervals(stem: str) -> set[tuple[str, str]]:
    """The ends of the paired interval of every figure between any two rows, on either group of seeds."""
    table, cells = TABLES[PUBLISHED[stem][0]], records.read(RESULTS / f"{stem}.jsonl").cells
    found = set()
    for tuning in (False, True):
        mine = [cell for cell in cells.values() if (cell["seed"] in table.tuning) == tuning]
        values: dict[str, dict[str, dict[int, float]]] = {}
        for cell in mine:
            for name, value in cell["figures"].items():
                values.setdefault(name, {}).setdefault(cell["method"], {})[cell["seed"]] = 100 * value
        for by_row in values.values():
            for row, against in permutations(by_row.values(), 2):
                if pair := paired(row, against):
                    ends = (pair.mean - pair.half_width, pair.mean + pair.half_width)
                    found.add(tuple(f"{round(end, 1) + 0.0:.1f}" for end in ends))
    return found


@pytest.mark.parametrize("stem", PUBLISHED)
def test_every_interval_in_the_notes_is_one_of_the_cells(stem):
    page = (RESULTS / f"{stem}.md").read_text()
    by_hand = notes(page, BEFORE) + notes(page, AFTER)
    said = re.findall(r"\[(-?\d+\.\d),\s(-?\d+\.\d)\]", by_hand)
    assert set(said) <= intervals(stem)
    several = (
        "digits",
        "digits-learners",
        "cifar-world",
        "digits-selection",
        "digits-shares",
        "digits-imbalance",
        "digits-open",
        "ablation",
        "cifar100-lt-strong",
        "cifar100-lt-rivals",
    )  # the others have one seed
    assert bool(said) == (stem in several)
    assert not re.search(r"\bgains?\b", by_hand.replace("said that it carries a gain", ""))


def test_all_pages_together_are_short_enough_to_be_read():
    lines = {path.name: len(path.read_text().splitlines()) for path in RESULTS.glob("*.md")}
    assert sum(lines.values()) < 2060
    assert max(lines.values()) < 200, lines


def test_printed_figures_change_only_together_with_this_digest():
    """They were compared with the paper's tables on 27 November 2026; nothing here can compute them."""
    figures = {name: of for name, of in vars(published).items() if name[0].isupper() and isinstance(of, dict)}
    assert sum(len(row) for of in figures.values() for row in of.values()) == 353
    assert digest.of_value(figures)[:16] == "7ef572b1d19706e2"
