"""A decoded document, read value by value, with every problem noted where it stands."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from workflows.domain.windows import Length, Unit, parse_length

Problem = tuple[str, str]  # an RFC 6901 pointer into the document, and what is wrong there
Word = TypeVar("Word", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class FormReader:
    """A value, where it stands, and the list that its problems go to.

    What cannot be read becomes a harmless stand-in, so that the reading goes on and finds the other problems too.
    """

    value: object
    pointer: str
    problems: list[Problem]

    def wrong(self, detail: str) -> None:
        self.problems.append((self.pointer, detail))

    def at(self, name: object, value: object) -> "FormReader":
        text = str(name).encode(errors="replace").decode()  # JSON can spell half a character, and no answer could carry it
        return FormReader(value, f"{self.pointer}/{text.replace('~', '~0').replace('/', '~1')}", self.problems)

    def members(self, known: frozenset[str], required: frozenset[str] = frozenset()) -> dict[str, "FormReader"]:
        found = self.any_members()
        for name in sorted(found.keys() - known):
            found.pop(name).wrong("unknown member; known here: " + ", ".join(sorted(known)))
        for name in sorted(required - found.keys()):
            self.at(name, None).wrong("required")
        return found

    def any_members(self) -> dict[str, "FormReader"]:
        if not isinstance(self.value, Mapping):
            self.wrong("must be an object")
            return {}
        return {str(name): self.at(name, value) for name, value in self.value.items()}

    def items(self, most: int) -> list["FormReader"]:
        if not isinstance(self.value, list | tuple) or len(self.value) > most:
            self.wrong(f"must be a list of at most {most}")
            return []
        return [self.at(position, value) for position, value in enumerate(self.value)]

    def text(self, pattern: re.Pattern[str], what: str) -> str:
        if isinstance(self.value, str) and pattern.fullmatch(self.value):
            return self.value
        # YAML reads 2026-11-01 as a date, NO as false and 12 as a number.
        self.wrong(f"must be {what}" if isinstance(self.value, str) else f"must be {what}, as a string: put it in quotes")
        return ""

    def integer(self, least: int, most: int) -> int:
        if isinstance(self.value, int) and not isinstance(self.value, bool) and least <= self.value <= most:
            return self.value
        self.wrong(f"must be an integer from {least} to {most}")
        return least

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            self.wrong("must be true or false")
        return self.value is True

    def word(self, words: type[Word], allowed: frozenset[Word] | None = None) -> Word:
        choices = [word for word in words if allowed is None or word in allowed]
        if isinstance(self.value, str) and self.value in choices:
            return words(self.value)
        self.wrong("must be one of: " + ", ".join(choices))
        return choices[0]

    def length(self, least: int = 1, *, signed: bool = False) -> Length:
        text = self.value.removeprefix("+") if signed and isinstance(self.value, str) else self.value
        length = parse_length(text) if isinstance(text, str) else None
        if length is None or length.amount < least:
            self.wrong(f"must be a length of time such as '30 minutes', at least {least}, in {', '.join(Unit)}")
            return Length(1, Unit.days)
        return length
