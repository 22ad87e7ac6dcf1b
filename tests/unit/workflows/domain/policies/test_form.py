"""The written form: every member, its round trip, and every fault told at once."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from service.calendars import calendar_exists
from tests.unit.workflows.domain.policies.rules import BARE, WHOLE, faults, own, pointers, with_rule
from workflows.domain.enums import Anchor, OnDeadline, Refusal, Route, Source
from workflows.domain.faults import Fault, FaultCode
from workflows.domain.policies.document import policy_data
from workflows.domain.policies.form import OWN_RULE, PolicyInvalid, parse_policy, parse_rules
from workflows.domain.policies.policy import Policy
from workflows.domain.windows import Length, Unit, WindowSpec


def test_the_whole_form_is_read() -> None:
    policy = parse_policy(yaml.safe_load(WHOLE), calendar_exists=calendar_exists)

    first, second = policy.rules
    assert policy.effective_from == datetime(2026, 11, 1, tzinfo=UTC)
    assert policy.zone.key == "America/Argentina/Buenos_Aires"
    assert first.route is Route.return_
    assert first.window == WindowSpec(anchor=Anchor.delivered_at, length=Length(1, Unit.months), next_day=True, requires_anchor=True)
    assert first.merchant_deadline is not None
    assert first.merchant_deadline.then is OnDeadline.accept
    assert first.forfeit == {Source.points}
    assert (first.when.amount_above, first.when.amount_up_to) == (10, 20)
    assert second.window == WindowSpec(anchor=Anchor.completed_at, end_of_day=Length(15, Unit.minutes))
    assert policy.deadlines.second_approval == Length(12, Unit.hours)
    assert policy.next_steps == {None: ("contact_support",), Refusal.window_closed: ()}


def test_times_may_come_decoded_or_as_text() -> None:
    cases: list[object] = [
        "2026-01-01T00:00:00Z",
        "2026-01-01T08:00:00+08:00",
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime.fromisoformat("2026-01-01T08:00+08:00"),
    ]
    for moment in cases:
        assert parse_policy({**BARE, "effective_from": moment}) == parse_policy(BARE)


def test_each_wrong_member_is_told_where_it_stands() -> None:
    cases: list[tuple[str, object]] = [
        ("version", date(2026, 11, 1)),  # YAML's reading of 2026-11-01
        ("version", ""),
        ("version", "a b"),
        ("version", "x" * 65),
        ("version", 7),
        ("effective_from", "2026-01-01T00:00:00"),  # naive
        ("effective_from", datetime(2026, 1, 1)),  # noqa: DTZ001 -- that it is naive is the point
        ("effective_from", date(2026, 1, 1)),
        ("effective_from", "soon"),
        ("effective_from", "9999-12-31T23:59:59-12:00"),
        ("effective_from", 1_767_225_600),
        ("timezone", "Asia/Peking2"),
        ("timezone", "Asia"),
        ("timezone", "../etc/passwd"),
        ("timezone", "/etc/localtime"),
        ("timezone", ""),
        ("timezone", 8),
        ("timezone", "Asia/Shanghai\0"),
        ("calendar", False),  # YAML's reading of NO
        ("calendar", "cn"),
        ("calendar", "China"),
        ("rules", {}),
        ("rules", "none"),
        ("rules", [{"name": f"r{n}", "route": "void"} for n in range(201)]),
        ("deadlines", []),
        ("limits", 50),
        ("refusals", ["default"]),
    ]
    for member, value in cases:
        assert pointers({**BARE, member: value}) == [f"/{member}"]


def test_each_wrong_part_is_told_where_it_stands() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({**BARE, "limits": {"partial_refunds_max": -1}}, "/limits/partial_refunds_max"),
        ({**BARE, "limits": {"partial_refunds_max": True}}, "/limits/partial_refunds_max"),
        ({**BARE, "limits": {"partial_interval": "60 weeks"}}, "/limits/partial_interval"),
        ({**BARE, "limits": {"requests_per_day": 0}}, "/limits/requests_per_day"),
        ({**BARE, "second_approval_above": {"CNY": "500000"}}, "/second_approval_above/CNY"),
        ({**BARE, "second_approval_above": {"CNY": 5.0}}, "/second_approval_above/CNY"),
        ({**BARE, "second_approval_above": {"cny": 5}}, "/second_approval_above/cny"),
        ({**BARE, "second_approval_above": {"CNY": 10**15 + 1}}, "/second_approval_above/CNY"),
        ({**BARE, "deadlines": {"agent": {"length": "5 days"}}}, "/deadlines/agent"),
        ({**BARE, "deadlines": {"offer": {"length": "5 days", "then": "accept"}}}, "/deadlines/offer/then"),
        ({**BARE, "deadlines": {"offer": {"length": "5 days"}}}, "/deadlines/offer/then"),
        ({**BARE, "refusals": {"closed": {"next_steps": []}}}, "/refusals/closed"),
        ({**BARE, "refusals": {"no-rule": {}}}, "/refusals/no-rule/next_steps"),
        ({**BARE, "refusals": {"default": {"next_steps": ["Call us!"]}}}, "/refusals/default/next_steps/0"),
        (with_rule(route="return_"), "/rules/0/route"),
        (with_rule(name="Größe"), "/rules/0/name"),
        (with_rule(allocation="even"), "/rules/0/allocation"),
        (with_rule(forfeit=["balance"]), "/rules/0/forfeit/0"),
        (with_rule(return_deadline={"length": "5 days", "then": "accept"}), "/rules/0/return_deadline/then"),
        (with_rule(inspection_deadline={"length": "5 days", "then": "decline"}), "/rules/0/inspection_deadline/then"),
        (with_rule(merchant_deadline={"length": "0 days", "then": "agent"}), "/rules/0/merchant_deadline/length"),
        (with_rule(when={"state": ["completed", "done"]}), "/rules/0/when/state/1"),
        (with_rule(when={"state": []}), "/rules/0/when/state"),
        (with_rule(when={"state": None}), "/rules/0/when/state"),
        (with_rule(when={"role": "system"}), "/rules/0/when/role"),
        (with_rule(when={"amount_above_not": 5}), "/rules/0/when/amount_above_not"),
        (with_rule(when={"amount_above": "5", "currency": "CNY"}), "/rules/0/when/amount_above"),
        (with_rule(when={"amount_above": 5}), "/rules/0/when/amount_above"),
        (with_rule(when={"amount_up_to": 5, "currency_not": "CNY"}), "/rules/0/when/amount_up_to"),
        ({**BARE, "effective_from": "1900-01-01T00:00:00+14:00"}, "/effective_from"),
        ({**BARE, "effective_from": "8999-12-31T23:30:00-10:00"}, "/effective_from"),
        ({**BARE, "effective_from": "2030-W01-1T00:00:00Z"}, "/effective_from"),
        ({**BARE, "effective_from": "20300101T000000+00"}, "/effective_from"),
        ({**BARE, "effective_from": "2030-01-01T00:00:00+00:00:30"}, "/effective_from"),
        ({**BARE, "effective_from": "0001-01-01T00:00:00+14:00"}, "/effective_from"),
        ({**BARE, "timezone": "localtime"}, "/timezone"),
        ({**BARE, "timezone": "Factory"}, "/timezone"),
        (with_rule(when={"amount": [1, 0]}), "/rules/0/when/amount/1"),
        (with_rule(when={"currency": "RMB "}), "/rules/0/when/currency"),
        (with_rule(when={"merchant_id": 17}), "/rules/0/when/merchant_id"),
        (with_rule(when=["state"]), "/rules/0/when"),
        (with_rule(requires_anchor=True), "/rules/0/requires_anchor"),
        (with_rule(window={"anchor": "completed_at"}), "/rules/0/window"),
        (with_rule(window={"length": "1 day"}), "/rules/0/window/anchor"),
        (with_rule(window={"anchor": "captured_at", "length": "1 day"}), "/rules/0/window/anchor"),
        (with_rule(window={"anchor": "completed_at", "length": "1 day", "until": {"end_of_day": "+1 hour"}}), "/rules/0/window"),
        (with_rule(window={"anchor": "completed_at", "length": "+1 day"}), "/rules/0/window/length"),
        (with_rule(window={"anchor": "completed_at", "length": "200 years"}), "/rules/0/window/length"),
        (with_rule(window={"anchor": "completed_at", "length": "99999 days"}), "/rules/0/window/length"),
        (with_rule(window={"anchor": "completed_at", "until": {}}), "/rules/0/window/until/end_of_day"),
        (with_rule(window={"anchor": "completed_at", "until": {"end_of_day": "-1 hour"}}), "/rules/0/window/until/end_of_day"),
        (with_rule(window={"anchor": "completed_at", "length": "1 day", "count_from": "now"}), "/rules/0/window/count_from"),
        (with_rule(window={"anchor": "completed_at", "length": "1 day", "requires_anchor": "yes"}), "/rules/0/window/requires_anchor"),
        (dict[Any, Any](BARE) | {True: 1}, "/True"),
        ({**BARE, "\ud800": 1}, "/?"),  # half a character, which no answer could carry
    ]
    for data, expected in cases:
        assert pointers(data) == [expected]


def test_what_is_no_object_lacks_everything() -> None:
    cases: tuple[object, ...] = (None, [], "policy", 7, True)
    for data in cases:
        assert faults(data)[0] == Fault("", FaultCode.not_object)


def test_all_faults_are_told_at_once() -> None:
    data = {
        "version": 1,
        "timezone": "Mars/Olympus",
        "calendar": "CN",
        "rules": [{"name": "a", "route": "void"}, {"name": "a", "route": "nowhere"}, 7],
        "extra": 1,
    }

    assert pointers(data) == [
        "/extra",
        "/effective_from",
        "/version",
        "/timezone",
        "/rules/1/route",
        "/rules/1/name",
        "/rules/2",
        "/rules/2/name",
        "/rules/2/route",
    ]


def test_a_calendar_that_nobody_keeps_is_told() -> None:
    data = {**BARE, "calendar": "ZZ"}

    assert parse_policy(data).calendar.name == "ZZ"  # the form alone cannot know
    assert faults(data, calendar_exists=calendar_exists) == [Fault("/calendar", FaultCode.unknown_calendar)]


def test_a_merchants_rules_are_pointed_at_from_their_own_list() -> None:
    with pytest.raises(PolicyInvalid) as caught:
        parse_rules([{"name": "a", "route": "void"}, {"name": "b"}])

    assert caught.value.faults == (Fault("/1/route", FaultCode.required),)
    assert str(caught.value) == "/1/route: required"


def test_a_fault_says_what_is_allowed() -> None:
    told = {fault.pointer: str(fault) for fault in faults({**BARE, "colour": "red", "limits": {"requests_per_day": 0}, "version": 7})}

    assert told["/limits/requests_per_day"].endswith(": integer_out_of_range (minimum=1, maximum=1000000)")
    assert told["/version"] == "/version: not_quoted"
    assert "'calendar', 'deadlines'" in told["/colour"]


_junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.datetimes() | st.dates(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10) | st.integers() | st.none(), inner, max_size=4),
    max_leaves=12,
)
_members = st.sampled_from(
    ["version", "effective_from", "timezone", "calendar", "rules", "deadlines", "second_approval_above", "limits", "refusals"]
)
_rule_members = st.sampled_from(
    ["name", "when", "window", "route", "merchant_deadline", "limits", "forfeit", "requires_anchor", "allocation"]
)


@given(data=_junk | st.dictionaries(_members, _junk), rule=st.dictionaries(_rule_members, _junk))
@pytest.mark.slow
def test_no_input_however_odd_raises_anything_else(data: Any, rule: dict[str, Any]) -> None:
    for form in (data, {**BARE, "rules": [rule]}):
        read = policy_or_faults(form)
        if isinstance(read, Policy):
            assert parse_policy(policy_data(read)) == read
        else:
            assert read
            assert all(fault.pointer == "" or fault.pointer.startswith("/") for fault in read)
            json.dumps([(fault.pointer, fault.code, dict(fault.members)) for fault in read], ensure_ascii=False).encode()


def policy_or_faults(data: object) -> Policy | tuple[Fault, ...]:
    try:
        return parse_policy(data)
    except PolicyInvalid as invalid:
        return invalid.faults


@pytest.mark.parametrize("member", ["forfeit", "limits", "second_approval_above", "allocation", "verification", "colour"])
def test_what_is_the_policys_to_say_is_refused_in_an_own_rule(member: str) -> None:
    assert member not in OWN_RULE

    with pytest.raises(PolicyInvalid) as raised:
        own({member: {}})

    assert [fault.pointer for fault in raised.value.faults] == [f"/rules/0/{member}"]
