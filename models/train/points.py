"""Learn a scorecard with optbinning: bins, weights of evidence, a logistic regression, points.

1. Bin each feature so that the bad rate moves with it as the catalog says, and only one way or over
one peak where the catalog is silent. 2. Keep features that say something (information value) and
more than bins fitted to noise would, and the better of two that say the same. 3. Regress the
outcome on the weights of evidence; a feature whose coefficient has the wrong sign would turn its
bins around, and goes. 4. Scale to points: BASE_POINTS stand for odds of ODDS good to one bad, and
PDO more points double them. Points are rounded to whole numbers, so that the sum is exact.
"""

import warnings
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import ModelError
from models.scorecard import HEADER, MISSING, CardFeature, compile_scorecard
from models.train.learnt import Learnt
from models.train.split import Part

BASE_POINTS, ODDS, PDO = 600, 50, 20
IV_MIN = 0.02  # below, a feature says nothing (Siddiqi, "Credit Risk Scorecards", 2006)
SAME_MIN = 0.8  # correlation of weights of evidence above which two features say the same
FEATURES_MAX = 20
BIN_SHARE_MIN = 0.05
BIN_OUTCOMES_MIN = 5
"""Bads and goods in a bin: with fewer its weight of evidence is noise, or infinite."""
PREBINS = 20
CHANCE_FREE, CHANCE_HELD = 36.0, 12.0
"""How far the best bins of noise get in 99 of 100 cases: chi-squared with a degree of freedom less
than PREBINS where the bad rate is free; about a third of that, as tried, where it must move one
way."""
_TREND = {1: "ascending", -1: "descending", 0: "auto"}


def learn_scorecard(
    parts: Sequence[Part],
    features: Sequence[str],
    categorical: Sequence[str],
    monotone: Sequence[int],
) -> Learnt:
    """Learn from the first part. `monotone`: per feature 1 where more is riskier, -1 where less,
    0 free. Raises ModelError where optbinning is not there, or no feature says anything.
    """
    library = _library()
    learn = parts[0]
    hints = dict(zip(features, monotone, strict=True))
    with warnings.catch_warnings():
        # optbinning says "future" of its own use of pandas and scikit-learn; not ours to mend.
        warnings.simplefilter("ignore")
        frame = library.pandas.DataFrame(learn.X, columns=list(features))
        kept = _select(library, frame, learn, categorical, hints)
        card = library.optbinning.Scorecard(
            _binning(library, frame, learn.bad, kept, categorical, hints),
            library.regression(max_iter=1_000),
            scaling_method="pdo_odds",
            scaling_method_params={"pdo": PDO, "odds": ODDS, "scorecard_points": BASE_POINTS},
            rounding=True,
        ).fit(frame[kept], learn.bad.astype(np.int64), sample_weight=learn.weights)
        expected = [
            np.asarray(card.score(library.pandas.DataFrame(part.X, columns=list(features))[kept]))
            for part in parts[2:]
        ]
        table = card.table("detailed")
        rows = [_bins(card, table, name) for name in kept]
    columns = [list(features).index(name) for name in kept]
    return Learnt(
        kind="scorecard",
        trainer="optbinning",
        body=render_scorecard(rows),
        tables=compile_scorecard(rows, columns),
        features=kept,
        expected=expected,
        falls=True,
        trees=0,
        settings={"base_points": BASE_POINTS, "odds": ODDS, "pdo": PDO, "iv_min": IV_MIN},
        tried=[],
        drivers=[_driver(table, row, parts[-1].X[:, column])
                 for row, column in zip(rows, columns, strict=True)],
    )  # fmt: skip


def render_scorecard(features: Sequence[CardFeature]) -> bytes:
    """Write features as the CSV that `models.scorecard.parse_scorecard` reads back the same."""
    lines = [",".join(HEADER)]
    for feature in features:
        lines.append(f"{feature.name},{MISSING},,{feature.missing_points}")
        ends = [*(repr(start) for start in feature.starts[1:]), ""]
        starts = ["", *ends[:-1]]
        lines += [
            f"{feature.name},{start},{end},{points}"
            for start, end, points in zip(starts, ends, feature.points, strict=True)
        ]
    return ("\n".join(lines) + "\n").encode()


def _library() -> SimpleNamespace:
    """Import what only scorecards need: seconds, and hundreds of megabytes on disk."""
    try:
        import optbinning  # noqa: PLC0415
        import pandas as pandas_  # noqa: ICN001, PLC0415
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    except ImportError as error:
        raise ModelError(
            f"scorecard: {error.name} is not installed; run: pip install 'dipper[scorecard]'."
        ) from error
    return SimpleNamespace(optbinning=optbinning, pandas=pandas_, regression=LogisticRegression)


def _binning(
    library: SimpleNamespace,
    frame: Any,
    bad: NDArray[np.bool_],
    names: Sequence[str],
    categorical: Sequence[str],
    hints: Mapping[str, int],
) -> Any:
    """Return the binning of features `names`, not yet fitted."""
    fit: dict[str, dict[str, Any]] = {}
    transform: dict[str, dict[str, Any]] = {}
    for name in names:
        fit[name] = {
            "min_bin_n_event": BIN_OUTCOMES_MIN,
            "min_bin_n_nonevent": BIN_OUTCOMES_MIN,
            "min_bin_size": BIN_SHARE_MIN,
        }
        if name not in categorical:
            fit[name]["monotonic_trend"] = _TREND[hints[name]]
        missing = bad[np.isnan(frame[name].to_numpy())]
        # Missing weighs what was seen of it; hardly seen, it weighs nothing either way.
        enough = min(missing.sum(), (~missing).sum()) >= BIN_OUTCOMES_MIN
        transform[name] = {"metric_missing": "empirical" if enough else 0}
    return library.optbinning.BinningProcess(
        list(names),
        max_n_prebins=PREBINS,
        categorical_variables=[name for name in categorical if name in names] or None,
        binning_fit_params=fit,
        binning_transform_params=transform,
    )


def _select(
    library: SimpleNamespace,
    frame: Any,
    learn: Part,
    categorical: Sequence[str],
    hints: Mapping[str, int],
) -> list[str]:
    """Return the features of the card, the most informative first."""
    bad, outcome = learn.bad, learn.bad.astype(np.int64)
    binning = _binning(library, frame, bad, list(frame.columns), categorical, hints)
    binning.fit(frame, outcome, sample_weight=learn.weights)
    told = binning.summary().set_index("name")["iv"].astype(float)
    # Of equal value the catalog's first, whatever the sort does.
    order = sorted(told.index, key=lambda name: (-told[name], list(frame.columns).index(name)))
    evidence = binning.transform(frame, metric="woe")
    kept: list[str] = []
    for name in order:
        chance = CHANCE_HELD if hints[name] else CHANCE_FREE
        if name in categorical:
            freedom = max(1, len(frame[name].dropna().unique()) - 1)
            chance = freedom + 2.33 * (2 * freedom) ** 0.5  # 99 % of chi-squared, nearly
        # Information value of noise is chi-squared times this.
        chance *= 1 / learn.weight[bad].sum() + 1 / learn.weight[~bad].sum()
        if told[name] < max(IV_MIN, chance) or len(kept) == FEATURES_MAX:
            continue
        column = evidence[name].to_numpy()
        others = (abs(np.corrcoef(column, evidence[k].to_numpy())[0, 1]) for k in kept)
        if column.std() > 0 and all(other <= SAME_MIN for other in others):
            kept.append(name)
    while kept:
        model = library.regression(max_iter=1_000).fit(
            evidence[kept], outcome, sample_weight=learn.weights
        )
        worst = int(model.coef_[0].argmax())
        # Evidence rises with good outcomes, so the odds of bad must fall with it.
        if model.coef_[0][worst] < 0:
            return kept
        kept.pop(worst)
    raise ModelError(
        f"scorecard: none of {len(order)} features tells bad from good (information value of"
        f" {IV_MIN} or more); take other features or more rows."
    )


def _bins(card: Any, table: Any, name: str) -> CardFeature:
    """Return the bins of one feature, with limits as exact as they were learnt."""
    learnt = card.binning_process_.get_binned_variable(name)
    points = [int(value) for value in table.loc[table["Variable"] == name, "Points"]]
    missing = points[-1]
    if learnt.dtype != "categorical":
        starts = [-np.inf, *(float(split) for split in learnt.splits)]
        return CardFeature(name, missing, starts, points[: len(starts)])
    # Codes of categories are whole numbers: each its own bin, and what was never seen is missing.
    by_code = {
        int(code): points[place] for place, group in enumerate(learnt.splits) for code in group
    }
    starts, own = [-np.inf], [missing]
    for code in sorted(by_code):
        if starts[-1] != code:
            starts.append(float(code))
            own.append(by_code[code])
        else:
            own[-1] = by_code[code]
        starts.append(float(code + 1))
        own.append(missing)
    return CardFeature(name, missing, starts, own)


def _driver(table: Any, feature: CardFeature, values: NDArray[np.float64]) -> dict[str, Any]:
    own = table[table["Variable"] == feature.name]
    place = np.searchsorted(feature.starts, np.nan_to_num(values), side="right") - 1
    points = np.where(np.isnan(values), feature.missing_points, np.array(feature.points)[place])
    return {
        "feature": feature.name,
        # Of a sum of parts, a part's distance from its mean is its exact SHAP value.
        "shap_mean_abs": float(np.abs(points - points.mean()).mean() * np.log(2) / PDO),
        "iv": float(own["IV"].sum()),
        "coefficient": float(own["Coefficient"].iloc[0]),
        "points_least": int(min(points.min(), *feature.points)),
        "points_most": int(max(points.max(), *feature.points)),
    }
