"""A real browser without a window, driven over its DevTools connection: it opens pages, runs expressions in
them, waits for what they become, and takes screenshots."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
import websocket

from harness import processes

LIMIT = 60.0
# What the focus is on, as a reader would call it.
FOCUSED = """(() => {
    const it = document.activeElement;
    const label = it.labels?.[0]?.querySelector("span")?.innerText ?? it.labels?.[0]?.innerText;
    return (it.getAttribute("aria-label") ?? label ?? it.innerText ?? "").trim();
})()"""
TOLD = ("Page.javascriptDialogOpening", "Runtime.exceptionThrown", "Log.entryAdded")


class Chromium:
    """One browser with one page, and a profile of its own."""

    def __init__(self) -> None:
        program = shutil.which("chromium")
        if not program:
            pytest.skip("chromium is not installed: run 'make deps'")
        self.home = Path(tempfile.mkdtemp(prefix="firesteel-chromium-"))
        argv = [program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        argv += ["--no-first-run", "--disable-background-networking", "--remote-debugging-port=0"]
        argv += ["--remote-allow-origins=*", f"--user-data-dir={self.home}", "about:blank"]
        self.process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        port_file = self.home / "DevToolsActivePort"
        processes.wait_until(
            "the browser listens", lambda: port_file.is_file() and len(port_file.read_text().split()) == 2, 60
        )
        port, path = port_file.read_text().split()
        self.socket = websocket.create_connection(f"ws://127.0.0.1:{port}{path}", timeout=LIMIT)
        self.count = 0
        self.told: list[dict[str, Any]] = []
        """Events of the page: errors, messages on its console, dialogs."""
        self.session: str | None = None
        targets = self.send("Target.getTargets")["targetInfos"]
        page = next(target["targetId"] for target in targets if target["type"] == "page")
        self.session = self.send("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.size(1280, 900)

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """A command and its result; what the page tells meanwhile is kept."""
        self.count += 1
        message: dict[str, Any] = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv())
            if answer.get("id") == self.count:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            if answer.get("method") in TOLD:
                self.told.append(answer)

    def size(self, width: int, height: int) -> None:
        """The page's size in pixels."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def theme(self, scheme: str) -> None:
        """What the reader's system prefers: `light` or `dark`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", features=features)

    def open(self, url: str) -> None:
        """Go to a page, and wait until it has loaded. What the one before told is forgotten."""
        self.send("Page.navigate", url="about:blank")
        self.until("location.href === 'about:blank'")
        self.told = []
        self.send("Page.navigate", url=url)
        self.until(f"location.href.startsWith({json.dumps(url[:8])}) && document.readyState === 'complete'")

    def js(self, expression: str) -> Any:
        """The value of an expression; one that is a promise is waited for."""
        result = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, (expression, result["exceptionDetails"])
        return result["result"].get("value")

    def until(self, expression: str, limit: float = LIMIT) -> Any:
        """Wait until an expression is true; the page's text is told where it does not become so."""
        end = time.monotonic() + limit
        while True:
            found = self.send(
                "Runtime.evaluate",
                expression=f"(() => {expression})()",
                awaitPromise=True,
                returnByValue=True,
            )
            value = found["result"].get("value") if "exceptionDetails" not in found else None
            if value:
                return value
            if time.monotonic() > end:
                text = self.js("location.href + '\\n' + document.body.innerText")
                raise AssertionError(
                    f"not within {limit:.0f} s: {expression}\n{text[:3000]}\n{self.told[-5:]}"
                )
            time.sleep(0.03)

    def shows(self, text: str, limit: float = LIMIT) -> None:
        """Wait until the page has this text in sight."""
        self.until(f"document.body.innerText.includes({json.dumps(text)})", limit)

    def click(self, selector: str) -> None:
        """Click what a selector finds, as its own handlers see it."""
        self.until(f"document.querySelector({json.dumps(selector)}) !== null")
        self.js(f"document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector: str, text: str) -> None:
        """Put the focus on a field and enter a text, which replaces what is there."""
        self.until(f"document.querySelector({json.dumps(selector)}) !== null")
        found = f"document.querySelector({json.dumps(selector)})"
        self.js(f"{found}.focus(); {found}.select?.()")
        self.send("Input.insertText", text=text)

    def key(self, key: str, code: int, modifiers: int = 0) -> None:
        """Press and release a key; modifiers: 2 is Ctrl, 8 is Shift."""
        facts: dict[str, Any] = {
            "key": key,
            "code": key,
            "windowsVirtualKeyCode": code,
            "modifiers": modifiers,
        }
        if key == "Enter" and not modifiers:
            facts["text"] = "\r"
        self.send("Input.dispatchKeyEvent", type="keyDown", **facts)
        self.send("Input.dispatchKeyEvent", type="keyUp", **facts)

    def write(self, text: str) -> None:
        """Enter a text where the focus is."""
        self.send("Input.insertText", text=text)

    def tab_to(self, name: str, back: bool = False, limit: int = 60) -> None:
        """Press Tab until the focus is on what is called so, by its label or its text."""
        seen = []
        for _ in range(limit):
            self.key("Tab", 9, 8 if back else 0)
            seen.append(self.js(FOCUSED))
            if seen[-1] == name:
                return
        raise AssertionError(f"Tab does not come to {name!r}, but to {seen}")

    def picture(self, path: Path) -> bytes:
        """A screenshot, as a PNG file."""
        data = base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
        path.write_bytes(data)
        return data

    def colours(self, selector: str) -> list[str]:
        """The colours that an element has on the screen, but for its edge, such as `ff0000`. A frame's inside
        is seen so."""
        self.js(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center'}})")
        rect = self.js(f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()")
        top, left = self.js("[scrollY, scrollX]")
        clip = {"x": rect["x"] + left + 8, "y": rect["y"] + top + 8, "scale": 1}
        # The corner has a handle.
        clip.update(width=rect["width"] - 32, height=rect["height"] - 32)
        data = self.send("Page.captureScreenshot", format="png", clip=clip)["data"]
        return self.js(
            f"""(async () => {{
                const image = new Image();
                image.src = "data:image/png;base64,{data}";
                await image.decode();
                const canvas = document.createElement("canvas");
                [canvas.width, canvas.height] = [image.width, image.height];
                const context = canvas.getContext("2d");
                context.drawImage(image, 0, 0);
                const pixels = context.getImageData(0, 0, image.width, image.height).data;
                const hex = (one) => one.toString(16).padStart(2, "0");
                const colours = new Set(new Uint32Array(pixels.buffer));
                const parts = (one) => [0, 8, 16].map((shift) => hex((one >> shift) & 255));
                return [...colours].map((one) => parts(one).join(""));
            }})()"""
        )

    def faults(self) -> list[str]:
        """Exceptions that nobody caught, and what its policy kept the page from: since the last look."""
        found = []
        self.js("0")
        for event in self.told:
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(event["params"]["exceptionDetails"])[:2000])
            elif event["method"] == "Log.entryAdded":
                entry = event["params"]["entry"]
                if entry["level"] == "error":
                    found.append(entry["text"] + " " + entry.get("url", ""))
            else:
                found.append(f"dialog: {event['params']}")
        self.told = []
        return found

    def stop(self) -> None:
        """End it and remove its profile."""
        self.session = None
        try:
            self.send("Browser.close")
            self.process.wait(20)
        except Exception:
            self.process.kill()
            self.process.wait()
        finally:
            self.socket.close()
            shutil.rmtree(self.home, ignore_errors=True)
