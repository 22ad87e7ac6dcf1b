"""What is shown of a payment and a cancellation once its texts were erased."""

from uuid import UUID

from tests.harness import Api


async def test_what_was_erased_is_null_and_lines_keep_their_places(api: Api) -> None:
    lines = [{"reference": code, "name": f"Article {code}", "quantity": 1, "amount": 5_000} for code in ("a", "b")]
    payment = await api.register(items=lines, metadata={"city": "Hangzhou"})
    asked = (await api.requested(payment, reason="not_received", note="never came")).json()

    await api.owner.execute("delete from personal_text where payment_id = $1", UUID(hex=payment["id"][4:]))
    shown, one = await api.payment(payment), await api.cancellation(asked)

    assert [(line["reference"], line["name"]) for line in payment["items"]] == [("a", "Article a"), ("b", "Article b")]
    assert [(line["reference"], line["name"]) for line in shown["items"]] == [("a", None), ("b", None)]
    assert (shown["metadata"], shown["carrier"], shown["tracking_number"], one["note"], one["evidence"]) == ({}, None, None, None, [])
