"""The models' schemas, made as exact as the reading of them is: what a schema lets through, the service takes."""

from typing import Any, Final

from service.api.currencies import EXPONENTS

Json = dict[str, Any]  # JSON Schema

# RFC 3339 in UTC from 1970 on, with any number of digits of a second, and a leap second; `format` keeps out the 30th of February.
INSTANT: Final = (
    r"^(19[7-9][0-9]|[2-9][0-9]{3})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"[Tt](([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]|23:59:60)(\.[0-9]+)?([Zz]|[+-]00:00)$"
)
CURRENCIES: Final = sorted(EXPONENTS)
_INSTANT_ROUGH: Final = r"(Z|[+-]00:00)$"
_CURRENCY_ROUGH: Final = "^[A-Z]{3}$"

# What concerns more than one member, as far as JSON Schema can say it; sums and uniqueness stand in the descriptions.
RULES: Final[dict[str, Json]] = {
    "RequestCancellation": {
        "allOf": [
            {
                "description": "The reason `other` needs a note.",
                "anyOf": [
                    {"properties": {"reason": {"not": {"const": "other"}}}},
                    {"required": ["note"]},
                ],
            },
            {
                "description": "Not both.",
                "not": {"required": ["amount", "items"]},
            },
        ]
    },
}


def sharpened(schema: Json) -> Json:
    """The schema with what its validators check beyond it, as far as JSON Schema can say it."""
    made = {key: _within(value) for key, value in schema.items()}
    match made:
        case {"format": "date-time", "pattern": pattern} if pattern == _INSTANT_ROUGH:
            made["pattern"] = INSTANT
        case {"type": "string", "pattern": pattern} if pattern == _CURRENCY_ROUGH:
            made = {key: value for key, value in made.items() if key not in ("pattern", "minLength", "maxLength")}
            made["enum"] = CURRENCIES
        case {"patternProperties": dict()}:
            made["additionalProperties"] = False  # a name of another form is refused
        case {"pattern": str(pattern), "maxLength": 2000} if "S" not in pattern:
            made["allOf"] = [{"pattern": r"\S"}]  # not blank
    return made


def tidied(schema: Json) -> Json:
    """Without what says nothing: titles that repeat the name, defaults that are null. An example stands where JSON Schema wants it."""
    made = {key: value for key, value in schema.items() if key != "example"}
    if "example" in schema:
        made["examples"] = [schema["example"]]
    members = made.get("properties")
    if isinstance(members, dict):
        made["properties"] = {name: _quiet(member) for name, member in members.items()}
    return made


def _quiet(member: Json) -> Json:
    return {key: value for key, value in member.items() if key != "title" and (key, value) != ("default", None)}


def _within(value: object) -> object:
    match value:
        case dict():
            return sharpened(value)
        case list():
            return [_within(one) for one in value]
        case _:
            return value
