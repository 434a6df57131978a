"""State a month's fees, as the command and a notebook ask for it."""

import re
from pathlib import Path

from models.policy.platform import load_institutions, load_platform
from streams.errors import DipperError
from streams.fees.book import Book, book_of
from streams.fees.meter import meter
from streams.fees.schedule import load_schedule
from streams.fees.statement import Statement, make_statement

_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")


def state_month(
    institution: str,
    month: str,
    config: Path,
    source: str | Path,
    *,
    partitions: int | None = None,
) -> Statement:
    """Return the statement of `institution` for `month` (`2026-01`).

    `source`: `kafka://HOST:PORT` for the topics as they stand; else a log that is decided again, as
    in `streams.replay`. DipperError for whatever is wrong with what was given.
    """
    load_schedule(config, institution)  # before the long part
    _check(month)
    book = book_of(source, config, partitions=partitions)
    return statement_of(book, institution, month, config)


def statement_of(book: Book, institution: str, month: str, config: Path) -> Statement:
    """Return the statement of a book that was read before: one reading serves all institutions."""
    _check(month)
    schedule = load_schedule(config, institution)
    institutions = load_institutions(config, load_platform(config))
    name = next(each.name for each in institutions if each.id == institution)
    usage = meter(book, institution, schedule.time_zone)
    return make_statement(institution, name, usage, schedule, month, book.known)


def _check(month: str) -> None:
    if not _MONTH.fullmatch(month):
        raise DipperError(f"{month}: no month; write it as 2026-01")
