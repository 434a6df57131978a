"""Who may propose and sign: `people.toml` of a deployment, one Ed25519 public key a person.

A private key is a file of its owner's; it never stands in the deployment.
"""

import base64
import binascii
from pathlib import Path
from typing import Annotated

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, TypeAdapter, ValidationError

from models.policy.documents import Document, Listed, Name, read_document, suggestion
from streams.change.files import PLATFORM
from streams.control.keys import make_private_key, parse_private_key
from streams.errors import DipperError

PEOPLE_FILE = "people.toml"


class Person(Document):
    """A person: the institution that it signs for, or `platform`; its public key in base64."""

    name: Name
    institution: Name = PLATFORM
    key: Annotated[str, Field(min_length=44, max_length=44)]

    @property
    def public(self) -> Ed25519PublicKey:
        """Return the key."""
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(self.key, validate=True))


class _PeopleDocument(Document):
    people: Listed[Person] = ()


def load_people(config: Path) -> dict[str, Person]:
    """Return the people of a deployment by name; DipperError where one is wrong or stands twice.

    Two names with one key would let a person sign its own change, so that is refused.
    """
    path = config / PEOPLE_FILE
    if not path.is_file():
        raise DipperError(f"{path}: no such file; list who may sign, see dipper change key")
    document, text = read_document(path, _PeopleDocument)
    known: dict[str, Person] = {}
    for place, person in enumerate(document.people):
        try:
            _ = person.public
        except (ValueError, binascii.Error):
            what = "is no Ed25519 public key in base64; take the line that `change key` prints"
            raise text.fault(("people", place, "key"), what) from None
        if person.name in known:
            raise text.fault(("people", place, "name"), f"{person.name} stands twice; remove one")
        for other in known.values():
            if other.key == person.key:
                what = f"is {other.name}'s key too; each person has a key of its own"
                raise text.fault(("people", place, "key"), what)
        known[person.name] = person
    return known


def one_person(people: dict[str, Person], name: str) -> Person:
    """Return a person by name; DipperError where there is none."""
    if name not in people:
        raise DipperError(f"{PEOPLE_FILE} has no {name}; {suggestion(name, tuple(people))}")
    return people[name]


def make_key(path: Path) -> str:
    """Write a new private key that only its owner can read; return the public one in base64."""
    try:
        key = make_private_key(path)
    except FileExistsError:
        raise DipperError(f"{path} exists already; a key is never overwritten") from None
    except OSError as error:
        raise DipperError(f"{path}: cannot be written ({error.strerror})") from None
    return public_text(key)


def make_entry(path: Path, institution: str) -> str:
    """Write a new private key to NAME.pem; return the lines of NAME for `people.toml`, as TOML.

    DipperError, and nothing written, where NAME or `institution` is no name.
    """
    for name in (path.stem, institution):
        try:
            TypeAdapter(Name).validate_python(name)
        except ValidationError:
            message = f"{name}: no name; take lower-case letters, digits and _, as in anna.pem"
            raise DipperError(message) from None
    public = make_key(path)
    return (
        "# add to people.toml of the deployment\n"
        f'[[people]]\nname = "{path.stem}"\ninstitution = "{institution}"\nkey = "{public}"\n'
    )


def read_key(path: Path) -> Ed25519PrivateKey:
    """Return a private key that `make_key` wrote; DipperError where it is none."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DipperError(f"{path}: cannot be read ({error.strerror})") from None
    return parse_private_key(data, path, "dipper change key")


def public_text(key: Ed25519PrivateKey) -> str:
    """Return the public key in base64, as it stands in `people.toml`."""
    raw = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()


def is_signed(person: Person, signature: str, text: bytes) -> bool:
    """Return whether `signature` (base64) is this person's under `text`."""
    try:
        person.public.verify(base64.b64decode(signature, validate=True), text)
    except (InvalidSignature, ValueError, binascii.Error):
        return False
    return True
