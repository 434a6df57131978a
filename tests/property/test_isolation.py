"""No institution's policy, model, list, cap or pause reaches another, whatever goes live meanwhile.

Each applicant asks once, so that nobody's own history ties one decision to the next; what is left
between institutions is the code that decides, and it must tie nothing.
"""

import shutil
from pathlib import Path

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.catalog import load_catalog
from models.artifact import save_model
from streams.config import load_deployment
from streams.deployment import Deployment
from streams.limits import SECOND_MS
from streams.replay import replay
from streams.versions import save_version, with_versions
from tests.naive.deployments import (
    CARD_FEATURES,
    CARD_STEPS,
    LIMITS,
    RULE,
    SCORECARD,
    write_deployment,
)
from tests.naive.logs import START
from tests.sizes import sized

INSTITUTIONS = ("dawn", "meadow", "north")
PRODUCT = "instalment_loan"
_LISTS = '\n[lists]\nblocked = "blocked.csv"\n'
_VERDICT = ("policy", "outcome", "reasons", "rules", "pd_ppm", "rate_bps", "apr_bps", "band")


def _with_lists(folder: Path) -> Path:
    """Let every institution ask a list of its own, all of one name, on which nobody stands."""
    for name in INSTITUTIONS:
        home = folder / "institutions" / name
        path = home / f"{PRODUCT}.toml"
        rule = RULE.format(section="application", when="applicant on blocked", reason="velocity")
        head, marker, rest = path.read_text().partition("\n[application]")
        path.write_text(
            head + _LISTS + marker + rest + rule.replace("reason", 'name = "b"\nreason')
        )
        (home / "blocked.csv").write_text(f"kind,token\napplicant,{name}-nobody\n")
    return folder


def _all_else(folder: Path, name: str) -> Path:
    """Change all that is one institution's: prices, a rule, its list, its caps, its model."""
    home = folder / "institutions" / name
    for bands in home.glob("*.csv"):
        text = bands.read_text()
        bands.write_text(text.replace(",900,", ",910,").replace(",0,500000", ",7,400000"))
    # Everybody that asks stands on it.
    tokens = "".join(f"applicant,p{n}\n" for n in range(200))
    (home / "blocked.csv").write_text("kind,token\n" + tokens)
    caps = home / "institution.toml"
    caps.write_text(caps.read_text().replace("= 10_000_000_000", "= 0"))
    path = home / f"{PRODUCT}.toml"
    if 'model = "forest"' in path.read_text():
        path.write_text(path.read_text().replace('model = "forest"', 'model = "own"'))
        save_model(
            folder / "models" / "own",
            name="own",
            kind="scorecard",
            model=SCORECARD.encode(),
            calibration=CARD_STEPS,
            features={each: load_catalog(None).definition_hashes[each] for each in CARD_FEATURES},
        )
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Deployment, dict[str, str]]:
    """A deployment, and for each institution a version in which all that is its own is another."""
    root = tmp_path_factory.mktemp("isolation")
    config = _segmented(_with_lists(write_deployment(root / "config")))
    versions = {}
    for name in INSTITUTIONS:
        other = _segmented(_with_lists(write_deployment(root / name)))
        versions[name] = save_version(config, _all_else(other, name))
        shutil.rmtree(other)
    return with_versions(load_deployment(config, LIMITS)), versions


def _segmented(folder: Path) -> Path:
    """Give every institution a cap that never binds; how much it is may change with a version."""
    for name in INSTITUTIONS:
        path = folder / "institutions" / name / "institution.toml"
        path.write_text(
            path.read_text()
            + '\n[[caps.segments]]\nid = "all"\noutstanding_cents = 10_000_000_000\n'
        )
    return folder


def _log(versions: dict[str, str], told: list[dict[str, str]], every: int) -> pl.DataFrame:
    """Return requests of new applicants, and after every few of them what control is told."""
    lines: list[dict[str, object]] = [{"type": "tick", "at": START}]
    lines += [{"type": "prepare", "version": version} for version in versions.values()]
    number = 0
    for entry in [*told, {}]:
        for _ in range(every):
            request: dict[str, object] = {
                "type": "application", "id": "r", "applicant": f"p{number}", "product": PRODUCT,
                "at": START + number, "channel": "app", "tenor_days": 30, "region": "south",
                "amount_cents": 1_000 + 997 * number % 300_000, "income_cents": 900_000,
            }  # fmt: skip
            lines.append(request)
            number += 1
        if entry:
            lines.append(dict(entry))
        lines.append({"type": "tick", "at": START + number * SECOND_MS})
    return pl.DataFrame({"value": [orjson.dumps(line) for line in lines]})


def _verdicts(deployment: Deployment, log: pl.DataFrame, without: str) -> pl.DataFrame:
    """Return what all others said, request by request; who had the best offer is not of it."""
    result = replay(log, deployment, partitions=2)
    names = result.decisions.select(pl.col("id").alias("decision"), "applicant")
    rows = result.candidates.filter(pl.col("institution") != without)
    rows = rows.join(names, on="decision").select("applicant", "institution", *_VERDICT)
    return rows.sort("applicant", "institution")


@settings(max_examples=sized(12), deadline=None)
@given(
    st.sampled_from(INSTITUTIONS),
    st.lists(st.sampled_from(["activate", "back", "pause", "resume"]), min_size=1, max_size=6),
    st.integers(1, 9),
)
@pytest.mark.timeout(900)
def test_what_one_institution_changes_reaches_no_other(
    world: tuple[Deployment, dict[str, str]], name: str, acts: list[str], every: int
) -> None:
    """While one institution's policy, model, list and caps go live and back again, while it is
    paused and resumed, between any two requests, every verdict of the others stays as it is.
    """
    deployment, versions = world
    wanted = {"activate": versions[name], "back": deployment.version}
    told = [
        {"type": act, "institution": name}
        if act in {"pause", "resume"}
        else {"type": "activate", "version": wanted[act]}
        for act in acts
    ]
    quiet = _verdicts(deployment, _log(versions, [{}] * len(told), every), name)
    assert _verdicts(deployment, _log(versions, told, every), name).equals(quiet)
    assert quiet.height > 0


def test_the_change_that_reaches_no_other_is_a_change(
    world: tuple[Deployment, dict[str, str]],
) -> None:
    """In its own version each institution decides otherwise, and each is judged: what the property
    compares is not empty.
    """
    deployment, versions = world
    for name in INSTITUTIONS:
        quiet, loud = (
            replay(_log(versions, told, 20), deployment, partitions=2).candidates.filter(
                pl.col("institution") == name
            )
            for told in ([], [{"type": "activate", "version": versions[name]}])
        )
        changed = loud.filter(pl.col("rules").list.contains("b"))
        assert quiet.height > 0 == quiet.filter(pl.col("rules").list.contains("b")).height
        assert changed.height == 20
        assert (changed["outcome"] != "approved").all()
