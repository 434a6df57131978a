"""Keys of control events."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from streams.control.keys import init_keys, load_private_key, load_public_key, verifier
from streams.control.records import signed, tick
from streams.errors import DipperError


def test_only_its_owner_reads_the_private_key(tmp_path: Path) -> None:
    """The private key is made with mode 0600, and is refused once others may read it."""
    private, _ = init_keys(tmp_path)
    assert private.stat().st_mode & 0o777 == 0o600
    load_private_key(tmp_path)
    private.chmod(0o640)
    with pytest.raises(DipperError, match="chmod 600"):
        load_private_key(tmp_path)


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    """Making keys where some stand is refused, and leaves them as they are."""
    private, public = init_keys(tmp_path)
    before = private.read_bytes(), public.read_bytes()
    with pytest.raises(DipperError, match="exists already"):
        init_keys(tmp_path)
    assert (private.read_bytes(), public.read_bytes()) == before


def test_only_the_signers_own_bytes_verify(tmp_path: Path) -> None:
    """A signature holds for the exact bytes and the key that made it, and for nothing else."""
    init_keys(tmp_path / "ours")
    init_keys(tmp_path / "theirs")
    record = signed(tick(0, 1, 1_700_000_000_000), load_private_key(tmp_path / "ours").sign)
    verify = verifier(load_public_key(tmp_path / "ours"))
    assert verify(record)
    assert not verifier(load_public_key(tmp_path / "theirs"))(record)
    for at in range(len(record)):
        changed = bytearray(record)
        changed[at] ^= 1
        assert not verify(bytes(changed)), f"byte {at} may be changed"


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{}",
        b'{"type":"tick"}',
        b'{"type":"tick","signature":""}',
        b'{"type":"tick","signature":"####"}',
        b'{"type":"tick","signature":"AAAA"}',
        b'{"type":"tick","signature":"AAAA"',
    ],
)
def test_what_bears_no_signature_is_false_and_no_error(tmp_path: Path, value: bytes) -> None:
    """Anything at all may be verified; without a whole signature the answer is no."""
    init_keys(tmp_path)
    assert not verifier(load_public_key(tmp_path))(value)


def test_missing_and_wrong_keys_are_named(tmp_path: Path) -> None:
    """Each fault of a key file is one sentence with its path."""
    with pytest.raises(DipperError, match=r"control\.pub.*dipper control init"):
        load_public_key(tmp_path)
    private, public = init_keys(tmp_path)
    public.write_text("no key")
    with pytest.raises(DipperError, match=r"control\.pub.*PEM"):
        load_public_key(tmp_path)
    other = rsa.generate_private_key(65537, 2048)
    private.write_bytes(
        other.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    with pytest.raises(DipperError, match=r"control\.key is no Ed25519 key"):
        load_private_key(tmp_path)
