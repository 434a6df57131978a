"""The evidence pack of a change: one HTML page for a committee, which asks no network and runs no
script. What changes in words, what it would have done to the past, who flips, fairness, signatures.
"""

import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import orjson

from streams.change.people import load_people
from streams.change.record import Change, load_change, missing
from streams.errors import DipperError

_STYLE = """\
body{margin:32px auto;max-width:980px;padding:0 20px;color:#17212b;
font:15px/1.5 system-ui,sans-serif;font-variant-numeric:tabular-nums}
h1{font-size:26px;margin:0}h2{font-size:18px;margin:36px 0 6px}p{margin:4px 0}.soft{color:#5d6b79}
table{border-collapse:collapse;width:100%;margin:8px 0;font-size:13px}
th,td{padding:5px 9px;text-align:right;border-bottom:1px solid #e3e8ee;vertical-align:top}
th{color:#5d6b79;font-weight:600}th:first-child,td:first-child,.text{text-align:left}
code{font:12px ui-monospace,monospace;overflow-wrap:anywhere}
.open{color:#c2410c}.done{color:#0f6b4f}
ul{margin:6px 0;padding-left:20px}
@media print{body{margin:0}h2{break-after:avoid}tr{break-inside:avoid}}"""


def make_pack(config: Path, id: str) -> str:
    """Return the page of a change; DipperError where its record or its figures were altered."""
    change = load_change(config, id)
    figures = _figures(change)
    body = change.body
    whose = f"of {', '.join(body['owners'])}, proposed by {change.author}, now {change.state}"
    parts = [
        f"<h1>Change {change.id}</h1>",
        f'<p class="soft">{escape(whose)}</p>',
        f"<p>{escape(body['why'])}</p>",
        "<h2>What changes</h2>",
        *_differences(body["differences"]),
        "<h2>Versions</h2>",
        _table(
            ("", "before", "after"),
            [(name, *map(_digest, pair)) for name, pair in body["versions"].items()],
        ),
        f"<p>All {body['cases']} cases of the policies come out as they are written.</p>",
        *(_replayed(figures) if figures else _not_replayed()),
        "<h2>Signatures</h2>",
        *_signatures(config, change),
        "<h2>Files</h2>",
        _table(
            ("file", "before", "after"),
            [
                (path, _digest(body["base"][path]), _digest(body["becomes"][path]))
                for path in change.paths
            ],
        ),
    ]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>Change {change.id}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


def _figures(change: Change) -> dict[str, Any] | None:
    wanted = change.body["figures_sha256"]
    if not wanted:
        return None
    path = change.folder / "figures.json"
    data = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(data).hexdigest() != wanted:
        raise DipperError(f"{path} is not what was proposed; take it from a backup")
    found: dict[str, Any] = orjson.loads(data)
    return found


def _differences(rows: Sequence[Sequence[str]]) -> Iterable[str]:
    for item in dict.fromkeys(row[0] for row in rows):
        yield f"<p><b>{escape(item)}</b></p><ul>"
        yield from (f"<li>{escape(row[2])}</li>" for row in rows if row[0] == item)
        yield "</ul>"


def _not_replayed() -> Iterable[str]:
    yield "<h2>Impact</h2><p>None: nothing changes that decides.</p>"


def _replayed(figures: dict[str, Any]) -> Iterable[str]:
    summary, totals = figures["summary"], figures["totals"]
    yield "<h2>Impact on the past</h2>"
    yield (
        f'<p class="soft">{summary["requests"]:,} requests of {" to ".join(figures["window"])};'
        f" {escape(figures['economics'])}</p>"
    )
    yield _table(
        ("", "before", "after"),
        [
            ("approval rate", *(f"{summary[f'approval_rate_{w}']:.2%}" for w in _SIDES)),
            ("approved", *(f"{totals[side]['approved']:,}" for side in "ab")),
            (
                "known bad rate of the approved",
                *(_share(totals[s]["bad_rate"]) for s in "ab"),
            ),
            ("expected loss", *(_money(totals[side]["loss"]) for side in "ab")),
            ("expected profit", *(_money(totals[side]["profit"]) for side in "ab")),
        ],
    )
    for name in ("institution", "product"):
        yield f"<h2>By {name}</h2>"
        yield _table((name, "approved before", "approved after"), _approved(figures["cuts"][name]))
    yield "<h2>Who flips</h2>"
    yield (
        f"<p>{summary['flipped_to_approve']:,} to approved, {summary['flipped_to_decline']:,} to"
        " declined. The largest of each:</p>"
    )
    yield _table(
        ("request", "product", "amount", "before", "after", "because of"),
        [
            (
                f"{case['applicant']} {case['request']}", case["product"] or "drawdown",
                _money(case["amount_cents"]), _answer(case, "a"), _answer(case, "b"),
                case["cause"] or "–",
            )
            for case in figures["cases"]
        ],
    )  # fmt: skip
    yield "<h2>Fairness</h2>"
    yield from _fairness(figures["fairness"])
    if figures["budgets"]:
        yield "<h2>Budgets, as they were used</h2>"
        yield _table(
            ("institution", "cap", "granted", "most used"),
            [
                (row["institution"], row["cap"], _money(row["granted"]), _money(row["peak"]))
                for row in figures["budgets"]
            ],
        )


_SIDES = ("before", "after")


def _approved(rows: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (str(row["value"]), *(f"{row[s]['approved']:,}" if row[s] else "0" for s in "ab"))
        for row in rows
        if row["value"] != "–"
    ]


def _answer(case: dict[str, Any], side: str) -> str:
    if case[f"{side}_outcome"] == "approved":
        return f"approved by {case[f'{side}_institution']}"
    return f"{case[f'{side}_outcome']}: {case[f'{side}_reason'] or '–'}"


def _fairness(groups: list[dict[str, Any]]) -> Iterable[str]:
    if not groups:
        yield '<p class="open">No group was declared; propose with --group to see one.</p>'
    for group in groups:
        rows = []
        for each in group["b"]:
            was = next((old for old in group["a"] if old["group"] == each["group"]), None)
            rows.append(
                (
                    str(each["group"]), f"{each['requests']:,}",
                    _share(was["rate"]) if was else "–", _share(each["rate"]),
                    _ratio(was["ratio"]) if was else "–", _ratio(each["ratio"]),
                )
            )  # fmt: skip
        heads = ("requests", "rate before", "rate after", "ratio before", "ratio after")
        yield _table((group["group"], *heads), rows)
    if groups:
        yield '<p class="soft">Ratio: to the best-served group; below 0.8 asks for a reason.</p>'


def _signatures(config: Path, change: Change) -> Iterable[str]:
    people = load_people(config)
    rows = [("proposed", change.author)] + [("signed", name) for name in change.signatures]
    yield _table(
        ("", "by", "for", "key"),
        [
            (what, name, people[name].institution, people[name].key)
            if name in people
            else (what, name, "no longer listed", "")
            for what, name in rows
        ],
    )
    lacking = missing(config, change)
    if lacking:
        yield f'<p class="open">It lacks {escape(" and ".join(lacking))}.</p>'
    else:
        yield '<p class="done">All signatures stand and are good.</p>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    lines = "\n".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{lines}\n</tbody></table>"


def _digest(sha256: str) -> str:
    return sha256[:16] or "–"


def _money(cents: float) -> str:
    return f"{cents / 100:,.2f}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
