"""A decoded document, read value by value, with every fault noted where it stands."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from msgspec import Struct

from workflows.domain.faults import Fault, FaultCode, FaultMember
from workflows.domain.windows import Length, Unit, parse_length

NAME_LENGTH_MAX = 64
CURRENCY = re.compile(r"[A-Z]{3}")

Word = TypeVar("Word", bound=StrEnum)


class FormReader(Struct, frozen=True):
    """A value, where it stands, and the list that its faults go to.

    What cannot be read becomes a harmless stand-in, so that the reading goes on and finds the other faults too.
    """

    value: object
    pointer: str
    faults: list[Fault]
    new: bool = False  # to be published: what was published before stays readable, whatever is refused today

    def wrong(self, code: FaultCode, **members: FaultMember) -> None:
        self.faults.append(Fault(self.pointer, code, members))

    def at(self, name: object, value: object) -> "FormReader":
        """What stands there. The pointer ends before a name that no form could hold: it is not sent back."""
        text = str(name).encode(errors="replace").decode()  # JSON can spell half a character, and no answer could carry it
        known = len(text) <= NAME_LENGTH_MAX and text.isprintable()
        token = "/" + text.replace("~", "~0").replace("/", "~1") if known else ""
        return FormReader(value, self.pointer + token, self.faults, self.new)

    def members(self, known: frozenset[str], required: frozenset[str] = frozenset()) -> dict[str, "FormReader"]:
        found = self.any_members()
        for name in sorted(found.keys() - known):
            found.pop(name).wrong(FaultCode.unknown_policy_member, known=tuple(sorted(known)))
        for name in sorted(required - found.keys()):
            self.at(name, None).wrong(FaultCode.required)
        return found

    def any_members(self) -> dict[str, "FormReader"]:
        if not isinstance(self.value, Mapping):
            self.wrong(FaultCode.not_object)
            return {}
        return {str(name): self.at(name, value) for name, value in self.value.items()}

    def items(self, most: int) -> list["FormReader"]:
        if not isinstance(self.value, list | tuple) or len(self.value) > most:
            self.wrong(FaultCode.array_too_long, maximum=most)
            return []
        return [self.at(position, value) for position, value in enumerate(self.value)]

    def text(self, pattern: re.Pattern[str], otherwise: FaultCode) -> str:
        if isinstance(self.value, str) and pattern.fullmatch(self.value):
            return self.value
        # YAML reads 2026-11-01 as a date, NO as false and 12 as a number.
        self.wrong(otherwise if isinstance(self.value, str) else FaultCode.not_quoted)
        return ""

    def integer(self, least: int, most: int) -> int:
        if isinstance(self.value, int) and not isinstance(self.value, bool) and least <= self.value <= most:
            return self.value
        self.wrong(FaultCode.integer_out_of_range, minimum=least, maximum=most)
        return least

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            self.wrong(FaultCode.not_boolean)
        return self.value is True

    def word(self, words: type[Word], allowed: frozenset[Word] | None = None) -> Word:
        choices = [word for word in words if allowed is None or word in allowed]
        if isinstance(self.value, str) and self.value in choices:
            return words(self.value)
        self.wrong(FaultCode.unknown_value, allowed=tuple(choices))
        return choices[0]

    def length(self, least: int = 1, *, signed: bool = False) -> Length:
        text = self.value.removeprefix("+") if signed and isinstance(self.value, str) else self.value
        length = parse_length(text) if isinstance(text, str) else None
        if length is None or length.amount < least:
            self.wrong(FaultCode.invalid_duration, minimum=least, units=tuple(Unit))
            return Length(1, Unit.days)
        return length
