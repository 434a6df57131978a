"""The tokens of a log's requests, for lists that are asked again: evidence does not keep them."""

from pathlib import Path

import numpy as np
import orjson
import polars as pl

from models.policy.tokens import TOKEN, TOKENS, hash_texts
from streams.buffers import Array
from streams.control.records import Caps
from streams.deployment import Deployment
from streams.sources import open_source

_REQUESTS = (b'"application"', b'"drawdown"')
_NO_CAPS: Caps = {}


def read_tokens(
    events: str | Path | pl.DataFrame, ids: pl.DataFrame, deployment: Deployment
) -> Array:
    """Return TOKEN[n, TOKENS] of the requests that `ids` names (applicant, request), hashed for the
    lists of `deployment`.

    Of a request that stands twice in the log the first counts, as it did when it was decided. Where
    no list is asked the log is not read.
    """
    if not len(deployment.policies.tables.listed):
        return no_tokens()
    wanted = {pair: row for row, pair in enumerate(ids.select("applicant", "request").iter_rows())}
    where: list[tuple[int, int]] = []
    texts: list[bytes] = []
    source = open_source(events, None, _NO_CAPS, deployment.platform.decision_key)
    for placed in source.records():
        value = placed.record.value or b""
        if not any(word in value for word in _REQUESTS):
            continue
        try:
            event = orjson.loads(value)
        except orjson.JSONDecodeError:
            continue
        if not isinstance(event, dict):
            continue
        row = wanted.pop((event.get("applicant"), event.get("id")), None)
        if row is None:
            continue
        for kind, name in enumerate(TOKENS):
            if isinstance(text := event.get(name), str) and text:
                where.append((row, kind))
                texts.append(text.encode())
    tokens = np.zeros((len(ids), len(TOKENS)), TOKEN)
    if texts:
        rows, kinds = np.array(where).T
        tokens[rows, kinds] = hash_texts(deployment.policies.tables.token_key, texts)
    return tokens


def no_tokens() -> Array:
    """Return what stands for tokens where no list is asked."""
    return np.zeros((0, len(TOKENS)), TOKEN)
