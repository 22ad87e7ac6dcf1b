"""The JSON schema of a policy's document, for the OpenAPI and for editors."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from workflows.domain.enums import (
    Allocation,
    Anchor,
    Channel,
    OnDeadline,
    Refusal,
    Route,
)
from workflows.domain.forms import CURRENCY
from workflows.domain.money import AMOUNT_MAX
from workflows.domain.policies.conditions import Subject
from workflows.domain.policies.form import (
    CALENDAR,
    DAYS_MAX,
    NAME,
    NEXT_STEPS_MAX,
    OWN_RULE,
    PRINTABLE,
    PROMOTIONS,
    RULES_MAX,
    STEP,
    VERSION,
    WORDS,
    WORDS_MAX,
    ZONE,
)
from workflows.domain.policies.form_agents import TIER_NAME, TIERS_MAX
from workflows.domain.policies.policy import VerificationMethod
from workflows.domain.windows import Unit

Schema = dict[str, Any]

_COUNT_MAX = 1_000_000
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_UNITS = "|".join(unit.removesuffix("s") for unit in Unit)
_AGENTS_CHANNELS = tuple(channel for channel in Channel if channel not in (Channel.app, Channel.merchant, Channel.system))


def policy_schema() -> Schema:
    """The whole schema, without references, so that it can stand inside another document. A new object at each call."""
    return {
        "type": "object",
        "required": ["version", "effective_from", "timezone", "calendar", "rules"],
        "additionalProperties": False,
        "properties": {
            "version": _text(VERSION.pattern, "Its name."),
            "effective_from": {
                "description": "Payments authorised from then on are decided by it.",
                "type": "string",
                "format": "date-time",
            },
            "timezone": _text(ZONE.pattern, "IANA name: its days, business days and months count."),
            "calendar": _calendar(),
            "rules": _list(_rule(), RULES_MAX, "The first whose `when` holds and whose window is open decides."),
            "deadlines": _deadlines(),
            "second_approval_above": _amounts("Minor units by currency: above, and in other currencies, a second person approves.", 0),
            "verification": _verification(),
            "limits": _limits("How often, where a rule has no limit of its own."),
            "agent_limits": _agent_limits(),
            "response_tiers": _list(_tier(), TIERS_MAX, "How soon agents answer; the first whose `when` and `routes` hold."),
            "working_hours": _object(
                "When agents are there, on business days; left out: always.",
                {
                    "opens": _text("([01][0-9]|2[0-3]):[0-5][0-9]", "By the clock on the wall: 09:00. In YAML in quotes."),
                    "closes": _text("([01][0-9]|2[0-3]):[0-5][0-9]", "Later than `opens`. In YAML in quotes."),
                },
                required=("opens", "closes"),
            ),
            "refusals": _refusals(),
        },
    }


def own_rules_schema() -> Schema:
    """Of a merchant's own rules: what else a policy's rule may say is not a merchant's to say."""
    rule = _rule()
    members = {name: member for name, member in rule["properties"].items() if name in OWN_RULE}
    return _list({**rule, "properties": members}, RULES_MAX)


def policy_schema_file() -> Schema:
    """The same, as a schema of its own."""
    return {
        "$schema": _DIALECT,
        "title": "Refundry policy",
        "description": "The rules that decide about cancellations. Merchants, currencies and time zones are checked when it is linted.",
        **policy_schema(),
    }


def _calendar() -> Schema:
    name = _text(CALENDAR.pattern, "A country (CN), its part (GB-SCT) or a market (XNYS); `none`: Monday to Friday.")
    day = {"type": "string", "format": "date"}
    given = _object(
        "With its days, as they are published with a policy; beyond them Monday to Friday.",
        {
            "name": _text(NAME.pattern, "Its name; it may be your own."),
            "holidays": {"description": "No business days.", "type": "array", "items": day, "maxItems": DAYS_MAX},
            "working_weekends": {"description": "Business days all the same.", "type": "array", "items": day, "maxItems": DAYS_MAX},
        },
        required=("name", "holidays"),
    )
    return {"description": "Whose business days count.", "anyOf": [name, given]}


def _rule() -> Schema:
    members = {
        "name": _text(NAME.pattern, "Unique within the policy."),
        "when": _when(),
        "window": _window(),
        "requires_anchor": {"description": "As within the window.", "type": "boolean"},
        "route": _word(Route, "Who decides."),
        "merchant_deadline": _timeout("The merchant's time to answer.", OnDeadline),
        "return_deadline": _timeout("Until the goods are sent.", (OnDeadline.decline,)),
        "inspection_deadline": _timeout("Until the merchant says what came.", (OnDeadline.accept,)),
        "second_approval_above": _amounts("In place of the policy's.", 0),
        "allocation": _word(Allocation, "How a partial refund is spread over the sources; `pro_rata` where left out."),
        "forfeit": {
            "description": "Promotions that are not given back; true: all.",
            "anyOf": [{"type": "boolean"}, _list(_word(sorted(PROMOTIONS)), len(sorted(PROMOTIONS)))],
        },
        "verification": _verification(),
        "limits": _limits("In place of the policy's."),
    }
    return {**_object("One rule.", members, required=("name", "route")), "dependentRequired": {"requires_anchor": ["window"]}}


def _when() -> Schema:
    one: dict[Subject, Schema] = {subject: _word(words) for subject, words in WORDS.items()}
    one[Subject.merchant_id] = _text(PRINTABLE.pattern)
    one[Subject.currency] = _text(CURRENCY.pattern)
    one[Subject.amount] = _integer(1)
    members: dict[str, Schema] = {}
    for subject in Subject:
        several = {"type": "array", "items": one[subject], "minItems": 1, "maxItems": WORDS_MAX}
        members[subject.value] = {"description": "One of these.", "anyOf": [one[subject], several]}
        members[f"{subject.value}_not"] = {"description": "None of these.", "anyOf": [one[subject], several]}
    members["source"]["description"] = "Some source of the payment is one of these."
    members["source_not"]["description"] = "No source of the payment is one of these."
    members["amount_above"] = _integer(0, "More than this, in minor units of `currency`.")
    members["amount_up_to"] = _integer(1, "At most this, in minor units of `currency`.")
    whole = _object("The conditions; all of them must hold. Left out: always.", members)
    return {**whole, "dependentRequired": {"amount_above": ["currency"], "amount_up_to": ["currency"]}}


def _window() -> Schema:
    until = _object(
        "Instead of a length.",
        {"end_of_day": _text(rf"\+?[0-9]{{1,9}} ({_UNITS})s?", "So long after the end of the anchor's local day: +15 minutes.")},
        required=("end_of_day",),
    )
    members = {
        "anchor": _word(Anchor, "The moment of the payment from which it counts."),
        "length": _length(),
        "until": until,
        "count_from": {"description": "Count from the beginning of the local day after the anchor.", "const": "next_day"},
        "requires_anchor": {"description": "True: closed as long as the anchor has not happened. Else it is open then.", "type": "boolean"},
    }
    whole = _object("When the rule is open. Left out: always.", members, required=("anchor",))
    return {**whole, "oneOf": [{"required": ["length"]}, {"required": ["until"]}]}


def _deadlines() -> Schema:
    return _object(
        "The policy's own, where a rule has none.",
        {
            "merchant": _timeout("The merchant's time to answer.", OnDeadline),
            "return": _timeout("Until the goods are sent.", (OnDeadline.decline,)),
            "inspection": _timeout("Until the merchant says what came.", (OnDeadline.accept,)),
            "offer": _timeout("The customer's time to answer an offer.", (OnDeadline.agent,)),
            "second_approval": _length("Then it goes back to the agents."),
            "agent": _length("Then it is raised to a supervisor."),
        },
    )


def _verification() -> Schema:
    channels = _list(_word(_AGENTS_CHANNELS), len(_AGENTS_CHANNELS), "Where somebody else asks.")
    methods = _list(_word(VerificationMethod), len(VerificationMethod), "One of them must have been used; none named: any.")
    return {
        "description": "Where whoever asks for a customer says how he was verified: true (everywhere), channels, or channels and methods.",
        "anyOf": [{"type": "boolean"}, channels, _object("Channels and methods.", {"channels": channels, "methods": methods})],
    }


def _limits(description: str) -> Schema:
    return _object(
        description,
        {
            "partial_refunds_max": _integer(0, "Partial refunds of one payment.", _COUNT_MAX),
            "partial_interval": _length("Between two partial refunds."),
            "requests_per_day": _integer(1, "For one payment, in the 24 hours before.", _COUNT_MAX),
        },
    )


def _agent_limits() -> Schema:
    return _object(
        "How much each agent and supervisor may ask for in any 24 hours, over all payments. What is left out is not limited.",
        {
            "requests_per_day": _integer(1, "How many requests.", _COUNT_MAX),
            "amount_per_day": _amounts("By currency, in minor units.", 1),
            "refunds_to_wallet_per_day": _integer(1, "Requests for payments of one wallet.", _COUNT_MAX),
        },
    )


def _tier() -> Schema:
    members = {
        "name": _text(TIER_NAME.pattern, "Shown as `tier`."),
        "when": _when(),
        "routes": _list(_word(Route), len(Route), "Left out: whoever decides."),
        "first_response": _length("Until somebody takes the case, or decides it."),
        "resolution": _length("Until it is decided; then it is a supervisor's."),
        "investigation": {"description": "Somebody has to look into it first.", "type": "boolean"},
    }
    return _object("How soon agents answer cases of one kind, and decide them.", members, required=("name", "first_response"))


def _refusals() -> Schema:
    steps = _object(
        "What to tell the customer instead.",
        {"next_steps": _list(_text(STEP.pattern), NEXT_STEPS_MAX, "In this order.")},
        required=("next_steps",),
    )
    return _object("By refusal; `default` for all others.", {"default": steps, **{refusal.value: steps for refusal in Refusal}})


def _object(description: str, members: dict[str, Schema], *, required: tuple[str, ...] = ()) -> Schema:
    whole: Schema = {"description": description, "type": "object", "properties": members, "additionalProperties": False}
    return {**whole, "required": list(required)} if required else whole


def _list(items: Schema, most: int, description: str = "") -> Schema:
    return _described({"type": "array", "items": items, "maxItems": most}, description)


def _word(words: Iterable[StrEnum], description: str = "") -> Schema:
    return _described({"type": "string", "enum": [word.value for word in words]}, description)


def _text(pattern: str, description: str = "") -> Schema:
    """`pattern` is of the whole text."""
    return _described({"type": "string", "pattern": f"^({pattern})$"}, description)


def _integer(least: int, description: str = "", most: int = AMOUNT_MAX) -> Schema:
    return _described({"type": "integer", "minimum": least, "maximum": most}, description)


def _length(description: str = "") -> Schema:
    units = " ".join(Unit)
    return _text(rf"0{{0,8}}[1-9][0-9]{{0,8}} ({_UNITS})s?", f"{description} A number and one of `{units}`.".strip())


def _amounts(description: str, least: int) -> Schema:
    table = {"type": "object", "propertyNames": {"pattern": f"^{CURRENCY.pattern}$"}, "additionalProperties": _integer(least)}
    return _described(table, description)


def _timeout(description: str, then: Iterable[OnDeadline]) -> Schema:
    members = {"length": _length(), "then": _word(then, "What happens when it has run out.")}
    return _object(description, members, required=("length", "then"))


def _described(schema: Schema, description: str) -> Schema:
    return {"description": description, **schema} if description else schema
