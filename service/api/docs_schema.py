"""JSON Schemas as a person reads them: one row a member, with its type, what limits it, and what it means."""

import html
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from service.api.docs_words import breakable, code, docs_words, inline
from service.api.i18n import Language
from service.api.openapi_schemas import INSTANT

Json = dict[str, Any]  # JSON Schema

_CHOICES_MAX: Final = 16  # more than these are folded away
_DEPTH_MAX: Final = 4
_TIME_PATTERNS: Final = frozenset({INSTANT, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$"})
_ID: Final = re.compile(r"\^([a-z]{3}_)\[0-9a-f\]\{32\}\$")
# Patterns in words. One that is not here is shown as it is.
_FORMS: Final = {
    r"^[!-~]+$": "visible",
    r"^[^\x00-\x1f\x7f-\x9f]*$": "printable",
    r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$": "lines",
    r"^[A-Za-z0-9_.:-]+$": "reference",
    r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$": "version",
    r"^[a-z][a-z0-9_]*$": "word",
    r"^[a-z][a-z0-9_]{0,31}$": "word",
    r"^[a-z_]+$": "letters",
    r"^[A-Za-z0-9_-]+$": "cursor",
    r"^[!#-~][!-~]{0,254}$": "key",
    r'^(\*|"(0|[1-9][0-9]{0,17})")$': "tag",
    r"^[0-9a-f]{64}$": "digest",
}


@dataclass(frozen=True, slots=True)
class Member:
    """One row. All but `name` and `within` are HTML already."""

    name: str
    within: str  # the path of what it stands in: `funding[].`
    required: bool
    type: str
    constraints: tuple[str, ...]
    meaning: str


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the schemas of one document, for people of one language."""

    schemas: Mapping[str, Json]
    language: Language
    links: Mapping[str, str]  # code -> address, for the meanings
    apart: frozenset[str] = frozenset()  # schemas that have a table of their own: `#name` leads to it

    def members(self, schema: Json, within: str = "", depth: int = 0) -> Iterator[Member]:
        """Its members in order, each followed by those within it."""
        found, _ = self._resolved(schema)
        for name, member in found.get("properties", {}).items():
            yield self.member(name, member, required=name in found.get("required", ()), within=within)
            inner, step = self._inner(member, f"{within}{name}")
            if inner is not None and depth < _DEPTH_MAX:
                yield from self.members(inner, step, depth + 1)

    def member(self, name: str, schema: Json, *, required: bool, within: str = "") -> Member:
        found, _ = self._resolved(schema)
        return Member(
            name=name,
            within=within,
            required=required,
            type=self._type(schema),
            constraints=tuple(self._constraints(found)),
            meaning=inline(str(found.get("description", "")), self.links),
        )

    def _resolved(self, schema: Json) -> tuple[Json, bool]:
        """The schema without its reference and its "or null", and whether it may be null. What is said nearer counts more."""
        own = {key: value for key, value in schema.items() if key not in ("$ref", "anyOf")}
        if "$ref" in schema:
            return {**self.schemas[_name(schema)], **own}, False
        kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
        if len(kinds) != 1:
            return schema, False
        inner, _ = self._resolved(kinds[0])
        return {**inner, **own}, True

    def _inner(self, schema: Json, path: str) -> tuple[Json | None, str]:
        """The object whose members follow, where there is one without a table of its own."""
        found, _ = self._resolved(schema)
        step = f"{path}."
        if found.get("type") == "array":
            schema, step = found.get("items", {}), f"{path}[]."
            found, _ = self._resolved(schema)
        return (found if "properties" in found and _apart(schema) not in self.apart else None), step

    def _type(self, schema: Json) -> str:
        word = docs_words(self.language)["types"]
        if (target := _apart(schema)) in self.apart:
            shown = f'<a href="#{html.escape(target)}">{html.escape(target)}</a>'
        else:
            shown = self._plain_type(self._resolved(schema)[0])
        return shown + word["or"] + word["null"] if self._resolved(schema)[1] else shown

    def _plain_type(self, found: Json) -> str:
        word = docs_words(self.language)["types"]
        kind = found.get("type", "string" if "enum" in found else "any")
        if kind == "array" and "items" in found:
            return word["list_of"].format(of=self._type(found["items"]))
        return word["time"] if found.get("format") == "date-time" else word[kind]

    def _constraints(self, found: Json) -> Iterator[str]:
        words = docs_words(self.language)
        word, is_time = words["constraints"], found.get("format") == "date-time"
        if "enum" in found:
            yield self._choices(found["enum"])
        if "const" in found:
            yield code(found["const"])
        if (pattern := found.get("pattern")) is not None and pattern not in _TIME_PATTERNS:
            if matched := _ID.fullmatch(pattern):
                yield word["id"].format(prefix=code(matched[1]))
            else:
                yield words["forms"][_FORMS[pattern]] if pattern in _FORMS else code(pattern)
        if not is_time and (span := _span(found, "minLength", "maxLength")):
            yield word["characters"].format(span=span)
        if span := _span(found, "minimum", "maximum"):
            yield span
        if span := _span(found, "minItems", "maxItems"):
            yield word["entries"].format(span=span)
        if span := _span(found, "minProperties", "maxProperties"):
            yield word["members"].format(span=span)
        if span := _span(found.get("propertyNames", {}), "minLength", "maxLength"):
            yield word["names"].format(span=span)
        for values in found.get("patternProperties", {}).values():
            yield word["values"].format(span=_span(values, "minLength", "maxLength"))
        if "default" in found and found["default"] not in (None, [], {}):
            yield word["default"].format(value=code(_literal(found["default"])))

    def _choices(self, values: list[object]) -> str:
        shown = " ".join(f"<code>{breakable(value)}</code>" for value in values)
        if len(values) <= _CHOICES_MAX:
            return shown
        count = docs_words(self.language)["constraints"]["choices"].format(count=len(values))
        return f"<details><summary>{count}</summary>{shown}</details>"


def _name(schema: Json) -> str:
    return str(schema["$ref"]).rsplit("/", 1)[-1]


def _apart(schema: Json) -> str:
    """The name of the schema that this one is, "or null" aside; empty where it has none."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    target = kinds[0] if len(kinds) == 1 else schema
    return _name(target) if "$ref" in target else ""


def _literal(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _span(found: Json, least: str, most: str) -> str:
    """`1–64`, `≥ 1`, `≤ 64`, or nothing."""
    low, high = found.get(least), found.get(most)
    if low is not None and high is not None:
        return _number(low) if low == high else f"{_number(low)}–{_number(high)}"
    if low is not None:
        return f"≥ {_number(low)}"
    return f"≤ {_number(high)}" if high is not None else ""


def _number(value: int) -> str:
    """Powers of ten from a million on are read better as such."""
    digits = str(value)
    power = len(digits) - 1
    if power >= 6 and digits == "1" + "0" * power:
        return "10" + str(power).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{value:,}"
