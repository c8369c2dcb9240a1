"""`oltr annotate open`: who is answered, who is refused, and what is written into the inbox."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from flows.cli import oltr
from oltr_core.settings.annotator import FolderAnnotator
from tasks.annotator import batch, folder, page, serving
from tasks.prefect import deploying
from tests.core.data_world import configure, workspace
from tests.tasks import page_world as world
from tests.tasks.waiting_world import checked

FOLDER = FolderAnnotator()
HEAD = "image_id,verdict,label,annotator,answered_at,seconds\n"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    layout = world.make(tmp_path_factory.mktemp("served") / "deer", asked=3)
    said: Queue[str] = Queue()
    with serving.running(layout, FOLDER, "0000", 0, said.put) as address:
        yield layout, urlsplit(address), said


def test_saved_answers_are_told_to_the_server_that_oltr_serve_runs_here(served, monkeypatch):
    layout, _, _ = served
    opened: Queue[str] = Queue()
    told: Queue[tuple] = Queue()

    class Prefect(BaseHTTPRequestHandler):
        def do_POST(self):
            told.put((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))[0]["event"]))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(serving, "show", opened.put)
    command = ["-w", str(layout.root), "annotate", "open", "--once"]
    with HTTPServer(("127.0.0.1", 0), Prefect) as prefect:
        threading.Thread(target=prefect.serve_forever, daemon=True).start()
        with deploying.served(layout, f"http://127.0.0.1:{prefect.server_port}/api"):
            annotating = threading.Thread(target=CliRunner().invoke, args=(oltr, command), daemon=True)
            annotating.start()
            address = urlsplit(opened.get(timeout=60))
            answer = f"{batch.asked(layout, '0000')[0]},label,7,Anna,2026-01-01T10:00:00Z,1"
            assert post(address, f"\ufeff{HEAD}{answer}\n", "0000-bo-1.csv")[0] == 200
            assert told.get(timeout=60) == ("/api/events", "oltr.annotations")
            annotating.join(60)
        prefect.shutdown()
    shutil.rmtree(folder.inbox_of(layout, FOLDER))


def ask(address, method: str = "GET", path: str | None = None, body: bytes | None = None, **headers: str):
    """Status, headers and body of an answer; `Host` and `Origin` are those of a browser unless given."""
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    sent = {"Host": address.netloc, "Origin": f"http://{address.netloc}"} | headers
    connection.request(method, path or address.path, body, {k: v for k, v in sent.items() if v})
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read().decode()
    connection.close()
    return found


def post(address, body: str | bytes, name: str = "0000-anna-1.csv", **headers: str):
    path = address.path.replace(page.file_name(1), f"answers/{name}")
    return ask(address, "POST", path, body.encode() if isinstance(body, str) else body, **headers)


def test_the_page_is_served_on_this_machine_alone_and_may_send_to_where_it_came_from(served):
    _, address, _ = served
    assert address.hostname == "127.0.0.1"
    status, headers, text = ask(address)
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["Cache-Control"] == "no-store"
    assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
    assert json.loads(re.findall(r'id="data">(.*?)</script>', text, re.DOTALL)[0])["post"] == "answers/"
    assert ask(address, path=address.path.replace(".html", "-2.html"))[0] == 404


@pytest.mark.parametrize(
    "path", ["/", "/annotate.html", "//annotate.html", "/WRONG/annotate.html", "/../params.yaml"]
)
def test_without_the_token_there_is_nothing(served, path):
    _, address, _ = served
    status, _, text = ask(address, path=path)
    assert (status, text) == (404, "expected the whole address that `oltr annotate open` prints")


def test_each_start_has_a_token_of_its_own(served):
    layout, address, _ = served
    with serving.running(layout, FOLDER, "0000", 0, print) as other:
        assert len(urlsplit(other).path.split("/")[1]) >= 32
        assert urlsplit(other).path != address.path


def test_another_sites_name_for_this_machine_is_refused(served):
    _, address, _ = served
    for host in ("evil.example", f"evil.example:{address.port}", "127.0.0.1", f"localhost:{address.port}"):
        assert ask(address, Host=host)[0] == 403
        assert post(address, "x", Host=host)[0] == 403


def test_answers_come_from_the_page_alone(served):
    layout, address, _ = served
    for origin in ("", "null", "http://evil.example", f"https://{address.netloc}", "http://127.0.0.1:1"):
        status, _, text = post(address, HEAD, Origin=origin)
        assert (status, text) == (403, "answers come from the page alone")
    assert not folder.inbox_of(layout, FOLDER).exists()


def test_answers_are_written_whole_and_the_page_and_the_command_are_told_where(served):
    layout, address, said = served
    one, two, _ = batch.asked(layout, "0000")
    at = "2026-01-01T10:00:00.5Z"
    table = f"\ufeff{HEAD}{one},label,7,Anna,{at},2.5\n{two},new_class,élan,Anna,{at},1\n"
    status, _, text = post(address, table, "0000-%C3%A9lan-1.csv")
    file = layout.root / "data" / "inbox" / "0000-élan-1.csv"
    assert (status, text) == (200, f"Saved 2 answers in {file}")
    assert said.get(timeout=20) == f"saved 2 answers in {file}"  # after the answer, which the end must not cut off
    assert file.read_text(encoding="utf-8-sig") == table[1:]
    assert [p.name for p in file.parent.iterdir()] == [file.name], "no part of a file is left"
    rows = checked(layout, "0000", folder.collect(layout, FOLDER, "0000", ""))
    assert [(row["label"], row["seconds"]) for row in rows.to_pylist()] == [("7", 2.5), ("élan", 1.0)]
    file.unlink()


NO_NAMES = [
    "0001-anna.csv",
    "0000.csv",
    "0000-anna",
    "0000-a%2Fb.csv",
    "0000-..%2F..%2Fx.csv",
    "0000-a%00.csv",
    ".csv",
]


@pytest.mark.parametrize("name", [*NO_NAMES, f"0000-{'a' * 81}.csv"])
def test_a_table_is_written_under_a_name_of_this_batch_in_the_inbox_alone(served, name):
    layout, address, _ = served
    assert post(address, HEAD, name)[0] == 404
    assert not list(layout.root.rglob("*.csv"))


def test_a_table_that_cannot_be_imported_is_refused_with_the_reason_and_not_written(served):
    layout, address, _ = served
    one, *_ = batch.asked(layout, "0000")
    for table, sentence in (
        (f"{HEAD}{one},label,nobody,anna,,\n", "0000-anna-1.csv:2: label: no class is called 'nobody'"),
        (
            f"{HEAD}{'f' * 64},label,7,anna,2026-01-01,\n",
            "0000-anna-1.csv:2: image_id: this image was never selected",
        ),
        ("what,is,this\n", "0000-anna-1.csv: there is no column 'image_id'"),
        (b"\x81", "0000-anna-1.csv: expected UTF-8 text"),
        (HEAD, "there is no answer in this table"),
    ):
        status, _, text = post(address, table)
        assert status == 422
        assert text.startswith(sentence)
    assert not list(layout.root.rglob("*.csv"))


def test_a_table_that_is_too_large_is_refused_before_it_is_read(served):
    _, address, _ = served
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    connection.putrequest("POST", address.path.replace(page.file_name(1), "answers/0000-anna-1.csv"))
    connection.putheader("Origin", f"http://{address.netloc}")
    connection.putheader("Content-Length", str(serving.LARGEST + 1))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    assert answer.read().startswith(b"expected a table of at most 8,388,608 bytes")
    for length in ("", "-1", "many"):
        assert post(address, "", **{"Content-Length": length or "x"})[0] == 411


def test_a_port_that_is_taken_is_named(served):
    layout, _, _ = served
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(ValueError, match=f"port {port}: expected a free port"),
            serving.running(layout, FOLDER, "0000", port, print),
        ):
            pass


def test_no_browser_is_started_where_there_is_no_desktop(monkeypatch):
    opened = []
    monkeypatch.setattr(serving.webbrowser, "open", opened.append)
    monkeypatch.setattr(serving.sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    serving.show("http://127.0.0.1")
    assert opened == []
    monkeypatch.setenv("DISPLAY", ":0")
    serving.show("http://127.0.0.1")
    assert opened == ["http://127.0.0.1"]


def test_an_annotator_that_takes_no_answers_from_people_is_named(tmp_path):
    layout = workspace(tmp_path, annotator={"name": "truth"})
    result = CliRunner().invoke(oltr, ["-w", str(layout.root), "annotate", "open"])
    assert "annotator: expected one that takes answers from people, found 'truth'" in str(result.exception)
    configure(layout, [], annotator={"name": "folder"})
    result = CliRunner().invoke(oltr, ["-w", str(layout.root), "annotate", "open"])
    assert "no generation is sealed yet" in str(result.exception)
