"""A policy's written form: decoded YAML or JSON into a Policy and back, with everything that is wrong told at once."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from workflows.domain.enums import (
    Allocation,
    Anchor,
    Category,
    Channel,
    Fulfilment,
    OnDeadline,
    PaymentState,
    Reason,
    Refusal,
    Role,
    Route,
    Source,
)
from workflows.domain.errors import RefundryError
from workflows.domain.faults import Fault, FaultCode
from workflows.domain.forms import CURRENCY, FormReader
from workflows.domain.money import AMOUNT_MAX
from workflows.domain.policies.conditions import Condition, Subject, When
from workflows.domain.policies.form_agents import (
    read_tiers,
    read_verification,
    read_working_hours,
)
from workflows.domain.policies.form_limits import read_agent_limits
from workflows.domain.policies.policy import CalendarDays, Deadlines, Limits, Policy, PolicyCalendar, Rule, Timeout, Verification
from workflows.domain.windows import Length, Unit, WindowSpec

RULES_MAX = 200
WORDS_MAX = 1_000
DAYS_MAX = 5_000
NEXT_STEPS_MAX = 20


@dataclass
class PolicyInvalid(RefundryError):
    """No policy: everything that is wrong with its written form."""

    faults: tuple[Fault, ...]

    def __str__(self) -> str:
        return "; ".join(str(fault) for fault in self.faults)


def parse_policy(data: object, *, calendar_exists: Callable[[str], bool] = lambda _: True, new: bool = False) -> Policy:
    """The policy that decoded YAML or JSON describes; raises PolicyInvalid with every fault.

    `new`: it is to be published. Some of what is refused then was taken earlier, and what was published is read for ever.
    """
    form = FormReader(data, "", [], new)
    policy = _policy(form, calendar_exists)
    if form.faults:
        raise PolicyInvalid(tuple(form.faults))
    return policy


def parse_rules(data: object) -> tuple[Rule, ...]:
    """A merchant's own rules, as they are stored: a list as under a policy's `rules`; pointers start at the list. Raises PolicyInvalid."""
    return _parsed_rules(FormReader(data, "", []), _RULE)


def parse_own_rules(data: object) -> tuple[Rule, ...]:
    """The same as an operator sends them, under `/rules`: conditions, windows, routes and deadlines. All else is the policy's to say."""
    return _parsed_rules(FormReader(data, "/rules", [], new=True), OWN_RULE)


def _parsed_rules(form: FormReader, known: frozenset[str]) -> tuple[Rule, ...]:
    rules = _rules(form, known)
    if form.faults:
        raise PolicyInvalid(tuple(form.faults))
    return rules


VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SATURDAY = 5
STEP = re.compile(r"[a-z][a-z_]{0,39}")
_RFC_3339 = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?([Zz]|[+-][0-9]{2}:[0-9]{2})")
_OF_THE_MACHINE = frozenset({"localtime", "posixrules", "Factory"})  # what these mean depends on where they are read
ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")
CALENDAR = re.compile(r"none|[A-Z0-9]{2,6}(-[A-Z0-9]{1,6})?")
PRINTABLE = re.compile(r"[!-~]{1,64}")

WORDS: dict[Subject, type[StrEnum]] = {
    Subject.state: PaymentState,
    Subject.fulfilment: Fulfilment,
    Subject.category: Category,
    Subject.role: Role,
    Subject.channel: Channel,
    Subject.reason: Reason,
    Subject.source: Source,
}
_PATTERNS = {
    Subject.merchant_id: (PRINTABLE, FaultCode.invalid_merchant_id),
    Subject.currency: (CURRENCY, FaultCode.invalid_currency_code),
}
_TESTS = frozenset({f"{subject}{suffix}" for subject in Subject for suffix in ("", "_not")} | {"amount_above", "amount_up_to"})
PROMOTIONS = frozenset({Source.coupon, Source.points})

# What each clock may do is what the cancellation's transitions allow on `timeout`.
_MERCHANT_THEN = frozenset(OnDeadline)
_RETURN_THEN = frozenset({OnDeadline.decline})
_INSPECTION_THEN = frozenset({OnDeadline.accept})
_OFFER_THEN = frozenset({OnDeadline.agent})

_POLICY = frozenset(
    {"version", "effective_from", "timezone", "calendar", "rules", "deadlines", "second_approval_above", "limits", "refusals"}
    | {"verification", "agent_limits", "response_tiers", "working_hours"}
)
_RULE = frozenset(
    {"name", "when", "window", "route", "merchant_deadline", "return_deadline", "inspection_deadline", "second_approval_above"}
    | {"allocation", "forfeit", "requires_anchor", "limits", "verification"}
)
OWN_RULE = frozenset({"name", "when", "window", "route", "requires_anchor", "merchant_deadline", "return_deadline", "inspection_deadline"})


def _policy(form: FormReader, calendar_exists: Callable[[str], bool]) -> Policy:
    has = form.members(_POLICY, required=frozenset({"version", "effective_from", "timezone", "calendar", "rules"}))
    return Policy(
        version=has["version"].text(VERSION, FaultCode.invalid_policy_version) if "version" in has else "",
        effective_from=_moment(has["effective_from"]) if "effective_from" in has else _EPOCH,
        zone=_zone(has["timezone"]) if "timezone" in has else _UTC,
        calendar=_calendar(has["calendar"], calendar_exists) if "calendar" in has else PolicyCalendar("none"),
        rules=_rules(has["rules"], _RULE) if "rules" in has else (),
        deadlines=_deadlines(has["deadlines"]) if "deadlines" in has else Deadlines(),
        second_approval_above=_amounts(has["second_approval_above"]) if "second_approval_above" in has else {},
        verification=read_verification(has["verification"]) if "verification" in has else Verification(),
        limits=_limits(has["limits"]) if "limits" in has else Limits(),
        agent_limits=read_agent_limits(has["agent_limits"]) if "agent_limits" in has else None,
        response_tiers=read_tiers(has["response_tiers"], _when) if "response_tiers" in has else (),
        working_hours=read_working_hours(has["working_hours"]) if "working_hours" in has else None,
        next_steps=_next_steps(has["refusals"]) if "refusals" in has else {},
    )


def _rules(form: FormReader, known: frozenset[str]) -> tuple[Rule, ...]:
    rules = []
    names: set[str] = set()
    for entry in form.items(RULES_MAX):
        rule = _rule(entry, known)
        if rule.name and rule.name in names:
            entry.at("name", rule.name).wrong(FaultCode.duplicate_rule_name)
        names.add(rule.name)
        rules.append(rule)
    return tuple(rules)


def _rule(form: FormReader, known: frozenset[str]) -> Rule:
    has = form.members(known, required=frozenset({"name", "route"}))
    return Rule(
        name=has["name"].text(NAME, FaultCode.invalid_rule_name) if "name" in has else "",
        route=has["route"].word(Route) if "route" in has else Route.agent,
        when=_when(has["when"]) if "when" in has else When(),
        window=_window(has.get("window"), has.get("requires_anchor")),
        merchant_deadline=_timeout(has["merchant_deadline"], _MERCHANT_THEN) if "merchant_deadline" in has else None,
        return_deadline=_timeout(has["return_deadline"], _RETURN_THEN) if "return_deadline" in has else None,
        inspection_deadline=_timeout(has["inspection_deadline"], _INSPECTION_THEN) if "inspection_deadline" in has else None,
        second_approval_above=_amounts(has["second_approval_above"]) if "second_approval_above" in has else None,
        allocation=has["allocation"].word(Allocation) if "allocation" in has else Allocation.pro_rata,
        forfeit=_forfeit(has["forfeit"]) if "forfeit" in has else frozenset(),
        verification=read_verification(has["verification"]) if "verification" in has else None,
        limits=_limits(has["limits"]) if "limits" in has else Limits(),
    )


def _when(form: FormReader) -> When:
    has = form.members(_TESTS)
    above, up_to = has.pop("amount_above", None), has.pop("amount_up_to", None)
    for bound in (above, up_to):
        if form.new and bound is not None and "currency" not in has:  # the same number is a hundred times as much in another one
            bound.wrong(FaultCode.amount_needs_currency)
    return When(
        conditions=tuple(_condition(name, has[name]) for name in sorted(has)),
        amount_above=None if above is None else above.integer(0, AMOUNT_MAX),
        amount_up_to=None if up_to is None else up_to.integer(1, AMOUNT_MAX),
    )


def _condition(name: str, form: FormReader) -> Condition:
    subject = Subject(name.removesuffix("_not"))
    entries = form.items(WORDS_MAX) if isinstance(form.value, list | tuple) else [form]
    if isinstance(form.value, list | tuple) and not form.value:
        form.wrong(FaultCode.empty_condition)
    values: frozenset[str] | frozenset[int]
    if subject is Subject.amount:
        values = frozenset(entry.integer(1, AMOUNT_MAX) for entry in entries)
    elif subject in WORDS:
        values = frozenset(entry.word(WORDS[subject]) for entry in entries)
    else:
        values = frozenset(entry.text(*_PATTERNS[subject]) for entry in entries)
    return Condition(subject=subject, values=values, negated=name != subject)


def _window(form: FormReader | None, rule_requires: FormReader | None) -> WindowSpec | None:
    """`requires_anchor` is read beside the window and within it."""
    if form is None:
        if rule_requires is not None:
            rule_requires.wrong(FaultCode.anchor_without_window)
        return None
    known = frozenset({"anchor", "length", "until", "count_from", "requires_anchor"})
    has = form.members(known, required=frozenset({"anchor"}))
    if ("length" in has) is ("until" in has):
        form.wrong(FaultCode.length_or_until)
    end_of_day = None
    if "until" in has:
        until = has["until"].members(frozenset({"end_of_day"}), required=frozenset({"end_of_day"}))
        end_of_day = until["end_of_day"].length(0, signed=True) if "end_of_day" in until else None
    if "count_from" in has and has["count_from"].value != "next_day":
        has["count_from"].wrong(FaultCode.unknown_value, allowed=("next_day",))
    return WindowSpec(
        anchor=has["anchor"].word(Anchor) if "anchor" in has else Anchor.completed_at,
        length=has["length"].length() if "length" in has else None,
        end_of_day=end_of_day,
        next_day="count_from" in has,
        requires_anchor=True in [requires.flag() for requires in (has.get("requires_anchor"), rule_requires) if requires is not None],
    )


def _timeout(form: FormReader, allowed: frozenset[OnDeadline]) -> Timeout:
    both = frozenset({"length", "then"})
    has = form.members(both, required=both)
    return Timeout(
        length=has["length"].length() if "length" in has else Length(1, Unit.days),
        then=has["then"].word(OnDeadline, allowed) if "then" in has else OnDeadline.agent,
    )


def _deadlines(form: FormReader) -> Deadlines:
    usual = Deadlines()
    has = form.members(frozenset({"merchant", "return", "inspection", "offer", "second_approval", "agent"}))
    return Deadlines(
        merchant=_timeout(has["merchant"], _MERCHANT_THEN) if "merchant" in has else usual.merchant,
        return_=_timeout(has["return"], _RETURN_THEN) if "return" in has else usual.return_,
        inspection=_timeout(has["inspection"], _INSPECTION_THEN) if "inspection" in has else usual.inspection,
        offer=_timeout(has["offer"], _OFFER_THEN) if "offer" in has else usual.offer,
        second_approval=has["second_approval"].length() if "second_approval" in has else usual.second_approval,
        agent=has["agent"].length() if "agent" in has else usual.agent,
    )


def _limits(form: FormReader) -> Limits:
    has = form.members(frozenset({"partial_refunds_max", "partial_interval", "requests_per_day"}))
    return Limits(
        partial_refunds_max=has["partial_refunds_max"].integer(0, 1_000_000) if "partial_refunds_max" in has else None,
        partial_interval=has["partial_interval"].length() if "partial_interval" in has else None,
        requests_per_day=has["requests_per_day"].integer(1, 1_000_000) if "requests_per_day" in has else None,
    )


def _amounts(form: FormReader) -> dict[str, int]:
    return {
        FormReader(name, entry.pointer, form.faults).text(CURRENCY, FaultCode.invalid_currency_code): entry.integer(0, AMOUNT_MAX)
        for name, entry in form.any_members().items()
    }


def _next_steps(form: FormReader) -> dict[Refusal | None, tuple[str, ...]]:
    steps: dict[Refusal | None, tuple[str, ...]] = {}
    for name, entry in form.members(frozenset({"default", *Refusal})).items():
        has = entry.members(frozenset({"next_steps"}), required=frozenset({"next_steps"}))
        listed = has["next_steps"].items(NEXT_STEPS_MAX) if "next_steps" in has else []
        steps[None if name == "default" else Refusal(name)] = tuple(step.text(STEP, FaultCode.invalid_next_step) for step in listed)
    return steps


def _forfeit(form: FormReader) -> frozenset[Source]:
    if isinstance(form.value, bool):
        return PROMOTIONS if form.value else frozenset()
    return frozenset(entry.word(Source, PROMOTIONS) for entry in form.items(len(PROMOTIONS)))


def _moment(form: FormReader) -> datetime:
    """RFC 3339, with any offset. The bounds are those of the moment in UTC, as it is stored and read again."""
    at = form.value
    if isinstance(at, str):
        try:
            at = datetime.fromisoformat(at) if _RFC_3339.fullmatch(at) or not form.new else None
        except ValueError:
            at = None
    if isinstance(at, datetime) and at.tzinfo is not None and 2 <= at.year < 9999:
        at = at.astimezone(UTC)
        if 1900 <= at.year < 9000 or not form.new:
            return at
    form.wrong(FaultCode.invalid_effective_from)
    return _EPOCH


def _zone(form: FormReader) -> ZoneInfo:
    name = form.text(ZONE, FaultCode.invalid_zone)
    if form.new and name in _OF_THE_MACHINE:
        form.wrong(FaultCode.unknown_zone)
        return _UTC
    try:
        return ZoneInfo(name) if name else _UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, such as Asia
        form.wrong(FaultCode.unknown_zone)
        return _UTC


def _calendar(form: FormReader, calendar_exists: Callable[[str], bool]) -> PolicyCalendar:
    """A name, or a name with its days; such a calendar may be the author's own."""
    if isinstance(form.value, Mapping):
        has = form.members(frozenset({"name", "holidays", "working_weekends"}), required=frozenset({"name", "holidays"}))
        days = CalendarDays(
            holidays=_days(has["holidays"]) if "holidays" in has else frozenset(),
            working_weekends=_days(has["working_weekends"], weekend=True) if "working_weekends" in has else frozenset(),
        )
        return PolicyCalendar(has["name"].text(NAME, FaultCode.invalid_calendar_name) if "name" in has else "", days)
    name = form.text(CALENDAR, FaultCode.invalid_calendar)
    if name and not calendar_exists(name):
        form.wrong(FaultCode.unknown_calendar)
    return PolicyCalendar(name)


def _days(form: FormReader, *, weekend: bool = False) -> frozenset[date]:
    return frozenset(_day(entry, weekend=weekend) for entry in form.items(DAYS_MAX))


def _day(form: FormReader, *, weekend: bool) -> date:
    value = form.value
    if isinstance(value, str) and _DAY.fullmatch(value):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            value = None
    if not isinstance(value, date) or isinstance(value, datetime):  # YAML reads an unquoted day as a date
        form.wrong(FaultCode.invalid_date)
        return _EPOCH.date()
    if weekend and value.weekday() < _SATURDAY:
        form.wrong(FaultCode.not_a_weekend)
    return value


_UTC = ZoneInfo("UTC")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
