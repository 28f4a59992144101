"""A headless Chromium for the tests that look at a page."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--remote-debugging-pipe")
# A Chromium reads commands from descriptor 3 and writes to 4; this little program puts two pipes there.
PLACE = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class Browser:
    """A headless Chromium, driven over its debugging pipe (JSON messages that end in NUL)."""

    def __init__(self, binary: str, profile: Path):
        self.to_read, self.to_write = os.pipe(), os.pipe()
        ends = (self.to_write[0], self.to_read[1])
        self.process = subprocess.Popen(
            [sys.executable, "-c", PLACE, *map(str, ends), binary, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(self.to_write[0])
        os.close(self.to_read[1])
        self.buffer, self.sent, self.session, self.trouble = b"", 0, None, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params) -> dict:
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_write[1], json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.sent:
                assert "error" not in answer, answer
                return answer["result"]

    def receive(self) -> dict:
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.to_read[0]], [], [], 60)
            assert ready, "the browser does not answer"
            chunk = os.read(self.to_read[0], 1 << 20)
            assert chunk, "the browser went away"
            self.buffer += chunk
        line, self.buffer = self.buffer.split(b"\0", 1)
        event = json.loads(line)
        if event.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            self.trouble.append(event["params"])
        return event

    def open(self, page: Path, width: int = 1280, dark: bool = False, height: int = 900) -> None:
        self.trouble.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=page.resolve().as_uri())
        deadline = time.monotonic() + 60
        while self.run("document.readyState === 'complete' && document.documentElement.dataset.drawn") != "yes":
            assert time.monotonic() < deadline, f"the page was not drawn: {self.trouble}"
            time.sleep(0.05)
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, script: str):
        """The value of a script, awaited."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def count(self, selector: str) -> int:
        return self.run(f"document.querySelectorAll({selector!r}).length")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.to_read[0])
        os.close(self.to_write[1])


# Choose or type in the field with this label of this section.
SET = """(section, label, value) => {
  const place = [...document.querySelectorAll(`#${section} label`)].find(l => l.firstChild.data === label);
  const field = place.querySelector("select, input");
  field.value = value;
  field.dispatchEvent(new Event(field.tagName === "INPUT" ? "input" : "change"));
}"""
# Press the first button of the trees whose label holds these words; returns the milliseconds it took.
PRESS = """words => {
  const start = performance.now();
  [...document.querySelectorAll("#trees button")].find(b => b.textContent.includes(words)).click();
  return performance.now() - start;
}"""
KEY = """key => document.querySelector("#trees [role=tree]").dispatchEvent(
  new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}))"""
PRESS = """key => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}))"""
SELECTED = "document.querySelector('#trees [role=treeitem][aria-selected=true]').dataset.id"
# What the page copies, one text for each press, instead of the clipboard.
COPIES = "window.copied = []; navigator.clipboard.writeText = async text => { copied.push(text) }"
# What is inside of an entry is made when it opens.
SETTLE = "new Promise(done => setTimeout(done, 100))"
