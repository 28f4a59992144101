"""Pictures of a report, as they stand in the README.

    python -m tests.rftt.report.screenshots RUN docs/screenshots

Writes the report of RUN to a temporary file, opens it in a headless Chromium and leaves, of what the run has, results.png
(results and accuracy over tokens, 1280 px wide), trees.png (the tree explorer), roles.png (a chain with the roles of its
tokens, after `rftt shad`) and dark.png (sections at 400 px in dark mode, side by side).
"""

from __future__ import annotations

import base64
import io
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

from rftt.report import write_report
from tests.rftt.report.browser import SET, SETTLE, Browser

COLOURS = 255  # of one picture: enough for text and flat colours, and half of the size
NARROW = ("#results", "#functions", "#trees .walk", "#roles .scale", "#samples")


def picture(browser: Browser, selector: str = "") -> Image.Image:
    """The window, with the element that `selector` finds at its top."""
    if selector:
        browser.run(f"document.querySelector({selector!r}).scrollIntoView()")
    browser.run(SETTLE)
    data = browser.call("Page.captureScreenshot", format="png")["data"]
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


def side_by_side(pictures: list[Image.Image]) -> Image.Image:
    whole, x = Image.new("RGB", (sum(p.width for p in pictures), pictures[0].height)), 0
    for each in pictures:
        whole.paste(each, (x, 0))
        x += each.width
    return whole


def save(whole: Image.Image, path: Path) -> None:
    whole.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {whole.size[0]} × {whole.size[1]}, {path.stat().st_size / 1000:.0f} kB")


def main(run: Path, out: Path) -> None:
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if binary is None:
        sys.exit("there is no Chromium on this machine; install one")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        page = write_report(run, Path(folder) / "report.html")
        browser = Browser(binary, Path(folder) / "profile")
        try:
            browser.call("Emulation.setScrollbarsHidden", hidden=True)
            browser.open(page, height=1720)
            if browser.count("#results"):
                save(picture(browser, "#results"), out / "results.png")
            browser.open(page)
            if browser.count("#roles .scale"):
                save(picture(browser, "#roles .scale"), out / "roles.png")
            if (run / "eval" / "trees-sft.jsonl").exists():
                browser.run(f"({SET})('trees', 'From', 'eval/trees-sft.jsonl')")
                browser.run(f"({SET})('trees', 'Outcome', 'chosen chain correct')")
                browser.run(f"({SET})('trees', 'Show', 'chain')")
                save(picture(browser, "#trees .keys"), out / "trees.png")
            browser.open(page, 400, dark=True)
            found = [selector for selector in NARROW if browser.count(selector)]
            save(side_by_side([picture(browser, selector) for selector in found]), out / "dark.png")
        finally:
            browser.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
