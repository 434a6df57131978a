"""Keys of control events."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from streams.control.keys import (
    RETIRED_NAME,
    init_keys,
    load_private_key,
    load_trusted,
    revoke_key,
    rotate_keys,
    trusted_bytes,
    verifier,
)
from streams.control.loans import BATCH_MAX, sign_loans, stamp
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
    verify = verifier(load_trusted(tmp_path / "ours"))
    assert verify(0, record, 0)
    assert not verifier(load_trusted(tmp_path / "theirs"))(0, record, 0)
    for at in range(len(record)):
        changed = bytearray(record)
        changed[at] ^= 1
        assert not verify(0, bytes(changed), 0), f"byte {at} may be changed"


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
    assert not verifier(load_trusted(tmp_path))(0, value, 0)


def test_missing_and_wrong_keys_are_named(tmp_path: Path) -> None:
    """Each fault of a key file is one sentence with its path."""
    with pytest.raises(DipperError, match=r"control\.pub.*dipper control init"):
        load_trusted(tmp_path)
    private, public = init_keys(tmp_path)
    public.write_text("no key")
    with pytest.raises(DipperError, match=r"control\.pub.*PEM"):
        load_trusted(tmp_path)
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


def test_a_batch_of_loan_events_is_signed_as_one(tmp_path: Path) -> None:
    """Each event of a batch verifies alone, whatever the size; a changed byte, another's proof or a
    node in the place of an event does not.
    """
    init_keys(tmp_path)
    key = load_private_key(tmp_path)
    verify = verifier(load_trusted(tmp_path))
    for count in (1, 2, 3, 5, 8, 255, BATCH_MAX):
        bodies = [b'{"type":"loan","id":"%d"}' % n for n in range(count)]
        records = sign_loans(bodies, key.sign)
        assert all(verify(0, record, 0) for record in records)
        assert max(map(len, records)) < 600
        for other in records[1:3]:
            proof = other[other.index(b',"signature"') :]
            assert not verify(0, bodies[0][:-1] + proof, 0)
        changed = bytearray(records[-1])
        for at in range(0, len(changed), 1 + len(changed) // 97):
            changed[at] ^= 1
            assert not verify(0, bytes(changed), 0), f"byte {at} may be changed"
            changed[at] ^= 1
        assert not verify(0, signed(bodies[0], lambda _: key.sign(b"else")), 0)


def test_no_loan_event_passes_for_a_control_event(tmp_path: Path) -> None:
    """The two forms of signature never meet: the root of a batch is no control event's text."""
    init_keys(tmp_path)
    asked: list[bytes] = []

    def sign(text: bytes) -> bytes:
        asked.append(text)
        return load_private_key(tmp_path).sign(text)

    sign_loans([b'{"type":"loan"}', b'{"type":"loan","id":"2"}'], sign)
    assert len(asked) == 1
    assert not asked[0].startswith(b"{")


def test_a_rotated_key_counts_up_to_its_offset(tmp_path: Path) -> None:
    """What stood before the rotation counts as ever; beyond, only the new key does; a key that is
    revoked counts for less.
    """
    private, public = init_keys(tmp_path)
    old = load_private_key(tmp_path)
    records = [signed(tick(n, 1, 9), old.sign) for n in range(2)]
    (loan,) = sign_loans([b'{"type":"loan","id":"1"}'], old.sign)
    before = trusted_bytes(tmp_path)
    retired = rotate_keys(tmp_path, [10, 20])
    assert trusted_bytes(tmp_path) != before
    assert private.stat().st_mode & 0o777 == 0o600
    new = load_private_key(tmp_path)
    assert public.read_bytes() != old.public_key()
    verify = verifier(load_trusted(tmp_path))
    for record in (*records, loan):
        assert [verify(0, record, 9), verify(0, record, 10)] == [True, False]
        assert [verify(1, record, 19), verify(1, record, 20)] == [True, False]
        assert not verify(2, record, 0)
    assert verify(2, signed(tick(2, 1, 9), new.sign), 10**9)
    revoke_key(tmp_path, retired.fingerprint, [4, 30])
    verify = verifier(load_trusted(tmp_path))
    assert [verify(0, loan, 3), verify(0, loan, 4)] == [True, False]
    assert [verify(1, loan, 19), verify(1, loan, 20)] == [True, False], "never longer than before"
    assert [key.until for key in load_trusted(tmp_path)] == [None, (4, 20)]
    with pytest.raises(DipperError, match="has no key abcd"):
        revoke_key(tmp_path, "abcd", [0, 0])
    (tmp_path / "keys" / RETIRED_NAME).write_text('[{"key": 7}]')
    with pytest.raises(DipperError, match="no list of retired keys"):
        load_trusted(tmp_path)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "malformed"),
        (b"{", "malformed"),
        (b"[]", "malformed"),
        (b'{"type":"tick","applicant":"a"}', "unknown_type"),
        (b'{"type":"loan","type":"grant","applicant":"a"}', "unknown_type"),
        (b'{"type":["loan"],"applicant":"a"}', "unknown_type"),
        (b'{"type":{},"applicant":"a"}', "unknown_type"),
        (b'{"type":"line","applicant":"a","issuer":"north"}', "not_yours"),
        (b'{"type":"loan","applicant":"a","issuer":"north"}', "not_yours"),
        (b'{"type":"loan","applicant":"a","issuer":"dawn","issuer":"north"}', "not_yours"),
        (b'{"type":"loan","issuer":"dawn"}', "missing_field"),
    ],
)
def test_an_institution_speaks_of_its_own_loans_alone(value: bytes | None, reason: str) -> None:
    """What is no loan event, or names another issuer, is not stamped; and the reason is named."""
    with pytest.raises(DipperError, match=reason):
        stamp(value, "dawn")


def test_a_stamped_event_says_each_field_once() -> None:
    """The issuer is ours to say, a signature and fields said twice are gone."""
    value = b'{"type":"loan","applicant":"x","applicant":"a","at":1,"signature":"AAAA"}'
    key, record = stamp(value, "dawn")
    assert key == b"a"
    assert record == b'{"type":"loan","applicant":"a","at":1,"issuer":"dawn"}'
