"""Pages as a reader's browser shows them: opened in headless Chromium, measured, and what is wrong told in sentences.

``problems(page)`` lays the page out at three widths, in light, dark and print, with every ``<details>`` open, and looks
for what makes a page bad: text that is cut off, off-screen or over other text, a page that scrolls sideways, links and
references that lead nowhere, empty sections, tables without caption, images without words, unrendered templates, too
little contrast (WCAG 2.1, 1.4.3), errors on the console, and requests to the network. The measuring itself is
page_audit.js. The browser and its driver are those of the machine; nothing is downloaded.
"""

from __future__ import annotations

import ctypes
import json
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import unquote, urlsplit

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

WIDTHS = (360, 820, 1440)
"""A phone, a tablet, a desk."""
HEIGHT = 900
FIRST_SCREENS = ((1440, 900), (390, 844))
"""A laptop and a telephone, without what the browser itself takes of them."""
BEGINNING = 60
"""Pixels of an element that has to be on the first screen (``data-first-screen``) that are to be seen there."""
PAPER_WIDTH = 956
"""Chromium lays a page out for A4 (8.27 in less two margins of 0.4 in, 96 px/in) with at least a third more room."""
PAGE_LOAD_S = 60
PROGRAMS = ("chromium", "chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--remote-debugging-pipe",  # the browser ends when its driver is gone, however that ended
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
PR_SET_PDEATHSIG = 1
AUDIT = Path(__file__).with_name("page_audit.js").read_text()
_libc = ctypes.CDLL(None)


def why_not() -> str:
    """Why this machine cannot show a page; empty when it can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"needs a browser: {' and '.join(missing)} not on PATH" if missing else ""


def _die_with_parent() -> None:
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Browser:
    """One headless Chromium with a profile of its own; a context manager, gone with everything when it is left."""

    def __init__(self) -> None:
        browser, driver = (shutil.which(name) for name in PROGRAMS)
        if browser is None or driver is None:
            raise RuntimeError(why_not())
        self._profile = tempfile.TemporaryDirectory(prefix="testbed-browser-", ignore_cleanup_errors=True)
        options = Options()
        options.binary_location = browser
        for flag in (*FLAGS, f"--user-data-dir={self._profile.name}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        service = Service(executable_path=driver, popen_kw={"preexec_fn": _die_with_parent})
        try:
            self._driver = webdriver.Chrome(options=options, service=service)
        except BaseException:
            service.stop()
            self._profile.cleanup()
            raise
        self._driver.set_page_load_timeout(PAGE_LOAD_S)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End the browser and its driver, remove the profile."""
        self._driver.quit()
        self._profile.cleanup()

    def problems(self, path: Path, widths: Sequence[int] = WIDTHS) -> list[str]:
        """What is wrong with the page at ``path``, one sentence each with where it was seen; none when it is good."""
        self._drain_logs()
        self._media("screen", "light")
        self._width(widths[0])
        self._driver.get(path.resolve().as_uri())
        found = [*self._log_problems(path), *_dead_links(path)]
        if self._run("return document.querySelectorAll('script:not([type*=json])').length"):
            # What the scripts make must not be needed: the rest looks at the page that a reader without them gets.
            self._command("Emulation.setScriptExecutionDisabled", value=True)
            self._driver.get(path.resolve().as_uri())
        try:
            self._run("for (const one of document.querySelectorAll('details')) one.open = true")
            for width in widths:
                self._width(width)
                self._width(width, max(HEIGHT, int(self._run("return document.documentElement.scrollHeight"))))
                checks = ["layout", "content", "contrast"] if width == widths[0] else ["layout"]
                found += [f"{problem} [{width} px]" for problem in self._audit(checks)]
            found += self._below_the_fold()
            self._media("screen", "dark")
            found += [f"{problem} [dark]" for problem in self._audit(["contrast"])]
            self._width(PAPER_WIDTH)
            for scheme in ("light", "dark"):  # who reads in the dark prints on white paper, too
                self._media("print", scheme)
                checks = ["layout", "contrast", "paper"] if scheme == "light" else ["contrast", "paper"]
                found += [f"{problem} [print, {scheme}]" for problem in self._audit(checks)]
        finally:
            self._command("Emulation.setScriptExecutionDisabled", value=False)
        return _told_once(found)

    def _below_the_fold(self) -> Iterator[str]:
        """What the page promises to show without scrolling, and does not."""
        script = (
            "return [...document.querySelectorAll('[data-first-screen]')]"
            ".map((one) => [one.localName + '#' + one.id, one.getBoundingClientRect().top])"
        )
        for width, height in FIRST_SCREENS:
            self._width(width, height)
            for element, top in self._run(script):
                if top + BEGINNING > height:
                    yield f"first screen: {element} begins {top:.0f} px down, of {height} [{width} px]"

    def _audit(self, checks: Sequence[str]) -> list[str]:
        return [str(problem) for problem in self._driver.execute_script(AUDIT, list(checks))]

    def _run(self, script: str) -> Any:
        return self._driver.execute_script(script)

    def _command(self, name: str, **parameters: Any) -> None:
        self._driver.execute_cdp_cmd(name, parameters)

    def _width(self, width: int, height: int = HEIGHT) -> None:
        self._command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def _media(self, media: str, scheme: str) -> None:
        self._command(
            "Emulation.setEmulatedMedia",
            media=media,
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def _drain_logs(self) -> None:
        for kind in ("browser", "performance"):
            self._driver.get_log(kind)

    def _log_problems(self, path: Path) -> Iterator[str]:
        for entry in self._driver.get_log("browser"):
            if entry["level"] in ("SEVERE", "WARNING"):
                yield f"console: {entry['message']}"
        own = path.resolve().as_uri()
        for entry in self._driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent" and message["params"]["documentURL"] == own:
                url = message["params"]["request"]["url"]
                if urlsplit(url).scheme not in ("data", "file", "about", "blob"):
                    yield f"network: asks for {url}"
                elif url.startswith("file:") and url.split("#")[0] != own and not Path(_file_of(url)).exists():
                    yield f"missing: asks for {url}, which is not there"


_shared: list[Browser] = []


def problems(path: Path, widths: Sequence[int] = WIDTHS) -> list[str]:
    """:meth:`Browser.problems` with the browser that all tests of this process share (:func:`close_shared` ends it)."""
    return shared().problems(path, widths)


def shared() -> Browser:
    """The browser that all tests of this process share."""
    if not _shared:
        _shared.append(Browser())
    return _shared[0]


def close_shared() -> None:
    """End the shared browser, if there is one."""
    while _shared:
        _shared.pop().close()


def _told_once(found: Sequence[str]) -> list[str]:
    """Each problem once, with the first width it was seen at."""
    told: dict[str, str] = {}
    for problem in found:
        told.setdefault(problem.rsplit(" [", 1)[0], problem)
    return list(told.values())


class _Links(HTMLParser):
    """Where a page leads, and the ids it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if values.get("id"):
            self.ids.add(str(values["id"]))
        self.targets += [str(values[name]) for name in ("href", "src") if tag != "use" and values.get(name)]


def _file_of(url: str) -> str:
    return unquote(urlsplit(url).path)


def _dead_links(path: Path) -> Iterator[str]:
    """Relative links to files that are not there, and to parts of other pages that those do not have."""
    for target in dict.fromkeys(_Links(path.read_text()).targets):
        parts = urlsplit(target)
        if parts.scheme == "data" or (not parts.path and not parts.scheme):
            continue
        if parts.scheme in ("http", "https", "mailto"):
            continue
        if parts.scheme or parts.netloc or parts.path.startswith("/"):
            yield f"dead link: {target}: not relative to the page, so not there on another machine"
            continue
        file = path.parent / unquote(parts.path)
        if not file.exists():
            yield f"dead link: {target}: no such file beside the page"
        elif parts.fragment and file.suffix == ".html" and unquote(parts.fragment) not in _Links(file.read_text()).ids:
            yield f"dead link: {target}: the other page has no such part"
