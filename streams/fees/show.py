"""A statement as CSV for a ledger, and as one HTML page that asks no network."""

import csv
import io
from dataclasses import asdict
from datetime import datetime
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from streams.fees.statement import Line, Statement

CSV_COLUMNS = (
    "institution", "month", "currency", "item", "quantity", "unit", "rate", "fee_cents",
)  # fmt: skip

_STYLE = """\
body{margin:32px auto;max-width:760px;padding:0 20px;color:#17212b;
font:15px/1.5 system-ui,sans-serif;font-variant-numeric:tabular-nums}
h1{font-size:24px;margin:0}p{color:#5d6b79;margin:4px 0}
table{border-collapse:collapse;width:100%;margin:24px 0}
th,td{padding:7px 10px;text-align:right;border-bottom:1px solid #e3e8ee}
th:first-child,td:first-child,td.text,th.text{text-align:left}
tfoot td{font-weight:650;border-bottom:2px solid #17212b}
.differs{color:#c2410c}@media print{body{margin:0}}"""


def as_dict(statement: Statement) -> dict[str, Any]:
    """Return the statement as plain values (JSON fits)."""
    told = asdict(statement)
    told["lines"] = [line._asdict() for line in statement.lines]
    told["known"] = {str(number): seq for number, seq in statement.known.items()}
    return told | {"total_cents": statement.total_cents, "agrees": statement.agrees}


def as_csv(statement: Statement) -> str:
    """Return one row a line and a last one, `total`; money in cents."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    head = (statement.institution, statement.month, statement.currency)
    for line in statement.lines:
        writer.writerow((*head, *line))
    writer.writerow((*head, "total", "", "", "", statement.total_cents))
    return file.getvalue()


def as_html(statement: Statement) -> str:
    """Return the page."""
    rows = "\n".join(
        f"<tr><td>{escape(line.item)}</td><td>{quantity(line)}</td>"
        f"<td>{escape(line.rate)}</td><td>{money(line.fee_cents)}</td></tr>"
        for line in statement.lines
    )
    title = f"{escape(statement.name)}, {statement.month}"
    days = " to ".join(
        datetime.fromtimestamp(at / 1_000, ZoneInfo(statement.time_zone)).strftime("%Y-%m-%d")
        for at in (statement.from_at, statement.until_at - 1)
    )
    css = "" if statement.agrees else ' class="differs"'
    known = ", ".join(f"{number}: {seq:,}" for number, seq in statement.known.items())
    return f"""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Fees: {title}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>Fee statement: {title}</h1>
<p>{days}, {escape(statement.time_zone)}. Amounts in {statement.currency}.</p>
<table>
<thead><tr><th class="text">for</th><th>quantity</th><th>rate</th><th>fee</th></tr></thead>
<tbody>
{rows}
</tbody>
<tfoot><tr><td>total</td><td></td><td></td><td>{money(statement.total_cents)}</td></tr></tfoot>
</table>
<p{css}>{agreement(statement)}</p>
<p>Schedule {statement.schedule_sha256[:16]}. Records of dipper.funding known, by partition:
{known or "none"}.</p>
</body>
</html>
"""


def agreement(statement: Statement) -> str:
    """Say whether moves of money and loan events tell the same principal."""
    told = money(statement.disbursed_cents)
    if statement.agrees:
        return f"Drawn by the moves of money and by the loan events alike: {told}."
    return f"Drawn {money(statement.drawn_cents)} by the moves of money, {told} by the loan events."


def quantity(line: Line) -> str:
    """Write a quantity in its unit: money with two decimals, a count without."""
    return money(line.quantity) if line.unit == "cents" else f"{line.quantity:,}"


def money(cents: int) -> str:
    """Write cents as units with two decimals."""
    sign = "−" if cents < 0 else ""
    return f"{sign}{abs(cents) // 100:,}.{abs(cents) % 100:02d}"
