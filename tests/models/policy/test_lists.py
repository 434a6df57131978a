"""Lists of tokens: what loads, what is refused, and what a rule that asks one comes to."""

from pathlib import Path

import numpy as np
import pytest

from models.policy.cases import run_cases
from models.policy.errors import PolicyError
from models.policy.lists import NEVER, Entry, build_listed, is_listed, read_list
from models.policy.platform import load_institutions, load_platform
from models.policy.policies import Policies
from models.policy.tokens import TOKENS, hash_texts
from streams.codec.hashing import key_words
from tests.models.policy.deployments import COLUMNS, MODELS, load, write

LOAN, LINE, PLATFORM = "institutions/acme/loan.toml", "institutions/acme/line.toml", "platform.toml"
LIST = "institutions/acme/blocked.csv"
HEAD = "kind,token,expires,note\n"
NAMED = '[lists]\nblocked = "blocked.csv"\n\n[application]\nmodel'
RULE = """

[[application.rules]]
name = "blocked"
when = "{when}"
reason = "device_risk"
"""
CASE = """
[[cases]]
name = "asked"
amount_cents = 100_000
tenor_days = 30
pd_ppm = 20_000
{at}
features = {{ age_years = 30, income_cents = 300_000 }}
tokens = {{ {tokens} }}
expect = {{ outcome = "{outcome}", rules = [{rules}] }}
"""


def write_list(folder: Path, text: str, when: str = "request on blocked", cases: str = "") -> Path:
    """Write the deployment with a list that acme's loan asks."""
    write(folder, {LOAN: ("[application]\nmodel", NAMED)})
    (folder / LIST).write_text(text)
    policy, _, _ = (folder / LOAN).read_text().partition("[[cases]]")
    (folder / LOAN).write_text(policy + RULE.format(when=when) + cases)
    return folder


# when the rule fires; day of the request; its tokens; whether the rule fires
ASKED = """
device on blocked        | -          | device=d1            | yes
device on blocked        | -          | device=d2            | no
device on blocked        | -          | phone=d1             | no
device on blocked        | -          | -                    | no
device not on blocked    | -          | device=d2            | yes
device not on blocked    | -          | device=d1            | no
device not on blocked    | -          | phone=f9             | no
not (device on blocked)  | -          | -                    | yes
phone on blocked         | 2026-12-31 | phone=f1             | yes
phone on blocked         | 2027-01-01 | phone=f1             | no
phone on blocked         | -          | phone=f1             | no
request on blocked       | -          | bank_account=北      | yes
request on blocked       | -          | id_doc=北            | no
request on blocked       | -          | applicant=p1,phone=x | yes
request not on blocked   | -          | phone=x              | yes
request not on blocked   | -          | phone=x,device=d1    | no
applicant on blocked and age_years > 60 | - | applicant=p1   | no
"""


@pytest.mark.parametrize("row", ASKED.strip().splitlines())
def test_a_rule_asks_a_list(tmp_path: Path, row: str) -> None:
    """A list is asked by kind of token and by the request's day; the answer stands in the mask."""
    when, day, told, wanted = (part.strip() for part in row.split("|"))
    pairs = [] if told == "-" else [each.split("=") for each in told.split(",")]
    case = CASE.format(
        at="" if day == "-" else f"at = {day}",
        tokens=", ".join(f'{name} = "{token}"' for name, token in pairs),
        outcome="fraud" if wanted == "yes" else "approved",
        rules='"blocked"' if wanted == "yes" else "",
    )
    entries = "device,d1,,lost\nphone,f1,2027-01-01,\napplicant,p1,,\nbank_account,北,,\n"
    folder = write_list(tmp_path, HEAD + entries, when, case)
    policies = load(folder)
    platform = load_platform(folder)
    result = run_cases(policies, 0, platform, COLUMNS, MODELS)[-1]
    assert not result.differences
    assert load_institutions(folder, platform)


# text of the list, where it is at fault, what is said
WRONG = [
    ("", "blocked.csv: is empty", "write the header kind,token,expires,note"),
    ("kind;token\n", "blocked.csv:1", "save it with commas"),
    ("kind,tokens\n", "blocked.csv:1: tokens", "did you mean token?"),
    ("kind,kind,token\n", "blocked.csv:1: kind", "stands twice in the header"),
    ("kind\n", "blocked.csv:1: token", "is missing in the header"),
    ("kind,token\ndevice,d1,x\n", "blocked.csv:2", "has 3 cells, the header 2"),
    ("kind,token\ndevise,d1\n", "blocked.csv:2: kind", "did you mean device?"),
    ("kind,token\ndevice,\n", "blocked.csv:2: token", "has 0 bytes"),
    (f"kind,token\nphone,f\napplicant,{'p' * 41}\n", "blocked.csv:3: token", "1 to 40 can stand"),
    ("kind,token\ndevice,d1\nphone,d1\ndevice,d1\n", "blocked.csv:4: token", "stands on line 2"),
    (HEAD + "device,d1,31.12.2026,\n", "blocked.csv:2: expires", "write it as 2027-03-31"),
    (HEAD + 'device,"d1,,\n', "blocked.csv:2", "is not CSV"),
]


@pytest.mark.parametrize(("text", "place", "said"), WRONG)
def test_a_wrong_list_is_refused_in_one_sentence(
    tmp_path: Path, text: str, place: str, said: str
) -> None:
    """One wrong line of a list refuses the whole load, and the error names line and column."""
    with pytest.raises(PolicyError) as caught:
        load(write_list(tmp_path, text))
    sentence = str(caught.value)
    assert place in sentence
    assert said in sentence
    assert "\n" not in sentence


# what stands in the policy, what is said of it
MISNAMED = [
    (("request on blocked", "request on block"), "unknown list block; did you mean blocked?"),
    (("request on blocked", "device == 4"), "device is a token; ask a list for it"),
    (("request on blocked", "age_years on blocked"), "expected in or between, found on"),
    (('"blocked.csv"', '"../blocked.csv"'), "must name a .csv file in"),
    (('"blocked.csv"', '"gone.csv"'), "gone.csv cannot be read"),
]


@pytest.mark.parametrize(("change", "said"), MISNAMED)
def test_a_list_is_named_right(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    """A rule can ask a list that is declared, for a token; its file stands beside the policy."""
    folder = write_list(tmp_path, HEAD)
    path = folder / LOAN
    assert change[0] in path.read_text()
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(PolicyError) as caught:
        load(folder)
    assert said in str(caught.value)
    assert LOAN in str(caught.value)


def test_spreadsheets_may_save_a_list(tmp_path: Path) -> None:
    """A mark at the start, blank lines, blank columns and line ends of a spreadsheet change
    nothing.
    """
    path = tmp_path / "any.csv"
    plain = read_list(path, b"kind,token,expires\ndevice,d1,2027-01-01\nphone,f1,\n")
    saved = "\ufeffkind,token,expires,,\r\ndevice, d1 ,2027-01-01,,\r\n,,,,\r\nphone,f1,,,\r\n"
    assert read_list(path, saved.encode()) == plain
    assert plain == (Entry(1, b"d1", 1_798_761_600_000), Entry(2, b"f1", NEVER))


def _sha256(policies: Policies) -> list[str]:
    return [info.sha256 for info in policies.infos]


def test_the_hash_covers_lists(tmp_path: Path) -> None:
    """A changed entry is another policy for those that name the list, or another platform."""
    before = _sha256(load(write_list(tmp_path / "a", HEAD + "device,d1,,\n")))
    after = _sha256(load(write_list(tmp_path / "b", HEAD + "device,d2,,\n")))
    assert before[0] != after[0]
    assert before[1] == after[1]
    platforms = set()
    for token in ("d1", "d2"):
        folder = write(
            tmp_path / token, {PLATFORM: ("[limits]", '[lists]\nours = "o.csv"\n[limits]')}
        )
        (folder / "lists").mkdir()
        (folder / "lists" / "o.csv").write_text(f"kind,token\ndevice,{token}\n")
        platforms.add(load_platform(folder).sha256)
    assert len(platforms) == 2


@pytest.mark.kernel
def test_a_full_table_is_searched_to_its_end() -> None:
    """Each entry of three lists is found in its own list, as its own kind, until its day."""
    texts = [f"t{n}".encode() for n in range(300)]
    lists = [
        [Entry(n % len(TOKENS), text, 50 + n) for n, text in enumerate(texts) if n % 3 == row]
        for row in range(3)
    ]
    key = key_words(bytes(range(16)))
    listed = build_listed(lists, key)
    hashes = hash_texts(key, texts)
    for n in range(len(texts)):
        for row in range(3):
            for kind in range(len(TOKENS)):
                lo, hi = hashes[n]["lo"], hashes[n]["hi"]
                found = [is_listed(listed, row, kind, lo, hi, at) for at in (49 + n, 50 + n)]
                here = row == n % 3 and kind == n % len(TOKENS)
                assert found == [here, False]
    assert np.count_nonzero(listed["list"] >= 0) == 300
