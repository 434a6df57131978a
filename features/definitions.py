"""What a catalog is made of: attributes, signals, feature rows, and the hashes of the rows.

A definition hash covers all that can change a feature's value and nothing else, so that a model
keeps its binding when a row changes owner, and loses it when the row begins to mean something else.
"""

import hashlib
import math
from typing import Annotated, Literal, Self

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from streams.limits import IDLE_MS, TOKEN_BYTES_MAX

MEANING = 1
"""Version of what the kernels compute: raised when it changes and no row does."""

ANY_KIND = "*"
WINDOW_MS_MAX = IDLE_MS
"""Two years: an applicant without events for longer retires, and no window sees past that."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=TOKEN_BYTES_MAX)]
Source = Literal["attribute", "request", "applicant", "signal", "window", "ratio", "loans", "lines"]
Monotone = Literal[-1, 0, 1]


def _not_infinite(value: float) -> float:
    if math.isinf(value):
        message = "infinity is no value; give a number or nan"
        raise ValueError(message)
    return value


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Attribute(_Frozen):
    """What an application may say of its applicant: a number, or one of `values` (its index)."""

    name: Name
    unit: str
    type: Literal["number", "category"] = "number"
    values: tuple[str, ...] = ()
    owner: str = "platform"
    readers: tuple[str, ...] = ("all",)
    monotone: Monotone = 0

    @model_validator(mode="after")
    def _values_fit_type(self) -> Self:
        problem = ""
        if self.type == "category" and not self.values:
            problem = "a category needs values"
        elif self.type == "number" and self.values:
            problem = "a number has no values"
        elif len(set(self.values)) != len(self.values):
            problem = "values repeat"
        if problem:
            raise ValueError(problem)
        return self


class Signal(_Frozen):
    """A fact that a partner or bureau sends; the latest counts until it is older than `ttl_ms`."""

    source: Name
    name: Name
    ttl_ms: Annotated[int, Field(gt=0, le=10 * WINDOW_MS_MAX)]
    unit: str = "value"
    owner: str = "platform"
    readers: tuple[str, ...] = ("all",)
    monotone: Monotone = 0

    @property
    def column(self) -> str:
        """Return the name of the column with its value; `_age_days` follows for its age."""
        return f"{self.source}_{self.name}"


class Feature(_Frozen):
    """One row of the catalog, one column of the vector.

    `aggregate` says what is taken: of a window one of `features.tables.AGGREGATES`; of request,
    applicant, loans and lines one of their facts; of a signal "value" or "age_days". `of` names the
    attribute or the signal (by its column). A ratio divides two earlier columns. `missing` stands
    where there is no value (NaN: say so). `monotone` hints how risk moves with the value: 1 up, -1
    down, 0 unknown.
    """

    name: Name
    unit: str
    source: Source
    aggregate: str = ""
    of: str = ""
    kinds: tuple[str, ...] = ()
    window_ms: Annotated[int, Field(ge=0, le=WINDOW_MS_MAX)] = 0
    numerator: str = ""
    denominator: str = ""
    missing: Annotated[float, AfterValidator(_not_infinite)] = math.nan
    owner: str = "platform"
    readers: tuple[str, ...] = ("all",)
    monotone: Monotone = 0


def attribute_feature(attribute: Attribute) -> Feature:
    """Return the column that an attribute has by being declared."""
    return Feature(
        name=attribute.name,
        unit=attribute.unit,
        source="attribute",
        of=attribute.name,
        owner=attribute.owner,
        readers=attribute.readers,
        monotone=attribute.monotone,
    )


def signal_features(signal: Signal) -> tuple[Feature, Feature]:
    """Return the two columns that a signal has by being declared: its value and its age."""
    value = Feature(
        name=signal.column,
        unit=signal.unit,
        source="signal",
        aggregate="value",
        of=signal.column,
        owner=signal.owner,
        readers=signal.readers,
        monotone=signal.monotone,
    )
    age = Feature(
        name=f"{signal.column}_age_days",
        unit="days",
        source="signal",
        aggregate="age_days",
        of=signal.column,
        owner=signal.owner,
        readers=signal.readers,
    )
    return value, age


def definition_hash(
    feature: Feature,
    attributes: dict[str, Attribute],
    signals: dict[str, Signal],
    earlier: dict[str, str],
) -> str:
    """Return the hex sha256 of what `feature` means.

    `attributes` by name, `signals` by column, `earlier` the hashes of the columns before it by
    name: a ratio means what its two columns mean, an attribute its type and values, a signal its
    time to live.
    """
    definition: dict[str, object] = {
        "meaning": MEANING,
        "name": feature.name,
        "unit": feature.unit,
        "source": feature.source,
        "aggregate": feature.aggregate,
        "kinds": sorted(feature.kinds),
        "window_ms": feature.window_ms,
        "missing": None if math.isnan(feature.missing) else feature.missing,
    }
    if feature.source == "attribute":
        attribute = attributes[feature.of]
        definition["of"] = [attribute.name, attribute.type, list(attribute.values)]
    elif feature.source == "signal":
        signal = signals[feature.of]
        definition["of"] = [signal.source, signal.name, signal.ttl_ms]
    elif feature.source == "ratio":
        definition["of"] = [earlier[feature.numerator], earlier[feature.denominator]]
    return hashlib.sha256(orjson.dumps(definition, option=orjson.OPT_SORT_KEYS)).hexdigest()
