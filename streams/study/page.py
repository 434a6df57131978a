"""A report as one HTML page: figures as JSON, style and script inside; it asks no network."""

import base64
import hashlib
from importlib.resources import files
from typing import Any

import orjson


def render(figures: dict[str, Any]) -> str:
    """Return the page. A policy in its head forbids every request, so nothing can leave it."""
    folder = files("streams.study")
    style = (folder / "page.css").read_text(encoding="utf-8")
    script = (folder / "page.js").read_text(encoding="utf-8")
    page = (folder / "page.html").read_text(encoding="utf-8")
    # "<" inside a script block could end it; JSON may spell it otherwise.
    data = orjson.dumps(figures, option=orjson.OPT_NON_STR_KEYS).decode().replace("<", "\\u003c")
    hashes = " ".join(
        "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for text in (script,)
    )
    for name, text in (
        ("%HASHES%", hashes),
        ("%STYLE%", style),
        ("%SCRIPT%", script),
        ("%DATA%", data),
    ):
        page = page.replace(name, text)
    return page
