"""Chromium for the browser tests: a page of Lab, with all that it asked for and complained about."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Playwright

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LAB_SECONDS = 60
# Where the code of a labextension comes from.
OURS = "/lab/extensions/workshop-monitor/"


@dataclass
class Complaint:
    """A console error or an exception that nobody caught, and the address of the script that it came from."""

    text: str
    source: str


@dataclass
class Watched:
    """A page, and what it did since it was opened."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[Complaint] = field(default_factory=list)

    def open_lab(self, url: str) -> Page:
        """Go to Lab and return when its splash screen is gone."""
        self.page.goto(url)
        splash = self.page.locator("#jupyterlab-splash")
        splash.wait_for(state="detached", timeout=LAB_SECONDS * 1000)
        return self.page

    def outside_requests(self) -> list[str]:
        """Return what was asked of any machine but this one; data and blob addresses ask nobody."""
        return [
            url
            for url in self.requests
            if urlsplit(url).scheme not in {"data", "blob"} and urlsplit(url).hostname != "127.0.0.1"
        ]

    def our_complaints(self) -> list[Complaint]:
        """Return the complaints that came from the panel's own code."""
        return [each for each in self.complaints if OURS in each.source]

    def streams(self) -> list[str]:
        """Return the addresses of the panel's websockets, in the order in which they were opened."""
        return [url for url in self.requests if "/workshop-monitor/stream" in url]

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(Complaint(message.text, message.location.get("url", "")))

    def _exception(self, error: Error) -> None:
        self.complaints.append(Complaint(error.message, error.stack or ""))


@contextmanager
def launch(playwright: Playwright) -> Iterator[Browser]:
    """Start Debian's Chromium, since Playwright's own would have to be downloaded."""
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
    try:
        yield browser
    finally:
        browser.close()


@contextmanager
def watched_page(browser: Browser, width: int = 1280, height: int = 800) -> Iterator[Watched]:
    """Open an empty page in a profile of its own; its requests and complaints are recorded from the start."""
    context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=2)
    watched = Watched(context.new_page())
    page = watched.page
    page.on("request", lambda request: watched.requests.append(request.url))
    page.on("websocket", lambda socket: watched.requests.append(socket.url))
    page.on("console", watched._console)
    page.on("pageerror", watched._exception)
    try:
        yield watched
    finally:
        context.close()
