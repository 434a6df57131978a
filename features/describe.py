"""The catalog as a data frame, for people: the live worker does not load this module."""

import polars as pl

from features.catalog import Catalog
from streams.limits import DAY_MS


def describe(catalog: Catalog) -> pl.DataFrame:
    """Return the catalog as a frame, one row a column of the vector, in order."""
    rows = [
        {
            "column": column,
            "name": feature.name,
            "unit": feature.unit,
            "source": feature.source,
            "aggregate": feature.aggregate,
            "kinds": ", ".join(feature.kinds),
            "window_days": feature.window_ms / DAY_MS if feature.window_ms else None,
            "numerator": feature.numerator,
            "denominator": feature.denominator,
            "missing": feature.missing,
            "monotone": feature.monotone,
            "owner": feature.owner,
            "readers": ", ".join(feature.readers),
            "definition_hash": catalog.definition_hashes[feature.name],
        }
        for column, feature in enumerate(catalog.features)
    ]
    return pl.DataFrame(rows, schema_overrides={"window_days": pl.Float64})
