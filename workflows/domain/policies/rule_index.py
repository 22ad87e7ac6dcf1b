"""Which of a policy's rules hold for a request, found without asking each: a bit for each rule, and one table for each subject.

A table has, for a value, the rules whose conditions on that subject it meets. The rules that hold are those that stand in all of them, so
that the time hardly depends on how many rules there are. What a rule means is said by `When.holds`, with which a test compares this.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter

from msgspec import Struct

from workflows.domain.policies.conditions import Condition, Subject, When
from workflows.domain.policies.facts import PolicyFacts

_SINGLE = tuple(subject for subject in Subject if subject not in (Subject.amount, Subject.source))
_read = attrgetter(*_SINGLE)


class _Table(Struct, frozen=True):
    """The rules that a value leaves over, as bits; `otherwise`: for all values that no condition names, and for what is not known."""

    named: Mapping[str | int, int]
    otherwise: int


class RuleIndex(Struct, frozen=True):
    """Rules are numbered from 0, in their order."""

    tables: tuple[_Table, ...]  # for each of _SINGLE
    lenient: Mapping[Subject, tuple[_Table, _Table]]  # for some subjects: as if a rule's `_not` test held; as if all its tests did
    amounts: tuple[int, ...]  # the ends of the classes of amounts, in minor units
    by_amount: tuple[int, ...]
    with_source: _Table  # the rules that this source satisfies, and those that want none
    without_source: _Table  # the rules that do not exclude it

    def matching(self, facts: PolicyFacts) -> int:
        """The rules that hold, as bits."""
        found = self.by_amount[bisect_left(self.amounts, facts.amount)] & self._by_sources(facts)
        for table, value in zip(self.tables, _read(facts), strict=True):
            found &= table.named.get(value, table.otherwise)
        return found

    def matching_but(self, facts: PolicyFacts, subject: Subject, *, negated_only: bool) -> int:
        """The same, whatever the subject's value is; `negated_only`: but for its plain tests, which must hold."""
        found = self.by_amount[bisect_left(self.amounts, facts.amount)] & self._by_sources(facts)
        for one, table, value in zip(_SINGLE, self.tables, _read(facts), strict=True):
            if one is subject:
                without_negated, without_any = self.lenient[subject]
                table = without_negated if negated_only else without_any  # noqa: PLW2901 -- in place of the subject's own
            found &= table.named.get(value, table.otherwise)
        return found

    def _by_sources(self, facts: PolicyFacts) -> int:
        found, allowed = self.with_source.otherwise, -1
        for source in facts.sources:
            found |= self.with_source.named.get(source, 0)
            allowed &= self.without_source.named.get(source, self.without_source.otherwise)
        return found & allowed


def index_of(whens: tuple[When, ...], lenient: Iterable[Subject] = ()) -> RuleIndex:
    """The index of the rules with these conditions; `lenient`: the subjects that `matching_but` may be asked for."""
    ends = sorted({end for when in whens for end in _ends(when)})
    return RuleIndex(
        tables=tuple(_table(whens, subject) for subject in _SINGLE),
        lenient={subject: (_table(whens, subject, negated=False), _Table({}, _all(whens))) for subject in lenient},
        amounts=tuple(ends),
        by_amount=tuple(_bits(_amount_holds(when, amount) for when in whens) for amount in [*ends, (ends[-1] if ends else 0) + 1]),
        with_source=_sources(whens, negated=False),
        without_source=_sources(whens, negated=True),
    )


def positions(bits: int) -> Iterator[int]:
    """The numbers of the rules, in their order."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def _table(whens: tuple[When, ...], subject: Subject, *, negated: bool = True) -> _Table:
    """`negated`: with the `_not` tests."""
    tests = [[one for one in when.conditions if one.subject is subject and (negated or not one.negated)] for when in whens]
    values = {value for of_rule in tests for one in of_rule for value in one.values}
    named = {value: _bits(all((value in one.values) is not one.negated for one in of_rule) for of_rule in tests) for value in values}
    return _Table(named, _bits(all(one.negated for one in of_rule) for of_rule in tests))


def _sources(whens: tuple[When, ...], *, negated: bool) -> _Table:
    """A rule has at most one plain and one `_not` test on sources. The plain one holds where any source of the payment is named."""
    tests = [next((one for one in when.conditions if one.subject is Subject.source and one.negated is negated), None) for when in whens]
    values = {value for one in tests if one is not None for value in one.values}
    named = {value: _bits(_source_fits(one, value) for one in tests) for value in values}
    return _Table(named, _bits(one is None or one.negated for one in tests))


def _source_fits(test: Condition | None, source: object) -> bool:
    return test is None or (source in test.values) is not test.negated


def _ends(when: When) -> Iterator[int]:
    for one in when.conditions:
        if one.subject is Subject.amount:
            yield from (end for value in one.values for end in (int(value) - 1, int(value)))
    yield from (bound for bound in (when.amount_above, when.amount_up_to) if bound is not None)


def _amount_holds(when: When, amount: int) -> bool:
    if not all((amount in one.values) is not one.negated for one in when.conditions if one.subject is Subject.amount):
        return False
    above, up_to = when.amount_above, when.amount_up_to
    return (above is None or amount > above) and (up_to is None or amount <= up_to)


def _all(whens: tuple[When, ...]) -> int:
    return (1 << len(whens)) - 1


def _bits(holding: Iterable[bool]) -> int:
    return sum(1 << position for position, holds in enumerate(holding) if holds)
