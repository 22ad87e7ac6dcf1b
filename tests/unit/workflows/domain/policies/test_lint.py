"""What lint claims of a policy is true, and each kind of mistake is found."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from msgspec.structs import replace

from service.calendars import calendar
from service.shipped_policies import default_policy
from workflows.domain.decisions.requests import actor_channel
from workflows.domain.enums import ActorRole, Anchor, Category, Channel, Fulfilment, PaymentState, Reason, Refusal, Role, Source
from workflows.domain.errors import Invalid
from workflows.domain.policies.calendar import business_days
from workflows.domain.policies.facts import PolicyFacts
from workflows.domain.policies.form import parse_policy
from workflows.domain.policies.lint import GAPS_MAX, PolicyFinding, PolicyFindingCode, Severity, lint
from workflows.domain.policies.policy import Policy
from workflows.domain.policies.verdicts import Allowed, Denied, decide_route
from workflows.domain.windows import Length, Unit, WindowSpec

CALENDARS = {"UTC": "none", "Asia/Shanghai": "CN", "Europe/London": "GB", "America/Nuuk": "none", "Pacific/Apia": "none"}
NEVER_DECIDES = {PolicyFindingCode.never_matches, PolicyFindingCode.never_open, PolicyFindingCode.unreachable}
START = datetime(2026, 3, 20, 12, tzinfo=UTC)


def policy(*rules: dict[str, Any], zone: str = "UTC", **members: Any) -> Policy:
    named = [{"name": f"r{position}", "route": "automatic", **rule} for position, rule in enumerate(rules)]
    whole = {"version": "v", "effective_from": "2026-01-01T00:00:00Z", "timezone": zone, "calendar": CALENDARS[zone], "rules": named}
    return parse_policy({**whole, **members})


def linted(form: Policy) -> tuple[PolicyFinding, ...]:
    return lint(form, business_days(form, calendar))


def found(code: PolicyFindingCode, *rules: dict[str, Any], **members: Any) -> list[PolicyFinding]:
    return [one for one in linted(policy(*rules, **members)) if one.code is code]


def window(anchor: str, length: str, **members: Any) -> dict[str, Any]:
    return {"anchor": anchor, "length": length, **members}


def may_ask(role: ActorRole, channel: Channel) -> bool:
    try:
        return actor_channel(role, channel) is channel
    except Invalid:
        return False


ASKERS = [
    (role, channel)
    for role, channel in product((ActorRole.wallet, ActorRole.agent, ActorRole.supervisor, ActorRole.merchant), Channel)
    if may_ask(role, channel)
]


def random_request(chance: random.Random) -> tuple[PolicyFacts, datetime]:
    """A request as it can be made, and when."""
    state = chance.choice((PaymentState.completed, PaymentState.completed, PaymentState.pending))
    role, channel = chance.choice(ASKERS)
    now = START + timedelta(minutes=chance.randrange(60 * 24 * 300))

    def before(latest: int) -> datetime:
        unit = chance.choice((timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)))
        return now - chance.randrange(latest) * unit - timedelta(seconds=chance.choice((0, 0, 1, 59)))

    anchors: dict[Anchor, datetime | None] = {Anchor.authorised_at: before(50)}
    if state is PaymentState.completed:
        anchors[Anchor.completed_at] = before(50)
    for anchor in (Anchor.shipped_at, Anchor.delivered_at, Anchor.return_received_at):
        anchors[anchor] = before(50) if chance.random() < 0.6 else None
    facts = PolicyFacts(
        state=state,
        fulfilment=chance.choice(tuple(Fulfilment)),
        category=chance.choice(tuple(Category)),
        merchant_id=chance.choice(("m-1", "m-2", "m-3", "nobody-named")),
        currency=chance.choice(("CNY", "EUR", "JPY")),
        amount=chance.choice((0, 1, 99, 100, 101, 500, 501, 1_000, 10**9)),
        role=role,
        channel=channel,
        reason=chance.choice(tuple(Reason)),
        sources=tuple(chance.sample(tuple(Source), chance.choice((1, 1, 2, 3)))),
        anchors=anchors,
        partial=False,
    )
    return facts, now


VALUES: dict[str, tuple[str, ...]] = {
    "state": ("pending", "completed", "refunded"),
    "fulfilment": tuple(Fulfilment),
    "category": tuple(Category),
    "role": tuple(Role),
    "channel": tuple(Channel),
    "reason": tuple(Reason),
    "source": tuple(Source),
    "merchant_id": ("m-1", "m-2", "m-3"),
    "currency": ("CNY", "EUR"),
}


def random_when(chance: random.Random) -> dict[str, Any]:
    when: dict[str, Any] = {}
    for subject in chance.sample(tuple(VALUES), chance.choice((0, 1, 1, 2, 2, 3))):
        values = VALUES[subject]
        when[f"{subject}{chance.choice(('', '', '_not'))}"] = chance.sample(values, chance.randint(1, len(values)))
    if chance.random() < 0.2:
        when |= {"currency": "CNY", "amount_above": chance.choice((0, 100, 500))}
        when |= {"amount_up_to": chance.choice((100, 500, 1_000))} if chance.random() < 0.5 else {"amount_not": [101, 501]}
    return when


def random_window(chance: random.Random) -> dict[str, Any]:
    anchor = chance.choice(("completed_at", "completed_at", "authorised_at", "delivered_at"))
    extra: dict[str, Any] = {"requires_anchor": True} if chance.random() < 0.4 else {}
    extra |= {"count_from": "next_day"} if chance.random() < 0.3 else {}
    if chance.random() < 0.2:
        return {"anchor": anchor, "until": {"end_of_day": chance.choice(("+0 minutes", "+15 minutes", "+2 hours", "+2 days"))}, **extra}
    unit = chance.choice(("minutes", "hours", "days", "business_days", "months"))
    return window(anchor, f"{chance.choice((1, 2, 5, 7, 10, 24, 31))} {unit}", **extra)


def random_policy(chance: random.Random) -> Policy:
    def rule() -> dict[str, Any]:
        windowed = {"window": random_window(chance)} if chance.random() < 0.6 else {}
        return {"when": random_when(chance), **windowed}

    return policy(*(rule() for _ in range(chance.randint(2, 9))), zone=chance.choice(tuple(CALENDARS)))


PLANTED: tuple[tuple[dict[str, Any], ...], ...] = (
    ({"when": {"category": "digital"}}, {"when": {"category_not": "digital"}}, {"when": {"reason": "damaged"}}),
    ({"window": window("completed_at", "30 days")}, {"window": window("completed_at", "27 days")}, {"when": {"state": "pending"}}),
    ({"window": window("completed_at", "1 month")}, {"window": window("completed_at", "20 days", count_from="next_day")}),
    ({"window": window("completed_at", "2 days")}, {"window": window("completed_at", "2 days", count_from="next_day")}),
    ({"window": window("completed_at", "2 hours")}, {"window": {"anchor": "completed_at", "until": {"end_of_day": "+2 hours"}}}),
    ({"window": window("delivered_at", "10 days")}, {"window": window("delivered_at", "7 days", requires_anchor=True)}),
    ({"window": window("delivered_at", "10 days", requires_anchor=True)}, {"window": window("delivered_at", "7 days")}),
    ({"window": window("completed_at", "5 days")}, {"window": window("completed_at", "5 business_days")}),
    ({"window": window("completed_at", "7 business_days")}, {"window": window("completed_at", "5 days")}),
    ({"when": {"source": "card"}}, {"when": {"source_not": ["card", "bank"]}}, {"when": {"source": ["bank", "points"]}}, {}, {}),
    ({"when": {"role_not": "merchant"}}, {"when": {"channel_not": "merchant"}}, {"when": {"channel": "app"}}, {}),
    ({"window": {"anchor": "completed_at", "until": {"end_of_day": "+2 hours"}}}, {"window": window("completed_at", "2 hours")}),
)


def requests_with_claims() -> Iterator[tuple[Policy, tuple[PolicyFinding, ...], int]]:
    """Policies, what lint says of them, and how many requests to try on each: over 100,000 in all."""
    chance = random.Random(20261127)
    for rules in PLANTED:
        for zone in CALENDARS:
            form = policy(*rules, zone=zone)
            yield form, linted(form), 700
    for _ in range(250):
        form = random_policy(chance)
        yield form, linted(form), 260


@pytest.mark.slow
def test_a_rule_that_never_decides_never_does() -> None:
    chance, tried, claimed = random.Random(1), 0, 0
    requests = [random_request(chance) for _ in range(20_000)]
    for form, findings, count in requests_with_claims():
        dead = {one.rule for one in findings if one.code in NEVER_DECIDES}
        claimed += len(dead)
        days = business_days(form, calendar)
        for facts, now in chance.choices(requests, k=count):
            verdict = decide_route(form, facts, now, days)
            tried += 1
            assert not (isinstance(verdict, Allowed) and verdict.rule in dead), (verdict, facts, now, form.rules)

    assert tried >= 100_000
    assert claimed >= 300  # the claims are many enough to be wrong somewhere


@pytest.mark.slow
def test_an_example_is_a_request_that_its_rule_is_for() -> None:
    told = Counter[PolicyFindingCode]()
    for form, findings, _ in requests_with_claims():
        whens = {rule.name: rule.when for rule in form.rules}
        for finding in findings:
            if finding.code in (PolicyFindingCode.never_matches, PolicyFindingCode.not_examined):
                assert finding.example is None, "no request can meet its conditions"
            elif finding.rule is not None:
                assert finding.example is not None
                assert whens[finding.rule].holds(finding.example), finding
                told[finding.code] += 1
    assert told[PolicyFindingCode.unreachable] > 200
    assert told[PolicyFindingCode.never_open] > 0


@pytest.mark.slow
def test_a_gaps_example_has_no_rule_at_any_moment() -> None:
    seen = 0
    for form, findings, _ in requests_with_claims():
        days = business_days(form, calendar)
        for finding in findings:
            if finding.code is not PolicyFindingCode.gap:
                continue
            seen += 1
            assert finding.example is not None
            for minutes in (0, 1, 60, 1_440, 1_441, 10_080, 50_000, 600_000):
                verdict = decide_route(form, finding.example, form.effective_from + timedelta(minutes=minutes), days)
                assert isinstance(verdict, Denied)
                assert verdict.refusal not in (Refusal.window_closed, Refusal.limit_reached), (verdict, finding)

    assert seen >= 200


def test_without_windows_it_finds_exactly_the_rules_and_gaps_that_trying_everything_finds() -> None:
    chance = random.Random(7)
    subjects = {name: VALUES[name] for name in ("state", "fulfilment", "category", "reason")}
    facts, _ = random_request(chance)
    everything = [
        replace(facts, state=state, fulfilment=fulfilment, category=category, reason=reason)
        for state, fulfilment, category, reason in product(
            (PaymentState.pending, PaymentState.completed), Fulfilment, (Category.general, Category.digital), tuple(Reason)
        )
    ]
    subjects["category"] = ("general", "digital")
    others = [one.value for one in Category if one not in (Category.general, Category.digital)]
    for _ in range(120):
        whens = []
        for _ in range(chance.randint(3, 8)):
            when: dict[str, Any] = {}
            for subject in chance.sample(tuple(subjects), chance.randint(1, 3)):
                values = subjects[subject]
                when[f"{subject}{chance.choice(('', '_not'))}"] = chance.sample(values, chance.randint(1, len(values)))
            whens.append({"when": when})
        # The first rule takes what is not tried below, so that only what is tried can be found.
        form = policy({"when": {"category": others}}, *whens)
        deciding = {next((rule.name for rule in form.rules if rule.when.holds(one)), None) for one in everything}

        findings = linted(form)

        assert {one.rule for one in findings if one.code in NEVER_DECIDES} == {rule.name for rule in form.rules[1:]} - deciding
        assert any(one.code is PolicyFindingCode.gap for one in findings) is (None in deciding)


@pytest.mark.parametrize(
    ("when", "subjects"),
    [
        ({"state": ["refunded", "cancelled"]}, ("state",)),
        ({"state_not": ["pending", "completed"]}, ("state",)),
        ({"role": "merchant", "channel": "app"}, ("role", "channel")),
        ({"role": ["agent", "supervisor"], "channel": ["app", "system"]}, ("role", "channel")),
        ({"role": ["auditor", "operator"]}, ("role",)),
        ({"channel": "system"}, ("channel",)),
        ({"category": "digital", "category_not": ["digital", "travel"]}, ("category",)),
        ({"reason_not": list(Reason)}, ("reason",)),
        ({"source": "card", "source_not": list(Source)}, ("source",)),
        ({"currency": "CNY", "currency_not": "CNY"}, ("currency",)),
        ({"merchant_id": "m-1", "merchant_id_not": ["m-1"]}, ("merchant_id",)),
        ({"currency": "CNY", "amount_above": 500, "amount_up_to": 500}, ("amount",)),
        ({"currency": "CNY", "amount_above": 900, "amount_up_to": 500}, ("amount",)),
        ({"currency": "CNY", "amount": [5, 6], "amount_not": [5, 6]}, ("amount",)),
        ({"currency": "CNY", "amount": [5, 6], "amount_above": 6}, ("amount",)),
        ({"currency": "CNY", "amount_above": 10**15}, ("amount",)),
    ],
)
def test_conditions_that_leave_no_request_are_found(when: dict[str, Any], subjects: tuple[str, ...]) -> None:
    [one] = found(PolicyFindingCode.never_matches, {"when": {}}, {"when": when})

    assert (one.rule, one.severity, one.pointer, one.members["subjects"]) == ("r1", Severity.error, "/rules/1/when", subjects)


@pytest.mark.parametrize(
    "when",
    [
        {"state": ["refunded", "completed"]},
        {"role": "merchant", "channel": "merchant"},
        {"role": "wallet", "channel": "app"},
        {"source": "card", "source_not": [one for one in Source if one is not Source.card]},
        {"currency": "CNY", "amount_above": 499, "amount_up_to": 500},
        {"currency": "CNY", "amount": [5, 6], "amount_not": 5},
        {"merchant_id_not": ["m-1"]},
    ],
)
def test_conditions_that_some_request_meets_are_not(when: dict[str, Any]) -> None:
    assert not [one for one in linted(policy({"when": when})) if one.severity is Severity.error]


def test_a_window_that_needs_a_moment_that_a_pending_payment_does_not_have_never_opens() -> None:
    required = window("completed_at", "1 day", requires_anchor=True)

    [one] = found(PolicyFindingCode.never_open, {"when": {"state": "pending"}, "window": required})

    assert (one.rule, one.severity, one.pointer) == ("r0", Severity.error, "/rules/0/window")
    assert not found(PolicyFindingCode.never_open, {"when": {"state": "pending"}, "window": window("completed_at", "1 day")})
    assert not found(PolicyFindingCode.never_open, {"window": required})


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        (({}, {"when": {"state": "pending"}}), {"r1": ("r0",)}),
        (({"when": {"state": "pending"}}, {"when": {"state": "completed"}}, {"when": {"reason": "damaged"}}), {"r2": ("r0", "r1")}),
        # A window covers another only with the same anchor, and if it is surely as long.
        (({"window": window("completed_at", "2 days")}, {"window": window("completed_at", "2 days")}), {"r1": ("r0",)}),
        (({"window": window("completed_at", "120 minutes")}, {"window": window("completed_at", "2 hours")}), {"r1": ("r0",)}),
        (({"window": window("completed_at", "119 minutes")}, {"window": window("completed_at", "2 hours")}), {}),
        (({"window": window("completed_at", "2 days")}, {"window": window("completed_at", "49 hours")}), {}),
        (({"window": window("completed_at", "2 days")}, {"window": window("authorised_at", "1 day")}), {}),
        (({"window": window("completed_at", "9 days")}, {"window": window("completed_at", "1 business_day")}), {}),
        (({"window": window("completed_at", "9 days")}, {}), {}),
        (({"window": window("completed_at", "1 month")}, {"window": window("completed_at", "31 days")}), {}),
        # What has not happened leaves a window open, unless it is required.
        (({"when": {"state": "pending"}, "window": window("completed_at", "1 day")}, {"when": {"state": "pending"}}), {"r1": ("r0",)}),
        (
            (
                {"when": {"state": "pending"}, "window": window("completed_at", "1 day", requires_anchor=True)},
                {"when": {"state": "pending"}},
            ),
            {},
        ),
        (({"window": window("delivered_at", "9 days", requires_anchor=True)}, {"window": window("delivered_at", "1 day")}), {}),
        (({"window": window("delivered_at", "9 days")}, {"window": window("delivered_at", "1 day")}), {"r1": ("r0",)}),
        # A rule that never decides covers nothing.
        (({"when": {"state": "refunded"}}, {}), {}),
    ],
)
def test_rules_that_earlier_ones_always_forestall_are_found(
    rules: tuple[dict[str, Any], ...], expected: dict[str, tuple[str, ...]]
) -> None:
    shadowed = found(PolicyFindingCode.unreachable, *rules)

    assert {one.rule: one.others for one in shadowed} == expected
    assert all(one.severity is Severity.error for one in shadowed)


def with_window(spec: WindowSpec) -> Policy:
    form = policy({"name": "all"})
    return replace(form, rules=(replace(form.rules[0], window=spec),))


@pytest.mark.parametrize(
    ("spec", "severity"),
    [
        (WindowSpec(anchor=Anchor.completed_at, length=Length(0, Unit.days)), Severity.error),
        (WindowSpec(anchor=Anchor.delivered_at, length=Length(0, Unit.hours)), Severity.error),
        (WindowSpec(anchor=Anchor.completed_at, end_of_day=Length(-5, Unit.days)), Severity.error),
        (WindowSpec(anchor=Anchor.completed_at, end_of_day=Length(-2, Unit.hours)), Severity.warning),
        (WindowSpec(anchor=Anchor.completed_at, length=Length(0, Unit.days), next_day=True), None),
        (WindowSpec(anchor=Anchor.completed_at, end_of_day=Length(0, Unit.minutes)), None),
        (WindowSpec(anchor=Anchor.completed_at, length=Length(1, Unit.seconds)), None),
    ],
)
def test_windows_that_close_before_they_open_are_found(spec: WindowSpec, severity: Severity | None) -> None:
    shut = [one for one in linted(with_window(spec)) if one.code is PolicyFindingCode.window_closes_before_it_opens]

    assert [one.severity for one in shut] == ([] if severity is None else [severity])
    for one in shut:
        opens_at, closes_at = one.members["opens_at"], one.members["closes_at"]
        assert isinstance(opens_at, datetime)
        assert isinstance(closes_at, datetime)
        assert closes_at <= opens_at


def missing(*rules: dict[str, Any], **members: Any) -> list[tuple[str | None, tuple[str, ...], Any]]:
    return [
        (one.rule, one.others, one.members["currencies"]) for one in found(PolicyFindingCode.currency_without_threshold, *rules, **members)
    ]


def test_currencies_that_a_table_of_second_approvals_lacks_are_found() -> None:
    table = {"CNY": 500}

    assert missing({"when": {"currency": "EUR"}}, {}, second_approval_above=table) == [(None, ("r0", "r1"), ("EUR",))]
    assert missing({}, agent_limits={"amount_per_day": {"JPY": 5}}, second_approval_above=table) == [(None, ("r0",), ("JPY",))]
    assert missing({"second_approval_above": {"USD": 5}}, {}, second_approval_above=table) == [
        ("r0", (), ("CNY",)),
        (None, ("r1",), ("USD",)),
    ]
    # Not where the rule never sees the currency, nor where none of ours asks or decides.
    assert missing({"when": {"currency": "CNY"}}, agent_limits={"amount_per_day": {"JPY": 5}}, second_approval_above=table) == []
    assert missing({"when": {"currency": "EUR", "role": "wallet"}}, second_approval_above=table) == []
    assert missing({"when": {"currency": "EUR", "role": "wallet"}, "route": "agent"}, second_approval_above=table) == [
        (None, ("r0",), ("EUR",))
    ]


def test_amounts_without_a_currency_are_found() -> None:
    tier = {"name": "t", "first_response": "1 hour", "when": {"amount_above": 5}}

    whole = found(
        PolicyFindingCode.amount_without_currency,
        {"when": {"amount": 5}},
        {"when": {"amount_above": 5, "currency_not": "JPY"}},
        {"when": {"amount_up_to": 5, "currency": "CNY"}},
        {"when": {"currency": "CNY"}},
        response_tiers=[tier],
    )

    assert [(one.rule, one.pointer) for one in whole] == [
        ("r0", "/rules/0/when"),
        ("r1", "/rules/1/when"),
        (None, "/response_tiers/0/when"),
    ]


def test_a_gap_is_described_with_an_example() -> None:
    [one] = found(
        PolicyFindingCode.gap,
        {"when": {"state": "pending"}},
        {"when": {"state": "completed", "fulfilment_not": ["returned"]}},
        {"when": {"state": "completed", "role_not": "wallet"}},
        {"when": {"state": "completed", "currency_not": ["CNY"]}},
        {"when": {"state": "completed", "currency": "CNY", "amount_up_to": 500}},
        {"when": {"source": "points"}},
    )

    assert (one.severity, one.members["state"]) == (Severity.warning, "completed")
    assert dict(one.conditions) == {
        "fulfilment": ("returned",),
        "role": ("wallet",),
        "currency": ("CNY",),
        "amount_above": (500,),
        "source_not": ("points",),
    }
    assert one.example is not None
    assert (one.example.fulfilment, one.example.role, one.example.amount) == (Fulfilment.returned, Role.wallet, 10_000)


def test_a_pending_payment_has_gaps_too_and_there_are_five_at_most() -> None:
    [one] = found(PolicyFindingCode.gap, {"when": {"state": "completed"}})
    many = found(
        PolicyFindingCode.gap, *({"when": {"category": one, "reason": other}} for one, other in zip(Category, Reason, strict=False))
    )

    assert one.members["state"] == "pending"
    assert len(many) == GAPS_MAX
    assert len({tuple(sorted(gap.conditions.items())) for gap in many}) > 1


def test_gaps_of_a_merchants_own_rules_do_not_count() -> None:
    form = policy({"when": {"merchant_id": "m-1", "reason": "damaged"}})

    assert lint(form, calendar("none"), gaps=False) == ()


def test_the_default_policy_has_no_errors() -> None:
    codes = {(one.code, one.severity) for one in linted(default_policy())}

    assert codes == {(PolicyFindingCode.gap, Severity.warning)}


NAMES = tuple(name for name in VALUES if name != "currency")


def many_rules(chance: random.Random) -> Policy:
    rules = []
    for _ in range(200):
        when = {name: chance.sample(VALUES[name], chance.randint(1, 3)) for name in chance.sample(NAMES, chance.randint(2, 5))}
        rules.append({"when": when, "window": window("completed_at", f"{chance.randint(1, 60)} days")})
    return policy(*rules)


def test_two_hundred_rules_take_seconds() -> None:
    form = many_rules(random.Random(3))
    begun = time.process_time()

    linted(form)

    assert time.process_time() - begun < 10


def test_what_takes_too_long_is_said() -> None:
    rules = [{"when": {"reason": [one]}} for one in Reason]

    findings = lint(policy(*rules, {}), calendar("none"), steps_max=1)

    assert [(one.code, one.severity, one.rule, one.members["what"]) for one in findings] == [
        (PolicyFindingCode.not_examined, Severity.note, "r10", "unreachable"),
        (PolicyFindingCode.not_examined, Severity.note, None, "gap"),
    ]
