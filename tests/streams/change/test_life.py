"""The life of a version: the table, who may sign what, what is refused, the way back."""

import re
import shutil
from dataclasses import replace as with_
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from streams.change import life
from streams.change.files import versioned
from streams.change.life import NEXT, State, Step, after
from streams.change.pack import make_pack
from streams.change.people import PEOPLE_FILE, load_people, make_entry, make_key, read_key
from streams.change.propose import Draft, propose
from streams.change.record import (
    Change,
    load_change,
    missing,
    publish,
    roll_back,
    sign,
    withdraw,
)
from streams.cli import app
from streams.errors import DipperError
from tests.streams.change.conftest import Desk, replace


def test_the_table_is_what_stands_in_words() -> None:
    """The table in the module's docstring and the one that decides are the same, cell by cell."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in (life.__doc__ or "").splitlines()
        if line.strip().startswith("|")
    ]
    told = {
        (State(row[0]), Step(name)): State(cell)
        for row in rows[2:]
        for name, cell in zip(rows[0][1:], row[1:], strict=True)
        if cell
    }
    assert told == NEXT
    assert {row[0] for row in rows[2:]} == set(State)
    assert set(rows[0][1:]) == set(Step)
    for state in State:
        for step in Step:
            if (state, step) not in NEXT:
                with pytest.raises(DipperError, match=f"is {state}, which has no step {step}"):
                    after(state, step)


def _draft(desk: Desk, author: str = "anna") -> Draft:
    return Draft(
        draft=desk.draft, live=desk.live, author=author, key=desk.keys[author],
        why="fewer losses", events=str(desk.events), groups=("age_years:40",),
    )  # fmt: skip


def _stricter(desk: Desk) -> Change:
    replace(desk.draft / "cash_line.toml", "cut_off_pd_ppm = 150_000", "cut_off_pd_ppm = 50_000")
    cases = desk.draft / "cash_line.toml"
    replace(cases, "pd_ppm = 70_000", "pd_ppm = 49_000")
    replace(cases, "band = 2, amount_cents = 540_000", "band = 1, amount_cents = 720_000")
    return propose(_draft(desk))


def _fees(desk: Desk, author: str = "anna") -> Change:
    replace(desk.draft / "fees.toml", "funded_cents = 50", "funded_cents = 40")
    return propose(with_(_draft(desk, author), events=""))


def test_a_refused_draft_is_named_as_its_author_knows_it(desk: Desk) -> None:
    """A fault in a draft's file is told with the path that was proposed, not with a copy's."""
    path = desk.draft / "cash_line.toml"
    replace(path, "cut_off_pd_ppm = 150_000", "cut_off_pd_ppm = -1")
    for draft in (desk.draft, path):
        with pytest.raises(DipperError, match=f"^{re.escape(str(path))}:\\d+: ") as told:
            propose(with_(_draft(desk), draft=draft))
        assert "dipper-study" not in str(told.value)


def test_the_lines_of_a_new_key_are_read_where_they_are_pasted(tmp_path: Path) -> None:
    """What `change key` prints, of an institution and of the platform, is a whole people.toml; a
    name that could not stand there makes no key.
    """
    printed = ""
    for args in (["anna.pem", "--institution", "dawn"], ["dora.pem"]):
        result = CliRunner().invoke(app, ["change", "key", str(tmp_path / args[0]), *args[1:]])
        assert result.exit_code == 0, result.output
        printed += result.output
    (tmp_path / PEOPLE_FILE).write_text(printed)
    people = load_people(tmp_path)
    assert {name: each.institution for name, each in people.items()} == {
        "anna": "dawn",
        "dora": "platform",
    }
    for name, institution in (("Anna B", "dawn"), ("carl", "")):
        with pytest.raises(DipperError, match="no name; take lower-case letters"):
            make_entry(tmp_path / f"{name}.pem", institution)
        assert not (tmp_path / f"{name}.pem").exists()


def _sign(desk: Desk, change: Change, name: str) -> Change:
    return sign(desk.live, change.id, name, read_key(desk.keys[name]))


def test_a_change_goes_live_and_back(desk: Desk) -> None:
    """Proposed, signed by a second person, published, rolled back: the files follow, and all that
    is not in the change stays.
    """
    before = versioned(desk.live)
    change = _stricter(desk)
    assert change.body["impact"]["flipped_to_decline"] > 0
    assert (
        change.body["impact"]["approval_rate_after"]
        < (change.body["impact"]["approval_rate_before"])
    )
    assert missing(desk.live, change) == ["the signature of a second person"]
    with pytest.raises(DipperError, match="lacks the signature of a second person"):
        publish(desk.live, change.id, "anna")
    assert versioned(desk.live) == before
    assert _sign(desk, change, "bert").state is State.SIGNED
    assert publish(desk.live, change.id, "anna").state is State.LIVE
    path = "institutions/dawn/cash_line.toml"
    now = versioned(desk.live)
    assert {name for name in now if now[name] != before[name]} == {path}
    assert now[path] == change.body["becomes"][path]
    assert roll_back(desk.live, change.id, "bert").state is State.ARCHIVED
    assert versioned(desk.live) == before


def test_the_next_change_archives_the_last_and_gives_it_back(desk: Desk) -> None:
    """A change of the same files archives the one before; rolled back, that one is live again."""
    first = _fees(desk)
    _sign(desk, first, "dora")
    publish(desk.live, first.id, "anna")
    replace(desk.draft / "fees.toml", "funded_cents = 40", "funded_cents = 30")
    second = propose(with_(_draft(desk), events=""))
    _sign(desk, second, "emil")
    publish(desk.live, second.id, "anna")
    assert load_change(desk.live, first.id).state is State.ARCHIVED
    with pytest.raises(DipperError, match="is archived, which has no step back"):
        roll_back(desk.live, first.id, "anna")
    roll_back(desk.live, second.id, "anna")
    assert load_change(desk.live, first.id).state is State.LIVE


def test_nobody_signs_their_own(desk: Desk) -> None:
    """The author is refused by name; under a second name with the same key by the list itself."""
    change = _fees(desk)
    with pytest.raises(DipperError, match="nobody signs their own"):
        _sign(desk, change, "anna")
    people = desk.live / PEOPLE_FILE
    anna = load_people(desk.live)["anna"]
    people.write_text(people.read_text() + f'[[people]]\nname = "ann"\nkey = "{anna.key}"\n')
    with pytest.raises(DipperError, match="is anna's key too"):
        sign(desk.live, change.id, "ann", read_key(desk.keys["anna"]))


@pytest.mark.parametrize(
    ("name", "key", "sentence"),
    [
        ("carl", "carl", "carl signs for north; this change is for dawn to sign"),
        ("dora", "dora", "dora signs for platform; this change is for dawn to sign"),
        ("bert", "carl", "the key is not bert's"),
        ("zoe", "carl", "people.toml has no zoe"),
    ],
)
def test_a_stranger_cannot_sign(desk: Desk, name: str, key: str, sentence: str) -> None:
    """Another institution, the platform, another's key and nobody at all are refused."""
    change = _stricter(desk)
    with pytest.raises(DipperError, match=sentence):
        sign(desk.live, change.id, name, read_key(desk.keys[key]))
    assert load_change(desk.live, change.id).signatures == {}


def test_fees_are_signed_by_both_sides(desk: Desk) -> None:
    """A schedule is a contract: a second person of the same side alone is not enough."""
    change = _fees(desk)
    assert _sign(desk, change, "bert").state is State.PROPOSED
    assert missing(desk.live, load_change(desk.live, change.id)) == ["a signature for platform"]
    assert _sign(desk, change, "dora").state is State.SIGNED


def test_a_withdrawn_change_has_ended(desk: Desk) -> None:
    """What was withdrawn can be neither signed nor published."""
    change = _fees(desk)
    assert withdraw(desk.live, change.id, "anna").state is State.WITHDRAWN
    with pytest.raises(DipperError, match="it has ended"):
        _sign(desk, change, "dora")
    with pytest.raises(DipperError, match="it has ended"):
        publish(desk.live, change.id, "anna")


def test_what_was_signed_cannot_be_altered(desk: Desk) -> None:
    """A file, the record or a signature that was touched after signing is refused at publishing."""
    change = _fees(desk)
    _sign(desk, change, "dora")
    folder, before = change.folder, versioned(desk.live)
    file, record = folder / "files/institutions/dawn/fees.toml", folder / "change.json"
    kept = {path: path.read_bytes() for path in (file, record)}
    for path, old, new, sentence in (
        (file, b"funded_cents = 40", b"funded_cents = 41", "is not what was proposed"),
        (record, b"fewer losses", b"lower losses", "was altered after it was proposed"),
    ):
        path.write_bytes(kept[path].replace(old, new))
        with pytest.raises(DipperError, match=sentence):
            publish(desk.live, change.id, "anna")
        path.write_bytes(kept[path])
    told = orjson.loads(kept[record])
    told["signatures"] = {"dora": told["author_signature"]}
    record.write_bytes(orjson.dumps(told))
    with pytest.raises(DipperError, match="lacks the signature of a second person"):
        publish(desk.live, change.id, "anna")
    assert versioned(desk.live) == before


def test_what_is_live_may_not_have_moved_on(desk: Desk) -> None:
    """Where another hand changed a file meanwhile, the comparison is no longer true: refused."""
    change = _fees(desk)
    _sign(desk, change, "dora")
    path = desk.live / "institutions/dawn/fees.toml"
    replace(path, "bps = 45", "bps = 44")
    with pytest.raises(DipperError, match="no longer as it was when change"):
        publish(desk.live, change.id, "anna")
    assert "bps = 44" in path.read_text()


def test_publishing_again_ends_what_was_begun(desk: Desk, tmp_path: Path) -> None:
    """Died between two files, a change is published again to the same end, and goes back whole."""
    before = versioned(desk.live)
    replace(desk.draft / "fees.toml", "funded_cents = 50", "funded_cents = 40")
    change = _stricter(desk)
    for name in ("bert", "dora"):
        _sign(desk, change, name)
    assert len(change.paths) == 2
    path = change.paths[0]
    (change.folder / "before" / path).parent.mkdir(parents=True)
    for one in change.paths:
        shutil.copyfile(desk.live / one, change.folder / "before" / one)
    shutil.copyfile(change.folder / "files" / path, desk.live / path)
    publish(desk.live, change.id, "anna")
    now = versioned(desk.live)
    assert all(now[one] == change.body["becomes"][one] for one in change.paths)
    roll_back(desk.live, change.id, "anna")
    assert versioned(desk.live) == before


@pytest.mark.parametrize(
    ("file", "old", "new", "events", "sentence"),
    [
        ("cash_line.csv", "30001,", "30005,", True, "leaves a gap"),
        ("cash_line.toml", "cut_off_pd_ppm = 150_000", "cut_off_pd_ppm = 10_000", True, "case"),
        ("fees.toml", "above_cents = 1_000_000_000", "above_cents = 9", False, "overlaps the tier"),
        ("cash_line.toml", "offer_hours = 72", "offer_hours = 71", False, "is replayed before"),
        ("cash_line.toml", "# Two", "# Two", True, "is live already"),
    ],
)
def test_a_wrong_draft_is_not_proposed(
    desk: Desk, file: str, old: str, new: str, events: bool, sentence: str
) -> None:
    """A gap, a case that fails, fees with a gap, no replay, no change: refused, nothing written."""
    replace(desk.draft / file, old, new)
    with pytest.raises(DipperError, match=sentence):
        propose(with_(_draft(desk), events=str(desk.events) if events else ""))
    assert not (desk.live / "changes").exists()


def test_the_pack_tells_it_all_on_one_page(desk: Desk) -> None:
    """Difference, impact, flips, fairness and signatures stand on a page that asks no network; a
    figure that was altered is refused.
    """
    change = _stricter(desk)
    page = make_pack(desk.live, change.id)
    for words in (
        "the cut-off falls from 15 % to 5 %", "approval rate", "Who flips", "age_years",
        "It lacks the signature of a second person", "fewer losses", change.body["versions"][
            "policy dawn/cash_line"][1][:16], f"{change.body['impact']['flipped_to_decline']:,} to",
    ):  # fmt: skip
        assert words in page, words
    for outside in ("http:", "https:", "src=", "<script", "@import"):
        assert outside not in page
    _sign(desk, change, "bert")
    assert "All signatures stand and are good" in make_pack(desk.live, change.id)
    figures = change.folder / "figures.json"
    figures.write_bytes(figures.read_bytes().replace(b'"requests":', b'"requests": ', 1))
    with pytest.raises(DipperError, match=r"figures\.json is not what was proposed"):
        make_pack(desk.live, change.id)


def test_a_key_is_never_overwritten_and_hidden(tmp_path: Path) -> None:
    """A private key is its owner's alone to read, and a second one does not replace it."""
    path = tmp_path / "k.pem"
    make_key(path)
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(DipperError, match="never overwritten"):
        make_key(path)


def test_the_commands_lead_from_draft_to_live(desk: Desk, tmp_path: Path) -> None:
    """propose, sign, list, pack, publish and back, as people type them."""
    replace(desk.draft / "fees.toml", "funded_cents = 50", "funded_cents = 40")
    live = ["--live", str(desk.live)]

    def run(*words: str) -> str:
        done = CliRunner().invoke(app, list(words))
        assert done.exit_code == 0, (words, done.output, done.exception)
        return done.stdout

    said = run(
        "change", "propose", str(desk.draft), *live, "--as", "anna", "--key",
        str(desk.keys["anna"]), "--why", "agreed",
    )  # fmt: skip
    found = re.search(r"proposed change ([0-9a-f]{16})", said)
    assert found is not None
    id = found[1]
    assert "funded_cents falls from 0.50 to 0.40" in said
    assert "is signed" in run(
        "change", "sign", id, *live, "--as", "dora", "--key", str(desk.keys["dora"])
    )
    assert f"{id}  signed" in run("change", "list", *live)
    run("change", "pack", id, *live, "--out", str(tmp_path / "pack.html"))
    assert id in (tmp_path / "pack.html").read_text()
    assert "is live" in run("institution", "publish", id, *live, "--as", "anna")
    assert "archived" in run("change", "back", id, *live, "--as", "anna")
