"""A policy as data: the complete document, as it is published, kept and shown."""

from workflows.domain.enums import Allocation
from workflows.domain.model import DataValue
from workflows.domain.policies.conditions import When
from workflows.domain.policies.form_agents import tiers_data, verification_data, working_hours_data
from workflows.domain.policies.form_limits import agent_limits_data
from workflows.domain.policies.policy import Limits, Policy, PolicyCalendar, Rule, Timeout
from workflows.domain.times import rfc3339
from workflows.domain.windows import WindowSpec


def policy_data(policy: Policy) -> dict[str, DataValue]:
    """The form, JSON-able and complete, from which parse_policy makes an equal policy."""
    deadlines, hours = policy.deadlines, policy.working_hours
    return {
        "version": policy.version,
        "effective_from": rfc3339(policy.effective_from),
        "timezone": policy.zone.key,
        "calendar": _calendar_data(policy.calendar),
        "rules": rules_data(policy.rules),
        "deadlines": {
            "merchant": _timeout_data(deadlines.merchant),
            "return": _timeout_data(deadlines.return_),
            "inspection": _timeout_data(deadlines.inspection),
            "offer": _timeout_data(deadlines.offer),
            "second_approval": str(deadlines.second_approval),
            "agent": str(deadlines.agent),
        },
        "second_approval_above": dict(policy.second_approval_above),
        "verification": verification_data(policy.verification),
        "limits": _limits_data(policy.limits),
        **({"agent_limits": agent_limits_data(policy.agent_limits)} if policy.agent_limits is not None else {}),
        **({"response_tiers": tiers_data(policy.response_tiers, _when_data)} if policy.response_tiers else {}),
        **({"working_hours": working_hours_data(hours)} if hours is not None else {}),
        "refusals": {str(refusal or "default"): {"next_steps": list(steps)} for refusal, steps in policy.next_steps.items()},
    }


def rules_data(rules: tuple[Rule, ...]) -> list[dict[str, DataValue]]:
    return [_rule_data(rule) for rule in rules]


def _calendar_data(calendar: PolicyCalendar) -> DataValue:
    days = calendar.days
    if days is None:
        return calendar.name
    listed = {"holidays": days.holidays, "working_weekends": days.working_weekends}
    return {"name": calendar.name} | {name: [day.isoformat() for day in sorted(some)] for name, some in listed.items()}


def _rule_data(rule: Rule) -> dict[str, DataValue]:
    timeouts = {
        "merchant_deadline": rule.merchant_deadline,
        "return_deadline": rule.return_deadline,
        "inspection_deadline": rule.inspection_deadline,
    }
    data: dict[str, DataValue] = {"name": rule.name, "when": _when_data(rule.when)}
    if rule.window is not None:
        data["window"] = _window_data(rule.window)
    data["route"] = str(rule.route)
    data |= {name: _timeout_data(timeout) for name, timeout in timeouts.items() if timeout is not None}
    if rule.second_approval_above is not None:
        data["second_approval_above"] = dict(rule.second_approval_above)
    if rule.allocation is not Allocation.pro_rata:
        data["allocation"] = str(rule.allocation)
    if rule.forfeit:
        data["forfeit"] = sorted(str(source) for source in rule.forfeit)
    if rule.verification is not None:
        data["verification"] = verification_data(rule.verification)
    if rule.limits != Limits():
        data["limits"] = _limits_data(rule.limits)
    return data


def _when_data(when: When) -> dict[str, DataValue]:
    data: dict[str, DataValue] = {
        f"{test.subject}{'_not' if test.negated else ''}": sorted(value if isinstance(value, int) else str(value) for value in test.values)
        for test in when.conditions
    }
    bounds = {"amount_above": when.amount_above, "amount_up_to": when.amount_up_to}
    return data | {name: bound for name, bound in bounds.items() if bound is not None}


def _window_data(window: WindowSpec) -> dict[str, DataValue]:
    data: dict[str, DataValue] = {"anchor": str(window.anchor)}
    if window.length is not None:
        data["length"] = str(window.length)
    if window.end_of_day is not None:
        data["until"] = {"end_of_day": f"+{window.end_of_day}"}
    if window.next_day:
        data["count_from"] = "next_day"
    if window.requires_anchor:
        data["requires_anchor"] = True
    return data


def _limits_data(limits: Limits) -> dict[str, DataValue]:
    interval = None if limits.partial_interval is None else str(limits.partial_interval)
    data = {
        "partial_refunds_max": limits.partial_refunds_max,
        "partial_interval": interval,
        "requests_per_day": limits.requests_per_day,
    }
    return {name: value for name, value in data.items() if value is not None}


def _timeout_data(timeout: Timeout) -> dict[str, DataValue]:
    return {"length": str(timeout.length), "then": str(timeout.then)}
