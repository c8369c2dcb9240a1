"""The annotation page driven in a real browser: what people do, and the table that comes out of it."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from oltr_core import schema
from oltr_core.layout import Layout
from tasks import workspace
from tasks.annotator import batch, content, folder, page, returned
from tasks.dvc import remotes
from tests.flows.worlds import environment
from tests.tasks import browser
from tests.tasks import page_world as world
from tests.tasks.browser import SAVED_IN, Page

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> Iterator[Page]:
    yield from browser.started(tmp_path_factory.mktemp("downloads"))


@pytest.fixture(scope="module")
def layout(tmp_path_factory) -> Layout:
    root = tmp_path_factory.mktemp("browser") / "deer"
    workspace.create(root)
    remotes.set_remote(Layout(root), "")
    layout = world.make(root)
    batch.export(layout, "0000")
    page.write(layout, "0000", "data/inbox")
    (root / "clusters.html").write_text(world.page_of(layout, world.clustered(layout), inbox="data/inbox"))
    return layout


@pytest.fixture
def batch_page(seen, layout) -> Page:
    seen.open(layout.export("0000").page.as_uri())
    return seen


@pytest.fixture
def clusters(seen, layout) -> Page:
    seen.open((layout.root / "clusters.html").as_uri())
    return seen


# --- answers ----------------------------------------------------------------------------------------------------
def test_an_image_is_named_by_a_button_a_key_the_suggestion_and_a_search(batch_page):
    assert batch_page.one("#target").text == "Image 1 is:"
    batch_page.choose("red deer")
    assert batch_page.one("#target").text == "Image 2 is:"
    batch_page.press("7")
    batch_page.press("y")  # the third image is thought to be a 7, too
    batch_page.search("BOAR")
    assert [b.get_attribute("title") for b in batch_page.all("#classes .class")] == ["wild boar"]
    batch_page.press(Keys.ENTER)
    expected = [("label", name) for name in ("red deer", "7", "7", "wild boar")]
    assert batch_page.answers() == expected
    assert batch_page.one("#count").text == "4 of 12 answered"
    assert batch_page.texts(".said")[:5] == ["red deer", "7", "7", "wild boar", ""]
    key = batch_page.driver.execute_script("return KEYS[state.keys.indexOf('wild boar')]")
    batch_page.press(key)
    assert batch_page.answers()[4:] == [("label", "wild boar")]


def test_names_that_are_alike_are_shown_before_a_new_class_is_born(batch_page):
    batch_page.search("wild bore")
    assert batch_page.texts("#classes .class") == []
    batch_page.press(Keys.ENTER)
    assert batch_page.one("#naming").is_displayed()
    assert batch_page.answers() == []
    batch_page.choose("wild boar", "#near")
    assert batch_page.answers() == [("label", "wild boar")]

    batch_page.search("Otter")
    batch_page.one("#new").click()
    assert not batch_page.one("#naming").is_displayed(), "nothing is like it"
    batch_page.search("wild bore")
    batch_page.one("#new").click()
    batch_page.one("#born").click()
    assert batch_page.answers()[1:] == [("new_class", "Otter"), ("new_class", "wild bore")]

    batch_page.search("oter")  # of those named in this session too
    batch_page.press(Keys.ENTER)
    assert [b.get_attribute("title") for b in batch_page.all("#near .class")] == ["Otter"]
    batch_page.press(Keys.ESCAPE)
    assert len(batch_page.answers()) == 3
    batch_page.one("#search").clear()
    batch_page.search("otter")
    batch_page.press(Keys.ENTER)
    assert batch_page.answers()[3] == ("new_class", "Otter"), "a button like any other"
    key = batch_page.driver.execute_script("return KEYS[state.keys.indexOf('Otter')]")
    batch_page.press(key)
    assert batch_page.answers()[4] == ("new_class", "Otter"), "with a key"


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("wild-Boar", ["wild boar"]), ("boar", ["wild boar"]), ("Boar, wild", ["wild boar"]),
        ("wildboarr", ["wild boar"]), ("wild bare", ["wild boar"]), ("réd dear", ["red deer"]),
        ("deer", ["red deer"]), ("8", []), ("ibex", []), ("red 7", []), ("red fox", []), ("wild bear cub", []),
    ],
)  # fmt: skip
def test_which_names_are_alike(batch_page, typed, near):
    assert batch_page.driver.execute_script("return nearNames(arguments[0])", typed) == near


def test_a_name_that_no_class_may_have_is_refused(batch_page):
    for text, sentence in (("Unknown", "No class is called “Unknown”"), ("x" * 201, "at most 200 characters")):
        batch_page.search(text)
        batch_page.press(Keys.ENTER)
        assert sentence in batch_page.one("#status").text
        batch_page.one("#search").clear()
    refused = ["a\u0007", "\u2028", "a\u202e", "a\u200cb"]
    problems = batch_page.driver.execute_script("return arguments[0].map(classProblem)", [*refused, "م\u200cش", "a"])
    assert problems == [*["A name has no line breaks or other control characters."] * 4, "", ""]
    assert batch_page.answers() == []


def test_a_whole_group_is_named_at_once_with_exceptions_that_come_next(clusters):
    assert clusters.one("#title").text == "Cluster 3: images that look alike"
    assert clusters.one("#target").text == "The 6 selected images are:"
    for place in (1, 4):
        clusters.all(".pick")[place].click()
    assert clusters.one("#target").text == "The 4 selected images are:"
    clusters.choose("wild boar")
    assert clusters.answers() == [("label", "wild boar")] * 4
    assert clusters.one("#target").text == "Image 2 is:", "the exceptions, one at a time"
    clusters.press("d")
    assert clusters.one("#target").text == "Image 5 is:"
    clusters.press("7")
    assert clusters.one("#title").text == "Cluster 5: images that look alike"
    expected = ["wild boar", None, "wild boar", "wild boar", "7", "wild boar"]
    assert [label for _, label in clusters.answers()] == expected
    clusters.search("Otter")
    clusters.one("#new").click()
    assert clusters.answers()[6:] == [("new_class", "Otter")] * 2
    assert clusters.one("#title").text == "Unlike the known classes"
    assert clusters.one("#target").text == "Image 9 is:"


def test_several_images_of_no_cluster_are_picked_by_hand(batch_page):
    batch_page.press("g")
    assert batch_page.one("#target").text == "Select the images to answer"
    batch_page.press("d")
    assert (batch_page.answers(), batch_page.one("#status").text) == ([], "Select an image first.")
    for place in (2, 3):
        batch_page.all(".pick")[place].click()
    batch_page.choose("7")
    assert batch_page.answers() == [("label", "7")] * 2
    batch_page.one("#all").click()
    assert batch_page.one("#target").text == "The 10 selected images are:"
    batch_page.one("#none").click()
    assert batch_page.one("#target").text == "Select the images to answer"


def test_discard_and_unsure_and_what_was_done_is_taken_back_step_by_step(batch_page):
    batch_page.one("#discard").click()
    batch_page.one("#unsure").click()
    batch_page.press("d")
    batch_page.press("u")
    verdicts = ["discard", "unsure", "discard", "unsure"]
    assert batch_page.answers() == [(verdict, None) for verdict in verdicts]
    assert batch_page.texts(".said")[:2] == ["discarded", "unsure"]
    batch_page.press("z")
    assert batch_page.one("#target").text == "Image 4 is:"
    batch_page.one("#undo").click()
    assert batch_page.answers() == [("discard", None), ("unsure", None)]
    batch_page.all(".pick")[0].click()
    batch_page.press("7")
    assert batch_page.answers() == [("label", "7"), ("unsure", None)], "an answer is replaced"
    batch_page.press("z")
    assert batch_page.answers()[0] == ("discard", None), "and comes back"
    batch_page.press("zz")
    assert batch_page.answers() == []
    assert not batch_page.one("#undo").is_enabled()


def test_a_group_and_a_new_class_are_taken_back_whole(clusters):
    clusters.all(".pick")[0].click()
    clusters.search("Otter")
    clusters.one("#new").click()
    assert len(clusters.answers()) == 5
    clusters.one("#undo").click()
    assert clusters.answers() == []
    assert clusters.one("#target").text == "The 5 selected images are:"
    assert clusters.driver.execute_script("return newNames()") == []


def test_all_answered_is_said_and_the_button_to_save_is_next(clusters):
    while len(clusters.answers()) < world.ASKED:
        clusters.press("7")
    assert clusters.one("#status").text == "All images are answered. Save the answers."
    assert clusters.driver.switch_to.active_element.get_attribute("id") == "save"
    assert clusters.one("#count").text == "12 of 12 answered"


# --- what is kept -----------------------------------------------------------------------------------------------
def test_a_reload_keeps_answers_undo_new_classes_and_the_annotator(batch_page):
    batch_page.press("7")
    batch_page.search("Otter")
    batch_page.one("#new").click()
    batch_page.driver.refresh()
    assert batch_page.answers() == [("label", "7"), ("new_class", "Otter")]
    assert batch_page.one("#target").text == "Image 3 is:"
    assert batch_page.one("#who").text == "Anna"
    assert "Otter" in [b.get_attribute("title") for b in batch_page.all("#classes .class")]
    batch_page.press("z")
    assert batch_page.answers() == [("label", "7")]
    keys = batch_page.driver.execute_script("return Object.keys(localStorage)")
    assert sorted(key.rsplit("/", 1)[0] for key in keys) == ["oltr-annotator", "oltr/deer/0000"]


def test_names_given_on_another_page_of_the_batch_are_known_and_no_answer_is(clusters, layout):
    clusters.search("Otter")
    clusters.one("#new").click()
    clusters.driver.execute_script("localStorage.setItem(PREFIX + 'another', localStorage.getItem(KEY))")
    clusters.driver.execute_script("localStorage.removeItem(KEY)")
    clusters.driver.refresh()
    assert clusters.answers() == []
    assert clusters.driver.execute_script("return nearNames('oter')") == ["Otter"]


def test_a_browser_that_keeps_nothing_says_so_and_saves(seen, layout):
    source = "Storage.prototype.setItem = () => { throw new Error('full'); };"
    made = seen.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        seen.open(layout.export("0000").page.as_uri())
        assert seen.one("#warning").text.startswith("This browser does not keep answers")
        seen.press("7")
        rows = list(csv.DictReader(seen.saved().read_text(encoding="utf-8-sig").splitlines()))
        assert [row["label"] for row in rows if row["verdict"]] == ["7"]
    finally:
        seen.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", made)


def test_the_time_of_an_answer_is_measured_shared_by_a_group_and_a_long_pause_is_not_counted(clusters):
    clock = "const was = performance.now(); performance.now = () => was + 1000 * arguments[0];"
    clusters.driver.execute_script(f"beginAgain(); {clock}", 12)
    clusters.choose("7")
    clusters.driver.execute_script(clock, 3600)
    clusters.press("7")
    seconds = clusters.driver.execute_script("return [...IMAGES.keys()].map((id) => state.answers[id]?.seconds)")
    assert seconds[:6] == [2.0] * 6, "twelve seconds, six images"
    assert seconds[6:8] == [30.0] * 2, "a minute of an hour, two images"


# --- the table --------------------------------------------------------------------------------------------------
def test_the_saved_table_is_imported_by_the_command(batch_page, layout):
    """Class names that a spreadsheet would execute, with quotes, commas and markup among them."""
    new = ['=1+1, "x"', "\t@sum", "'-1", 'ünïque, "so" to speak']
    given = [world.FORMULA, world.HOSTILE, world.SCRIPT, "7"]
    for name in given:
        batch_page.choose(name)
    for name in new:
        batch_page.driver.execute_script("answer('new_class', arguments[0])", name)
    batch_page.press("d")
    batch_page.press("u")
    file = batch_page.saved()
    assert file.name.startswith("0000-anna-")
    assert batch_page.one("#save").text == "Saved ✓"
    assert "Put it into the folder data/inbox" in batch_page.one("#status").text
    with file.open(encoding="utf-8-sig", newline="") as text:
        cells = list(csv.DictReader(text))
    assert list(cells[0]) == list(content.COLUMNS)
    assert [row["image_id"] for row in cells] == batch.asked(layout, "0000")
    assert not [c for row in cells for c in row.values() if c[:1] in tuple("=+-@\t\r") and c]

    inbox = layout.root / "data" / "inbox"
    inbox.mkdir(exist_ok=True)
    shutil.copy(file, inbox)
    command = [sys.executable, "-m", "flows.cli", "annotate", "import", "0000"]
    done = subprocess.run(command, cwd=layout.root, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = {row["image_id"]: row for row in returned.imported(layout, "0000")}
    found = [rows[image] for image in batch.asked(layout, "0000")[:10]]
    assert [row["label"] for row in found] == [*given, *(name.strip() for name in new), None, None]
    verdicts = ["label"] * 4 + ["new_class"] * 4 + ["discard", "unsure"]
    assert [row["verdict"] for row in found] == verdicts
    assert {row["annotator"] for row in found} == {"Anna"}
    assert all(0 <= row["seconds"] < 60 for row in found)
    assert len(rows) == 10, "an image without an answer is no row"
    shutil.rmtree(inbox)


def test_both_sides_agree_on_which_cells_are_formulas(batch_page):
    signs = ["", "'", "''", " ", "\t", "\x1c", "\x85", "\xa0", "\u2003", "\ufeff", "\u200b", "\r", "\v"]
    cells = [f"{a}{b}{c}" for a in signs for b in signs for c in ("=1", "+", "-x", "@", "a", "")]
    found = batch_page.driver.execute_script("return arguments[0].map(defused)", cells)
    assert found == [schema.defused(cell) for cell in cells]


def test_the_annotators_name_is_asked_first_and_one_that_is_reserved_is_refused(seen, layout):
    seen.open(layout.export("0000").page.as_uri(), annotator="")
    seen.one("#annotator").send_keys("source" + Keys.ENTER)
    assert seen.one("#asking-problem").text == "“source” is a reserved word; take another name."
    seen.press(Keys.ESCAPE)
    WebDriverWait(seen.driver, SAVED_IN).until(lambda _: seen.all(".pick:focus"))
    seen.press("7")
    assert seen.one("#asking").is_displayed(), "no answer without a name"
    assert seen.answers() == []
    seen.one("#annotator").clear()
    seen.one("#annotator").send_keys(world.HOSTILE + Keys.ENTER)
    WebDriverWait(seen.driver, SAVED_IN).until(lambda _: seen.all(".pick:focus"))
    seen.press("7")
    assert seen.answers() == [("label", "7")]
    assert seen.driver.execute_script("return fileName()").startswith("0000-img-src-x-onerror-document-title-1-")
    assert seen.driver.title == "Batch 0000 of deer"


# --- what cannot run --------------------------------------------------------------------------------------------
def test_a_name_never_runs_as_code(clusters):
    hostile = "<img src=x onerror=\"document.title='run'\"><svg onload=document.title=3>"
    clusters.choose(world.HOSTILE)
    clusters.choose(world.SCRIPT)
    clusters.search(hostile)
    clusters.one("#new").click()
    clusters.search(hostile[:-1])
    clusters.one("#new").click()
    assert hostile in clusters.one("#near").text
    clusters.choose(hostile, "#near")
    clusters.driver.refresh()
    assert world.HOSTILE in clusters.one("#classes").text
    assert clusters.driver.title == "Batch 0000 of deer"
    assert not clusters.all("img[src='x'], svg[onload]")
    assert not [line for line in clusters.driver.get_log("browser") if line["level"] == "SEVERE"]


def test_the_page_can_call_nobody_and_no_script_can_be_added(batch_page):
    called: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self):
            called.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        attempt = """
            const [address, done] = arguments;
            const image = new Image();
            image.src = address + "image";
            const script = document.createElement("script");
            try { script.textContent = "document.title = 4"; } catch { /* refused already */ }
            document.body.append(script);
            navigator.sendBeacon?.(address + "beacon");
            fetch(address + "fetch").then(() => done("fetched"), () => done("refused"));"""
        address = f"http://127.0.0.1:{server.server_port}/"
        assert batch_page.driver.execute_async_script(attempt, address) == "refused"
        time.sleep(0.2)
        server.shutdown()
    assert called == []
    assert batch_page.driver.title == "Batch 0000 of deer"
    assert "violates" in str(batch_page.driver.get_log("browser"))


# --- for everybody ----------------------------------------------------------------------------------------------
def test_it_is_answered_with_the_keyboard_alone(batch_page):
    pick = batch_page.all(".pick")[0]
    assert pick.get_attribute("tabindex") == "0"
    assert [p.get_attribute("tabindex") for p in batch_page.all(".pick")[1:]] == ["-1"] * 11, (
        "one stop for all images"
    )
    batch_page.driver.execute_script("arguments[0].focus()", pick)
    batch_page.press(Keys.ARROW_RIGHT)
    assert batch_page.one("#target").text == "Image 2 is:"
    batch_page.press(Keys.ARROW_LEFT)
    batch_page.press("v")
    assert batch_page.one("#looking").is_displayed()
    batch_page.press(Keys.ESCAPE)
    batch_page.press("?")
    assert batch_page.one("#helping").is_displayed()
    batch_page.press("7")
    batch_page.press(Keys.ESCAPE)
    assert batch_page.answers() == [], "no key answers behind a dialog"
    batch_page.press("g")
    batch_page.press(Keys.SPACE)
    assert batch_page.one("#target").text == "Image 1 is:"


def test_each_control_has_a_name_and_what_is_said_is_a_status(clusters):
    for element in clusters.all("button, input, progress"):
        if element.is_displayed():
            assert element.accessible_name, element.get_attribute("outerHTML")[:200]
    names = [element.accessible_name for element in clusters.all(".pick")]
    assert names[0] == f"Image 1, suggested {world.CLASSES[0]}, far from all"
    clusters.choose("7")
    clusters.one("#before").click()
    assert clusters.all(".pick")[0].accessible_name == "Image 1, answered 7"
    assert clusters.one("#status").aria_role == "status"
    assert clusters.one("html").get_attribute("lang") == "en"


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (820, 1180), (500, 900)])
@pytest.mark.parametrize("several", [False, True])
def test_controls_are_large_enough_for_a_finger_and_nothing_is_cut_off(clusters, width, height, several):
    clusters.driver.set_window_size(width, height)
    try:
        clusters.one("#many" if several else "#one").click()
        for element in clusters.all("button, input, .look"):
            if element.is_displayed():
                size = element.size
                assert min(size["width"], size["height"]) >= 44, element.get_attribute("outerHTML")[:200]
        widths = "return [document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        content, window = clusters.driver.execute_script(widths)
        assert content <= window
        side = clusters.all(".pick")[0].size["width"] if several else clusters.one("#picture").size["height"]
        assert side >= (120 if several else 220), "large enough to judge"
    finally:
        clusters.driver.set_window_size(1280, 900)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_in_dark(clusters, scheme):
    with clusters.coloured(scheme):
        clusters.choose("7")
        found = clusters.contrasts("h1, h2, p, button:enabled, small, kbd, label, .soft, .why, .said, .mark")
        assert len(found) > 30
        assert min(found)[0] >= 4.5, min(found)


# --- served -----------------------------------------------------------------------------------------------------
@pytest.fixture
def opened(layout) -> Iterator[subprocess.Popen]:
    command = [sys.executable, "-m", "flows.cli", "annotate", "open", "--once", "--no-browser"]
    process = subprocess.Popen(command, cwd=layout.root, env=environment(), stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.wait(120)
    assert process.stdout is not None
    process.stdout.close()


def address_of(process: subprocess.Popen) -> str:
    assert process.stdout is not None
    return next(line.strip() for line in process.stdout if line.startswith("http://127.0.0.1:"))


def test_answers_given_on_the_served_page_are_in_the_inbox_and_the_command_ends(seen, layout, opened):
    seen.open(address_of(opened))
    seen.press("7")
    seen.press("u")
    seen.one("#save").click()
    WebDriverWait(seen.driver, SAVED_IN).until(lambda _: seen.one("#status").text.startswith("Saved 2 answers in"))
    assert opened.wait(120) == 0
    (file,) = (layout.root / "data" / "inbox").iterdir()
    assert str(file) in seen.one("#status").text
    said = opened.stdout.read()
    assert f"saved 2 answers in {file}; `oltr loop --more 1` learns them" in said
    rows = folder.read(file, "0000", batch.class_names(layout, "0000"))
    assert [(row["verdict"], row["label"]) for row in rows] == [("label", "7"), ("unsure", None)]
    assert not [line for line in seen.driver.get_log("browser") if "violates" in line["message"]]

    seen.press("z")  # nobody is there any more: said, and nothing is lost
    seen.one("#save").click()
    WebDriverWait(seen.driver, SAVED_IN).until(lambda _: seen.one("#status").text.startswith("Not saved:"))
    assert seen.answers() == [("label", "7")]
    assert seen.one("#save").text == "Save answers"
    file.unlink()


def test_the_served_page_ends_on_ctrl_c(layout, opened):
    address_of(opened)
    opened.send_signal(signal.SIGINT)
    assert opened.wait(120) == 0
