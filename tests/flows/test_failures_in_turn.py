"""Ten failures where a loop leaves the most behind, one after the other in one workspace, change nothing.

`make test-soak` tries hundreds. These are named by the file that is being written, so that they stay where they are
when the code changes.
"""

from __future__ import annotations

from tests.flows.conftest import new_world, run
from tests.soak.facts import history, left_over, results
from tests.soak.faults import Fault, failed

#: in the order in which a loop comes to them: what fails, of which process, at its first change of which files
IN_TURN = (
    ("group", "loop", r"^\.oltr/mlflow\.part"),  # MLflow's database is made
    ("alone", "loop", r"^data/raw/"),  # a batch is packed
    ("full", "loop", r"^data/truth/"),  # no space for the labels that are held back
    ("alone", "loop", r"^data/\.run\.yaml"),  # a generation is opened
    ("group", "train", r"^data/work/\.base\.safetensors"),  # its training has ended
    ("group", "update", r"^data/work/\.model\.safetensors"),
    ("alone", "loop", r"^dvc\.lock"),  # DVC notes what a stage made
    ("full", "loop", r"^data/generations/"),  # no space for the seal
    ("group", "loop", r"^data/\.ledger\.head"),  # the seal is in the ledger, its digest is not beside it
    ("alone", "loop", r"^data/exports/"),  # the batch goes out
)


def test_ten_failures_one_after_the_other_change_nothing(looped, tmp_path):
    layout = new_world(tmp_path / "world", databases=False)
    for what, who, path in IN_TURN:
        row = failed(Fault("new", "loop", what, who, 1, path), layout, tmp_path)
        assert row["hit"], (path, row)
        assert not row["wrong"], (path, row)
    done = run(layout, "oltr", "loop", "--generations", "1")
    assert done.returncode == 0, done.stderr
    first = {file: digest for file, digest in results(looped.layout).items() if file.startswith("0000/")}
    assert results(layout) == first
    wanted = [event for event in history(looped.layout) if event[1] != "0001"]
    assert [event for event in history(layout) if event[0] != "ingested"] == [
        event for event in wanted if event[0] not in ("ingested", "imported")
    ]
    assert not left_over(layout)
    checked = run(layout, "oltr", "check")
    assert checked.returncode == 0, checked.stdout
