"""A real Label Studio: a batch goes out, people answer, and both ways may be gone again.

It cannot be installed beside oltr: `make test-services` gives it an environment of its own, or takes the one that
OLTR_LABEL_STUDIO names. Without it these tests are skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
import requests

from oltr_core.settings.annotator import LabelStudioAnnotator
from tasks import storage, workspace
from tasks.annotator import batch, label_studio, returned, studio_server
from tasks.annotator.studio_server import TOKEN, Server
from tasks.dvc import remotes
from tests.core.data_world import Layout
from tests.flows.worlds import environment
from tests.servers import free_port, served
from tests.tasks import page_world as world
from tests.tasks.conftest import s3, s3_server  # noqa: F401  (fixtures)
from tests.tasks.test_label_studio import said

STUDIO = os.environ.get("OLTR_LABEL_STUDIO") or shutil.which("label-studio")
KEY = "0123456789abcdef" * 2 + "01234567"
PATIENCE = 900  # seconds: its first start makes a database by 400 migrations

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(STUDIO is None, reason="OLTR_LABEL_STUDIO names no label-studio"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The folder that the server may read."""
    return tmp_path_factory.mktemp("teams")


@pytest.fixture(scope="module")
def url(files, tmp_path_factory):
    address, home = f"http://127.0.0.1:{free_port()}", tmp_path_factory.mktemp("studio")
    allowed = {"LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true", "COLLECT_ANALYTICS": "false"}
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | allowed
    env["LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT"] = str(files)
    command = [STUDIO, "start", "-b", "--data-dir", home, "--internal-host", "127.0.0.1"]
    command += ["-p", address.rpartition(":")[2], "--username", "anna@example.org", "--password", "Sesame-2026"]
    command += ["--user-token", KEY, "--enable-legacy-api-token"]
    with served(command, f"{address}/health", home, env, PATIENCE):
        yield address


@pytest.fixture(autouse=True)
def token(monkeypatch):
    monkeypatch.setenv(TOKEN, KEY)
    monkeypatch.setattr(studio_server, "PAGE", 5)  # so that twelve tasks are three pages


def team(root, url: str) -> Layout:
    """A workspace with git and DVC whose batch waits, and whose people are in Label Studio."""
    workspace.create(root)
    remotes.set_remote(Layout(root), "")
    layout = world.make(root)
    text = layout.params.read_text().replace("name: folder", "name: label_studio", 1)
    layout.params.write_text(text.replace("path: data/inbox", f"url: {url}", 1))
    return layout


def oltr(layout: Layout, *command: str) -> subprocess.CompletedProcess[str]:
    env = environment(**{TOKEN: os.environ[TOKEN]})
    run = [sys.executable, "-m", "flows.cli", *command]
    return subprocess.run(run, cwd=layout.root, env=env, capture_output=True, text=True, check=False)


def tasks_of(url: str, title: str) -> list[dict]:
    server = Server(url)
    project = label_studio._found(server, title)
    return list(label_studio._tasks(server, project["id"], "all")) if project else []


def test_a_batch_goes_out_once_is_answered_and_comes_back_once(files, url):
    layout = team(files / "deer", url)
    asked = batch.asked(layout, "0000")
    for _ in range(2):  # the second time nothing is left to be sent
        done = oltr(layout, "annotate", "export", "0000")
        assert done.returncode == 0, done.stderr
        tasks = in_order(url, "oltr deer")
        assert [task["data"]["image_id"] for task in tasks] == asked
    assert [task["predictions"][0]["score"] for task in tasks] == [n / 16 for n in range(12)]
    assert {tuple(task["predictions"][0]["result"][1]["value"]["choices"]) for task in tasks} == {
        (name,) for name in world.CLASSES
    }
    server, names = Server(url), batch.selected(layout, "0000")
    for task, row in zip(tasks, names, strict=True):  # the pictures show, from where they are
        assert task["data"]["image"].startswith("/data/local-files/?d=deer/data/exports/0000/images/")
        picture = layout.export("0000").folder / batch.file_of(row)
        assert server.response("GET", task["data"]["image"][1:]).content == picture.read_bytes()

    nothing = oltr(layout, "annotate", "import", "0000")
    assert nothing.returncode == 2
    assert f"{url}: there is no annotation of the batch of 0000 yet" in nothing.stderr
    results = [
        (said(verdict="label", **{"class": "red deer"}), {"lead_time": 3.5}),
        (said(verdict="new_class", new_name="wild cat"), {}),
        (said(verdict="discard"), {}),
        ([], {"was_cancelled": True}),
    ]
    for task, (result, more) in zip(tasks, results, strict=False):
        result = [{**part, "to_name": "image"} for part in result]
        server.ask("POST", f"api/tasks/{task['id']}/annotations/", {"result": result, **more})
    draft = [{**part, "to_name": "image"} for part in said(verdict="discard")]
    server.ask("POST", f"api/tasks/{tasks[5]['id']}/drafts", {"result": draft})
    before = layout.ledger.read_text().splitlines()
    for _ in range(2):  # the second time nothing is new
        done = oltr(layout, "annotate", "import", "0000")
        assert done.returncode == 0, done.stderr
        rows = {row["image_id"]: row for row in returned.imported(layout, "0000")}
        assert [(rows[i]["verdict"], rows[i]["label"]) for i in asked[:4]] == [
            ("label", "red deer"), ("new_class", "wild cat"), ("discard", None), ("unsure", None),
        ]  # fmt: skip
        assert {(row["annotator"], row["batch_id"]) for row in rows.values()} == {("anna@example.org", "0000")}
        assert rows[asked[0]]["seconds"] == 3.5
        assert len(rows) == 4, "a draft is no answer"
        after = layout.ledger.read_text().splitlines()
        assert [json.loads(line)["event"] for line in after[len(before) :]] == ["imported"]
    assert len(list(layout.annotations_of("0000").glob("*.parquet"))) == 1

    server.ask(
        "POST",
        f"api/tasks/{tasks[4]['id']}/annotations/",
        {"result": [{**draft[0], "value": {"choices": ["label"]}}]},
    )
    wrong = oltr(layout, "annotate", "import", "0000")
    assert wrong.returncode == 2
    assert f"Label Studio: task {tasks[4]['id']}, annotation " in wrong.stderr
    assert "the verdict 'label' needs a label, and there is none" in wrong.stderr


def test_a_server_that_reads_no_files_of_ours_gets_the_pictures_within_the_tasks(tmp_path, url):
    layout = team(tmp_path / "far", url)
    settings = LabelStudioAnnotator(url=url, project="far away")
    label_studio.publish(layout, settings, "0000", storage)
    tasks = tasks_of(url, "far away")
    assert len(tasks) == world.ASKED
    gone = [task["data"]["image_id"] for task in tasks[3:5]]
    assert label_studio.forget(layout, settings, gone, storage) == 2
    assert [t["data"]["image_id"] for t in tasks_of(url, "far away")] == [
        task["data"]["image_id"] for task in tasks if task not in tasks[3:5]
    ]
    assert label_studio.forget(layout, settings, gone, storage) == 0
    assert label_studio.forget(layout, settings.model_copy(update={"project": "nowhere"}), gone, storage) == 0
    assert {task["data"]["image"][:22] for task in tasks} == {"data:image/png;base64,"}


@pytest.mark.filterwarnings("ignore")  # botocore's own
def test_pictures_in_s3_are_shown_by_addresses_that_are_renewed_and_are_gone_with_their_tasks(tmp_path, url, s3):  # noqa: F811
    s3._client().create_bucket(Bucket="team")
    layout = team(tmp_path / "wide", url)
    settings = LabelStudioAnnotator(url=url, project="wide", pictures="s3://team/wide", pictures_days=1)
    for _ in range(2):  # the second time nothing is left to be sent
        label_studio.publish(layout, settings, "0000", s3)
    asked, tasks = batch.asked(layout, "0000"), in_order(url, "wide")
    assert [task["data"]["image_id"] for task in tasks] == asked
    before = list(s3.list_below("s3://team/"))
    assert len(before) == world.ASKED
    longer = settings.model_copy(update={"pictures_days": 7.0})  # so less than half of it is left
    label_studio.publish(layout, longer, "0000", s3)
    again = in_order(url, "wide")
    assert list(s3.list_below("s3://team/")) == before
    assert [{**task["data"], "image": ""} for task in again] == [{**task["data"], "image": ""} for task in tasks]
    assert [len(task["predictions"]) for task in again] == [1] * world.ASKED
    for old, new, row in zip(tasks, again, batch.selected(layout, "0000"), strict=True):
        assert (old["id"], "X-Amz-Expires=86400&" in old["data"]["image"]) == (new["id"], True)
        assert "X-Amz-Expires=604800&" in new["data"]["image"]
        picture = (layout.export("0000").folder / batch.file_of(row)).read_bytes()
        assert requests.get(new["data"]["image"], timeout=10).content == picture
    label_studio.publish(layout, longer, "0000", s3)
    assert in_order(url, "wide") == again
    assert label_studio.forget(layout, longer, asked[:2], s3) == 2
    left = list(s3.list_below("s3://team/"))
    assert len(left) == world.ASKED - 2
    assert not [uri for uri in left if any(image in uri for image in asked[:2])]
    assert [task["data"]["image_id"] for task in in_order(url, "wide")] == asked[2:]


def in_order(url: str, title: str) -> list[dict]:
    return sorted(tasks_of(url, title), key=lambda task: task["data"]["rank"])


def test_a_new_class_is_offered_from_the_next_batch_on_in_the_same_project(tmp_path, url):
    server = Server(url)
    first = label_studio._project(server, "grows", {"fox"})
    second = label_studio._project(server, "grows", {"fox", world.HOSTILE})
    assert second["id"] == first["id"]
    assert second["maximum_annotations"] == 1
    assert label_studio._project(server, "grows", {"fox", world.HOSTILE}, people=3)["id"] == first["id"]
    assert label_studio._found(server, "grows")["maximum_annotations"] == 3
    assert (
        label_studio.studio_tasks.configuration(["fox", world.HOSTILE])
        == label_studio._found(server, "grows")["label_config"]
    )


def test_a_personal_token_is_exchanged_and_exchanged_again_when_the_other_is_too_old(url, monkeypatch):
    personal = Server(url).ask("POST", "api/token/")["token"]
    monkeypatch.setenv(TOKEN, personal)
    server = Server(url)
    assert [user["email"] for user in server.ask("GET", "api/users/")] == ["anna@example.org"]
    server.header = "Bearer of.an.hour"
    assert len(server.ask("GET", "api/users/")) == 1
    monkeypatch.setenv(TOKEN, personal[:-6] + "aaaaaa")
    with pytest.raises(ValueError, match=f"refused the token of {TOKEN}"):
        Server(url).ask("GET", "api/users/")


def test_a_wrong_token_is_the_users_and_a_server_that_is_down_is_not(files, url, monkeypatch):
    layout = team(files / "refused", url)
    monkeypatch.setenv(TOKEN, "f" * 40)
    refused = oltr(layout, "annotate", "export", "0000")
    assert refused.returncode == 2
    assert f"{url}: the server refused the token of {TOKEN} (Invalid token.); set a valid one" in refused.stderr
    layout.params.write_text(layout.params.read_text().replace(url, f"http://127.0.0.1:{free_port()}"))
    down = oltr(layout, "annotate", "export", "0000")
    assert down.returncode == 75
    assert "Label Studio cannot be reached ([Errno 111] Connection refused)" in down.stderr
    assert "f" * 40 not in refused.stdout + refused.stderr + down.stdout + down.stderr
