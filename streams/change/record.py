"""Changes of a deployment as they stand on disk: what was proposed, by whom, and who signed.

`changes/<id>/` of the deployment: `change.json`, `files/` as they become, `before/` as they were,
`figures.json` of the replay. The id is the hash of what is signed, which names every file by its
hash: nothing can be altered afterwards, and whoever signs signs the impact, too.
"""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streams.change.files import PLATFORM, is_fees, outside, owners, sha256
from streams.change.life import State, Step, after
from streams.change.people import Person, is_signed, load_people, one_person, public_text
from streams.errors import DipperError
from streams.versions import copy_file

CHANGES_FOLDER = "changes"
ID_DIGITS = 16
_PROPOSE, _SIGN = b"dipper change propose\n", b"dipper change sign\n"


@dataclass
class Change:
    """One change. `body` is what was signed; `signatures` by name; `history`: step, by whom."""

    folder: Path
    body: dict[str, Any]
    author_signature: str
    signatures: dict[str, str] = field(default_factory=dict)
    history: list[tuple[str, str]] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Return its name: the hash of what was signed."""
        return change_id(self.body)

    @property
    def author(self) -> str:
        """Return who proposed it."""
        return str(self.body["author"])

    @property
    def paths(self) -> list[str]:
        """Return the files that it changes."""
        return sorted(self.body["becomes"])

    @property
    def state(self) -> State:
        """Return where it stands."""
        state = State.PROPOSED
        for step, _ in self.history:
            state = after(state, Step(step))
        return state

    def save(self) -> None:
        """Write `change.json`, whole or not at all."""
        record = {
            "body": self.body,
            "author_signature": self.author_signature,
            "signatures": self.signatures,
            "history": self.history,
        }
        path = self.folder / "change.json"
        scratch = path.with_suffix(".new")
        scratch.write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")
        scratch.replace(path)


def canonical(body: dict[str, Any]) -> bytes:
    """Return the bytes that are hashed and signed."""
    return orjson.dumps(body, option=orjson.OPT_SORT_KEYS)


def change_id(body: dict[str, Any]) -> str:
    """Return the id of a change with this body."""
    return hashlib.sha256(canonical(body)).hexdigest()[:ID_DIGITS]


def parties(paths: list[str]) -> set[str]:
    """Return who must put a name to a change: whose files it touches; of fees the platform too."""
    return owners(paths) | ({PLATFORM} if any(is_fees(path) for path in paths) else set())


def load_change(config: Path, id: str) -> Change:
    """Return a change; DipperError where there is none or its record was altered."""
    folder = config / CHANGES_FOLDER / id
    try:
        record = orjson.loads((folder / "change.json").read_bytes())
        history = [(str(step), str(who)) for step, who in record["history"]]
        change = Change(
            folder, record["body"], record["author_signature"], record["signatures"], history
        )
        whole = change.id == folder.name
    except OSError:
        known = ", ".join(each.id for each in load_changes(config)) or "none"
        raise DipperError(f"{config} has no change {id}; known are {known}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise DipperError(f"{folder}/change.json is no record of a change: {error!r}") from None
    if not whole:
        raise DipperError(f"{folder} was altered after it was proposed; propose it again")
    return change


def load_changes(config: Path) -> Iterator[Change]:
    """Yield the changes of a deployment, in order of their ids."""
    root = config / CHANGES_FOLDER
    for path in sorted(root.glob("*/change.json")) if root.is_dir() else ():
        yield load_change(config, path.parent.name)


def enter(
    config: Path, body: dict[str, Any], key: Ed25519PrivateKey, after_folder: Path, figures: bytes
) -> Change:
    """Write a new change with the files of `after_folder`, signed by its author."""
    author = signer(config, body["author"], key, body["becomes"])
    folder = config / CHANGES_FOLDER / change_id(body)
    if folder.exists():
        raise DipperError(f"{folder} stands already: this very change was proposed before")
    for path, digest in body["becomes"].items():
        if digest:
            copy_file(after_folder / path, folder / "files" / path)
    folder.mkdir(parents=True, exist_ok=True)
    if figures:
        (folder / "figures.json").write_bytes(figures)
    change = Change(folder, body, _signature(key, _PROPOSE, body))
    assert is_signed(author, change.author_signature, _PROPOSE + canonical(body))
    change.save()
    return change


def signer(config: Path, name: str, key: Ed25519PrivateKey, paths: Any) -> Person:
    """Return the person who holds `key`; DipperError where it is another's, or where the files are
    none of the person's business.
    """
    person = one_person(load_people(config), name)
    if person.key != public_text(key):
        raise DipperError(f"the key is not {name}'s, as it stands in people.toml")
    concerned = parties(list(paths))
    if person.institution not in concerned:
        raise DipperError(
            f"{name} signs for {person.institution}; this change is for"
            f" {' and '.join(sorted(concerned))} to sign"
        )
    return person


def sign(config: Path, id: str, name: str, key: Ed25519PrivateKey) -> Change:
    """Sign a change as a second person; DipperError where it is the author or another may not."""
    change = load_change(config, id)
    if name == change.author:
        raise DipperError(f"{name} proposed it, and nobody signs their own; ask a second person")
    after(change.state, Step.SIGN)
    signer(config, name, key, change.paths)
    _check_whole(change)
    change.signatures[name] = _signature(key, _SIGN, change.body)
    if not missing(config, change):
        change.history.append((Step.SIGN, name))
    change.save()
    return change


def missing(config: Path, change: Change) -> list[str]:
    """Return what a change still lacks, in words; empty where it may go live."""
    people = load_people(config)
    text = canonical(change.body)
    author = one_person(people, change.author)
    if not is_signed(author, change.author_signature, _PROPOSE + text):
        return [f"a good signature of its author {change.author}"]
    good = [
        people[name]
        for name, signature in change.signatures.items()
        if name in people and name != author.name and people[name].key != author.key
        if is_signed(people[name], signature, _SIGN + text)
    ]
    lacking = [] if good else ["the signature of a second person"]
    present = {person.institution for person in (author, *good)}
    return lacking + [f"a signature for {name}" for name in sorted(parties(change.paths) - present)]


def publish(config: Path, id: str, name: str) -> Change:
    """Put a signed change in the place of what is live; DipperError, and nothing changed, where it
    may not. Dying on the way leaves a change that is signed; publish it again.
    """
    change = load_change(config, id)
    begun = change.state in {State.PROPOSED, State.SIGNED}
    if begun and (lacking := missing(config, change)):
        raise DipperError(f"change {id} is not for publishing: it lacks {' and '.join(lacking)}")
    after(change.state, Step.PUBLISH)
    _check_whole(change)
    base, becomes = change.body["base"], change.body["becomes"]
    for path in change.paths:
        if sha256(config / path) not in {base[path], becomes[path]}:
            raise DipperError(
                f"{path} is no longer as it was when change {id} was proposed; propose it again on"
                " what is live now"
            )
    for path in change.paths:
        if base[path] and sha256(config / path) == base[path]:
            copy_file(config / path, change.folder / "before" / path)
    _put(config, change.folder / "files", becomes)
    change.history.append((Step.PUBLISH, name))
    change.save()
    for other in _sharing(config, change, State.LIVE):
        other.history.append((Step.REPLACE, change.id))
        other.save()
    return change


def roll_back(config: Path, id: str, name: str) -> Change:
    """Put back what a live change replaced; it was signed when it went live itself."""
    change = load_change(config, id)
    after(change.state, Step.BACK)
    base, becomes = change.body["base"], change.body["becomes"]
    for path in change.paths:
        if sha256(config / path) not in {base[path], becomes[path]}:
            raise DipperError(f"{path} has changed since; roll that change back first")
        if base[path] and sha256(change.folder / "before" / path) != base[path]:
            raise DipperError(f"{change.folder}/before/{path} was altered; take it from a backup")
    _put(config, change.folder / "before", base)
    change.history.append((Step.BACK, name))
    change.save()
    for other in _sharing(config, change, State.ARCHIVED):
        stands = all(sha256(config / p) == other.body["becomes"][p] for p in other.paths)
        if stands and other.history[-1] == (Step.REPLACE, change.id):
            other.history.append((Step.RESTORE, change.id))
            other.save()
    return change


def withdraw(config: Path, id: str, name: str) -> Change:
    """Take a change back that has not gone live."""
    change = load_change(config, id)
    after(change.state, Step.WITHDRAW)
    change.history.append((Step.WITHDRAW, name))
    change.save()
    return change


def _check_whole(change: Change) -> None:
    """DipperError where a file of the change is not what was signed, or leads elsewhere."""
    for path in outside(change.paths):
        raise DipperError(f"change {change.id} would write {path}, which has no versions")
    for path, digest in change.body["becomes"].items():
        if sha256(change.folder / "files" / path) != digest:
            raise DipperError(f"{change.folder / 'files' / path} is not what was proposed")


def _sharing(config: Path, change: Change, state: State) -> list[Change]:
    return [
        other
        for other in load_changes(config)
        if other.id != change.id and other.state is state and set(other.paths) & set(change.paths)
    ]


def _put(config: Path, source: Path, hashes: dict[str, str]) -> None:
    for path, digest in hashes.items():
        if digest:
            scratch = (config / path).with_name(f".{Path(path).name}.new")
            copy_file(source / path, scratch)
            scratch.replace(config / path)
        else:
            (config / path).unlink(missing_ok=True)


def _signature(key: Ed25519PrivateKey, purpose: bytes, body: dict[str, Any]) -> str:
    return base64.b64encode(key.sign(purpose + canonical(body))).decode()
