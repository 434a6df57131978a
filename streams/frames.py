"""Outputs as data frames: what stands on each topic, typed, one row a record."""

import io
from pathlib import Path

import polars as pl

_CODES = pl.List(pl.String())
_CANDIDATE = pl.Struct(
    {
        "institution": pl.String(),
        "policy": pl.String(),
        "outcome": pl.String(),
        "reasons": _CODES,
        "pd_ppm": pl.Int64(),
        "apr_bps": pl.Int64(),
    }
)
_CANDIDATES = pl.List(_CANDIDATE)
DECISIONS = pl.Schema(
    {
        "id": pl.String(),
        "applicant": pl.String(),
        "request": pl.String(),
        "type": pl.String(),
        "at": pl.Int64(),
        "product": pl.String(),
        "channel": pl.String(),
        "line": pl.String(),
        "outcome": pl.String(),
        "institution": pl.String(),
        "amount_cents": pl.Int64(),
        "rate_bps": pl.Int64(),
        "fee_cents": pl.Int64(),
        "apr_bps": pl.Int64(),
        "tenor_days": pl.Int64(),
        "instalment_cents": pl.Int64(),
        "method": pl.String(),
        "expires_at": pl.Int64(),
        "reasons": _CODES,
        "candidates": _CANDIDATES,
        "manifest": pl.String(),
        "partition": pl.Int64(),
        "offset": pl.Int64(),
    }
)
FUNDING = pl.Schema(
    {
        "type": pl.String(),
        "institution": pl.String(),
        "cap": pl.String(),
        "decision": pl.String(),
        "seq": pl.Int64(),
        "at": pl.Int64(),
        "amount_cents": pl.Int64(),
        "free_cents": pl.Int64(),
        "reserved_cents": pl.Int64(),
        "drawn_cents": pl.Int64(),
        "overdrawn_cents": pl.Int64(),
        "partition": pl.Int64(),
    }
)
DEAD_LETTERS = pl.Schema(
    {
        "reason": pl.String(),
        "position": pl.Int64(),
        "topic": pl.String(),
        "partition": pl.Int64(),
        "offset": pl.Int64(),
        "field": pl.String(),
        "remedy": pl.String(),
        "value_bytes": pl.Int64(),
        "key_base64": pl.String(),
        "value_base64": pl.String(),
    }
)


def read_lines(source: Path | bytes, schema: pl.Schema) -> pl.DataFrame:
    """Return JSON Lines of one of the schemas here as a frame; absent fields are null."""
    data = source if isinstance(source, bytes) else source.read_bytes()
    if not data:
        return pl.DataFrame(schema=schema)
    return pl.read_ndjson(io.BytesIO(data), schema=schema)
