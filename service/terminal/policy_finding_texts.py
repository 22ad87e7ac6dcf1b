"""What is told of each finding in a policy, for the person who runs `refundry policy lint`."""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from service.api.i18n import Language, amount_text
from workflows.domain.policies.facts import PolicyFacts
from workflows.domain.policies.lint import PolicyFinding, PolicyFindingCode

POLICY_FINDING_TEXTS: Final[Mapping[PolicyFindingCode, str]] = MappingProxyType(
    {
        PolicyFindingCode.never_matches: "never matches: no request can meet its conditions on {subjects}",
        PolicyFindingCode.never_open: "never opens: no payment that it is for has {anchor}, which its window requires",
        PolicyFindingCode.unreachable: "never decides: {others} always decide before it",
        PolicyFindingCode.window_closes_before_it_opens: "its window closes before it opens{moment}",
        PolicyFindingCode.currency_without_threshold: (
            "{currencies}: not in second_approval_above, so a second person is needed for every amount{of_rules}"
        ),
        PolicyFindingCode.amount_without_currency: "tests an amount without a currency: the number counts in each of them",
        PolicyFindingCode.gap: "no rule is for a {state} payment{conditions}",
        PolicyFindingCode.not_examined: "too much to compare: {what} was not examined wholly",
    }
)
_NAMES_SHOWN_MAX = 5
_WHAT: Final[Mapping[str, str]] = MappingProxyType(
    {
        PolicyFindingCode.unreachable: "whether earlier rules always decide before it",
        PolicyFindingCode.gap: "whether rules cover all requests",
    }
)


def policy_finding_text(finding: PolicyFinding) -> str:
    """The finding as a sentence without its rule and its example."""
    told = {name: _told(value) for name, value in finding.members.items()}
    told["others"] = _names(finding.others)
    told["of_rules"] = f" ({_names(finding.others)})" if finding.others else ""
    told["conditions"] = "".join(f", {name}: {' '.join(str(value) for value in values)}" for name, values in finding.conditions.items())
    told["what"] = _WHAT.get(told.get("what", ""), "")
    opens_at, closes_at = told.get("opens_at"), told.get("closes_at")
    told["moment"] = f": from {opens_at} to {closes_at}, for example" if opens_at and closes_at else ""
    return POLICY_FINDING_TEXTS[finding.code].format(**told)


def example_text(facts: PolicyFacts) -> str:
    """A request in a line."""
    sources = "+".join(facts.sources)
    return (
        f"{facts.state} payment of {amount_text(facts.amount, facts.currency, Language.en)} from {sources} to {facts.merchant_id}, "
        f"{facts.category}, fulfilment {facts.fulfilment}; {facts.role} asks by {facts.channel}: {facts.reason}"
    )


def _names(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN_MAX])
    return f"{shown} and {len(names) - _NAMES_SHOWN_MAX} more" if len(names) > _NAMES_SHOWN_MAX else shown


def _told(value: str | tuple[str, ...] | datetime | None) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="minutes")
    return ", ".join(value) if isinstance(value, tuple) else value or ""
