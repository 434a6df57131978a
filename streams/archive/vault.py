"""Keys of applicants: the archive holds payloads under them, and to erase is to destroy one.

A SQLite file. An applicant is known in it, and in the archive, by a keyed hash of its token only;
the hash's own secret stands in the file too, so whoever has the file has everything: keep it apart
from the archive, and back it up elsewhere. A destroyed key leaves its row, empty, so that what was
erased is told from what was lost; the file's pages that held it are overwritten. Backups of the
file must be destroyed by whoever made them.
"""

import hashlib
import os
import secrets
import sqlite3
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streams.errors import DipperError

OWNER_BYTES = 16
_NONCE_BYTES = 12
_SCHEMA = """
create table if not exists secret (value blob not null);
create table if not exists keys (owner blob primary key, key blob) without rowid;
"""


class ErasedError(Exception):
    """The key was destroyed on purpose: what stands under it can never be read again."""


class Vault:
    """A key per applicant, made on first sight. Use as a context; one process writes at a time."""

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Made with its mode, not changed afterwards.
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(path, check_same_thread=False)
            self._database.execute("pragma secure_delete = on")
            self._database.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise DipperError(f"{path} cannot be used as a vault: {error}") from error
        with self._database:
            row = self._database.execute("select value from secret").fetchone()
            if row is None:
                row = (secrets.token_bytes(32),)
                self._database.execute("insert into secret values (?)", row)
        self._secret: bytes = row[0]
        self._ciphers: dict[bytes, AESGCM | None] = {}

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def owner(self, applicant: bytes) -> bytes:
        """Return what stands for an applicant in the archive: 16 bytes."""
        return hashlib.blake2b(applicant, key=self._secret, digest_size=OWNER_BYTES).digest()

    def seal(self, owner: bytes, text: bytes, place: bytes) -> bytes | None:
        """Encrypt under the owner's key, made if need be; None where that was destroyed.

        AES-256-GCM under a nonce at random, which stands first; `place` is bound to the text.
        """
        cipher = self._cipher(owner, make=True)
        if cipher is None:
            return None
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + cipher.encrypt(nonce, text, place)

    def unseal(self, owner: bytes, sealed: bytes, place: bytes) -> bytes:
        """Decrypt; `ErasedError` where the key was destroyed, `DipperError` where it is not here
        or the text is another's.
        """
        cipher = self._cipher(owner, make=False)
        if cipher is None:
            raise ErasedError
        try:
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], place)
        except InvalidTag as error:
            raise DipperError(
                "an archived record does not open with its key: it has been changed, or the vault "
                "is another archive's"
            ) from error

    def erase(self, applicant: bytes) -> bool:
        """Destroy an applicant's key for good; False where it had none.

        Whoever is erased stays erased: later records of the same token are kept without a payload.
        """
        owner = self.owner(applicant)
        with self._database:
            known = self._database.execute("select key from keys where owner = ?", (owner,))
            row = known.fetchone()
            self._database.execute("insert or replace into keys values (?, null)", (owner,))
        self._ciphers[owner] = None
        return row is not None and row[0] is not None

    def is_erased(self, owner: bytes) -> bool:
        """Say whether the owner's key was destroyed."""
        row = self._database.execute("select key from keys where owner = ?", (owner,)).fetchone()
        return row is not None and row[0] is None

    def commit(self) -> None:
        """Make new keys durable: call it before what stands under them is."""
        self._database.commit()

    def _cipher(self, owner: bytes, *, make: bool) -> AESGCM | None:
        if owner not in self._ciphers:
            row = self._database.execute(
                "select key from keys where owner = ?", (owner,)
            ).fetchone()
            if row is None:
                if not make:
                    raise DipperError(
                        f"the vault has no key of {owner.hex()}; is it this archive's?"
                    )
                row = (secrets.token_bytes(32),)
                self._database.execute("insert into keys values (?, ?)", (owner, *row))
            self._ciphers[owner] = None if row[0] is None else AESGCM(row[0])
        return self._ciphers[owner]
