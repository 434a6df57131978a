"""A live deployment with people who may sign, their keys, and a log to replay."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from streams.change.people import PEOPLE_FILE, make_key
from streams.config import load_deployment
from tests.deployment import make_deployment
from tests.streams.lives import LIMITS, write_lives

PEOPLE = {"anna": "dawn", "bert": "dawn", "carl": "north", "dora": "platform", "emil": "platform"}


class Desk(NamedTuple):
    """A deployment that is live, a copy of dawn's folder to work on, keys by name, and a log."""

    live: Path
    draft: Path
    keys: dict[str, Path]
    events: Path


@pytest.fixture(scope="session")
def office(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """Make them once."""
    folder = tmp_path_factory.mktemp("office")
    live = make_deployment(folder / "live", LIMITS)
    events = folder / "events.jsonl"
    write_lives(events, load_deployment(live), applicants=60)
    keys, lines = {}, []
    for name, institution in PEOPLE.items():
        keys[name] = folder / f"{name}.pem"
        public = make_key(keys[name])
        lines.append(f'[[people]]\nname = "{name}"\nkey = "{public}"\n')
        if institution != "platform":
            lines.append(f'institution = "{institution}"\n')
    (live / PEOPLE_FILE).write_text("".join(lines))
    return Desk(live, folder, keys, events)


@pytest.fixture
def desk(office: Desk, tmp_path: Path) -> Desk:
    """Give a copy that a test may change."""
    shutil.copytree(office.live, tmp_path / "live")
    shutil.copytree(office.live / "institutions" / "dawn", tmp_path / "dawn")
    return Desk(tmp_path / "live", tmp_path / "dawn", office.keys, office.events)


def replace(path: Path, old: str, new: str) -> None:
    """Change one place of a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
