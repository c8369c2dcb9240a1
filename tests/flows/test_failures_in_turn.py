"""Twelve failures where a loop leaves the most behind, one after the other in one workspace, change nothing.

`make test-soak` tries hundreds. These are named by the file that is being written, so that they stay where they are
when the code changes.
"""

from __future__ import annotations

from oltr_core import digest, ledger
from tests.flows.worlds import called, commit, edit, new_world, processes_of, run
from tests.soak.facts import history, left_over, results
from tests.soak.faults import Fault, failed

NAMED = ("alone", "loop", r"^\.oltr/remote/")  # the seal has its name; the ledger does not know it yet
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
    ("alone", "loop", r"^data/generations/[^/]+/environment\.json"),  # its files are being gathered
    NAMED,
    ("group", "loop", r"^data/\.ledger\.head"),  # the seal is in the ledger, its digest is not beside it
    ("alone", "loop", r"^data/exports/"),  # the batch goes out
)


#: a Prefect server of its own has to end too: where the whole group is killed, and once where the loop alone is
OWN_SERVER = r"^data/raw/"


def test_twelve_failures_one_after_the_other_change_nothing(looped, url, tmp_path):
    layout = new_world(tmp_path / "world", databases=False)
    edit(layout, lambda params: params["workspace"].update(name="failing"))  # of other tests at that server
    commit(layout, "a name")
    folder, before = layout.generation("0000").folder, ""
    for what, who, path in IN_TURN:
        assert folder.exists() == bool(before), path
        there = {} if what == "group" or path == OWN_SERVER else {"PREFECT_API_URL": url}
        row = failed(Fault("new", "loop", what, who, 1, path), layout, tmp_path, **there)
        assert row["hit"], (path, row)
        assert not row["wrong"], (path, row)
        if path == NAMED[-1]:
            before = digest.of_folder(folder)
            assert [event.event for event in ledger.read(layout.ledger)] == ["ingested", "opened"]
    done = run(layout, "oltr", "loop", "--generations", "1", PREFECT_API_URL=url)
    assert done.returncode == 0, done.stderr
    assert digest.of_folder(folder) == before, "what had its name was final"
    ledger.verify_sealed(layout.ledger, folder)
    first = {file: of for file, of in results(looped.layout).items() if file.startswith("0000/")}
    assert results(layout) == first
    wanted = [event for event in history(looped.layout) if event[1] != "0001"]
    assert [event for event in history(layout) if event[0] != "ingested"] == [
        event for event in wanted if event[0] not in ("ingested", "imported")
    ]
    assert not left_over(layout)
    assert not processes_of(layout)
    checked = called(layout, "oltr", "check")
    assert checked.returncode == 0, checked.stdout
