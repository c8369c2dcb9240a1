"""The batch as Label Studio has it, and its annotations as ours; the server itself is in tests/services.

What is asked of a server, here one of our own answers: the lists that it gives, and what it was told to keep.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote
from xml.etree import ElementTree

import pytest

from oltr_core.curation.annotations import sort_answers
from oltr_core.settings.annotator import LabelStudioAnnotator
from tasks import storage
from tasks.annotator import batch, label_studio
from tasks.annotator.studio_server import TOKEN, Server
from tasks.annotator.studio_tasks import answers, configuration, task
from tests.core.data_world import workspace
from tests.servers import free_port
from tests.tasks import page_world as world

HOSTILE = '"><Choice value="7"/>'
NAMES = {"lynx": "lynx", "bobcat": "lynx", "fox": "fox"}
PEOPLE = {1: "anna@example.org", 2: "ben@example.org"}


# --- out --------------------------------------------------------------------------------------------------------
def test_the_configuration_has_the_four_verdicts_and_every_class_once_whatever_it_is_called():
    view = ElementTree.fromstring(configuration([HOSTILE, "fox", "fox", "7"]))
    choices = {c.get("name"): [one.get("value") for one in c] for c in view.iter("Choices")}
    assert choices == {
        "verdict": ["label", "new_class", "discard", "unsure"],
        "class": [HOSTILE, "7", "fox"],
    }
    shown = [(v.get("whenTagName"), v.get("whenChoiceValue"), v[0].get("name")) for v in view.findall("View")]
    assert shown == [("verdict", "label", "class"), ("verdict", "new_class", "new_name")]
    assert {v.get("visibleWhen") for v in view.findall("View")} == {"choice-selected"}
    assert {c.get("toName") for kind in ("Choices", "TextArea") for c in view.iter(kind)} == {"image"}
    assert view.find("Image").attrib == {"name": "image", "value": "$image", "zoom": "true"}
    verdict, known = view.iter("Choices")
    assert (verdict.get("choice"), known.get("choice"), verdict.get("required")) == ("single", "single", "true")
    assert all(one.get("hint") for one in verdict), "what each means is said"
    assert known.get("layout") == "select", "a thousand classes are a list to search, not a thousand boxes"
    assert view.find("View/TextArea").get("maxSubmissions") == "1"
    assert view.find("Header").get("value") == "$about", "which each task has"


ROW = {"image_id": "a1", "rank": 3, "suggested": "fox", "reason": "far", "share": "discover", "cluster": 4}


def test_a_task_carries_our_key_the_reason_and_the_suggestion():
    assert task(ROW, "0002", "/data/x.png", 0.25) == {
        "data": {
            "image": "/data/x.png", "image_id": "a1", "batch": "0002", "rank": 3, "suggested": "fox",
            "reason": "far", "share": "discover", "cluster": 4,
            "about": "suggested: fox · far · discover · cluster 4",
        },
        "predictions": [
            {
                "model_version": "oltr 0002",
                "score": 0.25,
                "result": [
                    {"from_name": "verdict", "to_name": "image", "type": "choices", "value": {"choices": ["label"]}},
                    {"from_name": "class", "to_name": "image", "type": "choices", "value": {"choices": ["fox"]}},
                ],
            }
        ],
    }  # fmt: skip
    plain = task({**ROW, "share": None, "cluster": None}, "0002", "x", None)
    assert plain["data"]["about"] == "suggested: fox · far"
    assert "score" not in plain["predictions"][0]


# --- back -------------------------------------------------------------------------------------------------------
def said(**fields: str) -> list[dict]:
    """The result of an annotation as the server has it."""
    return [
        {"from_name": name, "type": "textarea", "value": {"text": [value]}}
        if name == "new_name"
        else {"from_name": name, "type": "choices", "value": {"choices": [value]}}
        for name, value in fields.items()
    ]


def annotated(*results: list[dict], batch: str = "0002", **more) -> dict:
    same = {"completed_by": 1, "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z"}
    there = [{"id": n, "result": result, "lead_time": 2.5, **same, **more} for n, result in enumerate(results)]
    return {"id": 9, "data": {"batch": batch, "image_id": "a1"}, "annotations": there}


def collected(*tasks: dict) -> list[dict]:
    return list(answers(tasks, "0002", PEOPLE, NAMES))


def test_an_annotation_becomes_the_row_that_a_table_would_have():
    assert collected(annotated(said(verdict="label", **{"class": "bobcat"}))) == [
        {
            "image_id": "a1", "verdict": "label", "label": "lynx", "batch_id": "0002",
            "annotator": "anna@example.org", "answered_at": "2026-01-02T00:00:00Z", "seconds": 2.5,
            "where": "Label Studio: task 9, annotation 0",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("result", "verdict", "label"),
    [
        (said(verdict="new_class", new_name=" wild boar ", **{"class": "fox"}), "new_class", "wild boar"),
        (said(verdict="discard", new_name="x", **{"class": "fox"}), "discard", None),
        (said(verdict="unsure"), "unsure", None),
        (said(**{"class": "fox"}), "label", "fox"),
        (said(new_name="wild boar"), "new_class", "wild boar"),
    ],
)
def test_what_the_verdict_does_not_ask_for_does_not_count(result, verdict, label):
    (row,) = collected(annotated(result))
    assert (row["verdict"], row["label"]) == (verdict, label)
    assert "problem" not in row


def test_a_skipped_task_is_unsure_whatever_was_chosen_before():
    (row,) = collected(annotated(said(verdict="label", **{"class": "fox"}), was_cancelled=True))
    assert (row["verdict"], row["label"]) == ("unsure", None)


def test_people_are_named_and_one_who_is_gone_has_a_number():
    rows = collected(*(annotated(said(verdict="unsure"), completed_by=who) for who in (2, {"id": 2}, 7)))
    assert [row["annotator"] for row in rows] == ["ben@example.org", "ben@example.org", "user 7"]


def test_drafts_other_batches_and_tasks_of_somebody_else_are_no_answers():
    own = annotated(said(verdict="unsure"), batch="0001")
    assert collected(own, {"id": 1, "data": {"image": "x"}, "annotations": own["annotations"]}) == []
    assert collected({**annotated(), "drafts": [{"result": said(verdict="discard")}]}) == []


def test_an_answer_without_its_class_is_refused_with_task_and_annotation_and_the_others_are_taken():
    rows = collected(annotated(said(verdict="label"), said(verdict="new_class"), said(verdict="unsure"), []))
    good, errors = sort_answers(rows, ["a1"], "batch 0002")
    assert [row["verdict"] for row in good] == ["unsure"]
    where = "Label Studio: task 9, annotation"
    assert errors[0] == f"{where} 0: the verdict 'label' needs a label, and there is none"
    assert errors[1] == f"{where} 1: the verdict 'new_class' needs a label, and there is none"
    assert errors[2] == f"{where} 3: the verdict 'label' needs a label, and there is none"


def test_a_class_that_is_gone_from_the_register_is_refused_with_the_nearest_that_is_there():
    (row,) = collected(annotated(said(verdict="label", **{"class": "fix"})))
    assert row["problem"].startswith("label: no class is called 'fix'; did you mean 'fox'")


def test_a_new_name_that_is_a_class_but_for_capitals_and_blanks_is_that_class():
    typed = ["Fox ", "FOX", "Lynx  lynx", "Bobcat", "L\u006f\u0308we"]
    rows = collected(annotated(*(said(verdict="new_class", new_name=text) for text in typed)))
    assert [row["label"] for row in rows] == ["fox", "fox", "Lynx  lynx", "lynx", "L\u00f6we"]


def test_an_annotation_that_is_the_ground_truth_decides_alone_for_its_task():
    fox, lynx = (said(verdict="label", **{"class": name}) for name in ("fox", "lynx"))
    task = annotated(fox, lynx, fox)
    assert [row["label"] for row in collected(task)] == ["fox", "lynx", "fox"]
    assert not [row for row in collected(task) if row.get("settled")]
    task["annotations"][1] |= {"ground_truth": True, "completed_by": 2}
    other = annotated(fox)
    assert [(row["annotator"], row["label"], row.get("settled")) for row in collected(task, other)] == [
        ("ben@example.org", "lynx", True), ("anna@example.org", "fox", None),
    ]  # fmt: skip
    task["annotations"][1]["was_cancelled"] = True
    assert [row["verdict"] for row in collected(task)] == ["label", "unsure", "label"]


def test_people_are_told_where_to_answer_and_an_address_keeps_its_password(tmp_path):
    layout = workspace(tmp_path, workspace={"name": "deer"})
    settings = LabelStudioAnnotator(url="http://me:secret@host:8080")
    told = "answer batch 0002 in the project 'oltr deer' of Label Studio at http://***@host:8080,"
    assert label_studio.instructions(layout, settings, "0002").splitlines()[0] == told
    named = settings.model_copy(update={"project": "Deer of 2026"})
    assert "'Deer of 2026'" in label_studio.instructions(layout, named, "0002")
    assert label_studio.audit(layout, settings, "0002") is None


# --- refused ----------------------------------------------------------------------------------------------------
class Another(BaseHTTPRequestHandler):
    """A web server that is no Label Studio; what it is asked for is what it answers."""

    def do_GET(self):
        status = int(self.path.split("/")[1].split("?")[0])
        body = f"<p>{self.headers['Authorization']}</p>".encode()
        if self.path.startswith("/503"):
            body = b'{"detail": "sent %s"}' % self.headers["Authorization"].encode()
        self._send(status, body, "text/html")

    def _send(self, status: int, body: bytes, kind: str = "application/json"):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The address at which it answers."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def another():
    with listening(Another) as address:
        yield address


@pytest.mark.parametrize(
    ("path", "kind", "sentence"),
    [
        ("200", ValueError, "expected Label Studio's answer, found text/html; correct params.yaml: annotator.url"),
        ("404", ValueError, r"Label Studio refused this \(404: Not Found, as text/html\)"),
        ("403", ValueError, f"the server refused the token of {TOKEN}"),
        ("503", ConnectionError, r"the server answered 503 \(sent Token \*\*\*\)"),
        ("429", ConnectionError, "the server answered 429"),
    ],
)
def test_who_can_correct_it_is_said_without_the_token(another, monkeypatch, path, kind, sentence):
    monkeypatch.setenv(TOKEN, "sesame")
    with pytest.raises(kind, match=sentence) as caught:
        Server(f"{another}/").ask("GET", path)
    assert "sesame" not in str(caught.value)


def test_a_server_that_is_down_may_come_back(monkeypatch):
    monkeypatch.setenv(TOKEN, "sesame")
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ConnectionError, match=rf"^{url}: Label Studio cannot be reached \(.*refused\)$"):
        Server(url).ask("GET", "api/projects/")


@pytest.mark.parametrize(
    ("token", "url", "sentence"),
    [
        ("", "http://host", f"^{TOKEN}: set this environment variable to the token of your account at http://host$"),
        ("two words", "http://host", f"^{TOKEN}: expected a token, one word of ASCII"),
        ("sésame", "http://host", f"^{TOKEN}: expected a token, one word of ASCII"),
        ("sesame", "host:8080", "^params.yaml: annotator.url: host:8080 cannot be asked"),
    ],
)
def test_a_token_or_an_address_that_is_none_is_the_users_to_correct(monkeypatch, token, url, sentence):
    monkeypatch.setenv(TOKEN, token)
    with pytest.raises(ValueError, match=sentence) as caught:
        Server(url).ask("GET", "api/projects/")
    assert not token or token not in str(caught.value)


class Paged(Another):
    """Lists of so many entries in pages, as `total` or `count` says; what it was asked for is kept."""

    asked: list[str] = []

    def do_GET(self):
        Paged.asked.append(self.path)
        kind, query = self.path[1:].split("?")
        page = int(query.split("page=")[1].split("&")[0])
        rest = range(250)[100 * (page - 1) : 100 * page]
        answer = {"tasks": list(rest), **({"total": 250} if kind == "total" else {"count": 200})}
        self._send(200, json.dumps({"tasks": []} if kind == "none" else answer).encode())


def test_all_pages_of_a_list_are_read_and_no_more(monkeypatch):
    monkeypatch.setenv(TOKEN, "sesame")
    with listening(Paged) as address:
        studio = Server(address)
        found = {kind: list(studio.pages(kind, "tasks", project=7)) for kind in ("total", "count", "none")}
    assert found == {"total": list(range(250)), "count": list(range(200)), "none": []}
    pages = [("total", 1), ("total", 2), ("total", 3), ("count", 1), ("count", 2), ("none", 1)]
    assert Paged.asked == [f"/{kind}?page={page}&page_size=100&project=7" for kind, page in pages]


class Personal(Another):
    """A server of personal tokens: each is exchanged for one that a single request may carry."""

    said: list[tuple[str, str | None, bytes]] = []
    refresh: list[tuple[int, bytes]] = []  # what it answers to an exchange, in turn

    def do_GET(self):
        self._note(b"")
        self._send(*((200, b"[7]") if self.headers["Authorization"] == "Bearer 1" else (401, b'{"detail": "old"}')))

    def do_POST(self):
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        self._note(sent)
        if self.path == "/api/token/refresh":
            self._send(*self.refresh.pop(0))
        else:
            self._send(*((200, sent) if self.headers["Authorization"] == "Bearer 1" else (401, b"")))

    def _note(self, sent: bytes):
        Personal.said.append((self.path, self.headers["Authorization"], sent))


@pytest.fixture
def personal(monkeypatch):
    monkeypatch.setenv(TOKEN, "head.body.sign")
    monkeypatch.setattr(Personal, "said", [])
    with listening(Personal) as address:

        def with_answers(*refresh: tuple[int, bytes]) -> Server:
            monkeypatch.setattr(Personal, "refresh", list(refresh))
            return Server(address)

        yield with_answers


def test_a_personal_token_is_exchanged_at_first_and_whenever_what_it_was_exchanged_for_has_ended(personal):
    studio = personal((200, b'{"access": "0"}'), (200, b'{"access": "1"}'))
    assert studio.ask("POST", "api/tasks/", {"data": 3}, project=5) == {"data": 3}
    assert studio.ask("GET", "api/tasks/", page=2) == [7]
    exchange = "/api/token/refresh", None, b'{"refresh": "head.body.sign"}'
    task = b'{"data": 3}'
    assert Personal.said == [
        exchange, ("/api/tasks/?project=5", "Bearer 0", task), exchange, ("/api/tasks/?project=5", "Bearer 1", task),
        ("/api/tasks/?page=2", "Bearer 1", b""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "kind", "sentence"),
    [
        ((401, b'{"detail": "expired"}'), ValueError, f"the server refused the token of {TOKEN}; set a valid one"),
        ((200, b"{}"), ValueError, f"the server refused the token of {TOKEN}; set a valid one"),
        ((200, b"[]"), ValueError, f"the server refused the token of {TOKEN}; set a valid one"),
        ((200, b"<p>"), ValueError, f"the server refused the token of {TOKEN}; set a valid one"),
        ((500, b"{}"), ConnectionError, "/api/token/refresh: the server answered 500"),
        ((200, b'{"access": "0"}'), ValueError, rf"the server refused the token of {TOKEN} \(old\); set a valid one"),
    ],
)
def test_a_personal_token_that_is_not_exchanged_or_never_enough_is_refused(personal, answer, kind, sentence):
    studio = personal(answer, answer)
    with pytest.raises(kind, match=sentence) as caught:
        studio.ask("GET", "api/tasks/")
    assert "head.body.sign" not in str(caught.value)


# --- asked of a server ------------------------------------------------------------------------------------------
class Studio(Another):
    """Projects and tasks as Label Studio keeps them; it reads no files of ours."""

    projects: list[dict] = []
    tasks: list[dict] = []

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/api/users/":
            return self._say([{"id": 1, "email": "anna@example.org"}, {"id": 2, "email": "", "username": "ben"}])
        asked = parse_qs(query)
        if path == "/api/projects/":  # whose titles have that in them, the newest first
            found = [p for p in self.projects if asked["title"][0] in p["title"]][::-1]
            return self._say({"results": found, "count": len(found)})
        if path == "/api/tasks/":
            mine = [t for t in self.tasks if str(t["project"]) == asked["project"][0]]
            hidden = set() if asked["fields"] == ["all"] else {"annotations"}
            return self._say({"tasks": [{k: v for k, v in t.items() if k not in hidden} for t in mine], "total": 0})
        return self.send_error(404)

    def do_POST(self):
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/api/projects/":
            self.projects.append({**sent, "id": len(self.projects) + 1})
            return self._say(self.projects[-1])
        number = int(self.path.removeprefix("/api/projects/").removesuffix("/import"))
        for one in sent:
            self.tasks.append({**one, "id": max((t["id"] for t in self.tasks), default=99) + 1, "project": number})
        return self._say({"task_count": len(sent)})

    def do_PATCH(self):
        self._one().update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._say({})

    def do_DELETE(self):
        self.tasks.remove(self._one())
        self._say({})

    def _one(self) -> dict:
        _, _, kind, number, _ = self.path.split("/")
        (found,) = (one for one in getattr(self, kind) if str(one["id"]) == number)
        return found

    def _say(self, answer):
        self._send(200, json.dumps(answer).encode())


@pytest.fixture
def studio(monkeypatch):
    monkeypatch.setenv(TOKEN, "sesame")
    monkeypatch.setattr(Studio, "projects", [{"id": 7, "title": "oltr deer of another team"}])
    monkeypatch.setattr(Studio, "tasks", [])
    with listening(Studio) as address:
        yield LabelStudioAnnotator(url=address, answers_per_image=2)


def test_a_batch_is_sent_once_to_one_project_answered_and_forgotten(studio, tmp_path, monkeypatch):
    layout = world.make(tmp_path, asked=5)
    asked = batch.asked(layout, "0000")
    assert label_studio.collect(layout, studio, "0000", "now") == []
    monkeypatch.setattr(label_studio, "AT_ONCE", 2)
    for _ in range(2):  # the second time nothing is left to be sent
        label_studio.publish(layout, studio, "0000", storage)
        assert [t["data"]["image_id"] for t in Studio.tasks] == asked
    (project,) = (p for p in Studio.projects if p["title"] == "oltr deer")
    assert project["maximum_annotations"] == 2
    assert project["label_config"] == configuration(world.CLASSES)
    assert {task["project"] for task in Studio.tasks} == {project["id"]}
    assert [task["predictions"][0]["score"] for task in Studio.tasks] == [n / 16 for n in range(5)]
    assert {task["data"]["image"][:22] for task in Studio.tasks} == {"data:image/png;base64,"}

    project["label_config"] = "of classes that were"
    del Studio.tasks[2]
    label_studio.publish(layout, studio, "0000", storage)
    assert project["label_config"] == configuration(world.CLASSES)
    assert [t["data"]["image_id"] for t in Studio.tasks] == [*asked[:2], *asked[3:], asked[2]]

    Studio.tasks[0] |= annotated(said(verdict="discard"), said(verdict="unsure"), completed_by=2) | {
        "data": Studio.tasks[0]["data"]
    }
    rows = label_studio.collect(layout, studio, "0000", "now")
    assert [(row["image_id"], row["verdict"], row["annotator"]) for row in rows] == [
        (asked[0], "discard", "ben"), (asked[0], "unsure", "ben"),
    ]  # fmt: skip

    assert label_studio.forget(layout, studio, asked[1:3], storage) == 2
    assert [t["data"]["image_id"] for t in Studio.tasks] == [asked[0], *asked[3:]]
    assert label_studio.forget(layout, studio, asked[1:3], storage) == 0
    assert label_studio.forget(layout, studio.model_copy(update={"project": "nowhere"}), asked, storage) == 0


class Reading(Studio):
    """A server on this machine that shows the files below `root`, once their folder is one of its storages."""

    root = Path()
    storages: list[dict] = []

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/api/storages/localfiles":
            return self._say([s for s in self.storages if str(s["project"]) == parse_qs(query)["project"][0]])
        if path != "/data/local-files/":
            return super().do_GET()
        file = self.root / unquote(query.removeprefix("d="))
        if not file.is_file() or str(file.parent) not in [one["path"] for one in self.storages]:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(file.stat().st_size))
        self.end_headers()
        self.wfile.write(file.read_bytes())
        return None

    def do_POST(self):
        if self.path != "/api/storages/localfiles":
            return super().do_POST()
        self.storages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        return self._say({})


@pytest.mark.parametrize("root", ["data/exports", "."])
def test_a_server_that_reads_files_here_is_given_addresses_of_pictures_and_their_folder_once(
    tmp_path, monkeypatch, root
):
    layout = world.make(tmp_path / "a deer", asked=3)
    monkeypatch.setenv(TOKEN, "sesame")
    for name, value in (("projects", []), ("tasks", []), ("storages", []), ("root", layout.root / root)):
        monkeypatch.setattr(Reading, name, value)
    with listening(Reading) as url:
        settings = LabelStudioAnnotator(url=url)
        for _ in range(2):
            label_studio.publish(layout, settings, "0000", storage)
            Reading.tasks.pop()  # somebody deleted one
        addresses = [task["data"]["image"] for task in Reading.tasks]
        shown = [Server(url).response("GET", address[1:]).content for address in addresses]
    images = layout.export("0000").images
    rows = batch.selected(layout, "0000")[:2]
    assert shown == [(layout.export("0000").folder / batch.file_of(row)).read_bytes() for row in rows]
    (project,) = Reading.projects
    assert Reading.storages == [{"project": project["id"], "path": str(images), "use_blob_urls": True}]
