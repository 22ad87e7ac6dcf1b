"""Rules, requests and verdicts for the tests of policies: short to write, and random ones."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from service.calendars import calendar
from tests.factories import COMPLETED_AT, DAY, FACTS, policy_of
from workflows.domain.decisions.policy_context import PolicyContext, context_for
from workflows.domain.enums import ActorRole, Anchor, Category, Channel, Fulfilment, PaymentState, Reason, Refusal, Route, Source
from workflows.domain.faults import Fault
from workflows.domain.model import MerchantContact
from workflows.domain.policies.facts import PolicyFacts
from workflows.domain.policies.form import PolicyInvalid, parse_own_rules, parse_policy
from workflows.domain.policies.merchants import Merchant, MerchantDetails
from workflows.domain.policies.policy import Policy, Rule
from workflows.domain.policies.verdicts import Denied, Verdict, decide_route

NONE, CN = calendar("none"), calendar("CN")
SHOP = "m-1"  # the merchant of `FACTS`


def decide(form: Policy, facts: PolicyFacts = FACTS, now: datetime = COMPLETED_AT) -> Verdict:
    return decide_route(form, facts, now, NONE)


def refusal(verdict: Verdict) -> tuple[Refusal, str | None]:
    assert isinstance(verdict, Denied)
    return verdict.refusal, verdict.rule


def window(anchor: str, length: str, **members: Any) -> dict[str, Any]:
    return {"anchor": anchor, "length": length, **members}


def own(*rules: dict[str, Any]) -> tuple[Rule, ...]:
    return parse_own_rules([{"name": f"own-{number}", "route": "automatic", **rule} for number, rule in enumerate(rules)])


def within(length: str, route: str = "automatic", anchor: str = "completed_at", **rule: Any) -> dict[str, Any]:
    return {"route": route, "window": {"anchor": anchor, "length": length}, **rule}


def merchant(rules: tuple[Rule, ...] = (), **auto_accept: int) -> Merchant:
    details = MerchantDetails(name="Shop", contact=MerchantContact(email="a@b.cn"), rules=rules, auto_accept_up_to=auto_accept)
    return Merchant(id=SHOP, version=3, details=details, created_at=COMPLETED_AT, changed_at=COMPLETED_AT, changed_by="olga")


def terms(form: Policy, *rules: dict[str, Any], **auto_accept: int) -> PolicyContext:
    return context_for(form, merchant(own(*rules), **auto_accept), NONE)


# -- random ones: about payments to the shop ----------------------------------------------------------------------------------


LENGTHS = ("30 minutes", "12 hours", "24 hours", "1 day", "7 days", "168 hours", "15 days", "30 days", "1 month", "5 business_days")


CLOCKS = ("6 hours", "24 hours", "1 day", "48 hours", "2 days", "3 days", "5 days")


OWN_CLOCKS = (*CLOCKS, "1 business_day", "2 business_days", "1 month", "90 minutes")


ENDS = (timedelta(0), timedelta(minutes=30), timedelta(hours=12), DAY, 7 * DAY, 15 * DAY, 28 * DAY, 29 * DAY, 30 * DAY, 31 * DAY, 60 * DAY)


def random_policies(seed: int, count: int) -> Iterator[tuple[random.Random, Policy, tuple[Rule, ...]]]:
    chance = random.Random(seed)
    for _ in range(count):
        yield chance, some_policy(chance), some_own_rules(chance)


def some_policy(chance: random.Random) -> Policy:
    rules = []
    for number in range(chance.randint(1, 7)):
        rule = some_rule(chance, f"p-{number}", CLOCKS)
        if chance.random() < 0.3:
            rule["forfeit"] = chance.choice([["coupon"], ["points"], True])
        if chance.random() < 0.3:
            rule["limits"] = {chance.choice(["partial_refunds_max", "requests_per_day"]): chance.randint(1, 3)}
        if chance.random() < 0.3:
            rule["second_approval_above"] = {"CNY": chance.choice([0, 5_000, 20_000])}
        if chance.random() < 0.3:
            rule["verification"] = {"channels": ["hotline"], "methods": chance.sample(["otp", "callback", "document"], 2)}
        rules.append(rule)
    members: dict[str, Any] = {
        "version": "policy",
        "effective_from": "2026-01-01T00:00:00Z",
        "timezone": "Asia/Shanghai",
        "calendar": "CN",
        "rules": rules,
        "second_approval_above": {"CNY": chance.choice([1_000, 100_000]), "EUR": 5_000},
        "limits": {"partial_interval": "1 hour"} if chance.random() < 0.5 else {},
        "verification": ["hotline", "chat"] if chance.random() < 0.5 else [],
    }
    if chance.random() < 0.5:
        members["deadlines"] = {"merchant": {"length": chance.choice(CLOCKS), "then": chance.choice(["accept", "agent", "decline"])}}
    return policy_of(*members.pop("rules"), **members)


def some_own_rules(chance: random.Random) -> tuple[Rule, ...]:
    return parse_own_rules([some_rule(chance, f"own-{number}", OWN_CLOCKS) for number in range(chance.randint(1, 4))])


def some_rule(chance: random.Random, name: str, clocks: tuple[str, ...]) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "route": str(chance.choice(list(Route))), "when": some_when(chance)}
    if chance.random() < 0.8:
        made["window"] = some_window(chance)
    if chance.random() < 0.4:
        made["merchant_deadline"] = {"length": chance.choice(clocks), "then": chance.choice(["accept", "agent", "decline"])}
    if chance.random() < 0.3:
        made["return_deadline"] = {"length": chance.choice(clocks), "then": "decline"}
    if chance.random() < 0.3:
        made["inspection_deadline"] = {"length": chance.choice(clocks), "then": "accept"}
    return made


def some_when(chance: random.Random) -> dict[str, Any]:
    pool: dict[str, tuple[Any, ...]] = {
        "state": ("completed", "pending"),
        "fulfilment": tuple(Fulfilment),
        "category": ("general", "digital", "transfer"),
        "reason": ("changed_mind", "damaged", "unauthorised", "duplicate"),
        "role": ("wallet", "agent", "supervisor"),
        "channel": ("app", "hotline", "chat"),
        "source": ("balance", "coupon", "card"),
        "merchant_id": (SHOP, "m-2"),
        "currency": ("CNY", "EUR"),
    }
    made: dict[str, Any] = {}
    for subject in chance.sample(sorted(pool), chance.choice([0, 0, 1, 1, 2, 3])):
        values = [str(one) for one in chance.sample(pool[subject], chance.randint(1, min(2, len(pool[subject]))))]
        made[subject + chance.choice(["", "", "_not"])] = values
    if chance.random() < 0.15:
        made["currency"] = "CNY"
        made[chance.choice(["amount_above", "amount_up_to"])] = chance.choice([5_000, 10_000])
    return made


def some_window(chance: random.Random) -> dict[str, Any]:
    anchor = chance.choice(["authorised_at", "completed_at", "completed_at", "completed_at", "shipped_at", "delivered_at", "delivered_at"])
    made: dict[str, Any] = {"anchor": anchor}
    if chance.random() < 0.15:
        made["until"] = {"end_of_day": chance.choice(["+15 minutes", "+0 minutes", "+2 days"])}
    else:
        made["length"] = chance.choice(LENGTHS)
    if chance.random() < 0.2:
        made["count_from"] = "next_day"
    if chance.random() < 0.3:
        made["requires_anchor"] = True
    return made


def some_request(chance: random.Random, ends: tuple[timedelta, ...]) -> tuple[PolicyFacts, datetime]:
    """What can be asked of a payment to the shop; often at the very end of a window, to the microsecond."""
    state = chance.choice([PaymentState.completed, PaymentState.completed, PaymentState.pending])
    authorised = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=chance.randint(0, 525_600))
    if chance.random() < 0.3:  # midnight in Shanghai
        authorised = authorised.replace(hour=16, minute=0)
    gap = chance.choice([timedelta(0), timedelta(hours=5), 3 * DAY, 40 * DAY])
    anchors: dict[Anchor, datetime | None] = dict.fromkeys(Anchor)
    anchors[Anchor.authorised_at] = authorised
    if state is PaymentState.completed:
        anchors[Anchor.completed_at] = authorised + chance.choice([timedelta(0), gap])
    if chance.random() < 0.6:
        anchors[Anchor.shipped_at] = authorised + chance.choice([timedelta(0), gap])
        if chance.random() < 0.7:
            anchors[Anchor.delivered_at] = (anchors[Anchor.shipped_at] or authorised) + chance.choice([timedelta(0), 2 * DAY, gap])
    happened = [at for at in anchors.values() if at is not None]
    at = chance.choice(happened) + chance.choice(ends) + chance.choice([timedelta(0), timedelta(microseconds=-1), timedelta(hours=7)])
    role, channel = chance.choice(
        [(ActorRole.wallet, Channel.app), (ActorRole.agent, Channel.hotline), (ActorRole.supervisor, Channel.chat)]
    )
    facts = PolicyFacts(
        state=state,
        fulfilment=chance.choice(list(Fulfilment)),
        category=chance.choice([Category.general, Category.digital, Category.transfer]),
        merchant_id=SHOP,
        currency=chance.choice(["CNY", "EUR"]),
        amount=chance.choice([100, 5_000, 5_001, 10_000, 50_000]),
        role=role,
        channel=channel,
        reason=chance.choice(list(Reason)),
        sources=tuple(chance.sample([Source.balance, Source.coupon, Source.card], chance.randint(1, 2))),
        anchors=anchors,
        partial=chance.random() < 0.3,
        partial_refunds=chance.randint(0, 3),
        last_partial_at=chance.choice([None, at - timedelta(minutes=30)]),
        taken=chance.choice([0, 0, 4_000]),
        requests_last_day=chance.randint(0, 3),
    )
    return facts, max(at, *happened)


# -- written forms ---------------------------------------------------------------------------------------------------------


BARE: dict[str, Any] = {
    "version": "v1",
    "effective_from": "2026-01-01T00:00:00Z",
    "timezone": "Asia/Shanghai",
    "calendar": "CN",
    "rules": [],
}


WHOLE = """
version: 2026-11-a
effective_from: 2026-11-01T08:00:00+08:00
timezone: America/Argentina/Buenos_Aires
calendar: GB-SCT
rules:
  - name: everything
    when:
      {state: completed, currency: CNY, amount_above: 10, amount_up_to: 20, amount_not: [15, 16], source: card, merchant_id_not: [m-1, m-2]}
    window: {anchor: delivered_at, length: 1 month, count_from: next_day}
    requires_anchor: true
    route: return
    merchant_deadline: {length: 2 business_days, then: accept}
    return_deadline: {length: 15 days, then: decline}
    inspection_deadline: {length: 7 days, then: accept}
    second_approval_above: {JPY: 0}
    allocation: promotions_first
    forfeit: [points]
    limits: {partial_interval: 1 minute, requests_per_day: 5}
  - name: same-day
    window: {anchor: completed_at, until: {end_of_day: +15 minutes}}
    route: void
deadlines:
  merchant: {length: 3 days, then: decline}
  return: {length: 10 days, then: decline}
  inspection: {length: 5 days, then: accept}
  offer: {length: 1 day, then: agent}
  second_approval: 12 hours
  agent: 3 business_days
second_approval_above: {CNY: 500000}
limits: {partial_refunds_max: 50}
refusals:
  default: {next_steps: [contact_support]}
  window-closed: {next_steps: []}
"""


def with_rule(**members: Any) -> dict[str, Any]:
    return {**BARE, "rules": [{"name": "r", "route": "void", **members}]}


def faults(data: object, **members: Any) -> list[Fault]:
    with pytest.raises(PolicyInvalid) as caught:
        parse_policy(data, **{"new": True, **members})
    return list(caught.value.faults)


def pointers(data: object) -> list[str]:
    return [fault.pointer for fault in faults(data)]


def clocked(**clocks: str) -> Rule:
    then = {"merchant": "agent", "return": "decline", "inspection": "accept"}
    given_ = {f"{name}_deadline": {"length": length, "then": then[name]} for name, length in clocks.items()}
    [rule] = own({"route": "merchant", **given_})
    return rule
