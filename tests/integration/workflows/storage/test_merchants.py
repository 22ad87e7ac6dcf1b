"""Versions of merchants: each is the next one of its merchant, a page has the newest of each, and what is pinned is read once."""

from typing import Any

from msgspec.structs import replace

from tests.factories import DAY, NOW, WALLET, new_id
from workflows.domain.changes import Context
from workflows.domain.model import MerchantContact
from workflows.domain.policies.form import parse_own_rules
from workflows.domain.policies.merchants import Merchant, MerchantDetails
from workflows.storage.apply import Applied
from workflows.storage.merchants import Merchants, load, merchant_change
from workflows.storage.service_chain import write

DETAILS = MerchantDetails(
    name="Shop",
    contact=MerchantContact(email="a@b.cn"),
    webhook="https://a.cn",
    rules=parse_own_rules([{"name": "kind", "route": "automatic", "when": {"currency": "CNY", "amount_up_to": 5}}]),
    auto_accept_up_to={"CNY": 5},
)


async def describe(pool: Any, merchant_id: str, *, days: int = 0, **members: Any) -> Merchant:
    """Its next version, so many days later."""
    context = Context(actor=WALLET, now=NOW + days * DAY, new_id=new_id, new_salt=lambda: b"", request_id=None)
    made, change = merchant_change(merchant_id, replace(DETAILS, **members), await load(pool, merchant_id), context=context)
    assert await write(pool, change) is Applied
    return made


async def test_what_was_written_is_read(pool: Any) -> None:
    assert (await load(pool, "m-1")).newest is None
    first = await describe(pool, "m-1")
    second = await describe(pool, "m-1", days=1, name="Another", rules=(), webhook=None)
    merchants = Merchants(pool)

    assert (first.version, second.version, second.created_at, second.changed_at) == (1, 2, NOW, NOW + DAY)
    assert await merchants.version("m-1") == (await load(pool, "m-1")).newest == second
    assert await merchants.version("m-1", 1) == first
    assert await merchants.version("m-1", 3) is None
    assert await merchants.version("nobody") is None


async def test_a_page_has_the_newest_of_each_in_their_order(pool: Any) -> None:
    newest = []
    for merchant_id in ("m-b", "m-a", "m-c", "m-a%2"):
        for version in range(3):
            described = await describe(pool, merchant_id, days=version, name=f"Shop {version}")
        newest.append(described)
    newest.sort(key=lambda one: one.id)
    merchants = Merchants(pool)

    assert await merchants.page(9) == newest
    assert await merchants.page(2) == newest[:2]
    assert await merchants.page(2, after=newest[1].id) == newest[2:]
    assert await merchants.page(9, after="m-c") == []
    assert await merchants.page(9, only="m-b") == [one for one in newest if one.id == "m-b"]
    assert await merchants.page(9, after="m-b", only="m-b") == await merchants.page(9, only="nobody") == []


async def test_a_payment_is_pinned_to_what_was_told_before_it(pool: Any) -> None:
    first = await describe(pool, "m-1")
    second = await describe(pool, "m-1", days=2)
    merchants = Merchants(pool)

    found = [await merchants.in_force("m-1", NOW + days * DAY) for days in (-1, 0, 1, 2, 3)]

    assert found == [None, first, first, second, second]


async def test_a_version_that_was_read_once_needs_no_database_any_more(pool: Any) -> None:
    described = await describe(pool, "m@1")
    merchants = Merchants(pool)
    assert await merchants.get(f"m@1@{described.version + 1}") is None
    assert await merchants.get(described.rules_version) == described

    await pool.close()

    assert await merchants.get(described.rules_version) == described
