"""The report of a generation opens over http where a server of ours serves this workspace, and nowhere else."""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import pytest
import uvicorn
from starlette.applications import Starlette

from oltr_core.layout import Layout
from tasks.prefect import reports
from tests.servers import free_port

PLACE = "/oltr/red-deer/0001/report.html"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Callable[[str, str, str], Layout]:
    def make(folder: str, written: str, page: str) -> Layout:
        layout = Layout(tmp_path_factory.mktemp(folder))
        layout.params.write_text(written)
        layout.generation("0001").folder.mkdir(parents=True)
        layout.generation("0001").report.write_text(page)
        return layout

    return make


@pytest.fixture(scope="module")
def layout(made) -> Layout:
    return made("ours", "workspace: {name: Red Deer}", "<title>ours</title>")


@pytest.fixture(scope="module")
def site(layout):
    """The address of a server that serves the reports of the workspace, and has others in the place of Prefect's."""
    port = free_port()
    app = Starlette(routes=[reports.route(layout)])
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", lifespan="off", ws="none"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(60)


def status(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_a_report_opens_where_the_server_of_the_workspace_serves_it(layout, site, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", f"{site}/api")
    assert reports.address(layout, "0001") == PLACE
    with urllib.request.urlopen(site + PLACE) as answer:
        assert answer.read() == b"<title>ours</title>"
        assert answer.headers["content-type"].startswith("text/html")


def test_the_data_card_to_which_a_report_links_is_served_beside_it(layout, site):
    layout.generation("0001").data_card.write_text("<title>card</title>")
    with urllib.request.urlopen(site + PLACE.replace("report", "data_card")) as answer:
        assert answer.read() == b"<title>card</title>"


def test_a_report_opens_nowhere_without_a_server_or_on_one_that_has_another_page_there(
    made, layout, site, monkeypatch
):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert reports.address(layout, "0001") == ""
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
    assert reports.address(layout, "0001") == ""
    monkeypatch.setenv("PREFECT_API_URL", f"{site}/api")
    assert reports.address(layout, "0002") == ""
    namesake = made("namesake", "workspace: {name: red_deer}", "<title>theirs</title>")
    assert reports.address(namesake, "0001") == "", "it would be ours that opens"
    fox = made("fox", "workspace: {name: fox}", "<title>ours</title>")
    assert reports.address(fox, "0001") == ""


@pytest.mark.parametrize("place", ["/oltr/fox/0001/report.html", "/oltr/red-deer/0002/report.html",
                                   "/oltr/red-deer/genesis/report.html", "/oltr/red-deer/%2E%2E/report.html",
                                   "/oltr/red-deer/0001/params.yaml",
                                   "/oltr/red-deer/0002/data_card.html"])  # fmt: skip
def test_nothing_but_reports_and_data_cards_of_sealed_generations_are_served(layout, site, place):
    layout.generation("genesis").folder.mkdir(exist_ok=True)
    layout.generation("genesis").report.write_text("no generation")
    (layout.data / "report.html").write_text("above the generations")
    assert status(site + place) == 404


@pytest.mark.parametrize("written", ["workspace: {name: red-deer, private: true}", "workspace: ["])
def test_reports_of_a_private_workspace_are_not_served(layout, site, monkeypatch, written):
    monkeypatch.setenv("PREFECT_API_URL", f"{site}/api")
    before = layout.params.read_text()
    layout.params.write_text(written)
    assert reports.address(layout, "0001") == ""
    layout.params.write_text(before)
    assert reports.address(layout, "0001")
