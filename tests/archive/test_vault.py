"""The vault: what is sealed opens again, until its key is destroyed, and then never."""

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.archive.vault import ErasedError, Vault
from streams.errors import DipperError

PLACE = b"topic/0/7"


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    """Give an empty vault."""
    found = Vault(tmp_path / "vault.db")
    yield found
    found.close()


def test_what_is_sealed_opens_also_after_a_restart(vault: Vault, tmp_path: Path) -> None:
    """A text comes back from its owner's key, which stands in the file, closed to others."""
    owner = vault.owner(b"p1")
    sealed = vault.seal(owner, b"text", PLACE)
    assert sealed is not None
    assert b"text" not in sealed
    vault.commit()
    again = Vault(tmp_path / "vault.db")
    assert again.owner(b"p1") == owner
    assert again.unseal(owner, sealed, PLACE) == b"text"
    again.close()
    assert stat.S_IMODE((tmp_path / "vault.db").stat().st_mode) == 0o600


def test_a_text_opens_with_its_own_key_in_its_own_place_only(vault: Vault) -> None:
    """Another applicant's key, another place and a changed byte open nothing."""
    one, other = vault.owner(b"p1"), vault.owner(b"p2")
    sealed = vault.seal(one, b"text", PLACE)
    assert sealed is not None
    assert vault.seal(other, b"text", PLACE) not in {None, sealed}
    wrong = [(other, sealed, PLACE), (one, sealed, b"elsewhere"), (one, b"x" + sealed[1:], PLACE)]
    for owner, text, place in wrong:
        with pytest.raises(DipperError, match="does not open with its key"):
            vault.unseal(owner, text, place)
    with pytest.raises(DipperError, match="has no key of"):
        vault.unseal(vault.owner(b"p3"), sealed, PLACE)


def test_a_destroyed_key_is_gone_for_good(vault: Vault, tmp_path: Path) -> None:
    """Nothing opens any more, nothing new is sealed, and the key's bytes leave the file."""
    owner = vault.owner(b"p1")
    sealed = vault.seal(owner, b"text", PLACE)
    vault.commit()
    (key,) = vault._database.execute("select key from keys where owner = ?", (owner,)).fetchone()
    assert key in (tmp_path / "vault.db").read_bytes()
    assert sealed is not None
    assert vault.erase(b"p1")
    assert not vault.erase(b"p1")
    assert key not in (tmp_path / "vault.db").read_bytes()
    vault.close()
    again = Vault(tmp_path / "vault.db")
    with pytest.raises(ErasedError):
        again.unseal(owner, sealed, PLACE)
    assert again.seal(owner, b"more", PLACE) is None
    again.close()
