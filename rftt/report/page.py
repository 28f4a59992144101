"""One self-contained page: the template with its style, its scripts and its data."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import os
import re
from pathlib import Path
from typing import Any

from rftt.report.lines import Record

APART = "records apart"  # as in report.js
APART_BYTES = 1 << 20  # of JSON
SCRIPTS = (
    "report.js", "report_charts.js", "report_tokens.js", "report_results.js", "report_training.js",
    "report_functions.js", "report_map.js", "report_walk.js", "report_trees.js", "report_texts.js",
    "report_samples.js", "report_rollouts.js", "report_roles.js", "report_sections.js",
)  # fmt: skip


def render(data: Record) -> str:
    """The page with its data in it.

    Text of questions and models stands in it only as JSON without ``<``, and the page's policy lets no script run but
    its own.
    """
    folder = Path(__file__).parent
    style = (folder / "report.css").read_text(encoding="utf-8")
    script = "".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    values = {
        "title": html.escape(f"{data['title']} · rftt report"),
        "style": style,
        "script": script,
        "style_hash": digest(style),
        "script_hash": digest(script),
        **dict(zip(("data", "parts"), _elements(_finite(data)), strict=True)),
    }
    template = (folder / "report.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def _elements(data: Record) -> tuple[str, str]:
    """The data as JSON, and elements that hold the records of its large parts, which the page reads when it shows them."""
    parts: list[str] = []

    def apart(value: Any) -> Any:
        if isinstance(value, list):
            return [apart(v) for v in value]
        if not isinstance(value, dict):
            return value
        kept = {k: apart(v) for k, v in value.items()}
        if isinstance(kept.get("records"), list) and len(text := _json(kept["records"])) > APART_BYTES:
            name = f"data-{len(parts)}"
            parts.append(f'<script id="{name}" type="application/json">{text}</script>\n')
            kept["records"] = {APART: name}
        return kept

    return _json(apart(data)), "".join(parts)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, (list, tuple)) else value


def digest(text: str) -> str:
    """How the policy of the page names a script or a style that it allows."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def write_page(path: Path, page: str) -> None:
    """Write the page whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            # A lone surrogate becomes its JSON escape.
            file.write(page.encode("utf-8", "backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
