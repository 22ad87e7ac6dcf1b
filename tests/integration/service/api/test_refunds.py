"""Refunds over HTTP: listed newest first, read one by one, and seen by whoever may see the payment."""

from tests.harness import Api, assert_problem


async def test_refunds_are_listed_newest_first_and_each_is_the_one_that_is_read(api: Api) -> None:
    payment = await api.register()
    for amount in (100, 250):
        await api.requested(payment, amount=amount)
        await api.worker.drain()

    first = (await api.get("/v1/refunds", params={"payment_id": payment["id"], "limit": 1})).json()
    rest = (await api.get("/v1/refunds", params={"payment_id": payment["id"], "limit": 1, "cursor": first["next_cursor"]})).json()

    assert [one["amount"] for page in (first, rest) for one in page["data"]] == [250, 100]
    assert rest["next_cursor"] is None
    [newest] = first["data"]
    assert (await api.get(f"/v1/refunds/{newest['id']}")).json() == newest
    assert newest["state"] == "succeeded"
    assert newest["eta"] is not None
    assert [leg["amount"] for leg in newest["legs"]] == [250]


async def test_a_merchant_finds_its_own_payments_refunds_only(api: Api) -> None:
    payment = await api.register(merchant_id="shop-of-refunds")
    await api.requested(payment)
    await api.worker.drain()
    [refund] = (await api.get("/v1/refunds", params={"payment_id": payment["id"]})).json()["data"]

    async def seen(merchant: str) -> list[str]:
        headers = {"authorization": f"Bearer {api.token('merchant', merchant=merchant)}"}
        listed = await api.http.get("/v1/refunds", params={"payment_id": payment["id"]}, headers=headers)
        return [one["id"] for one in listed.json()["data"]]

    assert await seen("shop-of-refunds") == [refund["id"]]
    assert await seen("shop-of-others") == []
    others = {"authorization": f"Bearer {api.token('merchant', merchant='shop-of-others')}"}
    assert_problem(await api.http.get(f"/v1/refunds/{refund['id']}", headers=others), 404, "not-found")
