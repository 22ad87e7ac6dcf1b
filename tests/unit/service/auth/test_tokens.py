"""Tokens: the good ones are taken, every known attack is refused, and a refusal says why."""

import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from service.auth.tokens import TOKEN_BYTES_MAX, Principal, TokenFault, Unauthenticated
from tests.unit.service.auth.issuer import (
    AUDIENCE,
    NOW,
    Keys,
    Private,
    authenticator,
    bearer,
    claims,
    ed25519,
    encode,
    jwk,
    number,
    p256,
    rsa_key,
    sign,
    sign_hmac,
    signing_input,
)
from workflows.domain.enums import Role

ED, EC, RSA = ed25519(), p256(), rsa_key()
GOOD_HEADER = {"alg": "EdDSA", "kid": "k1", "typ": "JWT"}


async def fault(header: str | None, keys: Keys | None = None) -> TokenFault:
    with pytest.raises(Unauthenticated) as refused:
        await authenticator(keys or Keys(jwk(ED))).authenticate(header)
    return refused.value.detail


async def fault_of(token: str, keys: Keys | None = None) -> TokenFault:
    return await fault(bearer(token), keys)


async def role_of(token: str) -> Role:
    return (await authenticator(Keys(jwk(ED))).authenticate(bearer(token))).role


async def test_each_accepted_algorithm_names_its_principal() -> None:
    accepted: list[tuple[Private, str]] = [(ED, "EdDSA"), (ED, "Ed25519"), (EC, "ES256"), (RSA, "RS256")]
    for private, algorithm in accepted:
        token = sign(private, {"alg": algorithm, "kid": "k1"}, claims())

        principal = await authenticator(Keys(jwk(private))).authenticate(bearer(token))

        assert principal == Principal("wallet-backend", Role.wallet, None, NOW + timedelta(seconds=600)), algorithm


async def test_the_scheme_is_read_in_any_case_and_spacing() -> None:
    token = sign(ED, GOOD_HEADER, claims())

    for header in ("bearer {}", "BEARER {}", "Bearer   {}", " Bearer {} "):
        assert (await authenticator(Keys(jwk(ED))).authenticate(header.format(token))).role is Role.wallet, header


async def test_a_header_that_holds_no_token() -> None:
    cases = [
        (None, TokenFault.missing),
        ("", TokenFault.missing),
        ("   ", TokenFault.missing),
        ("Bearer", TokenFault.not_bearer),
        ("Basic dXNlcjpwYXNz", TokenFault.not_bearer),
        ("Bearer one two", TokenFault.not_bearer),
        ("Bearer ünï", TokenFault.malformed),
        ("Bearer abc", TokenFault.malformed),
        ("Bearer a.b.c.d.e", TokenFault.malformed),
        ("Bearer ..", TokenFault.malformed),
        ("Bearer " + "a" * (TOKEN_BYTES_MAX + 1), TokenFault.too_long),
    ]
    found = [(header, await fault(header)) for header, _ in cases]

    assert found == cases


# Attacks on the algorithm and the key.


async def test_an_unsigned_token_is_refused() -> None:
    for name in ("none", "None", "NONE", "nOnE", ""):
        for ending in ("", encode(b"x" * 64)):
            token = signing_input({"alg": name, "kid": "k1"}, claims()).decode() + "." + ending

            assert await fault_of(token) is TokenFault.algorithm, (name, ending)


async def test_the_public_key_is_no_hmac_secret() -> None:
    for private in (ED, EC, RSA):
        public = private.public_key()
        secrets = {
            "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            "jwk": json.dumps(jwk(private)).encode(),
        }
        for form, secret in secrets.items():
            token = sign_hmac(secret, {"alg": "HS256", "kid": "k1"}, claims())

            assert await fault_of(token, Keys(jwk(private))) is TokenFault.algorithm, (private, form)


async def test_a_symmetric_key_in_the_set_is_passed_over() -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    keys = Keys({"kty": "oct", "kid": "k1", "k": encode(secret)}, jwk(ED, "k2"))

    assert await fault_of(sign_hmac(secret, {"alg": "HS256", "kid": "k1"}, claims()), keys) is TokenFault.algorithm
    assert await fault_of(sign(ED, {"alg": "EdDSA", "kid": "k1"}, claims()), keys) is TokenFault.unknown_key


async def test_the_header_cannot_choose_an_algorithm_of_another_kind_of_key() -> None:
    cases: list[tuple[Private, str]] = [
        (EC, "RS256"),
        (ED, "RS256"),
        (RSA, "ES256"),
        (ED, "ES256"),
        (RSA, "EdDSA"),
        (EC, "Ed25519"),
    ]
    for private, named in cases:
        token = sign(private, {"alg": named, "kid": "k1"}, claims())

        assert await fault_of(token, Keys(jwk(private))) is TokenFault.algorithm, (private, named)


async def test_an_algorithm_off_the_list_is_refused() -> None:
    names = ["RS384", "RS512", "PS256", "ES384", "ES256K", "Ed448", "HS512", "RSA-OAEP", "dir", 7, None, ["EdDSA"]]
    for named in names:
        assert await fault_of(sign(RSA, {"alg": named, "kid": "k1"}, claims()), Keys(jwk(RSA))) is TokenFault.algorithm, named


async def test_a_key_that_names_its_algorithm_is_good_for_no_other() -> None:
    token = sign(RSA, {"alg": "RS256", "kid": "k1"}, claims())

    assert await fault_of(token, Keys(jwk(RSA, alg="PS256"))) is TokenFault.unknown_key


async def test_another_keys_kid_does_not_help() -> None:
    mine, theirs = ed25519(), ed25519()
    keys = Keys(jwk(mine, "k1"), jwk(theirs, "k2"))

    assert await fault_of(sign(theirs, {"alg": "EdDSA", "kid": "k1"}, claims()), keys) is TokenFault.signature


async def test_an_odd_kid_finds_no_key() -> None:
    odd = ["../../etc/passwd", "k1' or '1'='1", "", "k" * 300, 7, ["k1"], {"k": 1}]
    for kid in odd:
        assert await fault_of(sign(ED, {"alg": "EdDSA", "kid": kid}, claims())) is TokenFault.unknown_key, kid


async def test_keys_in_the_header_are_never_read() -> None:
    attacker = ed25519()
    header = {
        "alg": "EdDSA",
        "jwk": jwk(attacker, "attacker"),
        "jku": "https://attacker.example/jwks.json",
        "x5u": "https://attacker.example/cert.pem",
        "x5c": [encode(attacker.public_key().public_bytes_raw())],
    }
    claimed: dict[str, dict[str, str]] = {"ours": {"kid": "k1"}, "theirs": {"kid": "attacker"}, "none": {}}
    for which, kid in claimed.items():
        assert await fault_of(sign(attacker, header | kid, claims())) in (TokenFault.signature, TokenFault.unknown_key), which
    assert await role_of(sign(ED, header | {"kid": "k1"}, claims())) is Role.wallet


async def test_a_critical_extension_is_refused() -> None:
    extensions = [["exp"], ["b64"], ["http://example/x"], [], "exp"]
    for critical in extensions:
        token = sign(ED, GOOD_HEADER | {"crit": critical, "exp": 1, "http://example/x": 1}, claims())

        assert await fault_of(token) is TokenFault.critical, critical


async def test_an_unencoded_payload_is_refused() -> None:
    assert await fault_of(sign(ED, GOOD_HEADER | {"b64": True}, claims())) is TokenFault.critical
    assert await fault_of(sign(ED, GOOD_HEADER | {"b64": False}, claims())) is TokenFault.malformed


async def test_a_token_of_another_kind_is_refused() -> None:
    kinds = ["dpop+jwt", "logout+jwt", "JWE", 7, ""]
    for kind in kinds:
        assert await fault_of(sign(ED, GOOD_HEADER | {"typ": kind}, claims())) is TokenFault.kind, kind


async def test_a_small_rsa_key_is_no_key() -> None:
    for bits in (1024, 2047):
        weak = rsa_key(bits)

        assert await fault_of(sign(weak, {"alg": "RS256", "kid": "k1"}, claims()), Keys(jwk(weak))) is TokenFault.unknown_key, bits


async def test_an_rsa_key_with_exponent_one_is_no_key() -> None:
    forged = jwk(RSA) | {"e": number(1)}

    assert await fault_of(sign(RSA, {"alg": "RS256", "kid": "k1"}, claims()), Keys(forged)) is TokenFault.unknown_key


async def test_another_curve_is_no_key() -> None:
    other = generate_private_key(SECP384R1())
    point = other.public_key().public_numbers()
    entry = {"kty": "EC", "crv": "P-384", "x": number(point.x, 48), "y": number(point.y, 48), "kid": "k1"}

    assert await fault_of(sign(EC, {"alg": "ES256", "kid": "k1"}, claims()), Keys(entry)) is TokenFault.unknown_key


async def test_a_point_off_the_curve_is_no_key() -> None:
    entry = jwk(EC) | {"y": number(1, 32)}

    assert await fault_of(sign(EC, {"alg": "ES256", "kid": "k1"}, claims()), Keys(entry)) is TokenFault.unknown_key


async def test_a_made_up_signature_is_refused() -> None:
    keys: list[tuple[Private, str]] = [(ED, "EdDSA"), (EC, "ES256"), (RSA, "RS256")]
    for private, algorithm in keys:
        for forged in (bytes(64), b"", b"\xff" * 64, b"x"):
            token = signing_input({"alg": algorithm, "kid": "k1"}, claims()).decode() + "." + encode(forged)

            assert await fault_of(token, Keys(jwk(private))) is TokenFault.signature, (algorithm, forged)


async def test_a_token_without_kid_is_taken_only_where_there_is_no_choice() -> None:
    token = sign(ED, {"alg": "EdDSA"}, claims())

    assert (await authenticator(Keys(jwk(ED), jwk(EC, "k2"))).authenticate(bearer(token))).sub == "wallet-backend"
    assert await fault_of(token, Keys(jwk(ED), jwk(ed25519(), "k2"))) is TokenFault.unknown_key


@given(at=st.integers(min_value=0), flip=st.integers(1, 255))
async def test_a_token_with_any_byte_changed_is_refused(at: int, flip: int) -> None:
    token = bytearray(sign(ED, GOOD_HEADER, claims()).encode())
    token[at % len(token)] ^= flip

    with pytest.raises(Unauthenticated):
        await authenticator(Keys(jwk(ED))).authenticate(bearer(token.decode("latin-1")))


@given(st.text(max_size=200))
async def test_no_header_however_odd_is_anything_but_refused(text: str) -> None:
    for header in (text, bearer(text), bearer(f"{encode(text.encode('utf-8', 'replace'))}.{encode(b'{}')}.x")):
        with pytest.raises(Unauthenticated):
            await authenticator(Keys(jwk(ED))).authenticate(header)


async def test_a_header_that_is_no_object_is_refused() -> None:
    for text in (b"[]", b'["alg"]', b'["alg","b64"]', b'"alg"', b"1", b"null", b"[" * 3000, b'{"alg":', b"\xff"):
        assert await fault_of(sign(ED, text, claims())) is TokenFault.malformed, text[:9]


async def test_a_payload_that_is_no_object_is_refused() -> None:
    for text in (b"", b"[]", b'"x"', b"null", b"[" * 3000, b"{", b"\xff"):
        assert await fault_of(sign(ED, GOOD_HEADER, text)) is TokenFault.malformed, text[:9]


# Claims.


WRONG_CLAIMS: list[tuple[dict[str, object], TokenFault]] = [
    ({"iss": None}, TokenFault.issuer),
    ({"iss": "https://issuer.example/"}, TokenFault.issuer),
    ({"iss": ["https://issuer.example"]}, TokenFault.issuer),
    ({"aud": None}, TokenFault.audience),
    ({"aud": "other"}, TokenFault.audience),
    ({"aud": []}, TokenFault.audience),
    ({"aud": ["other", "refundry-2"]}, TokenFault.audience),
    ({"aud": "not refundry"}, TokenFault.audience),
    ({"aud": {"refundry": 1}}, TokenFault.audience),
    ({"exp": None}, TokenFault.no_expiry),
    ({"exp": "2026"}, TokenFault.no_expiry),
    ({"exp": True}, TokenFault.no_expiry),
    ({"exp": float("nan")}, TokenFault.no_expiry),
    ({"exp": float("inf")}, TokenFault.no_expiry),
    ({"exp": 10**30}, TokenFault.no_expiry),
    ({"exp": -1}, TokenFault.no_expiry),
    ({"exp": int(NOW.timestamp()) - 30}, TokenFault.expired),
    ({"nbf": int(NOW.timestamp()) + 31}, TokenFault.not_yet_valid),
    ({"nbf": "soon"}, TokenFault.not_yet_valid),
    ({"iat": int(NOW.timestamp()) + 31}, TokenFault.issued_in_future),
    ({"iat": [1]}, TokenFault.issued_in_future),
    ({"sub": None}, TokenFault.subject),
    ({"sub": ""}, TokenFault.subject),
    ({"sub": "   "}, TokenFault.subject),
    ({"sub": "a\nb"}, TokenFault.subject),
    ({"sub": "a\x00"}, TokenFault.subject),
    ({"sub": "\ud800"}, TokenFault.subject),
    ({"sub": "x" * 129}, TokenFault.subject),
    ({"sub": 7}, TokenFault.subject),
    ({"role": None}, TokenFault.role),
    ({"role": "admin"}, TokenFault.role),
    ({"role": "Wallet"}, TokenFault.role),
    ({"role": "system"}, TokenFault.role),
    ({"role": ["wallet"]}, TokenFault.role),
    ({"role": "merchant"}, TokenFault.merchant),
    ({"role": "merchant", "merchant_id": ""}, TokenFault.merchant),
    ({"role": "merchant", "merchant_id": "m" * 65}, TokenFault.merchant),
    ({"role": "merchant", "merchant_id": ["m-1"]}, TokenFault.merchant),
]


async def test_a_wrong_claim_is_named() -> None:
    for changed, expected in WRONG_CLAIMS:
        assert await fault_of(sign(ED, GOOD_HEADER, claims(**changed))) is expected, changed


async def test_a_claim_at_its_limit_is_good() -> None:
    limits: list[dict[str, object]] = [
        {"aud": ["other", AUDIENCE]},
        {"exp": int(NOW.timestamp()) - 29},
        {"exp": NOW.timestamp() + 0.5},
        {"nbf": int(NOW.timestamp()) + 30},
        {"iat": int(NOW.timestamp()) + 30},
        {"iat": None},
        {"sub": "x" * 128},
        {"sub": "客服 7"},
    ]
    for changed in limits:
        assert await role_of(sign(ED, GOOD_HEADER, claims(**changed))) is Role.wallet, changed


async def test_only_a_merchant_has_a_merchant_id() -> None:
    found = {}
    for role in Role:
        token = sign(ED, GOOD_HEADER, claims(role=role.value, merchant_id="m-1"))
        found[role] = (await authenticator(Keys(jwk(ED))).authenticate(bearer(token))).merchant_id

    assert found == {role: "m-1" if role is Role.merchant else None for role in Role}
