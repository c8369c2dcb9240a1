"""Pictures of generations leave Prefect: its own database, or a server that others use too."""

from __future__ import annotations

import base64
import json
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing, nullcontext
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from oltr_core.layout import Layout
from oltr_core.upkeep import search
from tasks.prefect import artifacts
from tasks.prefect.server import Server, database_address

KEY = "generation-0000-batch"
OURS, OTHERS = (np.random.default_rng(seed).bytes(20_000) for seed in (1, 2))
SHOWN = {name: base64.b64encode(value).decode() for name, value in (("ours", OURS), ("others", OTHERS))}
#: in a process of its own, as in a loop: what Prefect still holds is sent when it ends
SHOW = """
from prefect.artifacts import create_image_artifact
for key, picture in {pictures!r}:
    create_image_artifact("data:image/png;base64," + picture, key=key)
from pathlib import Path
from oltr_core.layout import Layout
from tasks.prefect import artifacts
artifacts.show_batch(Layout(Path({root!r})), "0000")
from flows.generation import settle
settle()
"""
REMOVE = """
from pathlib import Path
from oltr_core.layout import Layout
from tasks.prefect import artifacts
print(artifacts.remove(Layout(Path({root!r})), [{key!r}], {pieces!r}))
"""


@pytest.fixture
def made(monkeypatch) -> list[tuple[str, tuple, dict]]:
    """What is given to Prefect to show."""
    given = []
    for kind in ("table", "link", "markdown", "image"):
        add = partial(lambda kind, *what, **how: given.append((kind, what, how)), kind)
        monkeypatch.setattr(f"prefect.artifacts.create_{kind}_artifact", add)
    return given


def test_a_generation_is_shown_under_the_keys_by_which_it_is_removed(tmp_path, made):
    layout = Layout(tmp_path / "Deer")
    layout.generation("0000").folder.mkdir(parents=True)
    layout.generation("0000").contact_sheet.write_bytes(OURS)
    artifacts.show_headline(layout, "0000", [{"what": "verdict", "figure": "promoted"}], "why")
    artifacts.show_report(layout, "0000", "/oltr/deer/0000/report.html")
    artifacts.show_report(layout, "0000", "")
    artifacts.show_batch(layout, "0000")
    keys = [how["key"] for _, _, how in made]
    assert keys == [f"deer-generation-0000-{what}" for what in ("headline", "report", "report", "batch")]
    assert artifacts.key("0000", artifacts.BATCH) == KEY
    file = str(layout.generation("0000").report.resolve())
    assert [kind for kind, _, _ in made] == ["table", "link", "markdown", "image"]
    assert (made[1][1], made[1][2]["link_text"]) == (("/oltr/deer/0000/report.html",), file)
    assert made[2][1] == (f"`{file}`",)
    assert made[3][1] == (f"data:image/png;base64,{SHOWN['ours']}",)


def test_a_batch_without_a_picture_or_with_a_large_one_is_not_shown(tmp_path, made, monkeypatch):
    layout = Layout(tmp_path)
    artifacts.show_batch(layout, "0000")
    layout.generation("0000").folder.mkdir(parents=True)
    layout.generation("0000").contact_sheet.write_bytes(OURS)
    monkeypatch.setattr(artifacts, "PICTURE_BYTES", len(OURS) - 1)
    artifacts.show_batch(layout, "0000")
    assert made == []
    monkeypatch.setattr(artifacts, "PICTURE_BYTES", len(OURS))
    artifacts.show_batch(layout, "0000")
    assert len(made) == 1


def python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def served(tmp_path, monkeypatch):
    """An embedded server that was shown pictures by this workspace, before and since 0.2, and first by another."""
    layout = Layout(tmp_path)
    monkeypatch.setenv("PREFECT_HOME", str(layout.prefect_home))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    server = Server(layout)
    server.wait()
    layout.params.write_text("workspace: {name: deer}")
    layout.generation("0000").folder.mkdir(parents=True)
    layout.generation("0000").contact_sheet.write_bytes(OURS)
    shown = [(KEY, SHOWN["others"]), (KEY, SHOWN["ours"])]
    python(SHOW.format(pictures=shown, root=str(layout.root)))
    yield layout, server
    server.stop()


@pytest.mark.slow
def test_a_picture_leaves_a_server_and_then_its_database_and_that_of_another_workspace_stays_before(served):
    layout, server = served
    pieces = list(search.pieces(OURS))
    assert python(REMOVE.format(root=str(layout.root), key=KEY, pieces=pieces)) == server.url
    asked = urllib.request.Request(f"{server.url}/artifacts/filter", b"{}", {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked) as answer:
        (left,) = json.load(answer)
    assert SHOWN["others"] in left["data"]
    server.stop()
    assert search.holding([layout.prefect_home], pieces), "events, which a server does not delete"
    assert artifacts.remove(layout, [KEY], pieces) == ""
    assert search.holding([layout.prefect_home], [*pieces, *search.pieces(OTHERS)]) == []
    with closing(sqlite3.connect(layout.prefect_db)) as database:
        assert database.execute("pragma integrity_check").fetchone() == ("ok",)


@pytest.mark.slow
def test_a_picture_leaves_a_home_that_the_user_named(served, tmp_path):
    """No server is running: the client starts one on the database there."""
    layout, server = served
    server.stop()
    other = Layout(tmp_path / "other")
    pieces = list(search.pieces(OURS))
    said = python(REMOVE.format(root=str(other.root), key=KEY, pieces=pieces)).splitlines()[-1]
    assert said == str(layout.prefect_db)
    with closing(sqlite3.connect(layout.prefect_db)) as database:
        left = [data for (data,) in database.execute("select data from artifact")]
    assert [SHOWN["others"] in data for data in left] == [True]
    assert not other.root.exists()


def test_a_database_loses_rows_whose_keys_end_so_and_the_pages_that_they_stood_in(tmp_path, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(Layout(tmp_path).prefect_home))
    layout, keys = Layout(tmp_path), (KEY, f"deer-{KEY}", f"{KEY}-of-more", "generation-0001-batch")
    layout.prefect_home.mkdir(parents=True)
    with closing(sqlite3.connect(layout.prefect_db)) as database, database:
        database.execute("pragma journal_mode = wal")
        for table, column in (("events", "resource"), ("event_resources", "resource"),
                              ("artifact", "key"), ("artifact_collection", "key")):  # fmt: skip
            database.execute(f"create table {table} ({column}, data)")
            for key in keys:
                named = json.dumps({"prefect.resource.name": key}) if column == "resource" else key
                database.execute(f"insert into {table} values (?, ?)", (named, f"{key}|" * 3000))
    assert artifacts.remove(layout, [KEY, "generation-0002-batch"], []) == ""
    with closing(sqlite3.connect(layout.prefect_db)) as database:
        for table in ("events", "event_resources", "artifact", "artifact_collection"):
            left = [data.partition("|")[0] for (data,) in database.execute(f"select data from {table}")]
            assert left == [f"{KEY}-of-more", "generation-0001-batch"], table
    for file in layout.prefect_home.iterdir():
        assert f"|deer-{KEY}|".encode() not in file.read_bytes(), "what SQLite has freed is overwritten"


def test_a_server_is_asked_page_by_page_and_keeps_what_others_have_under_the_same_keys(tmp_path, monkeypatch):
    names = ["ours" if n % 3 else "others" for n in range(130)]
    kept = {n: SimpleNamespace(id=n, key=f"deer-{KEY}", data=f"<{name}>") for n, name in enumerate(names)}
    kept |= {500: SimpleNamespace(id=500, key="another", data="<ours>")}
    asked = []

    class Client:
        def read_artifacts(self, artifact_filter, sort, offset, limit):
            asked.append(limit)
            like = artifact_filter.key.like_
            assert like.startswith("%")
            mine = [kept[n] for n in sorted(kept, reverse=True) if kept[n].key.endswith(like[1:])]
            assert sort.value == "ID_DESC"
            return mine[offset : offset + limit]

        def delete_artifact(self, number):
            del kept[number]

    monkeypatch.setattr("prefect.client.orchestration.get_client", lambda sync_client: nullcontext(Client()))
    monkeypatch.setenv("PREFECT_API_URL", "http://eve:hunter2@prefect.example/api")
    found = artifacts.remove(Layout(tmp_path), [KEY, "none"], [b"<ours>", b"\xff"])
    assert found == "http://***@prefect.example/api"
    assert set(kept) == {500, *(n for n, name in enumerate(names) if name == "others")}
    assert set(asked) == {artifacts.PAGE}
    assert len(asked) == 5, "three pages and an empty one, and of the other key an empty one"


def test_a_database_is_the_users_where_the_environment_names_another(tmp_path, monkeypatch):
    layout = Layout(tmp_path / "with?mark")
    for name in ("PREFECT_API_URL", "PREFECT_HOME", *artifacts.DATABASES):
        monkeypatch.delenv(name, raising=False)
    assert artifacts._database_of_others(layout) == ""
    monkeypatch.setenv("PREFECT_HOME", str(layout.prefect_home))
    own = database_address(layout)
    monkeypatch.setenv(*next(iter(own.items())))
    assert artifacts._database_of_others(layout) == ""
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg://db/prefect")
    assert artifacts._database_of_others(layout) == "postgresql+asyncpg://db/prefect"
    monkeypatch.delenv("PREFECT_SERVER_DATABASE_CONNECTION_URL")
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PREFECT_API_DATABASE_CONNECTION_URL")
    assert artifacts._database_of_others(layout) == str(tmp_path / "home" / "prefect.db")


def test_the_address_of_a_database_is_said_without_its_password(tmp_path, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "postgresql+asyncpg://eve:hunter2@db/prefect")
    monkeypatch.setattr(artifacts, "_from_server", lambda *_: None)
    assert artifacts.remove(Layout(tmp_path), [KEY], []) == "postgresql+asyncpg://***@db/prefect"


def test_where_prefect_never_ran_there_is_nothing_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert artifacts.remove(Layout(tmp_path), [KEY], []) == ""
    assert not list(tmp_path.iterdir())
