from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from oltr_core import digest, ledger
from oltr_core.layout import GENESIS, Layout
from oltr_core.ledger import Event


def _event(event="opened", generation="0000", content="a", **details):
    return Event(event, generation, digest.of_value(content), "2026-11-21T00:00:00Z", details)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.jsonl"


def test_events_are_read_back_in_their_order(path):
    events = [_event("opened", parent=GENESIS), _event("sealed"), _event("promoted")]
    assert all(ledger.append(path, e) for e in events)
    assert ledger.read(path) == events


def test_the_same_event_is_written_once(path):
    assert ledger.append(path, _event("sealed"))
    before = path.read_bytes()
    assert not ledger.append(path, _event("sealed"))
    assert path.read_bytes() == before
    assert ledger.append(path, _event("sealed", content="b"))


@pytest.mark.parametrize("line", [0, 1])
def test_an_edited_line_breaks_the_chain_and_is_named(path, line):
    for content in "abc":
        ledger.append(path, _event(content=content))
    lines = path.read_text().splitlines()
    lines[line] = lines[line].replace("2026-11-21", "2026-11-22")
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=f":{line + 2}: the line before was changed after it was written"):
        ledger.read(path)


def test_a_removed_line_breaks_the_chain(path):
    for content in "abc":
        ledger.append(path, _event(content=content))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], lines[2]]) + "\n")
    with pytest.raises(ValueError, match=":2: the line before was changed"):
        ledger.read(path)


def test_a_line_that_is_no_event_is_named(path):
    path.write_text("{}\n")
    with pytest.raises(ValueError, match=":1: this line is not a ledger event"):
        ledger.read(path)


def test_a_torn_last_line_is_set_aside_reported_and_nothing_is_lost(path):
    ledger.append(path, _event(content="a"))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"event": "sealed", "gener')
    assert len(ledger.read(path)) == 1
    with pytest.warns(UserWarning, match="torn by a crash; it was moved to"):
        ledger.append(path, _event(content="b"))
    assert len(ledger.read(path)) == 2
    (aside,) = path.parent.glob("ledger.torn-*")
    assert aside.read_bytes() == b'{"event": "sealed", "gener'


def _cut(lines):
    return lines[:-1]


def _edited(lines):
    return [*lines[:-1], lines[-1].replace(b"2026-11-21", b"2026-11-22")]


def _gone(lines):
    return []


def _without_its_newline(lines):
    return [*lines[:-1], lines[-1].rstrip(b"\n")]


@pytest.mark.parametrize("change", [_cut, _edited, _gone, _without_its_newline])
def test_a_last_line_that_was_cut_off_or_edited_is_refused_and_nothing_is_written(path, change):
    for content in "abc":
        ledger.append(path, _event(content=content))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(change(lines)))
    before = path.read_bytes()
    with pytest.raises(
        ValueError, match=r"ledger\.jsonl(: lines were cut off|:3: this line was changed).*ledger\.head expects"
    ):
        ledger.read(path)
    with pytest.raises(ValueError, match="restore the file from version control or a backup"):
        ledger.append(path, _event(content="d"))
    assert path.read_bytes() == before
    assert not list(path.parent.glob("ledger.torn-*"))


def test_a_kill_between_the_line_and_its_head_is_no_damage_and_the_next_event_repairs_the_head(path):
    ledger.append(path, _event(content="a"))
    head = ledger.head_of(path).read_bytes()
    ledger.append(path, _event(content="b"))
    ledger.head_of(path).write_bytes(head)
    assert len(ledger.read(path)) == 2
    ledger.append(path, _event(content="c"))
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))
    with pytest.raises(ValueError, match="lines were cut off its end"):
        ledger.read(path)


def test_a_ledger_of_an_older_version_is_read_and_gets_its_head_with_the_next_event(path):
    ledger.append(path, _event(content="a"))
    ledger.head_of(path).unlink()
    assert len(ledger.read(path)) == 1
    ledger.append(path, _event(content="b"))
    last = path.read_bytes().splitlines()[-1]
    assert json.loads(ledger.head_of(path).read_text()) == {"lines": 2, "last": digest.of_bytes(last)}


def test_a_ledger_of_this_version_is_refused_without_its_head_but_after_its_very_first_line(path):
    ledger.append(path, _event("ingested"))
    ledger.head_of(path).unlink()  # what a kill between the two leaves
    assert len(ledger.read(path)) == 1
    ledger.append(path, _event("opened", parent=GENESIS))
    path.write_bytes(path.read_bytes() + b'{"torn')
    assert len(ledger.read(path)) == 2
    ledger.head_of(path).unlink()
    for look in (ledger.read, lambda p: ledger.append(p, _event("opened", "0001", parent=GENESIS))):
        with pytest.raises(
            ValueError, match=r"ledger\.head: this file is missing, .*; restore the file from version"
        ):
            look(path)
    ledger.write_head(path)
    assert len(ledger.read(path)) == 2, "the torn line is not counted"


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"lines": "x", "last": ""}'])
def test_a_head_that_is_something_else_is_refused(path, text):
    ledger.append(path, _event(content="a"))
    ledger.head_of(path).write_text(text)
    with pytest.raises(ValueError, match=r"ledger\.head: expected the number of lines of ledger\.jsonl"):
        ledger.read(path)


def test_writers_at_once_leave_a_whole_chain(path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: ledger.append(path, _event(content=str(i))), range(40)))
    assert len(ledger.read(path)) == 40


def test_history_adds_up_to_a_state(path):
    history = [
        _event("opened", "0000", parent=GENESIS),
        _event("sealed", "0000"),
        _event("promoted", "0000"),
        _event("exported", "0000"),
        _event("imported", "0000"),
        _event("opened", "0001", parent="0000"),
        _event("sealed", "0001", content="b"),
        _event("refused", "0001"),
        _event("opened", "0002", parent="0000"),
    ]
    state = ledger.replay(history)
    assert state.champion == "0000"
    assert state.verdicts == {"0000": "promoted", "0001": "refused"}
    assert state.unfinished == "0002"
    assert state.next_number == 3
    assert state.parents["0001"] == "0000"
    assert state.imported == {"0000"}


def test_a_rollback_moves_the_champion_and_reuses_no_number():
    state = ledger.replay(
        [
            _event("opened", "0000", parent=GENESIS),
            _event("promoted", "0000"),
            _event("opened", "0001", parent="0000"),
            _event("promoted", "0001"),
            _event("rolled_back", "0000"),
        ]
    )
    assert state.champion == "0000"
    assert state.next_number == 2


def test_an_edited_file_in_a_sealed_generation_is_found(path, tmp_path):
    folder = tmp_path / "0000"
    folder.mkdir()
    (folder / "metrics.json").write_text("{}")
    ledger.append(path, Event("sealed", "0000", digest.of_folder(folder), "2026-11-21T00:00:00Z"))
    ledger.verify_sealed(path, folder)
    (folder / "metrics.json").write_text(json.dumps({"closed/overall": 1.0}))
    with pytest.raises(ValueError, match="a file in this sealed generation was changed"):
        ledger.verify_sealed(path, folder)


def test_a_generation_that_was_never_sealed_is_no_parent(path, tmp_path):
    with pytest.raises(ValueError, match="knows no sealed generation"):
        ledger.verify_sealed(path, tmp_path / "0007")


def sealed_folder(root, name: str, text: str):
    folder = root / name
    folder.mkdir()
    (folder / "metrics.json").write_text(text)
    return folder


def test_the_seal_of_another_folder_does_not_do(path, tmp_path):
    one, two = sealed_folder(tmp_path, "0000", "{}"), sealed_folder(tmp_path, "0001", '{"a": 1}')
    for folder in (one, two):
        ledger.append(path, Event("sealed", folder.name, digest.of_folder(folder), "2026-11-21T00:00:00Z"))
        ledger.verify_sealed(path, folder)
    (two / "metrics.json").write_text("{}")
    assert digest.of_folder(one) == digest.of_folder(two)
    with pytest.raises(ValueError, match="0001: a file in this sealed generation was changed"):
        ledger.verify_sealed(path, two)


def test_a_file_that_was_added_to_a_sealed_generation_is_found_and_a_folder_that_is_not_here_is_named(path, tmp_path):
    folder = sealed_folder(tmp_path, "0000", "{}")
    ledger.append(path, Event("sealed", "0000", digest.of_folder(folder), "2026-11-21T00:00:00Z"))
    (folder / "extra").write_text("")
    with pytest.raises(ValueError, match="was changed"):
        ledger.verify_sealed(path, folder)
    folder.rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="this sealed generation is not here; `dvc pull` restores it"):
        ledger.verify_sealed(path, folder)


def test_the_empty_first_parent_needs_no_seal(path, tmp_path):
    ledger.verify_sealed(path, tmp_path / GENESIS)


def test_what_was_forgotten_is_remembered_and_changes_the_digests_of_the_generations_it_was_in():
    state = ledger.replay(
        [
            _event("opened", "0000", parent=GENESIS),
            _event("sealed", "0000", content="a"),
            _event("opened", "0001", parent="0000"),
            _event("sealed", "0001", content="b"),
            _event("forgotten", "0001", images=["x", "y"], generations={"0000": "new"}),
            _event("forgotten", "0001", content="c", images=["z"], generations={}),
        ]
    )
    assert state.sealed == {"0000": "new", "0001": digest.of_value("b")}
    assert state.forgotten == {"x", "y", "z"}


def test_an_empty_history_is_the_state_before_the_first_generation(path):
    state = ledger.replay(ledger.read(path))
    assert (state.champion, state.unfinished, state.next_number, state.opened) == (GENESIS, None, 0, [])


def test_a_refused_generation_that_becomes_champion_by_hand_keeps_its_verdict():
    history = [_event("opened", "0000", parent=GENESIS), _event("refused", "0000"), _event("rolled_back", "0000")]
    state = ledger.replay(history)
    assert (state.champion, state.verdicts, state.unfinished) == ("0000", {"0000": "refused"}, None)
    state = ledger.replay([_event("opened", "0000", parent=GENESIS), _event("promoted", "0000")])
    assert (state.champion, state.verdicts) == ("0000", {"0000": "promoted"})


def test_a_batch_that_was_exported_waits_until_its_answers_are_imported():
    state = ledger.replay([_event("opened", "0000", parent=GENESIS), _event("exported", "0000")])
    assert (state.exported, state.imported) == ({"0000"}, frozenset())


def test_an_event_is_durable_before_the_call_returns(path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: seen.append(path.read_bytes().endswith(b"\n")))
    ledger.append(path, _event("sealed"))
    assert seen == [True, True, True], "the event, then its head and the head's name"


def test_an_event_that_nobody_knows_is_refused(path):
    with pytest.raises(AssertionError, match="deleted"):
        _event("deleted")


def test_the_metrics_of_a_seal_are_those_of_its_event_or_of_the_file_where_the_event_has_none(tmp_path):
    file = tmp_path / "metrics.json"
    assert ledger.metrics_at_seal({}, file) == {}
    file.write_text('{"closed/overall": 0.5}')
    assert ledger.metrics_at_seal({}, file) == {"closed/overall": 0.5}
    assert ledger.metrics_at_seal({"metrics": {"closed/overall": 0.4}}, file) == {"closed/overall": 0.4}
    assert ledger.metrics_at_seal({"metrics": {}}, file) == {}


def test_pointers_are_the_newest_of_each_path_and_forgetting_an_image_drops_those_of_its_generations():
    history = [
        _event("ingested", "b", dvc={"data/raw/b": {"md5": "1"}}),
        _event("sealed", "0000", dvc={"data/generations/0000": {"md5": "2"}}),
        _event("sealed", "0001", dvc={"data/generations/0001": {"md5": "3"}, "data/raw/b": {"md5": "4"}}),
        _event("promoted", "0001"),
    ]
    assert ledger.pointers(history) == {
        "data/raw/b": {"md5": "4"},
        "data/generations/0000": {"md5": "2"},
        "data/generations/0001": {"md5": "3"},
    }
    forgotten = _event("forgotten", "0001", images=["x"], generations={"0000": "new"})
    assert ledger.pointers([*history, forgotten]).keys() == {"data/raw/b", "data/generations/0001"}
    again = _event("sealed", "0000", content="b", dvc={"data/generations/0000": {"md5": "5"}})
    assert ledger.pointers([*history, forgotten, again])["data/generations/0000"] == {"md5": "5"}


def test_what_restores_a_folder_is_dvc_alone_where_the_ledger_has_its_pointer(tmp_path):
    folder = tmp_path / "data" / "generations" / "0000"
    how = f"`dvc checkout --force 0000.dvc` in {folder.parent} restores it"
    assert ledger.restoring(folder, ["data/raw/b", "data/generations/0000"]) == how
    for known in ([], ["data/generations/0001"], ["ta/generations/0000"]):
        said = ledger.restoring(folder, known)
        assert said.startswith(how)
        assert "`git checkout 0000.dvc`" in said


def test_a_removal_that_is_not_over_is_known_and_one_that_is_over_leaves_its_images():
    begun = [
        _event("opened", "0000", parent=GENESIS),
        _event("sealed", "0000", content="a"),
        _event("forgetting", "0000", images=["x"], generations={"0000": "new"}),
    ]
    state = ledger.replay(begun)
    assert state.forgetting == {"images": ["x"], "generations": {"0000": "new"}}
    assert (state.forgotten, state.sealed) == ({"x"}, {"0000": digest.of_value("a")})
    state = ledger.replay([*begun, _event("forgotten", "0000", images=["x"], generations={"0000": "new"})])
    assert (state.forgetting, state.forgotten, state.sealed) == ({}, {"x"}, {"0000": "new"})


def test_the_unfinished_generation_is_the_newest_and_sealed_ones_are_listed_oldest_first():
    history = [_event("opened", name, parent=GENESIS) for name in ("0000", "0001", "0010")]
    history += [_event("sealed", "0001"), _event("sealed", "0000"), _event("promoted", "0010")]
    state = ledger.replay(history)
    assert (state.unfinished, state.generations, state.next_number) == ("0001", ["0000", "0001"], 11)


def test_batches_are_in_the_order_in_which_they_came_in_and_those_that_are_not_told_yet_after_them(tmp_path):
    path, layout = tmp_path / "ledger.jsonl", Layout(tmp_path)
    for name in ("labelled", "inbox-2026", "labelled", "autumn"):
        event = Event("ingested", "", digest.of_value([name, path.exists()]), "2026-01-01", {"batch": name})
        ledger.append(path, event)
    names = ["autumn", "batch-10", "batch-9", "inbox-2026", "labelled"]
    ordered = [batch.name for batch in ledger.by_arrival(path, map(layout.batch, names))]
    assert ordered == ["labelled", "inbox-2026", "autumn", "batch-9", "batch-10"]


def test_an_imported_model_that_the_champion_went_back_to_is_no_finished_generation():
    state = ledger.replay(
        [
            _event("imported_model", "imported"),
            _event("opened", "0000", parent="imported"),
            _event("sealed", "0000"),
            _event("promoted", "0000"),
            _event("rolled_back", "imported"),
        ]
    )
    assert (state.champion, state.verdicts) == ("imported", {"0000": "promoted"})
