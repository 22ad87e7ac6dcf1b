"""Makes a text that names ids into an SQL expression in which a number's own ids stand instead.

A copy of a payment, and each transaction of pgbench, has a number. Its ids are two hex digits for which of the ids it is, and the number:
`0000…0042` is payment 42, `0100…0042` its first other id.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

_DASHED = re.compile(r"(?<![0-9a-f-])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f-])")
_PREFIXED = re.compile(r"(?<![a-z])[a-z]{3}_([0-9a-f]{32})(?![0-9a-f])")
_BARE = re.compile(r'(?:(?<=")|^)([0-9a-f]{32})(?=$|")')
_KIND_MAX = 255


def payment_id(number: int) -> UUID:
    """The id of the payment of that number."""
    return UUID(hex=f"{number:032d}")


def payment_hex_sql(number: str) -> str:
    """The same in SQL, as 32 hex digits; `number` is an expression of type text."""
    return _hex_sql(0, number)


def named_ids(text: str) -> list[UUID]:
    """Ids that a text names: dashed, behind a prefix such as `can_`, or as 32 hex digits that are a whole string."""
    found = [UUID(match) for match in _DASHED.findall(text)]
    return found + [UUID(hex=digits) for pattern in (_PREFIXED, _BARE) for digits in pattern.findall(text)]


@dataclass(slots=True)
class Numbered:
    """Which ids are to be replaced, and by the number in which expression. `words` are other texts with an expression of their own."""

    number: str
    words: dict[str, str] = field(default_factory=dict)
    _kinds: dict[UUID, int] = field(default_factory=dict)

    def add(self, ids: Iterable[UUID]) -> None:
        """The first one is the payment's."""
        for one in ids:
            if one.int and one not in self._kinds:
                self._kinds[one] = len(self._kinds)
        if len(self._kinds) > _KIND_MAX:
            raise ValueError("more ids than two digits can tell apart")

    def id_sql(self, value: UUID) -> str | None:
        """The expression for an id that is to be replaced, of type text."""
        return _hex_sql(self._kinds[value], self.number) if value in self._kinds else None

    def format_of(self, text: str) -> tuple[str, list[str]]:
        """What PostgreSQL's `format` takes: a text with places, and what goes there. No places: nothing is to be replaced."""
        expressions = dict(self.words)
        for value, kind in self._kinds.items():
            expressions[value.hex] = _hex_sql(kind, self.number)
            expressions[str(value)] = f"({_hex_sql(kind, self.number)})::uuid::text"
        used: list[str] = []

        def place(found: re.Match[str]) -> str:
            expression = expressions[found[0]]
            if expression not in used:
                used.append(expression)
            return f"%{used.index(expression) + 1}$s"

        longest_first = sorted(expressions, key=len, reverse=True)
        pattern = "|".join(map(re.escape, longest_first)) or r"(?!)"
        filled = re.sub(pattern, place, text.replace("%", "%%"))
        return (filled, used) if used else (text, [])


def _hex_sql(kind: int, number: str) -> str:
    return f"'{kind:02x}' || lpad({number}, 30, '0')"
