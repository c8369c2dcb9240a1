"""The annotation page in a real browser, as somebody uses it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
SAVED_IN = 20  # seconds at most until a file is there


class Page:
    """The page as somebody sees it who has given a name."""

    def __init__(self, driver: webdriver.Chrome, downloads: Path) -> None:
        self.driver, self.downloads = driver, downloads

    def open(self, address: str, annotator: str = "Anna") -> None:
        self.driver.get(address)
        self.driver.execute_script("localStorage.clear()")
        self.driver.refresh()
        if annotator:
            self.one("#annotator").send_keys(annotator + Keys.ENTER)
            WebDriverWait(self.driver, SAVED_IN).until(lambda _: self.all(".pick:focus"))

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
