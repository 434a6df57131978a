"""Policies from files: what loads, and the one sentence that refuses what does not."""

from pathlib import Path

import pytest

from models.policy.errors import PolicyError
from models.policy.platform import load_institutions, load_platform
from models.policy.reasons import BIT
from tests.models.policy.deployments import load, write

LOAN, LINE, BANDS, FLAT, ACME, PLATFORM = (
    "institutions/acme/loan.toml",
    "institutions/acme/line.toml",
    "institutions/acme/bands.csv",
    "institutions/acme/flat.csv",
    "institutions/acme/institution.toml",
    "platform.toml",
)


def test_a_deployment_loads(tmp_path: Path) -> None:
    """Names become codes, policies stand by product and institution, rules keep their order."""
    policies = load(write(tmp_path))
    assert [info.id for info in policies.infos] == ["acme/loan", "acme/line"]
    labels = [rule.label for rule in policies.infos[0].rules[0]]
    assert labels == ["platform.device", "A1", "served"]
    assert policies.infos[0].rules[0][1].reason == "age_out_of_range"
    assert policies.infos[0].rules[0][1].own_reason == "A1"
    assert policies.infos[1].rules == (policies.infos[0].rules[0][:1], ())
    assert list(policies.tables.policies["channels"]) == [0b11, 0b10]
    assert int(policies.tables.rules[0]["reason"]) == 1 << BIT["device_risk"]
    assert (policies.rule_words, policies.candidates_max) == (1, 1)


def test_the_platform_loads(tmp_path: Path) -> None:
    """Limits, key, codes, times and caps come from their files."""
    folder = write(tmp_path)
    platform = load_platform(folder)
    assert platform.limits.offers == 1024
    assert platform.decision_key == bytes.fromhex("00112233445566778899aabbccddeeff")
    assert platform.product_code("line") == 1
    assert platform.product_code("none") == -1
    assert platform.channel_code("own") == 1
    assert platform.apr_ceilings[0].from_at == 1_577_836_800_000
    (acme,) = load_institutions(folder, platform)
    assert (acme.code, acme.id, acme.caps.outstanding_cents) == (0, "acme", 1_000_000)


def test_the_hash_covers_every_file(tmp_path: Path) -> None:
    """A changed byte in a policy, its bands or its institution is another policy; no more is."""
    before = load(write(tmp_path / "a")).infos
    for name, changed in ((LOAN, [0]), (BANDS, [0]), (FLAT, [1]), (ACME, [0, 1]), (LINE, [1])):
        after = load(write(tmp_path / name, {name: ("", "\n")})).infos
        differing = [n for n in (0, 1) if before[n].sha256 != after[n].sha256]
        assert differing == changed, name


TWIN = """name = "twin"
when = "pd_ppm > 5"
reason = "velocity"

[[application.rules]]
name = "twin\""""

# file, text that is replaced, by what, where it is found, what is said
WRONG = [
    # shape
    (LOAN, "offer_hours", "offer_ours", f"{LOAN}:12", "application.offer_ours: unknown field; did"),
    (LOAN, "offer_hours = 24\n", "", f"{LOAN}:3", "application.offer_hours: is missing; add it"),
    (LOAN, "= 24", "= '24'", f"{LOAN}:12", "valid integer"),
    (LOAN, "= 24", "= 0", f"{LOAN}:12", "greater than or equal to 1"),
    (LOAN, "= 24", "24", f"{LOAN}:12", "is not TOML"),
    (LOAN, '"bullet"', '"balloon"', f"{LOAN}:11", "'bullet' or 'equal_instalment'"),
    (LOAN, "[30, 90]", "[]", f"{LOAN}:8", "at least 1 item"),
    (LOAN, "[30, 90]", "[30, 30]", f"{LOAN}:8", "names a tenor twice"),
    (LOAN, "[30, 90]", "30", f"{LOAN}:8", "valid tuple"),
    (LOAN, "= 10_000", "= 600_000", f"{LOAN}:9", "is above amount_cents_max"),
    (LOAN, "partial = true", "partial = true\ncommitment = true", f"{LOAN}:14", "only the app"),
    (LINE, '[drawdown]\nbands = "flat.csv"', "[elsewhere]\nbands = 1", f"{LINE}:13", "unknown fie"),
    # names
    (LOAN, 'product = "loan"', 'product = "lone"', f"{LOAN}:1", "make them equal"),
    (LOAN, 'model = "scores"', 'model = "score"', f"{LOAN}:4", "did you mean scores?"),
    (LOAN, "cut_off_pd_ppm = 100_000\n", "", f"{LOAN}:3", "a model but no cut_off_pd_ppm"),
    (LOAN, 'model = "scores"\n', "", f"{LOAN}:4", "needs a score"),
    (LOAN, '"bands.csv"', '"band.csv"', f"{LOAN}:6", "cannot be read"),
    (LOAN, '"bands.csv"', '"../bands.csv"', f"{LOAN}:6", "in this folder"),
    (LOAN, 'income = "income_cents"', 'income = "region"', f"{LOAN}:7", "is a category"),
    (LOAN, 'income = "income_cents"', 'income = "wage"', f"{LOAN}:7", "unknown column wage"),
    (LOAN, 'income = "income_cents"', 'income = "device_risk"', f"{LOAN}:7", "not be read by this"),
    (LOAN, 'income = "income_cents"\n', "", f"{BANDS}:2", "no income; name the column there"),
    (LOAN, '"region_not_served"', '"too_bad"', f"{LOAN}:24", "unknown reason too_bad"),
    (LOAN, '"region_not_served"', '"capacity"', f"{LOAN}:24", "the platform sets it itself"),
    (LOAN, '"region_not_served"', '"score_missing"', f"{LOAN}:24", "the platform sets it itself"),
    (
        LOAN,
        'name = "served"',
        TWIN,
        f"{LOAN}:24",
        "a second rule called twin",
    ),
    (LINE, '["own"]', '["owl"]', f"{LINE}:2", "channel owl is unknown; did you mean own?"),
    (LINE, '["own"]', "[]", f"{LINE}:2", "is empty"),
    # rules
    (LOAN, "age_years < 18", "age_year < 18", f"{LOAN}:16", "column 1: unknown column age_year; d"),
    (LOAN, "age_years < 18", "device_risk > 1", f"{LOAN}:16", "may not be read by this instit"),
    (
        LOAN,
        "income_cents < 100_000",
        "pd_ppm.scores >",
        f"{LOAN}:23",
        "column 22: expected",
    ),
    (
        PLATFORM,
        "device_risk > 0.9",
        "device_risk > ",
        f"{PLATFORM}:32",
        "column 15: expected a col",
    ),
    (
        PLATFORM,
        'reason = "device_risk"',
        'reason = "expired"',
        f"{PLATFORM}:33",
        "no rule may give",
    ),
    # bands
    (BANDS, "100000,", "50000,", f"{BANDS}:3", "pd_ppm_max: 50000 is not above 50000"),
    (BANDS, "100000,", "99999,", f"{BANDS}:3", "ends at 99999, below the cut-off 100000"),
    (BANDS, "rate_bps", "rate", f"{BANDS}:1", "rate: unknown column; did you mean rate_bps?"),
    (BANDS, "2000,", "2e3,", f"{BANDS}:3", "rate_bps: '2e3' is not a whole number"),
    (BANDS, "2000,", "-20,", f"{BANDS}:3", "rate_bps: '-20' is not a whole number"),
    (BANDS, "2000,", "200000,", f"{BANDS}:3", "is not within 0 to 100000"),
    (BANDS, "2000,", "", f"{BANDS}:3", "has 5 cells, the header 6"),
    (BANDS, "200000,", "9999,", f"{BANDS}:3", "9999 is below amount_cents_min of loan.toml"),
    (BANDS, "5000,30", "5000,29", f"{BANDS}:3", "29 allows none of tenors_days"),
    (BANDS, "rate_bps,fee_bps", "rate_bps;fee_bps", f"{BANDS}:1", "unknown column"),
    (BANDS, "pd_ppm_max,rate_bps,fee_bps", "pd_ppm_max,rate_bps,rate_bps", f"{BANDS}:1", "twice"),
    (FLAT, "1000000,", "900000,", f"{FLAT}:2", "without a model there is one band up to 1000000"),
    # platform and institution
    (PLATFORM, 'side = "consumer"', 'side = "other"', f"{PLATFORM}:8", "'consumer' or 'business'"),
    (PLATFORM, 'id = "line"', 'id = "loan"', f"{PLATFORM}:11", "loan stands twice"),
    (PLATFORM, "offers", "offer", f"{PLATFORM}:4", "unknown limit; did you mean offers?"),
    (PLATFORM, "1024", "1000", f"{PLATFORM}:3", "a power of two is needed"),
    (PLATFORM, "00112233", "0011223", f"{PLATFORM}:1", "should match pattern"),
    (PLATFORM, '"acme"', '"acne"', f"{PLATFORM}:21", "no institution acne; did you mean acme?"),
    (PLATFORM, "2020-01-01", "'2020'", f"{PLATFORM}:24", "valid date"),
    (ACME, 'id = "acme"', 'id = "acne"', f"{ACME}:1", "in the folder acme; make them equal"),
    (ACME, "age_out_of_range", "age", f"{ACME}:9", "unknown reason age"),
    (ACME, "outstanding_cents = 1", "outstanding_cents = -1", f"{ACME}:5", "greater than or equal"),
    # cases
    (LOAN, "band = 0", "band = 1", f"{LOAN}:26", 'the case "plain" fails: band is 0, expected 1'),
    (LOAN, '"approved"', '"credit"', f"{LOAN}:26", "outcome is approved, expected credit"),
    (LOAN, "band = 0", "reasons = ['no']", f"{LOAN}:32", "unknown reason no"),
    (
        LOAN,
        "{ age_years",
        "{ age_year",
        f"{LOAN}:31",
        "unknown column age_year; did you mean age_years?",
    ),
    (LOAN, "age_years = 30", "region = 'west'", f"{LOAN}:31", "'west' is no value of the category"),
    (LOAN, "age_years = 30", "age_years = 'x'", f"{LOAN}:31", "'x' is not a number"),
    (LOAN, "pd_ppm = 20_000", "channel = 'web'", f"{LOAN}:30", "unknown channel web"),
    (LOAN, "pd_ppm = 20_000", "scores = { z = 1 }", f"{LOAN}:30", "unknown model z"),
    (LOAN, "pd_ppm = 20_000", "section = 'drawdown'", f"{LOAN}:30", "the policy has no drawdown"),
]


@pytest.mark.parametrize(("name", "old", "new", "place", "said"), WRONG)
def test_what_is_wrong_is_refused_in_one_sentence(
    tmp_path: Path, name: str, old: str, new: str, place: str, said: str
) -> None:
    """One wrong line refuses the whole load, and the error names file, line, field and remedy."""
    with pytest.raises(PolicyError) as caught:
        load(write(tmp_path, {name: (old, new)}))
    sentence = str(caught.value)
    assert said in sentence
    assert f"{tmp_path / place}" in sentence
    assert "\n" not in sentence


def test_bands_may_state_where_they_begin(tmp_path: Path) -> None:
    """With pd_ppm_min, a gap or an overlap between bands is refused."""
    head = "pd_ppm_min,pd_ppm_max,rate_bps,fee_bps,limit_cents,limit_income_bps,tenor_days_max\n"
    for begin, said in ((50_001, ""), (50_002, "leaves a gap"), (50_000, "overlaps")):
        folder = write(tmp_path / str(begin))
        rows = f"0,50000,1000,100,400000,10000,90\n{begin},100000,2000,100,200000,5000,30\n"
        (folder / BANDS).write_text("\ufeff" + head + rows)  # as spreadsheets save it
        if said:
            with pytest.raises(PolicyError, match=said):
                load(folder)
        else:
            assert len(load(folder).infos) == 2


def test_a_drawdown_belongs_to_lines(tmp_path: Path) -> None:
    """A line without [drawdown] and a loan with one are refused."""
    folder = write(tmp_path)
    line, loan = folder / LINE, folder / LOAN
    head, drawdown = line.read_text().split("[drawdown]")
    line.write_text(head)
    with pytest.raises(PolicyError, match=r"line is a line; add a \[drawdown\] section"):
        load(folder)
    line.write_text(head + "[drawdown]" + drawdown)
    loan.write_text(loan.read_text() + "[drawdown]" + drawdown)
    with pytest.raises(PolicyError, match="drawdown: loan is no line; remove the section"):
        load(folder)


def test_a_file_of_no_product_is_refused(tmp_path: Path) -> None:
    """A policy file whose name is no product is a slip, not a file to overlook."""
    folder = write(tmp_path)
    (folder / "institutions/acme/lone.toml").write_text("")
    with pytest.raises(PolicyError, match=r"lone.toml: no product lone; did you mean loan\?"):
        load(folder)


def test_a_folder_without_institution_is_refused(tmp_path: Path) -> None:
    """A folder under institutions without institution.toml is refused."""
    folder = write(tmp_path)
    (folder / "institutions/zeta").mkdir()
    with pytest.raises(PolicyError, match=r"has no institution\.toml; add it"):
        load(folder)


def test_another_institutions_channel_is_refused(tmp_path: Path) -> None:
    """A policy cannot reach into a channel that belongs to another institution."""
    folder = write(tmp_path)
    other = folder / "institutions/zeta"
    other.mkdir()
    for name in ("institution.toml", "line.toml", "flat.csv"):
        text = (folder / "institutions/acme" / name).read_text()
        (other / name).write_text(text.replace("acme", "zeta"))
    with pytest.raises(PolicyError, match="channel own is another institution's"):
        load(folder)
