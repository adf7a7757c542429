"""Take the pictures of the progress bar: a terminal, and a notebook in JupyterLab.

    python docs/images/make_progress.py [--browser /usr/bin/chromium]

needs tqdm, Pillow, and matplotlib for its font; the notebook needs ipywidgets, jupyterlab, playwright and a Chromium.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from io import BytesIO
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELLS = [
    """from sklearn.datasets import load_digits, make_blobs
from sktsne import TSNE
from sktsne.progress import ProgressBar""",
    """digits = load_digits().data
tsne = TSNE(callback=ProgressBar(), callback_every=10)
tsne.fit(digits);""",
    """blobs = make_blobs(10_000, 50, centers=10)[0]
tsne.set_params(tol=0).fit(blobs);""",
]
SHOWN = r"\b4\d\d/1000"  # when the picture is taken: in the second fit
COLUMNS, ROWS = 88, 24
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip


def save(image: Image.Image, name: str) -> None:
    """Write a picture beside this file, in few colors."""
    path = Path(__file__).with_name(f"progress_{name}.png")
    image.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)


def terminal() -> list[str]:
    """Return the lines that a terminal shows while the second fit runs."""
    child, handle = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", "\n".join(CELLS)])
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    seen = b""
    while not re.search(SHOWN.encode(), seen):
        seen += os.read(handle, 4096)
    os.kill(child, 9)
    os.waitpid(child, 0)
    lines = [line.rstrip("\r").split("\r")[-1] for line in seen.decode().split("\n")]
    return ["$ python fits.py", *lines]


def draw(lines: list[str]) -> Image.Image:
    """Draw lines of text as a terminal does."""
    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSansMono.ttf"), 15)
    width, height = round(font.getlength("█")), 22
    image = Image.new("RGB", (COLUMNS * width + 20, height * len(lines) + 20), "#1e1e1e")
    pen = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        for column, character in enumerate(line):
            pen.text((10 + column * width, 10 + row * height), character, "#e6e6e6", font)
    return image


def notebook(browser: str) -> Image.Image:
    """Return what JupyterLab shows while the second fit runs."""
    from playwright.sync_api import sync_playwright

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    cells = [
        {"cell_type": "code", "source": c, "metadata": {}, "outputs": [], "execution_count": None, "id": f"cell{i}"}
        for i, c in enumerate(CELLS)
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    with tempfile.TemporaryDirectory() as folder:
        content = {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
        (Path(folder) / "fits.ipynb").write_text(json.dumps(content), encoding="utf-8")
        server = subprocess.Popen(
            [
                sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ip=127.0.0.1",
                "--IdentityProvider.token=", f"--ServerApp.root_dir={folder}",
                "--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
            ],
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            with sync_playwright() as play:
                page = play.chromium.launch(executable_path=browser, args=FLAGS).new_page(
                    viewport={"width": 900, "height": 600}
                )
                news = page.locator("button:text-is('No')")
                page.add_locator_handler(news, lambda: news.click())
                for _ in range(60):
                    try:
                        page.goto(f"http://127.0.0.1:{port}/lab/tree/fits.ipynb?simple")
                        break
                    except Exception:
                        time.sleep(1.0)
                page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60_000)
                page.wait_for_selector("text=Python 3 (ipykernel) | Idle", timeout=60_000)
                page.keyboard.press("Control+b")  # no side bar
                page.click(".jp-CodeCell .cm-content >> nth=0")
                page.click("text=Run >> nth=0")
                page.click("text=Run All Cells >> nth=0")
                page.wait_for_function(f"/{SHOWN.replace('/', '.')}/.test(document.body.innerText)", timeout=60_000)
                return Image.open(BytesIO(page.locator(".jp-WindowedPanel-viewport").screenshot()))
        finally:
            server.terminate()
            server.wait()


def cropped(image: Image.Image) -> Image.Image:
    """Return a picture without the empty part below."""
    pixels = np.asarray(image.convert("L"), dtype=int)
    rows = np.flatnonzero(np.ptp(pixels[:, 100:-100], axis=1) > 8)
    return image.crop((0, 0, image.width, min(image.height, rows[-1] + 15)))


def main() -> None:
    """Take both pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browser", default="/usr/bin/chromium", help="path of a Chromium")
    browser = parser.parse_args().browser
    save(draw(terminal()), "terminal")
    save(cropped(notebook(browser)), "notebook")


if __name__ == "__main__":
    main()
