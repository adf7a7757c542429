"""A headless Chromium without network, driven through pipes by the DevTools protocol."""

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from io import BytesIO

import numpy as np
from PIL import Image

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# The protocol is spoken on the file descriptors 3 and 4, which a process cannot be given by number.
START = """
import fcntl, os, sys
for number, end in enumerate([fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]], start=3):
    os.dup2(end, number)
os.execv(sys.argv[3], sys.argv[3:])
"""
OPTIONS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--remote-debugging-pipe",
]

DRAWN = """new Promise((resolve) => {
    const look = () => globalThis.Bokeh?.documents[0]?.is_idle ? resolve() : setTimeout(look, 50)
    look()
})"""
# A time in milliseconds has passed, and what was to be drawn then is drawn.
DRAWN_AFTER = """new Promise((resolve) => {
    setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(resolve)), %d)
})"""
# Bokeh's widgets are in trees of their own, which document.querySelector does not enter.
FIELD = """(() => {
    const within = (root) => [...root.querySelectorAll("*")].flatMap((e) => e.shadowRoot ? within(e.shadowRoot) : [e])
    const field = within(document).filter((e) => e.tagName === "INPUT")[%d].getBoundingClientRect()
    return [field.x + field.width / 2, field.y + field.height / 2]
})()"""


def find_browser():
    """Return the path of a Chromium, which the variable CHROMIUM may name, or None."""
    return next(filter(None, map(shutil.which, (os.environ.get("CHROMIUM", ""), *NAMES))), None)


class Browser:
    """A page in a window, for a ``with`` statement. It keeps what the page asks for from elsewhere, and its errors."""

    def __init__(self, page, width=1000, height=800):
        self.page, self.width, self.height = page, width, height
        self.requests, self.errors = [], []

    def __enter__(self):
        self._directory = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        there, self._write = os.pipe()
        self._read, back = os.pipe()
        start = [sys.executable, "-c", START, str(there), str(back), find_browser(), *OPTIONS]
        self._process = subprocess.Popen(
            [*start, f"--user-data-dir={self._directory.name}"],
            pass_fds=(there, back),
            stderr=subprocess.DEVNULL,
            # What sanitizers preload for the extensions is not for a browser.
            env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"},
        )
        os.close(there)
        os.close(back)
        self._buffer, self._number, self._session = b"", 0, {}
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = {"sessionId": session["sessionId"]}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        size = {"width": self.width, "height": self.height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=self.page.resolve().as_uri())
        self.evaluate(DRAWN)
        return self

    def __exit__(self, *_):
        os.close(self._write)  # upon which the browser ends
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        self._directory.cleanup()

    def call(self, method, **params):
        """Return the result of a command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self._keep(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _receive(self):
        while b"\0" not in self._buffer:
            part = os.read(self._read, 1 << 16)
            assert part, "the browser ended"
            self._buffer += part
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def _keep(self, event):
        method, params = event["method"], event["params"]
        if method == "Network.requestWillBeSent" and not params["request"]["url"].startswith("data:"):
            self.requests.append(params["request"]["url"])
        is_error = {
            "Runtime.exceptionThrown": lambda: True,
            "Runtime.consoleAPICalled": lambda: params["type"] in ("error", "warning", "assert"),
            "Log.entryAdded": lambda: params["entry"]["level"] == "error",
        }
        if method in is_error and is_error[method]():
            self.errors.append(params)

    def evaluate(self, script):
        """Return the value of an expression, of its promise if it is one."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def screenshot(self, after=100):
        """Return a picture, an array of RGB, of what no longer changes in a number of milliseconds.

        After a zoom Bokeh decimates the points for the sake of speed, and draws all of them after half a second.
        """
        picture = None
        for _ in range(50):
            before = picture
            self.evaluate(DRAWN_AFTER % after)
            picture = base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])
            if picture == before:
                break
        return np.asarray(Image.open(BytesIO(picture)).convert("RGB"))

    def move(self, x, y):
        """Move the mouse to a place."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def wheel(self, x, y, turns):
        """Turn the mouse's wheel, to zoom in."""
        for _ in range(turns):
            self.call("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-120)

    def click(self, x, y):
        """Click at a place."""
        self.move(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def type_into(self, field, text):
        """Write a text into a field, in place of what is there."""
        x, y = self.evaluate(FIELD % field)
        self.click(x, y)
        self.evaluate("document.execCommand('selectAll')")
        self.call("Input.insertText", text=text)
