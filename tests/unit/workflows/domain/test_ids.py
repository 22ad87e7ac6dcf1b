"""Public ids, ids made of names, and rail keys: each leads back to what it was made of, and to nothing else."""

from hashlib import sha256
from uuid import RFC_4122, UUID

from workflows.domain.ids import from_rail_key, parse, payment_id, public, rail_key, scope_id

ONE, OTHER = UUID(int=0xAB), UUID(int=2**128 - 1)


def test_a_public_id_leads_back_to_its_uuid_and_no_other_text_does() -> None:
    text = public("pay", ONE)

    assert text == "pay_000000000000000000000000000000ab"
    assert parse("pay", text) == ONE
    others = ("", "pay", "pay_", text[:-1], text + "0", text + "\n", text.upper(), text.replace("pay", "can"), f"pay_{ONE}", "_" + text)
    assert [other for other in others if parse("pay", other) is not None] == []


def test_an_id_of_a_name_is_the_same_for_ever() -> None:
    """Payments are found by it: another derivation would lose them all."""
    digest = sha256(b"payment\0order-1").hexdigest()[:32]
    made = payment_id("order-1")

    assert (made.version, made.variant) == (8, RFC_4122)
    assert made.hex == f"{digest[:12]}8{digest[13:16]}{int(digest[16], 16) & 3 | 8:x}{digest[17:]}"
    assert len({payment_id("order-1"), payment_id("order-2"), payment_id(""), scope_id("order-1"), scope_id("")}) == 5
    assert payment_id("订单") == payment_id("订单")


def test_a_rail_key_leads_back_to_its_payment_and_leg() -> None:
    key = rail_key(ONE, OTHER)

    assert from_rail_key(key) == (ONE, OTHER)
    others = ("", key[:-1], key + "0", key + "\n", key.upper(), key.replace("a", "g"), str(ONE) + str(OTHER))
    assert [other for other in others if from_rail_key(other) is not None] == []
