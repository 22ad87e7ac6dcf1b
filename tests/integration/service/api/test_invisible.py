"""Characters that nobody sees: shown as what they are in an answer, and no part of an identifier."""

from uuid import uuid4

from tests.harness import Api, refused


async def test_what_nobody_sees_in_a_text_is_shown_as_what_it_is(api: Api) -> None:
    """To whoever reads the answer itself, in a terminal or a log: `\u202e` there would turn the rest of the line."""
    wallet = f"wallet-{uuid4().hex}"
    items = [{"reference": "a", "name": "\u202ecod\u200b", "quantity": 1, "amount": 10_000}]
    payment = await api.register(wallet_id=wallet, items=items)

    shown, listed = await api.get(f"/v1/payments/{payment['id']}"), await api.get("/v1/payments", params={"wallet_id": wallet})

    for response in (shown, listed):
        assert b"\\u202ecod\\u200b" in response.content
        assert "\u202e" not in response.text
        assert int(response.headers["content-length"]) == len(response.content)


async def test_what_nobody_sees_is_no_part_of_an_identifier(api: Api) -> None:
    payment = await api.register()
    for hidden in "\u00ad\u061c\u180e\u3164\ufe0f\u2028\u200b\u200f\u202e\u2066\ufeff\U000e0041":
        name, items = f"a{hidden}b", [{"reference": f"a{hidden}b", "name": "A", "quantity": 1, "amount": 10_000}]
        funding = [{"source": "balance", "amount": 10_000, "provider": "sandbox", "provider_reference": name}]

        said = await refused(api, "/v1/payments", api.terms(order_reference=name, items=items, funding=funding), key=None)

        pointers = {error["pointer"] for error in said["errors"] if "nobody sees" in error["detail"]}
        assert pointers == {"/order_reference", "/items/0/reference", "/funding/0/provider_reference"}, ascii(hidden)
        asked = {"reason": "damaged", "items": [{"reference": name, "quantity": 1}]}
        await refused(api, f"/v1/payments/{payment['id']}/cancellations", asked)
