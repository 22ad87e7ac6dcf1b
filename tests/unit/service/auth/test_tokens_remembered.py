"""What is remembered of tokens: the good ones until they or their keys end, the bad ones never, and no token itself."""

from datetime import timedelta

import pytest

from service.auth.jwks import KeysUnavailable
from service.auth.tokens import TokenFault, Unauthenticated
from tests.unit.service.auth.issuer import NOW, Clock, Keys, authenticator, bearer, claims, ed25519, jwk, key_set, sign

ED = ed25519()
GOOD_HEADER = {"alg": "EdDSA", "kid": "k1", "typ": "JWT"}


async def test_a_good_token_is_checked_once_and_remembered_by_digest_only() -> None:
    keys = Keys(jwk(ED))
    checks = authenticator(keys)
    token = sign(ED, GOOD_HEADER, claims())

    first = await checks.authenticate(bearer(token))
    second = await checks.authenticate(bearer(token))

    assert second is first
    assert token not in repr(vars(checks))


async def test_a_remembered_token_expires() -> None:
    clock = Clock()
    checks = authenticator(Keys(jwk(ED)), clock)
    token = bearer(sign(ED, GOOD_HEADER, claims()))
    await checks.authenticate(token)

    clock.now = NOW + timedelta(seconds=629)
    await checks.authenticate(token)
    clock.now = NOW + timedelta(seconds=630)

    with pytest.raises(Unauthenticated) as refused:
        await checks.authenticate(token)
    assert refused.value.detail is TokenFault.expired


async def test_a_remembered_token_dies_with_its_key() -> None:
    keys = Keys(jwk(ED))
    checks = authenticator(keys)
    token = bearer(sign(ED, GOOD_HEADER, claims()))
    await checks.authenticate(token)

    keys.set = key_set(jwk(ed25519(), "k2"))

    with pytest.raises(Unauthenticated):
        await checks.authenticate(token)


async def test_a_key_replaced_under_its_old_name_takes_its_tokens_along() -> None:
    keys = Keys(jwk(ED, "k1"))
    checks = authenticator(keys)
    token = bearer(sign(ED, GOOD_HEADER, claims()))
    await checks.authenticate(token)

    keys.set = key_set(jwk(ed25519(), "k1"))

    with pytest.raises(Unauthenticated) as refused:
        await checks.authenticate(token)
    assert refused.value.detail is TokenFault.signature


async def test_a_failure_is_not_remembered() -> None:
    keys = Keys(jwk(ed25519(), "other"))
    checks = authenticator(keys)
    token = bearer(sign(ED, GOOD_HEADER, claims()))
    with pytest.raises(Unauthenticated):
        await checks.authenticate(token)

    keys.set = key_set(jwk(ED))

    assert (await checks.authenticate(token)).sub == "wallet-backend"


async def test_the_memory_is_bounded_and_forgets_the_longest_unused() -> None:
    checks = authenticator(Keys(jwk(ED)), cache_entries_max=2)
    tokens = [bearer(sign(ED, GOOD_HEADER, claims(sub=f"caller-{i}"))) for i in range(3)]

    first = await checks.authenticate(tokens[0])
    second = await checks.authenticate(tokens[1])
    assert await checks.authenticate(tokens[0]) is first
    await checks.authenticate(tokens[2])

    assert await checks.authenticate(tokens[0]) is first
    assert await checks.authenticate(tokens[1]) is not second


async def test_a_rotated_key_is_looked_for_once_and_found() -> None:
    fresh = ed25519()
    keys = Keys(jwk(ED, "k1"))
    keys.after_renewal = key_set(jwk(ED, "k1"), jwk(fresh, "k2"))
    checks = authenticator(keys)

    principal = await checks.authenticate(bearer(sign(fresh, {"alg": "EdDSA", "kid": "k2"}, claims())))
    still = await checks.authenticate(bearer(sign(ED, GOOD_HEADER, claims())))

    assert (principal.sub, still.sub, keys.renewals) == ("wallet-backend", "wallet-backend", 1)


async def test_without_keys_nobody_is_judged() -> None:
    keys = Keys(jwk(ED))
    keys.set = None

    with pytest.raises(KeysUnavailable):
        await authenticator(keys).authenticate(bearer(sign(ED, GOOD_HEADER, claims())))
