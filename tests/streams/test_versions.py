"""Versions of policies and models: prepared, put into force at an offset, gone back to."""

import shutil
from pathlib import Path

import orjson
import pytest

from streams.config import load_deployment
from streams.control.bodies import bodies_of, write_bodies
from streams.deployment import Deployment
from streams.errors import DipperError, VersionError
from streams.limits import SECOND_MS
from streams.replay import ReplayResult, replay
from streams.versions import (
    VERSIONS_FOLDER,
    StoredVersions,
    save_version,
    version_folder,
    with_versions,
)
from tests.naive.deployments import change, versions_of, write_deployment
from tests.naive.logs import START


@pytest.fixture(scope="module")
def versioned(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """A deployment and a second version beside it."""
    root = tmp_path_factory.mktemp("versions")
    config = write_deployment(root / "config")
    (config / "platform.toml").write_text(
        (config / "platform.toml").read_text()
        + "\n[limits]\napplicants = 64\nids = 1024\noffers = 256\ntimers = 1024\n"
    )
    shutil.copytree(config, root / "next")
    save_version(config, change(root / "next"))
    return with_versions(load_deployment(config))


def _told(*told: str | dict[str, str]) -> bytes:
    """Return a file of events: each entry is a line of control, or `ask` for five requests."""
    lines: list[dict[str, object]] = [{"type": "tick", "at": START}]
    number = 0
    for entry in told:
        if isinstance(entry, dict):
            lines.append(dict(entry))
            continue
        for _ in range(5):
            number += 1
            lines.append(
                {
                    "type": "application",
                    "id": f"r{number}",
                    "applicant": f"p{number}",
                    "at": START + number,
                    "product": "instalment_loan",
                    "channel": "app",
                    "amount_cents": 50_000,
                    "tenor_days": 30,
                    "income_cents": 900_000,
                }
            )
        lines.append({"type": "tick", "at": START + number * SECOND_MS})
    return b"\n".join(orjson.dumps(line) for line in lines)


def _decide(deployment: Deployment, folder: Path, *told: str | dict[str, str]) -> ReplayResult:
    """Replay such a file, with large batches and row by row: the bytes must be the same."""
    file = folder / "events.jsonl"
    file.write_bytes(_told(*told))
    whole = replay(file, deployment, partitions=2)
    single = replay(file, deployment, partitions=2, batch_rows=1)
    assert whole.data == single.data
    return whole


def test_a_version_decides_from_its_offset_on_and_can_be_gone_back_from(
    versioned: Deployment, tmp_path: Path
) -> None:
    """Before activate the old policies decide, behind it the new ones, behind the next activate the
    old ones again; every decision names the manifest that decided, in any size of batches.
    """
    (new,) = versions_of(versioned)
    result = _decide(
        versioned, tmp_path, {"type": "prepare", "version": new}, "ask",
        {"type": "activate", "version": new}, "ask",
        {"type": "activate", "version": versioned.version}, "ask",
    )  # fmt: skip
    old = versioned.manifest_hash(2)
    other = versioned.versions.get(new).manifest_hash(2)
    found = {row["request"]: row["manifest"] for row in result.decisions.iter_rows(named=True)}
    wanted = [old] * 5 + [other] * 5 + [old] * 5
    assert [found[f"r{n + 1}"] for n in range(15)] == wanted
    evidence = result.evidence
    assert evidence["decision"].n_unique() == 15
    assert evidence["raw.third"].is_not_null().sum() == 5  # a model that the old version lacks
    assert set(result.candidates["decision"]) == set(evidence["decision"])


def test_a_version_that_nobody_prepared_is_not_put_into_force(
    versioned: Deployment, tmp_path: Path
) -> None:
    """An activate without prepare is a dead letter in each partition and changes nothing; what
    control writes next still counts.
    """
    (new,) = versions_of(versioned)
    result = _decide(versioned, tmp_path, {"type": "activate", "version": new}, "ask")
    assert result.dead_letters["reason"].to_list() == ["not_prepared"] * 2
    assert set(result.decisions["manifest"]) == {versioned.manifest_hash(2)}
    assert len(result.decisions) == 5


def test_a_paused_institution_lends_nothing_until_it_is_resumed(
    versioned: Deployment, tmp_path: Path
) -> None:
    """From pause to resume no offer of the institution is taken, and its candidates say why; the
    next best lends instead.
    """
    told = {"institution": "meadow"}
    result = _decide(
        versioned, tmp_path, "ask", {"type": "pause"} | told, "ask", {"type": "resume"} | told,
        "ask",
    )  # fmt: skip
    who = {row["request"]: row["institution"] for row in result.decisions.iter_rows(named=True)}
    first, second, third = ({who[f"r{n}"] for n in range(k, k + 5)} for k in (1, 6, 11))
    assert first == third
    assert "meadow" in first
    assert "meadow" not in second
    reasons = result.candidates.filter(result.candidates["institution"] == "meadow")["reasons"]
    assert sum("institution_paused" in each.to_list() for each in reasons) == 5


def test_a_version_that_cannot_be_had_is_never_guessed(
    versioned: Deployment, tmp_path: Path
) -> None:
    """Where the folder of a live version is gone, or is not what its name says, there is no
    decision but one sentence.
    """
    (new,) = versions_of(versioned)
    config = tmp_path / "config"
    shutil.copytree(versioned.folder, config)
    mine = with_versions(load_deployment(config))
    file = tmp_path / "events.jsonl"
    told = [{"type": verb, "version": new} for verb in ("prepare", "activate")]
    file.write_bytes(_told(*told, "ask"))
    bands = version_folder(config, new) / "institutions" / "dawn" / "flat_1500.csv"
    text = bands.read_text()
    bands.write_text(text.replace("990", "1"))
    with pytest.raises(VersionError, match="restore its files"):
        replay(file, mine)
    bands.write_text(text)
    assert len(replay(file, mine).decisions) == 5  # as soon as it is there again
    shutil.rmtree(config / VERSIONS_FOLDER)
    with pytest.raises(VersionError, match="dipper control prepare makes it"):
        replay(file, with_versions(load_deployment(config)))


def test_a_version_shares_what_stands_in_state(versioned: Deployment, tmp_path: Path) -> None:
    """A folder with other institutions is refused as a version, in one sentence, and not kept."""
    other = tmp_path / "other"
    shutil.copytree(versioned.folder, other)
    shutil.rmtree(other / "institutions" / "meadow")
    before = versions_of(versioned)
    with pytest.raises(VersionError, match="has other institutions"):
        save_version(versioned.folder, other)
    assert versions_of(versioned) == before


def test_a_version_travels_by_topic(versioned: Deployment, tmp_path: Path) -> None:
    """A worker that has no folder of a version makes it from its records, byte for byte; a body
    that is not what its hash says, or a path out of the folder, is refused.
    """
    (new,) = versions_of(versioned)
    bodies, large = bodies_of(versioned.folder, new)
    assert not large
    config = tmp_path / "config"
    shutil.copytree(versioned.folder, config, ignore=shutil.ignore_patterns(VERSIONS_FOLDER))
    base = load_deployment(config)
    versions = StoredVersions(base, lambda name, folder: write_bodies(bodies, name, folder))
    assert versions.get(new).version == new
    assert bodies_of(config, new)[0] == bodies
    assert not write_bodies({}, new, tmp_path / "none")
    digest = next(key for key in bodies if len(key) == 64)
    with pytest.raises(DipperError, match="is not what its hash says"):
        write_bodies(bodies | {digest: b"junk"}, new, tmp_path / "junk")
    head = orjson.dumps({"files": {"../out": digest.decode()}})
    with pytest.raises(DipperError, match="is not what its hash says"):
        write_bodies(bodies | {new.encode(): head}, new, tmp_path / "junk")


def test_a_version_that_came_after_prepare_is_there_at_activate(
    versioned: Deployment, tmp_path: Path
) -> None:
    """What was not there at prepare, since another process was still fetching it into the same
    folder, is looked for again when it is put into force.
    """
    (new,) = versions_of(versioned)
    config = tmp_path / "config"
    shutil.copytree(versioned.folder, config, ignore=shutil.ignore_patterns(VERSIONS_FOLDER))
    versions = StoredVersions(load_deployment(config))
    versions.prepare(new)
    versions._pool.submit(int).result()  # one thread: what came before is done
    shutil.copytree(version_folder(versioned.folder, new), version_folder(config, new))
    assert versions.get(new).version == new


def test_where_two_processes_fetch_one_version_both_have_it(
    versioned: Deployment, tmp_path: Path
) -> None:
    """Where another process has a version's folder finished first, that one stays and is used."""
    copied = tmp_path / "config"
    shutil.copytree(versioned.folder, copied, ignore=shutil.ignore_patterns(VERSIONS_FOLDER))
    shutil.copytree(copied, tmp_path / "next")
    changed = change(tmp_path / "next")
    version = load_deployment(changed).version

    def late(_version: str, folder: Path) -> bool:
        shutil.copytree(changed, folder, dirs_exist_ok=True)
        save_version(copied, changed)  # the other process, meanwhile
        return True

    assert StoredVersions(load_deployment(copied), late).get(version).version == version
    assert [path.name for path in (copied / VERSIONS_FOLDER).iterdir()] == [version]
