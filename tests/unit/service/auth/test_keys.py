"""The keys that a machine makes for itself: made once, kept close, and good for what they sign."""

import base64
import contextlib
import hashlib
import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.auth.jwks import FileKeys
from service.auth.keys import AUDIENCE, ISSUER, TTL_SECONDS_MAX, KeysUnusable, Verifier, VerifierKeyUnreadable, load_or_create_keys
from service.auth.tokens import Authenticator
from tests.unit.service.auth.issuer import NOW, Clock
from workflows.domain.enums import Role


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_keys_are_their_owners_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        load_or_create_keys(tmp_path / "data")
    finally:
        os.umask(before)

    folder = tmp_path / "data" / "keys"
    assert mode(folder) == 0o700
    assert {path.name: mode(path) for path in folder.iterdir()} == {"token.jwk": 0o600, "jwks.json": 0o600, "evidence.jwk": 0o600}
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["keys"]


def test_keys_that_others_could_read_are_closed_again(tmp_path: Path) -> None:
    load_or_create_keys(tmp_path)
    (tmp_path / "keys").chmod(0o755)
    (tmp_path / "keys" / "token.jwk").chmod(0o644)

    load_or_create_keys(tmp_path)

    assert mode(tmp_path / "keys") == 0o700
    assert mode(tmp_path / "keys" / "token.jwk") == 0o600


def test_the_keys_stay_the_same(tmp_path: Path) -> None:
    first = load_or_create_keys(tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "keys").iterdir()}

    second = load_or_create_keys(tmp_path)

    assert second.evidence.verifier_key() == first.evidence.verifier_key()
    assert {path.name: path.read_bytes() for path in (tmp_path / "keys").iterdir()} == before


def test_of_many_that_start_at_once_all_get_the_same_keys(tmp_path: Path) -> None:
    starters = 16
    together = Barrier(starters)

    def start(_: int) -> str:
        together.wait()
        keys = load_or_create_keys(tmp_path)
        return keys.evidence.verifier_key() + keys.jwks_path.read_text()

    with ThreadPoolExecutor(starters) as pool:
        found = set(pool.map(start, range(starters)))

    assert len(found) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()

    load_or_create_keys(tmp_path)

    assert mode(tmp_path / "keys") == 0o700


@pytest.mark.parametrize("content", [None, "", "{}", "\x00", '{"keys": []}'])
def test_the_public_half_is_made_anew(tmp_path: Path, content: str | None) -> None:
    path = load_or_create_keys(tmp_path).jwks_path
    before = path.read_text()
    path.unlink()
    if content is not None:
        path.write_text(content)

    load_or_create_keys(tmp_path)

    assert path.read_text() == before
    assert mode(path) == 0o600


def test_keys_that_are_a_file_are_unusable(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("x")

    with pytest.raises(KeysUnusable, match="Move away"):
        load_or_create_keys(tmp_path)


@pytest.mark.parametrize("name", ["token.jwk", "evidence.jwk"])
def test_an_incomplete_folder_is_never_filled_up(tmp_path: Path, name: str) -> None:
    load_or_create_keys(tmp_path)
    (tmp_path / "keys" / name).unlink()

    with pytest.raises(KeysUnusable):
        load_or_create_keys(tmp_path)
    assert not (tmp_path / "keys" / name).exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"kty": "OKP", "crv": "Ed25519", "x": "AA"}', '{"kty": "oct", "k": "AAAA"}', "\x00"])
@pytest.mark.parametrize("name", ["token.jwk", "evidence.jwk"])
def test_a_broken_key_is_said_to_be_unusable(tmp_path: Path, name: str, content: str) -> None:
    load_or_create_keys(tmp_path)
    (tmp_path / "keys" / name).write_text(content)

    with pytest.raises(KeysUnusable):
        load_or_create_keys(tmp_path)


def test_a_public_key_cannot_stand_for_a_private_one(tmp_path: Path) -> None:
    keys = load_or_create_keys(tmp_path)
    public = json.loads(keys.jwks_path.read_text())["keys"][0]
    (tmp_path / "keys" / "token.jwk").write_text(json.dumps(public))

    with pytest.raises(KeysUnusable):
        load_or_create_keys(tmp_path)


def test_the_public_set_holds_no_secret_and_the_two_keys_differ(tmp_path: Path) -> None:
    keys = load_or_create_keys(tmp_path)
    public = json.loads(keys.jwks_path.read_text())["keys"]
    private = json.loads((tmp_path / "keys" / "token.jwk").read_text())

    assert len(public) == 1
    assert set(public[0]) == {"kty", "crv", "x", "kid", "use"}
    assert (public[0]["kid"], public[0]["x"]) == (private["kid"], private["x"])
    assert base64.urlsafe_b64decode(public[0]["x"] + "=") != keys.evidence.verifier.public


@pytest.mark.parametrize("role", list(Role))
async def test_a_token_is_taken_by_the_service_of_the_same_directory(tmp_path: Path, role: Role) -> None:
    keys = load_or_create_keys(tmp_path)
    merchant_id = "m-1" if role is Role.merchant else None
    token = keys.sign_token(sub="somebody", role=role, merchant_id=merchant_id, ttl_seconds=60, now=NOW)
    checks = Authenticator(FileKeys(keys.jwks_path), issuer=ISSUER, audience=AUDIENCE, clock=Clock())

    principal = await checks.authenticate(f"Bearer {token}")

    assert (principal.sub, principal.role, principal.merchant_id) == ("somebody", role, merchant_id)
    assert principal.expires_at == NOW + timedelta(seconds=60)


def test_issuer_and_audience_may_be_chosen(tmp_path: Path) -> None:
    keys = load_or_create_keys(tmp_path, issuer="i", audience="a")
    payload = keys.sign_token(sub="s", role=Role.agent, ttl_seconds=60, now=NOW).split(".")[1]
    told = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    now = int(NOW.timestamp())

    assert told == {"iss": "i", "aud": "a", "sub": "s", "role": "agent", "iat": now, "nbf": now, "exp": now + 60}


@pytest.mark.parametrize(
    ("role", "sub", "merchant_id", "ttl_seconds"),
    [
        (Role.merchant, "s", None, 60),
        (Role.merchant, "s", "", 60),
        (Role.merchant, "s", "m" * 65, 60),
        (Role.wallet, "s", "m-1", 60),
        (Role.wallet, "", None, 60),
        (Role.wallet, "a\nb", None, 60),
        (Role.wallet, "s" * 129, None, 60),
        (Role.wallet, "s", None, 0),
        (Role.wallet, "s", None, -1),
        (Role.wallet, "s", None, TTL_SECONDS_MAX + 1),
    ],
)
def test_a_token_that_would_be_refused_is_not_signed(
    tmp_path: Path, role: Role, sub: str, merchant_id: str | None, ttl_seconds: int
) -> None:
    keys = load_or_create_keys(tmp_path)

    with pytest.raises(ValueError, match=r"token|sub"):
        keys.sign_token(sub=sub, role=role, merchant_id=merchant_id, ttl_seconds=ttl_seconds, now=NOW)


# Evidence.


def test_evidence_is_checked_with_the_verifier_key_alone(tmp_path: Path) -> None:
    evidence = load_or_create_keys(tmp_path).evidence
    signed = evidence.sign(b"what happened")

    verifier = Verifier.parse(evidence.verifier_key())

    assert verifier.verify(signed, b"what happened")
    assert not verifier.verify(signed, b"what did not happen")
    assert not verifier.verify(signed[:-1], b"what happened")
    assert not verifier.verify(b"", b"what happened")
    assert not Verifier.parse(load_or_create_keys(tmp_path / "other").evidence.verifier_key()).verify(signed, b"what happened")


def test_the_verifier_key_is_the_signed_notes() -> None:
    """The example of the signed-note specification's own test suite."""
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"

    verifier = Verifier.parse(text)

    assert verifier.name == "PeterNeumann"
    assert verifier.key_id.hex() == "c74f20a3"
    assert verifier.key_id == hashlib.sha256(b"PeterNeumann\n\x01" + verifier.public).digest()[:4]
    assert str(verifier) == text
    note = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
    line = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    key_id_and_signature = base64.b64decode(line)
    assert key_id_and_signature[:4] == verifier.key_id
    assert verifier.verify(key_id_and_signature[4:], note.encode())


GOOD = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "++",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        "PeterNeumann+c74f20a3+",
        "PeterNeumann+c74f20a3+%%%",
        "PeterNeumann+c74f20a3+ä",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumanm+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+AhpC2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10Q=",
        "+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_what_is_no_verifier_key_is_not_read(text: str) -> None:
    with pytest.raises(VerifierKeyUnreadable):
        Verifier.parse(text)


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(VerifierKeyUnreadable):
        assert str(Verifier.parse(text)) == text.strip()


def test_a_verifier_key_may_stand_in_a_file() -> None:
    assert str(Verifier.parse(GOOD + "\n")) == GOOD
