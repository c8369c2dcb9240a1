"""What the `oltr` command sets for the processes that compute."""

from __future__ import annotations

import getpass
import io
import os
import re
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from flows import cli
from oltr_core.layout import GENESIS, Layout
from tasks import workspace
from tests.core.images.test_decode import natural
from tests.flows.worlds import run

NOWHERE = dict.fromkeys(("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"), "http://127.0.0.1:9")


@pytest.mark.parametrize(("before", "after"), [("", "1000"), ("7", "7")])
def test_threads_that_wait_for_others_sleep_soon_unless_the_user_says_how(monkeypatch, before, after):
    monkeypatch.setenv("GOMP_SPINCOUNT", before)  # so that it is put back
    if not before:
        monkeypatch.delenv("GOMP_SPINCOUNT")
    monkeypatch.setattr("sys.argv", ["oltr", "--version"])
    with suppress(SystemExit):
        cli.main()
    assert os.environ["GOMP_SPINCOUNT"] == after


def test_a_user_without_a_home_and_a_name_gets_both_for_the_command_alone(tmp_path, monkeypatch):
    def nobody(*_):
        raise RuntimeError("not in passwd")

    workspace.create(tmp_path)
    monkeypatch.setattr(Path, "home", nobody)
    monkeypatch.setattr(getpass, "getuser", nobody)
    cli.oltr(["--workspace", str(tmp_path), "clean"], standalone_mode=False)
    assert (os.environ["HOME"], os.environ["LOGNAME"]) == (str(Layout(tmp_path).home), "oltr")


def test_servers_of_this_machine_are_asked_directly_whatever_proxy_is_set(tmp_path):
    """With a proxy that nobody serves, a server on the loopback answers."""
    workspace.create(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = (
            "import sys, urllib.request; from flows.cli import oltr\n"
            "oltr(['--workspace', sys.argv[1], 'clean'], standalone_mode=False)\n"
            "import httpx, requests\n"
            "for get in (lambda u: urllib.request.urlopen(u, timeout=20).read(),\n"
            "            lambda u: httpx.get(u, timeout=20).content,\n"
            "            lambda u: requests.get(u, timeout=20).content):\n"
            "    assert get(sys.argv[2]) == b'here'\n"
        )
        asks = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), f"http://127.0.0.1:{server.getsockname()[1]}/"],
            env={**os.environ, **NOWHERE, "no_proxy": "example.org"},
        )
        server.settimeout(30)
        for _ in range(3):
            with server.accept()[0] as asked:
                asked.recv(4096)
                asked.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhere")
        assert asks.wait(30) == 0


def test_images_on_a_store_of_this_machine_are_taken_in_whatever_proxy_is_set(tmp_path, s3, s3_server):
    client, layout = s3._client(), Layout(tmp_path / "world")
    client.create_bucket(Bucket="behind")
    for n in range(3):
        photo = io.BytesIO()
        natural(n, 30).save(photo, "PNG")
        client.put_object(Bucket="behind", Key=f"deer/{n}.png", Body=photo.getvalue())
    workspace.create(layout.root)
    sources = [{"batch": "b", "sources": [{"name": "folder", "path": "s3://behind"}]}]
    layout.params.write_text(yaml.safe_dump({"sources": sources, "compute": {}}))
    taken = run(layout, "oltr", "ingest", "b", **s3_server, **NOWHERE)
    assert taken.stdout == "b: 3 images, 0 in quarantine\n", taken.stderr


COMMANDS = (
    "generations",
    "gc",
    "predict x",
    "forget x",
    "promote 0000 --reason x",
    "classes",
    "classes list",
    "cost",
)
WRONG = {
    "gate: {}\ngate: {}\n": ":2: expected YAML, found the key 'gate' a second time; keep one of the two",
    "sorces: []\ncompute: {}\n": ": there is no section 'sorces'; did you mean 'sources'?",
    "budget: {laels: 5}\ncompute: {}\n": "budget: there is no key 'laels'",
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(("text", "sentence"), WRONG.items(), ids=["twice", "section", "key"])
def test_every_command_names_what_is_wrong_with_params_yaml(tmp_path, command, text, sentence):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        cli.oltr(["--workspace", str(tmp_path), *command.split()], standalone_mode=False)
    with pytest.raises(SystemExit, match="0"):
        cli.oltr(["--workspace", str(tmp_path), *command.split(), "--help"])


def test_reading_the_settings_first_imports_no_torch(tmp_path):
    (tmp_path / "params.yaml").write_text("compute: {}\n")
    Layout(tmp_path).generation(GENESIS).folder.mkdir(parents=True)
    code = (
        "import sys; from flows.cli import oltr\n"
        "oltr(['--workspace', sys.argv[1], 'clean'], standalone_mode=False)\n"
        "assert 'oltr_core.settings.whole' in sys.modules and 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
