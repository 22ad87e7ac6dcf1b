"""Bodies that agree: what a schema lets through, made so that its members fit each other and the resource that it is about."""

from collections.abc import Callable
from datetime import datetime, timedelta
from importlib.resources import files
from random import Random
from typing import Any
from uuid import uuid4

import yaml

from tests.harness import SHOP, Json
from workflows.domain.times import rfc3339

CURRENCIES = ("CNY", "JPY", "KWD")
ABOVE_MAX = 700_000  # in minor units of CNY: some of them need a second person, by the shipped policy
FULFILMENTS = ("none", "preparing", "shipped", "delivered", "returned")
BEHAVIOURS = ("ok", "ok", "ok", "decline", "requires_action")  # of the sandbox rail
DECISIONS = ("offer", "accept", "accept_with_return", "decline")
STAFF = ("agent", "supervisor")
REASONS = ("changed_mind", "changed_mind", "other", "damaged", "unauthorised")
OPEN_LEGS = ("submitted", "processing", "unknown", "requires_action")


class Chance(Random):
    """Of the example: the same example, the same choices. It also knows when it is, and who speaks."""

    now: datetime
    role: str
    turn: int  # rounds take turns with what else were left to luck


Agree = Callable[[Json, Json, Chance], Json]


def split(whole: int, parts: int, chance: Random) -> list[int]:
    """Positive numbers that sum to `whole`, which is no less than `parts`."""
    cuts = sorted(chance.sample(range(1, whole), parts - 1))
    return [end - start for start, end in zip([0, *cuts], [*cuts, whole], strict=True)]


def shared(entries: list[Json], amount: int, chance: Random, **members: Any) -> list[Json]:
    """The first ten entries, with amounts that sum to `amount`."""
    entries = entries[:10]
    return [{**one, **members, "amount": part} for one, part in zip(entries, split(amount, len(entries), chance), strict=True)]


def ago(now: datetime, **span: float) -> str:
    return rfc3339(now - timedelta(**span))


def lives(now: datetime) -> list[Json]:
    """How far payments have come when they are registered: each leads to another way of cancelling them."""
    goods = {"completed_at": ago(now, days=3), "fulfilment": "delivered", "shipped_at": ago(now, days=2), "delivered_at": ago(now, days=1)}
    return [{}, {"completed_at": ago(now, minutes=2)}, {"completed_at": ago(now, hours=2)}, goods]


def registration(body: Json, _: Json, chance: Chance) -> Json:
    amount = 20 + body["amount"] % ABOVE_MAX
    made = {
        **without(body, "category", "authorised_at", "fulfilment", "shipped_at", "delivered_at", "completed_at"),
        "reference": uuid4().hex,
        "wallet_id": "wallet-1",
        "merchant_id": SHOP,
        "amount": amount,
        "currency": chance.choice(CURRENCIES),
        **lives(chance.now)[chance.turn % 4],
    }
    funding = body.get("funding") or [{"source": "card"}]
    made["funding"] = shared(funding, amount, chance, provider="sandbox", provider_reference=chance.choice(BEHAVIOURS))
    if body.get("items"):
        made["items"] = [{**one, "reference": f"line-{number}"} for number, one in enumerate(shared(body["items"], amount, chance))]
    if body.get("earned"):
        made["earned"] = [{**one, "provider": "sandbox"} for one in body["earned"]]
    return made


def lowering(body: Json, payment: Json, chance: Chance) -> Json:
    amount = payment["amount"] - 1
    made = {**body, "amount": amount, "funding": shared(payment["funding"], amount, chance)}
    made["funding"] = [{name: value for name, value in one.items() if value is not None} for one in made["funding"]]
    made.pop("items", None)
    return made | ({"items": shared(payment["items"], amount, chance)} if payment["items"] else {})


def fulfilment(body: Json, payment: Json, _: Chance) -> Json:
    after = FULFILMENTS[min(FULFILMENTS.index(payment["fulfilment"]) + 1, 3)]  # what is delivered comes back on request only
    return without(body, "at", "correction", "note") | {"status": after}


def request(body: Json, payment: Json, chance: Chance) -> Json:
    made = spoken(without(body, "amount", "items", "override", "expected_refundable"), payment, chance)
    refundable = payment["amount_refundable"]
    if "expected_refundable" in body:
        made["expected_refundable"] = refundable
    made["reason"] = chance.choice(REASONS)
    made.setdefault("note", "moved house")  # `other` needs one
    if payment["state"] != "completed" or refundable < 2:
        return made
    if "items" in body and payment["items"] and refundable == payment["amount"]:
        line = chance.choice(payment["items"])
        made["items"] = [{"reference": line["reference"], "quantity": line["quantity"]}]
    elif "amount" in body:
        made["amount"] = chance.randint(1, refundable)
    return made


def spoken(body: Json, _: Json, chance: Chance) -> Json:
    """What a customer said: by telephone where it is told by staff, in its own channel where not."""
    return without(body, "channel") | ({"channel": "hotline"} if chance.role in STAFF else {})


def hand_off(body: Json, cancellation: Json, chance: Chance) -> Json:
    decision = DECISIONS[(chance.turn // 4 + chance.randrange(2)) % 4] if cancellation["amount"] > 1 else "accept"
    amount = {"amount": chance.randint(1, cancellation["amount"] - 1)} if decision == "offer" else {}
    return without(body, "amount") | {"decision": decision} | amount


def outcome(body: Json, cancellation: Json, _: Chance) -> Json:
    """Of a part that is open; what waits for somebody cannot have failed."""
    parts = [part for part in cancellation["attention"] if part["state"] in OPEN_LEGS]
    return body | {"leg_id": parts[0]["leg_id"], "outcome": "succeeded"} if parts else body


def merchant(body: Json, *_: object) -> Json:
    """Without rules of its own: one that is nowhere kinder than the policy is refused."""
    return without(body, "rules") | {"name": "Shop", "contact": {"url": "https://shop.example/help"}}


def policy(*_: object) -> Json:
    """The shipped one under a name of its own, long after all payments of a walk."""
    shipped: Json = yaml.safe_load(files("service").joinpath("policies/default.yaml").read_bytes())
    return {**shipped, "version": uuid4().hex, "effective_from": "2099-01-01T00:00:00Z"}


def written(value: Any) -> Any:
    """Whole numbers without a point: by JSON Schema `1.0` is an integer, and the service refuses it."""
    if isinstance(value, dict):
        return {name: written(one) for name, one in value.items()}
    if isinstance(value, list):
        return [written(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def without(body: Json, *names: str) -> Json:
    return {name: value for name, value in body.items() if name not in names}


# operation -> its body: what was generated, the resource that its path names, and the chance of the example
BODIES: dict[str, Agree] = {
    "register_payment": registration,
    "complete_payment": lambda body, *_: without(body, "completed_at"),
    "modify_payment": lowering,
    "change_fulfilment": fulfilment,
    "request_cancellation": request,
    "withdraw_cancellation": spoken,
    "escalate_cancellation": spoken,
    "decide_hand_off": hand_off,
    "respond_to_offer": lambda body, of, chance: {**spoken(body, of, chance), "accept": chance.random() < 0.7},
    "ship_return": spoken,
    "receive_return": lambda body, _, chance: {**body, "condition": chance.choice(["intact", "intact", "damaged"])},
    "assign_cancellation": lambda body, *_: without(body, "to"),
    "redirect_cancellation": lambda body, *_: {**body, "consent": True, "channel": "hotline"},
    "record_outcome": outcome,
    "resolve_anomaly": lambda body, *_: {**body, "action": "note"},
    "put_merchant": merchant,
    "publish_policy": policy,
}
# operation -> the parameters of its query that a link may give; generated filters find nothing
QUERIES: dict[str, tuple[str, ...]] = {
    "list_cancellations": ("payment_id",),
    "list_refunds": ("cancellation_id",),
    "get_terms": ("merchant_id",),
    "get_eligibility": ("reason",),
}
