"""params.yaml and data/run.yaml as people may write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from oltr_core.layout import Layout
from oltr_core.params import load_params
from oltr_core.settings.reading import load_run
from tests.reliability import REFUSED, Case

COMPUTE = "compute: {}\n"  # a file of this version


def params(text: str) -> Callable[[Path], object]:
    def run(root: Path) -> object:
        (root / "params.yaml").write_text(text + COMPUTE)
        return load_params(Layout(root))

    return run


def source(text: str) -> Callable[[Path], object]:
    return params(f"sources: [{{batch: first, sources: [{text}]}}]\n")


def run_file(text: str) -> Callable[[Path], object]:
    def run(root: Path) -> object:
        (root / "data").mkdir()
        (root / "data" / "run.yaml").write_text(text)
        return load_run(Layout(root))

    return run


def case(kind: str, run: Callable[[Path], object], said: str, file: str = "params.yaml") -> Case:
    return Case("parameters", kind, REFUSED, f"^{file}{said}", run)


LEARNER = "update: {learner: {name: nearest_class_mean, steps: 200}}\n"
CASES = [
    case("a section that there is not", params("evaluat: {}\n"), ": there is no section 'evaluat'; did you mean 'ev"),
    case("a misspelt key", params("budget: {share_of_arivals: 1}\n"), ": budget: there is no key 'share_of_arivals'"),
    case("a misspelt key of the training", params("train: {epocs: 1}\n"), ": train: there is no key 'epocs'"),
    case(
        "a misspelt key of the selection", params("select: {strategi: 1}\n"), ": select: there is no key 'strategi'"
    ),
    case(
        "a key twice", params("curate:\n  seed: 1\n  seed: 2\n"), ":3: expected YAML, found the key 'seed' a second"
    ),
    case(
        "a section twice", params("gate: {}\nbudget: {}\ngate: {}\n"), ":3: expected YAML, found the key 'gate' a se"
    ),
    case(
        "two batches of one name",
        params("sources: [{batch: a, sources: [{}]}, {batch: a, sources: [{}]}]\n"),
        ": sources: 2 batches are called 'a'; give each a name of its own",
    ),
    case("a batch without a name", params("sources: [{sources: [{}]}]\n"), r": sources\[0\].batch: this key is requ"),
    case(
        "a batch with a slash in its name",
        params("sources: [{batch: a/b, sources: [{}]}]\n"),
        r": sources\[0\].batch",
    ),
    case("a batch without sources", params("sources: [{batch: a, sources: []}]\n"), r": sources\[0\].sources: list"),
    case(
        "a misspelt source", source("{name: fodler, path: x}"), ": sources.first.*no 'fodler'; did you mean 'folder'"
    ),
    case(
        "a misspelt key of a source",
        source("{name: folder, path: x, grup: folder}"),
        ": sources.first.*there is no key 'grup' here; did you mean 'group'",
    ),
    case(
        "a misspelt key of a draw",
        source("{name: folder, path: x, draw: {tali: null}}"),
        ": sources.first.*there is no key 'tali' here; did you mean 'tail'",
    ),
    case("a source without its path", source("{name: folder}"), ": sources.first.*path: this key is required"),
    case("a source without a name", source("{path: x}"), ": sources.first.*expected a mapping with a `name`"),
    case(
        "a role that there is not", source("{name: folder, path: x, role: tests}"), ": sources.first.*role: .*'tests'"
    ),
    case(
        "a gate on no figure",
        params("gate: {tolerances: {known_acuracy: .1}}\n"),
        ": gate.tolerances: no figure is called 'known_acuracy'; did you mean 'known_accuracy'",
    ),
    case("a gate on no metric", params("gate: {tolerances: {open/auroq: .1}}\n"), ".*did you mean 'open/auroc'"),
    case(
        "a gate on a score that is not measured",
        params("gate: {tolerances: {open_by_score/odin/auroc: .1}}\n"),
        ": gate.tolerances: no figure is called 'open_by_sco",
    ),
    case(
        "a gate on what the champion cannot have",
        params("gate: {tolerances: {learned_accuracy: .1}}\n"),
        ": gate.tolerances: no figure is called 'learned_accuracy'",
    ),
    case(
        "a gate on a metric of another stage", params("gate: {tolerances: {data/images: 1}}\n"), ".*no figure is call"
    ),
    case("a negative tolerance", params("gate: {tolerances: {auroc: -1}}\n"), ": gate.tolerances.auroc: .*found -1"),
    case("a number in words", params("curate: {seed: x}\n"), ": curate.seed: input should be a valid integer"),
    case("a share above one", params("budget: {share_of_arrivals: 30}\n"), ": budget.share_of_arrivals: .*found 30"),
    case("no pixels allowed", params("ingest: {max_pixels: 0}\n"), ": ingest.max_pixels: .*found 0"),
    case(
        "an annotator that there is not",
        params("annotator: {name: foldr}\n"),
        ": annotator: there is no 'foldr'; did",
    ),
    case("a learner that there is not", params("update: {learner: {name: x}}\n"), ": update.*there is no 'x'"),
    case("a key of another learner", params(LEARNER), ": update.learner.steps: 'nearest_class_mean' has no such key"),
    case("a list where keys are expected", params("gate: [1]\n"), ": gate: input should be a valid dict"),
    case(
        "a password where keys are expected",
        params("storage: 'https://eve:hunter2@host/x'\n"),
        r": storage: .*found 'https://\*\*\*@host/x'",
    ),
    case(
        "a password in the address of the remote",
        params("storage: {remote: 'https://eve:hunter2@host/x'}\n"),
        r": storage.remote: .*expected an address without a user, password or token(?!.*hunter2)",
    ),
    case("a bracket that is not closed", params("gate:\n  tolerances: {a: 1\nbudget: 3\n"), ":3: expected YAML"),
    case("a tab for an indent", params("gate:\n\ttolerances: {}\n"), ":2: expected YAML"),
    case(
        "a key of version 0.1",
        lambda f: ((f / "params.yaml").write_text("train: {device: cpu}\n"), load_params(Layout(f))),
        ".*is rewritten by `oltr upg",
    ),
    case("no params.yaml", lambda f: load_params(Layout(f)), ": this file is not here; `oltr init` writes"),
    case(
        "a list for a file",
        lambda f: ((f / "params.yaml").write_text("- 1\n"), load_params(Layout(f))),
        ": expected `key: value` lines, found list",
    ),
    case(
        "a mode that there is not",
        run_file("{generation: '0000', parent: genesis, mode: retrain}\n"),
        ": mode: .*found 'retrain'",
        "data/run.yaml",
    ),
    case(
        "a generation without zeros",
        run_file("{generation: '7', parent: genesis, mode: train}\n"),
        ": generation: .*found '7'",
        "data/run.yaml",
    ),
]
