"""Pages in a real browser, as somebody uses them; the annotation page above all."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import ElementNotInteractableException
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
SAVED_IN = 20  # seconds at most until a file is there
#: contrast of each visible element's text with what is painted behind it (WCAG 2.2, 1.4.3), and what it is
CONTRAST = """
const parts = (c) => { const [r, g, b, a = 1] = c.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
const light = (c) => { const v = c.slice(0, 3).map((n) => n / 255)
    .map((n) => n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4);
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]));
const behind = (e) => { if (!e) return [255, 255, 255];
    const c = parts(getComputedStyle(e).backgroundColor); return c[3] === 1 ? c : over(c, behind(e.parentElement)); };
return [...document.querySelectorAll(arguments[0])].filter((e) => e.checkVisibility()).map((e) => {
    const back = behind(e), style = getComputedStyle(e);
    const ink = over(parts(e instanceof SVGElement ? style.fill : style.color), back);
    const [a, b] = [light(ink), light(back)];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.id || e.outerHTML.slice(0, 200)]; });"""


class Page:
    """The page as somebody sees it who has given a name."""

    def __init__(self, driver: webdriver.Chrome, downloads: Path) -> None:
        self.driver, self.downloads = driver, downloads

    def open(self, address: str, annotator: str = "Anna") -> None:
        self.driver.get(address)
        self.driver.execute_script("localStorage.clear()")
        self.driver.refresh()
        if annotator:
            wait = WebDriverWait(self.driver, SAVED_IN, ignored_exceptions=[ElementNotInteractableException])
            # on a busy machine the page is there before its first layout, and the field may be gone, with the name
            # taken, before the driver is done with it
            wait.until(lambda _: self.all(".pick:focus") or self._say(annotator))

    def _say(self, annotator: str) -> None:
        field = self.one("#annotator")
        field.clear()
        field.send_keys(annotator + Keys.ENTER)

    def one(self, selector: str):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def press(self, keys: str) -> None:
        ActionChains(self.driver).send_keys(keys).perform()

    def choose(self, name: str, among: str = "#classes") -> None:
        next(b for b in self.all(f"{among} .class") if b.get_attribute("title") == name).click()

    def search(self, text: str) -> None:
        self.press("/")
        self.press(text)

    def answers(self) -> list[tuple[str, str | None]]:
        """Verdict and label of each answered image, in rank order."""
        found = self.driver.execute_script("return [...IMAGES.keys()].map((id) => state.answers[id] ?? null)")
        return [(a["verdict"], a["label"]) for a in found if a]

    def texts(self, selector: str) -> list[str]:
        return [element.text for element in self.all(selector)]

    @contextmanager
    def coloured(self, scheme: str, media: str = "") -> Iterator[None]:
        """As somebody sees it who prefers `light` or `dark`, on the medium `screen` or `print`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        yield
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})

    def contrasts(self, selector: str) -> list[tuple[float, str]]:
        """Contrast of the text of each visible element, and what it is."""
        return [(contrast, what) for contrast, what in self.driver.execute_script(CONTRAST, selector)]

    def saved(self) -> Path:
        """The file that the button saves."""
        before = set(self.downloads.iterdir())
        self.one("#save").click()
        end = time.monotonic() + SAVED_IN
        while time.monotonic() < end:
            if found := [p for p in set(self.downloads.iterdir()) - before if p.suffix == ".csv"]:
                return found[0]
            time.sleep(0.02)
        raise AssertionError("nothing was saved")


def started(downloads: Path) -> Iterator[Page]:
    """A page that saves its files in `downloads`. Skips where there is no browser."""
    if not BROWSER or not DRIVER:
        pytest.skip("there is no Chromium with its driver here (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for switch in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1280,900",
    ):
        options.add_argument(switch)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield Page(driver, downloads)
    driver.quit()
