"""What people are waited for, in the states of deployed runs: how far they are, who is told, and how often."""

from __future__ import annotations

import shutil

import pytest
import yaml

from flows import answers, deployment, generation, plan, publishing, steps, waiting
from flows.generation import WAITING
from oltr_core import ledger
from oltr_core.layout import Layout
from oltr_core.settings.annotator import FolderAnnotator, TruthAnnotator
from tasks import clock, notify
from tasks.annotator import batch, folder, label_studio
from tests.servers import free_port
from tests.tasks import waiting_world as world

HOW = ": run `oltr annotate open`, answer in the browser"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Layout:
    """0000 sealed and its batch out to people at world.AT."""
    layout = world.make(tmp_path_factory.mktemp("asked") / "world")
    shutil.copytree(layout.work.folder, layout.generation("0000").folder)
    params = yaml.safe_load(layout.params.read_text()) | {"annotator": {"name": "folder"}}
    layout.params.write_text(yaml.safe_dump(params, sort_keys=False))
    for event, details in (("sealed", {}), ("promoted", {}), ("exported", {"images": world.ASKED})):
        ledger.append(layout.ledger, ledger.Event(event, "0000", "x", world.AT, details))
    return layout


@pytest.fixture
def layout(made, tmp_path, monkeypatch) -> Layout:
    shutil.copytree(made.root, tmp_path / "world", symlinks=True)
    monkeypatch.setattr(publishing, "catch_up", lambda _: None)  # MLflow, which others ask
    return Layout(tmp_path / "world")


@pytest.fixture
def now(monkeypatch):
    """Sets the clock; a day after the batch went out at first."""

    def to(at: str) -> None:
        monkeypatch.setattr(clock, "now", lambda: f"{at}+00:00")

    to("2026-01-02T00:00:00")
    return to


def put(layout: Layout, *rows: str) -> None:
    path = layout.root / "data" / "inbox" / "0000.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["image_id,verdict,label", *rows, ""]))


def test_a_wrong_row_while_others_are_missing_is_told_once_per_content_and_is_no_failure(layout, now):
    one, two, _ = batch.asked(layout, "0000")
    put(layout, f"{one},,cat", f"{two},,cta")
    state = deployment._take_in(layout)
    assert (state.name, state.type.value) == (deployment.TO_CORRECT, "COMPLETED")
    assert "0000.csv:3: label: no class is called 'cta'" in state.message
    assert "2 of 3 images of the batch of 0000 have no answer yet; 1 answers cannot be imported" in state.message
    assert [deployment._take_in(layout).name, deployment._make(layout, 1).name] == [deployment.STILL] * 2
    put(layout, f"{one},,cat", f"{two},,dgo")
    assert deployment._make(layout, 1).name == deployment.TO_CORRECT, "by whichever run looks first"
    put(layout, f"{one},,cat", f"{two},,dog")
    assert deployment._take_in(layout).name == deployment.STILL
    assert "imported" not in {event.event for event in ledger.read(layout.ledger)}
    put(layout, f"{two},,cta")
    with pytest.raises(ValueError, match="no class is called 'cta'"):  # on a terminal it is said at once
        answers.import_annotations(layout, "0000")


def test_people_are_reminded_from_so_many_days_on_and_once_a_day(layout, now):
    put(layout, f"{batch.asked(layout, '0000')[0]},,cat")
    now("2026-01-03T23:59:59")
    state = deployment._make(layout, 1)
    assert (state.name, state.message.partition(HOW)[0]) == (
        deployment.STILL,
        "waiting for annotations of the batch of 0000, for 2 days now; 2 of 3 images of the batch of 0000 have no "
        "answer yet",
    )
    now("2026-01-04T00:00:00")
    assert deployment._take_in(layout).name == deployment.STILL, "it looks every quarter of an hour"
    assert deployment._make(layout, 1, reminds=False).name == deployment.STILL, "as the monitor"
    assert [deployment._make(layout, 1).name for _ in range(2)] == [WAITING, deployment.STILL]
    now("2026-01-05T03:00:00")
    assert deployment._make(layout, 1).name == WAITING


def test_the_sentence_leaves_out_what_nobody_knows_now_and_people_are_done_with(layout, now, monkeypatch):
    one, two, three = batch.asked(layout, "0000")
    now("2026-01-01T23:59:59")
    assert waiting.sentence(layout, "0000").partition(HOW)[0] == (
        "waiting for annotations of the batch of 0000; 3 of 3 images of the batch of 0000 have no answer yet"
    )
    put(layout, f"{one},,cat", f"{two},,dog", f"{three},,dog")
    assert waiting.sentence(layout, "0000").partition(HOW)[0] == "waiting for annotations of the batch of 0000"
    assert deployment._unanswered(layout, "0000") is None
    assert plan.next_step(layout, 2) == plan.Step("annotate", "0000")

    def down(*_):
        raise ConnectionError("gone")

    monkeypatch.setattr(waiting, "standing", down)
    assert deployment._unanswered(layout, "0000") is None, "the task that asks again says what is wrong"
    assert waiting.sentence(layout, "0000").partition(HOW)[0] == "waiting for annotations of the batch of 0000"


def test_what_speaks_for_a_full_training_is_in_the_state_of_a_run_where_people_decide(layout, now, monkeypatch):
    put(layout, *(f"{image},,cat" for image in batch.asked(layout, "0000")))
    monkeypatch.setattr(steps, "for_full_training", lambda _: ["forgetting is 0.2"])
    monkeypatch.setattr(deployment, "loop", lambda *_: None)
    key = "`schedule: {full_training: auto}` in params.yaml"
    advice = f"a full training is recommended: {key} makes the next generation one"
    name = yaml.safe_load(layout.params.read_text())["workspace"]["name"]
    state = deployment._make(layout, 1)
    assert (state.name, state.message.splitlines()[-3:]) == (
        deployment.STILL,
        [advice, "  forgetting is 0.2", f"or `prefect deployment run retrain/retrain-{name}`"],
    )
    params = yaml.safe_load(layout.params.read_text()) | {"schedule": {"full_training": "auto"}}
    layout.params.write_text(yaml.safe_dump(params))
    assert steps.recommended(layout) == []


def test_runs_say_workspace_and_generation_even_where_the_ledger_cannot_be_read(layout):
    def named() -> str:
        return generation._said(layout, "loop-{upcoming}-to-{generations}-after-{newest}", {"generations": 4})

    assert named() == "digits-loop-0001-to-4-after-0000"
    ledger.append(layout.ledger, ledger.Event("opened", "0001", "x", world.AT, {"parent": "0000"}))
    assert named() == "digits-loop-0001-to-4-after-0001", "it is being made"
    layout.ledger.write_text("no ledger\n")
    assert named() == "digits-loop-unknown-to-4-after-unknown"


def test_a_file_that_has_come_into_the_inbox_and_stands_still_is_seen_once(layout):
    came = waiting.changed(lambda: folder.stamp(layout, FolderAnnotator()))
    seen = [next(came), next(came)]
    put(layout, "x,,cat")
    seen += [next(came)]
    put(layout, "x,,cat", "y,,dog")  # it is still being written
    seen += [next(came) for _ in range(3)]
    assert seen == [False, False, False, False, True, False]
    assert folder.stamp(layout, TruthAnnotator()) == frozenset()


def test_of_two_things_each_is_told_once(tmp_path):
    layout = Layout(tmp_path)
    assert [notify.is_new(layout, what, "x") for what in ("a", "b", "a", "b")] == [True, True, False, False]
    assert [notify.is_new(layout, "a", text) for text in ("y", "x")] == [True, True]


def test_addresses_of_pictures_are_renewed_while_people_are_waited_for_and_a_server_that_is_down_stops_nobody(
    layout, now, monkeypatch, capsys
):
    put(layout, f"{batch.asked(layout, '0000')[0]},,cat")
    assert deployment._make(layout, 1).name == deployment.STILL
    url = f"http://127.0.0.1:{free_port()}"
    params = yaml.safe_load(layout.params.read_text())
    studio = {"name": "label_studio", "url": url, "pictures": "s3://team/deer"}
    layout.params.write_text(yaml.safe_dump(params | {"annotator": studio}, sort_keys=False))
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "sesame")
    monkeypatch.setattr(label_studio, "collect", lambda *_: [])  # the server was there a moment ago
    said = f"addresses of pictures were not renewed: {url}: Label Studio cannot be reached"
    assert deployment._make(layout, 1).name == deployment.STILL
    assert answers.import_annotations(layout, "0000") is None
    assert capsys.readouterr().err.count(said) == 2
