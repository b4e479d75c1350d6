"""Debian's Chromium, without a window, over the DevTools protocol."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

T = TypeVar("T")
CHROMIUM = shutil.which("chromium")
WAIT_S = 30.0
"""The longest time that a page may take to show something."""


class Page:
    """A page of the browser.

    Attributes:
        requests: The addresses that it asked for.
        problems: Errors of scripts, of the console and of the Content-Security-Policy.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._reader = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for message in self._socket:
            found = json.loads(message.data)
            method, params = found.get("method"), found.get("params", {})
            if "id" in found:
                self._answers.pop(found["id"]).set_result(found)
            elif method == "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            elif method == "Runtime.exceptionThrown":
                self.problems.append(json.dumps(params["exceptionDetails"])[:500])
            elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
                self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    async def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result."""
        number = next(self._numbers)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        found = await answer
        assert "error" not in found, found["error"]
        return dict(found["result"])

    async def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression; promises are awaited."""
        found = await self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    async def until(self, script: str) -> Any:
        """Wait until an expression is true in the page: it is looked at after each change of the document."""
        waiting = f"""new Promise((done) => {{
            const value = () => {{ try {{ return ({script}); }} catch {{ return null; }} }};
            const look = () => {{ const found = value(); if (found) {{ watch.disconnect(); done(found); }} }};
            const watch = new MutationObserver(look);
            watch.observe(document, {{ subtree: true, childList: true, attributes: true, characterData: true }});
            look();
        }})"""
        return await asyncio.wait_for(self.run(waiting), WAIT_S)

    async def open(self, url: str) -> None:
        """Open an address, and wait until the dashboard's script shows something."""
        await self.send("Page.navigate", url=url)
        await self.until("document.querySelector('main section')")

    async def press(self, key: str) -> None:
        """Press and release a key, such as ``Tab`` or ``Enter``."""
        codes = {"Tab": 9, "Enter": 13}
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            await self.send(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key], **(text if kind == "keyDown" else {})
            )

    async def appearance(self, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Set the size of the window and the colour scheme."""
        await self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        await self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])


class Browser:
    """Chromium in a process of its own; each call of ``browse`` has an own profile in it.

    Args:
        folder: An empty folder for its files.
    """

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-port=0"]
        command = [CHROMIUM, *options, f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        self._address = next(match[1] for line in self._process.stderr if (match := re.search(r"(ws://\S+)", line)))
        self._reader = threading.Thread(target=self._process.stderr.read)  # else a full pipe would stop it
        self._reader.start()

    def browse(self, work: Callable[[Page], Awaitable[T]]) -> T:
        """Do some work in a page of a new profile."""
        return asyncio.run(self._browse(work))

    async def _browse(self, work: Callable[[Page], Awaitable[T]]) -> T:
        async with aiohttp.ClientSession() as session, session.ws_connect(self._address, max_msg_size=0) as socket:
            browser = Page(socket)
            profile = await browser.send("Target.createBrowserContext", disposeOnDetach=True)
            target = await browser.send("Target.createTarget", url="about:blank", **profile)
            address = re.sub("/devtools/.*", f"/devtools/page/{target['targetId']}", self._address)
            async with session.ws_connect(address, max_msg_size=0) as page_socket:
                page = Page(page_socket)
                for domain in ("Page", "Network", "Runtime", "Log", "Accessibility"):
                    await page.send(f"{domain}.enable")
                return await work(page)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._reader.join()
        self._process.communicate()
