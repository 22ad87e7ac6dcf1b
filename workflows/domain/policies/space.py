"""All requests that can be made, divided into the classes that the conditions of some rules tell apart."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cache
from itertools import chain, combinations, product
from typing import TypeVar

from msgspec import Struct

from workflows.domain.enums import Anchor, Category, Channel, Fulfilment, PaymentState, Reason, Role, Source
from workflows.domain.money import AMOUNT_MAX
from workflows.domain.policies.conditions import Condition, Subject, When
from workflows.domain.policies.cubes import Axis, Cube
from workflows.domain.policies.facts import PolicyFacts

ASKED_STATES = (PaymentState.completed, PaymentState.pending)  # of a payment in any other, nothing can be asked
# Who may ask by which channel.
CALLERS = tuple(
    (role, channel)
    for role, channel in product((Role.wallet, Role.agent, Role.supervisor, Role.merchant), Channel)
    if channel is not Channel.system
    and not (role in (Role.agent, Role.supervisor) and channel is Channel.app)
    and not (role is Role.merchant and channel is not Channel.merchant)
)
SOURCE_SETS = tuple(frozenset(some) for count in range(1, len(Source) + 1) for some in combinations(Source, count))
_WORDS: Mapping[Subject, tuple[Axis, tuple[StrEnum, ...]]] = {
    Subject.state: (Axis.state, ASKED_STATES),
    Subject.fulfilment: (Axis.fulfilment, tuple(Fulfilment)),
    Subject.category: (Axis.category, tuple(Category)),
    Subject.reason: (Axis.reason, tuple(Reason)),
}
_AMOUNT_SHOWN = 10_000  # in examples, where the conditions leave the choice
_CURRENCIES_SHOWN = ("CNY", "EUR", "USD", "GBP", "JPY", "CHF", "AUD", "CAD", "HKD", "SGD", "INR", "KRW")


Class = TypeVar("Class")


class Space(Struct, frozen=True, kw_only=True):
    """The classes on the axes whose values are not a closed vocabulary. The last merchant and the last currency stand for all others."""

    merchants: tuple[str, ...]
    currencies: tuple[str, ...]
    ends: tuple[int, ...]  # of the classes of amounts in minor units, each from the end before (0 for the first), its own included

    @property
    def universe(self) -> Cube:
        """Every request that can be made."""
        return tuple((1 << count) - 1 for count in self._counts())

    def cube(self, when: When) -> Cube | None:
        """The requests for which `when` holds; None where there are none. `when` is one of those that the space was made from."""
        masks = self.masks(when)
        return masks if all(masks) else None

    def masks(self, when: When) -> Cube:
        """The same with masks that may be 0: on those axes no request can meet the conditions."""
        masks = list(self.universe)
        for condition in when.conditions:
            axis, mask = self._mask(condition)
            masks[axis] &= ~mask if condition.negated else mask
        if when.amount_above is not None:
            masks[Axis.amount] &= ~self._amounts_up_to(when.amount_above)
        if when.amount_up_to is not None:
            masks[Axis.amount] &= self._amounts_up_to(when.amount_up_to)
        return tuple(masks)

    def in_state(self, cube: Cube, state: PaymentState) -> Cube | None:
        """The part of the cube whose payments are in this state."""
        mask = cube[Axis.state] & (1 << ASKED_STATES.index(state))
        return (mask, *cube[1:]) if mask else None

    def example(self, cube: Cube, at: datetime) -> PolicyFacts:
        """One request of the cube, for a payment all of whose moments are `at`."""
        role, channel = CALLERS[_lowest(cube[Axis.caller])]
        state, fulfilment = ASKED_STATES[_lowest(cube[Axis.state])], tuple(Fulfilment)[_lowest(cube[Axis.fulfilment])]
        return PolicyFacts(
            state=state,
            fulfilment=fulfilment,
            category=tuple(Category)[_lowest(cube[Axis.category])],
            merchant_id=self.merchants[_highest(cube[Axis.merchant_id])],
            currency=self.currencies[_highest(cube[Axis.currency])],
            amount=self._amount(cube[Axis.amount]),
            role=role,
            channel=channel,
            reason=tuple(Reason)[_lowest(cube[Axis.reason])],
            sources=tuple(source for source in Source if source in SOURCE_SETS[_lowest(cube[Axis.source])]),
            anchors=_anchors(state, fulfilment, at),
            partial=False,
        )

    def conditions(self, cube: Cube, within: Cube) -> dict[str, tuple[str | int, ...]]:
        """What tells the cube from `within`, written like a `when`. Of sources, and of roles with their channels, not always all."""
        told: dict[str, tuple[str | int, ...]] = {}
        for subject, (axis, classes) in _WORDS.items():
            if cube[axis] != within[axis]:
                told[subject] = _picked(classes, cube[axis])
        callers, all_callers = _picked(CALLERS, cube[Axis.caller]), _picked(CALLERS, within[Axis.caller])
        for subject, place in ((Subject.role, 0), (Subject.channel, 1)):
            here = tuple(dict.fromkeys(caller[place] for caller in callers))
            if set(here) != {caller[place] for caller in all_callers}:
                told[subject] = here
        if cube[Axis.source] != within[Axis.source]:
            told |= _sources(cube[Axis.source])
        for subject, axis, named in (
            (Subject.merchant_id, Axis.merchant_id, self.merchants),
            (Subject.currency, Axis.currency, self.currencies),
        ):
            if cube[axis] != within[axis]:
                others = bool(cube[axis] >> (len(named) - 1))
                told[f"{subject}_not" if others else subject] = _picked(named, ~cube[axis] if others else cube[axis])
        if cube[Axis.amount] != within[Axis.amount]:
            first, last = _lowest(cube[Axis.amount]), _highest(cube[Axis.amount])
            told |= {"amount_above": (self.ends[first - 1],)} if first > 0 else {}
            told |= {"amount_up_to": (self.ends[last],)} if last < len(self.ends) - 1 else {}
        return told

    def _counts(self) -> tuple[int, ...]:
        """The number of classes on each axis, in the order of the axes."""
        words = {axis: len(classes) for axis, classes in _WORDS.values()}
        others = {
            Axis.caller: len(CALLERS),
            Axis.source: len(SOURCE_SETS),
            Axis.merchant_id: len(self.merchants),
            Axis.currency: len(self.currencies),
            Axis.amount: len(self.ends),
        }
        return tuple((words | others)[axis] for axis in Axis)

    def _mask(self, condition: Condition) -> tuple[Axis, int]:
        """The axis of a condition's subject, and the classes of its values there."""
        subject, values = condition.subject, condition.values
        if subject in _WORDS:
            axis, classes = _WORDS[subject]
            return axis, _bits(one in values for one in classes)
        match subject:
            case Subject.role:
                return Axis.caller, _bits(role in values for role, _ in CALLERS)
            case Subject.channel:
                return Axis.caller, _bits(channel in values for _, channel in CALLERS)
            case Subject.source:
                return Axis.source, _bits(not some.isdisjoint(values) for some in SOURCE_SETS)
            case Subject.merchant_id:
                return Axis.merchant_id, _bits(one in values for one in self.merchants)
            case Subject.currency:
                return Axis.currency, _bits(one in values for one in self.currencies)
            case _:
                return Axis.amount, _bits(end in values for end in self.ends)

    def _amounts_up_to(self, amount: int) -> int:
        return (1 << (bisect_left(self.ends, amount) + 1)) - 1

    def _amount(self, mask: int) -> int:
        """An everyday amount where there is one, else one of the highest class."""
        usual = bisect_left(self.ends, _AMOUNT_SHOWN)
        if mask >> usual & 1:
            return _AMOUNT_SHOWN
        position = _highest(mask)
        return 0 if position == 0 else min(self.ends[position], max(self.ends[position - 1] + 1, _AMOUNT_SHOWN))


def space_of(whens: Iterable[When]) -> Space:
    """The space in which each of these conditions is a cube: of a policy's rules, a merchant's, or both."""
    named: dict[Subject, set[str]] = {Subject.merchant_id: set(), Subject.currency: set()}
    ends = {0, AMOUNT_MAX}
    for when in whens:
        for condition in when.conditions:
            if condition.subject in named:
                named[condition.subject].update(str(value) for value in condition.values)
            elif condition.subject is Subject.amount:
                ends |= {end for value in condition.values for end in (int(value) - 1, int(value))}
        ends |= {bound for bound in (when.amount_above, when.amount_up_to) if bound is not None}
    merchants, currencies = named[Subject.merchant_id], named[Subject.currency]
    return Space(
        merchants=(*sorted(merchants), _another_merchant(merchants)),
        currencies=(*sorted(currencies), _another_currency(currencies)),
        ends=tuple(sorted(end for end in ends if 0 <= end <= AMOUNT_MAX)),
    )


def _another_merchant(named: set[str]) -> str:
    candidates = ("another-merchant", *(f"another-merchant-{number}" for number in range(len(named) + 1)))
    return next(one for one in candidates if one not in named)


def _another_currency(named: set[str]) -> str:
    letters = "XYZABCDEFGHIJKLMNOPQRSTUVW"
    candidates = chain(_CURRENCIES_SHOWN, map("".join, product(letters, repeat=3)))
    return next((one for one in candidates if one not in named), "XXX")


@cache
def _happened(state: PaymentState, fulfilment: Fulfilment) -> frozenset[Anchor]:
    happened = {Anchor.authorised_at}
    if state is PaymentState.completed:
        happened.add(Anchor.completed_at)
    steps = ((Fulfilment.shipped, Anchor.shipped_at), (Fulfilment.delivered, Anchor.delivered_at))
    order = tuple(Fulfilment)
    happened |= {anchor for step, anchor in steps if order.index(fulfilment) >= order.index(step)}
    if fulfilment is Fulfilment.returned:
        happened.add(Anchor.return_received_at)
    return frozenset(happened)


def _anchors(state: PaymentState, fulfilment: Fulfilment, at: datetime) -> dict[Anchor, datetime | None]:
    happened = _happened(state, fulfilment)
    return {anchor: at if anchor in happened else None for anchor in Anchor}


def _sources(mask: int) -> dict[str, tuple[str | int, ...]]:
    """Sources that all of these payments have, and ones that none of them has."""
    sets = _picked(SOURCE_SETS, mask)
    everywhere = frozenset(Source).intersection(*sets)
    nowhere = frozenset(Source).difference(*sets)
    told = {"source": tuple(sorted(everywhere)), "source_not": tuple(sorted(nowhere))}
    return {name: sources for name, sources in told.items() if sources}


def _picked(classes: Sequence[Class], mask: int) -> tuple[Class, ...]:
    return tuple(one for position, one in enumerate(classes) if mask >> position & 1)


def _bits(classes: Iterable[bool]) -> int:
    return sum(1 << position for position, holds in enumerate(classes) if holds)


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _highest(mask: int) -> int:
    return mask.bit_length() - 1
