"""CONTRIBUTING.md names the files that an addition touches: each is made by those files in a copy, and used."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dvc.schema import COMPILED_MULTI_STAGE_SCHEMA

from tests.architecture.additions import ADDITIONS
from tests.architecture.imports import ROOT

GENERATED = ("params.yaml", "dvc.yaml", "prefect.yaml", "docs/methods.md", "docs/large_sets.md")
#: tests that hold lists of members or stages against the code
KNOWING = ("tests/core/test_defaults.py", "tests/architecture/test_pipeline.py", "-k", "not changed_code")
#: what `make generated` runs
WRITERS = (("tasks.workspace", "."), ("oltr_core.benchmark.catalogue",), ("oltr_core.benchmark.large_sets",))


def table() -> dict[str, tuple[set[str], set[str]]]:
    """Kind -> (files, generated files), as CONTRIBUTING.md has them."""
    rows = re.findall(r"^\| ([a-z ]+) \| (`.+?`) \|(.*)\|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    return {kind: (set(re.findall("`(.+?)`", f)), set(re.findall("`(.+?)`", made))) for kind, f, made in rows}


def anonymous(path: str) -> str:
    """The path as the table has it: NAME for a file that is new."""
    return path if (ROOT / path).exists() else str(Path(path).with_name("NAME.py"))


#: run in the copy after all additions; each uses one and prints nothing
USES = {
    "loss": """
from oltr_core.training import Train
phase = {"name": "only", "epochs": 1, "losses": [{"name": "brier", "weight": 0.5}]}
(loss,) = parse(Train, {"phases": [phase]}, "params.yaml: train").phases[0].losses
outputs = Outputs(torch.zeros(2, 1, 2), *[torch.zeros(2, 1, 3)] * 2)
assert loss(outputs, Targets(torch.tensor([0, 1])), None) == {"brier": 0.25}
""",
    "sampler": """
from oltr_core.samplers import Sampler
assert parse(Sampler, {"name": "cyclic"}, "x")(torch.zeros(3), None, None).tolist() == [[0, 1, 2]]
""",
    "score": """
from oltr_core.operating.learning import Update
score = parse(Update, {"score": {"name": "logit_gap"}}, "params.yaml: update").score
assert score(Outputs(torch.tensor([[[1.0, 5.0, 2.0]]]), *[torch.zeros(1, 1, 3)] * 2), score.fit(None)).item() == -3
""",
    "score that needs the network": """
import pyarrow
from oltr_core.images.transforms import Transform
from oltr_core.inference import outputs_for
from oltr_core.models import NetworkSpec
from oltr_core.operating.rejection import Evaluate
(score,) = parse(Evaluate, {"scores": [{"name": "darkened"}]}, "params.yaml: evaluate").scores
layout, network, transform = with_noise(), NetworkSpec(backbone={"name": "small_resnet"})(2).eval(), Transform(size=8)
rows = pyarrow.table({"batch": ["b"], "shard": [0], "row": [0]})
seen = outputs_for(score, rows, None, network, transform, layout)
assert seen.logits.shape == (1, 1, 2)
""",
    "learner": """
from oltr_core.interfaces import AnnotatedFeatures, ClassStatistics
from oltr_core.models import NetworkSpec
from oltr_core.operating.learning import Update, learn
update = parse(Update, {"learner": {"name": "timid"}}, "params.yaml: update")
parent = NetworkSpec()(2)
d = parent.num_features
none = {"features": torch.zeros(0, 1, d), "labels": torch.zeros(0).long()}
old = ClassStatistics(torch.randn(1, 2, d), torch.ones(1, 2, d), torch.full((2,), 9.0), none)
grown, statistics = learn(update, parent, old, AnnotatedFeatures(torch.randn(3, 1, d), torch.full((3,), 2)))
assert grown.num_classes == 3 and len(statistics.counts) == 3
""",
    "strategy": """
from oltr_core.operating.selection import Select, pick
select = parse(Select, {"strategy": {"name": "from_the_end"}}, "params.yaml: select")
pool = Outputs(torch.zeros(5, 1, 2), *[torch.zeros(5, 1, 3)] * 2)
assert pick(select, pool, 2, "0000").indices.tolist() == [4, 3]
""",
    "backbone": """
from oltr_core.models import NetworkSpec
spec = parse(NetworkSpec, {"backbone": {"name": "patches", "width": 6}, "experts": 2}, "params.yaml: train.network")
assert spec(3).eval()(torch.zeros(4, 3, 16, 16)).features.shape == (4, 2, 6)
""",
    "head": """
from oltr_core.models import NetworkSpec
spec = parse(NetworkSpec, {"head": {"name": "tempered", "temperature": 4.0}}, "params.yaml: train.network")
network = spec(2).eval()
(head,) = network.heads
features = torch.randn(3, network.num_features)
weight, bias = head.as_linear()
assert torch.allclose(head(features).logits, features @ weight.T + bias)
assert torch.allclose(weight, head.weight / 4)
""",
    "source": """
from oltr_core import schema
layout = with_noise()
assert schema.read(layout.batch("b").index, schema.INDEX).column("label").to_pylist() == ["noise"] * 4
""",
    "metric": """
from oltr_core.metrics import OPEN, open_set
labels, scores = torch.tensor([0, 0, OPEN, OPEN]), torch.tensor([0.1, 0.9, 0.2, 0.8])
found = open_set(torch.zeros(4).long(), labels, scores, 0.5, torch.tensor([9.0]), 1)
assert found.values["balanced_error"] == 0.5
assert open_set(torch.zeros(2).long(), labels[:2], scores[:2], 0.5, torch.tensor([9.0]), 0).absent["balanced_error"]
""",
    "annotator": """
import pyarrow, re
from oltr_core import schema
from oltr_core.settings.whole import load_settings
from tasks import annotator
from tasks.annotator import batch, returned
layout = workspace({"annotator": {"name": "parrot", "answer": "owl"}})
row = {"rank": 0, "u_open": 0.0, "u_info": 0.0, "merit": 0.0, "reason": "r", "suggested": "s", "strategy": "t"}
selection = pyarrow.Table.from_pylist([{**row, "image_id": "i" * 64}], schema.SELECTION)
layout.generation("0000").folder.mkdir(parents=True)
schema.write(layout.generation("0000").selection, selection, schema.SELECTION)
settings = load_settings(layout).annotator
rows = annotator.of(settings).collect(layout, settings, "0000", "2026-01-01T00:00:00+00:00")
good, wrong = returned.sort(layout, "0000", rows)
assert ([row["label"] for row in good], wrong) == (["owl"], [])
assert (settings.inbox, settings.address) == ("", "")
wanted = re.findall(r"^    (\\w+)\\(layout", annotator.__doc__, re.MULTILINE)
assert len(wanted) == 5 and all(callable(getattr(annotator.of(settings), name)) for name in wanted)
""",
    "stage": """
from click.testing import CliRunner
from flows.cli import oltr
from oltr_core import schema, stages
from oltr_core.pipeline import KEPT
shown = CliRunner().invoke(oltr, ["--help"]).output
assert "count" in shown and "Count the images of each split." in shown
layout = workspace({})
layout.work.folder.mkdir(parents=True)
schema.write(layout.work.manifest, schema.empty(schema.MANIFEST), schema.MANIFEST)
assert stages.run("count", layout) == 0
assert layout.work.split_counts.read_text() == "{}" and "split_counts.json" in KEPT
""",
}
PRELUDE = """
import json, tempfile, traceback
from pathlib import Path
import torch, yaml
from oltr_core.interfaces import Outputs, Targets
from oltr_core.layout import Layout
from oltr_core.spec import parse

def workspace(params):
    layout = Layout(Path(tempfile.mkdtemp(dir=".")))
    layout.params.write_text(yaml.safe_dump(params))
    return layout

def with_noise():
    from oltr_core.settings.whole import load_settings
    from oltr_core.stages import ingest
    layout = workspace({"sources": [{"batch": "b", "sources": [{"name": "noise", "images": 4}]}]})
    ingest.run(load_settings(layout), layout, "b")
    return layout

failed = {}
for kind, use in json.loads(Path("uses.json").read_text()).items():
    try:
        exec(use, dict(globals()))
    except Exception:
        failed[kind] = traceback.format_exc()
Path("failed.json").write_text(json.dumps(failed))
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Path:
    """A copy of the code with every addition, its generated files written, and each addition used."""
    copy = tmp_path_factory.mktemp("extended")
    for folder in ("oltr_core", "tasks", "flows", "tests", "docs", "configs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "data").mkdir()
    for path in [*ROOT.glob("*.yaml"), ROOT / "pyproject.toml", ROOT / "data/run.yaml"]:
        shutil.copyfile(path, copy / path.relative_to(ROOT))
    for files in ADDITIONS.values():
        for name, change in files.items():
            path = copy / name
            assert path.exists() != isinstance(change, str), f"{name}: an edit of a file that is there, or a new one"
            path.write_text(change.lstrip() if isinstance(change, str) else change(path.read_text()))
    (copy / "uses.json").write_text(json.dumps(USES))
    (copy / "use.py").write_text(PRELUDE)
    for command in (*(["-m", *writer] for writer in WRITERS), ["use.py"]):
        done = run_in(copy, *command)
        assert done.returncode == 0, done.stdout + done.stderr
    return copy


def run_in(copy: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1"}
    call = [sys.executable, *command]
    return subprocess.run(call, cwd=copy, env=environment, capture_output=True, text=True, check=False)


def test_the_table_has_the_kinds_that_are_added_here():
    assert set(table()) == set(ADDITIONS) == set(USES)


@pytest.mark.parametrize("kind", ADDITIONS)
def test_an_addition_touches_the_files_of_the_table_and_no_other(kind):
    assert {anonymous(path) for path in ADDITIONS[kind]} == table()[kind][0]


@pytest.mark.parametrize("kind", ADDITIONS)
def test_what_was_added_is_used(extended, kind):
    failed = json.loads((extended / "failed.json").read_text())
    assert kind not in failed, failed[kind]


def test_the_tests_that_know_the_members_pass_after_the_additions(extended):
    done = run_in(extended, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *KNOWING)
    assert done.returncode == 0, done.stdout + done.stderr


def test_dvc_takes_the_pipeline_with_the_stage_that_was_added(extended):
    pipeline = yaml.safe_load((extended / "dvc.yaml").read_text())
    assert "count" in pipeline["stages"]
    COMPILED_MULTI_STAGE_SCHEMA(pipeline)


@pytest.mark.parametrize("kind", ADDITIONS)
def test_the_generated_files_of_the_table_know_what_was_added(extended, kind):
    new = next((Path(path).stem for path in ADDITIONS[kind] if not (ROOT / path).exists()), "balanced_error")

    def knowing(root: Path) -> set[str]:
        return {file for file in GENERATED if re.search(rf"\b{new}\b", (root / file).read_text())}

    assert not knowing(ROOT)
    assert knowing(extended) == table()[kind][1]
