"""What can be said of windows without looking at a clock: whether one can open at all, and whether one is open whenever another is.

Every answer that is true is proven for all moments, zones and calendars; where nothing can be proven the answer is no.
"""

from datetime import timedelta

from workflows.domain.enums import Anchor, PaymentState
from workflows.domain.windows import Length, Unit, WindowSpec, absolute

_DAY = timedelta(days=1)
_NOTHING = Length(0, Unit.seconds)
# A zone's offset is less than a day to either side, so two walls differ by less than two days from the time that passes.
_WALL = 2 * _DAY


def can_open(window: WindowSpec | None, state: PaymentState) -> bool:
    """False only where the window is never open for a payment in this state."""
    if window is None:
        return True
    if _never_happens(window.anchor, state):
        return not window.requires_anchor
    return not (is_empty(window) and (window.requires_anchor or _has_happened(window.anchor, state)))


def outlasts(earlier: WindowSpec | None, later: WindowSpec | None, state: PaymentState) -> bool:
    """Whether the first window is open whenever the second is, for every payment in this state."""
    if earlier is None:
        return True
    if _never_happens(earlier.anchor, state):
        return not earlier.requires_anchor
    if later is None or not opens_as_early(earlier, later, state):
        return False
    return _same_form_and_longer(earlier, later) or _surely_longer(earlier, later)


def opens_as_early(earlier: WindowSpec, later: WindowSpec, state: PaymentState) -> bool:
    """Whether both count from the same anchor, and the first is open before it happens if the second is."""
    if earlier.anchor is not later.anchor:
        return False
    return later.requires_anchor or not earlier.requires_anchor or _has_happened(earlier.anchor, state)


def is_empty(window: WindowSpec) -> bool:
    """Whether it surely closes no later than it opens, whatever the anchor."""
    if window.length is not None:
        return window.length.amount <= 0 and not window.next_day
    longest = _longest(window)
    return longest is not None and longest <= timedelta()


def may_be_empty(window: WindowSpec) -> bool:
    """False only where its length leaves no doubt that it closes after it opens."""
    length = window.length if window.length is not None else window.end_of_day
    return (length is not None and length.amount <= 0 and length != _NOTHING) or is_empty(window)


def _never_happens(anchor: Anchor, state: PaymentState) -> bool:
    return anchor is Anchor.completed_at and state is PaymentState.pending


def _has_happened(anchor: Anchor, state: PaymentState) -> bool:
    """A completed payment has the moment of its completion, and each has that of its authorisation."""
    return anchor is Anchor.authorised_at or (anchor is Anchor.completed_at and state is PaymentState.completed)


def _same_form_and_longer(earlier: WindowSpec, later: WindowSpec) -> bool:
    """Equal in form, so that they start counting at the same moment, and the first counts at least as far."""
    if earlier.next_day is not later.next_day or (earlier.length is None) is not (later.length is None):
        return False
    first, second = _counted(earlier), _counted(later)
    if first.unit is second.unit:
        return first.amount >= second.amount
    first_span, second_span = absolute(first), absolute(second)
    return first_span is not None and second_span is not None and first_span >= second_span


def _surely_longer(earlier: WindowSpec, later: WindowSpec) -> bool:
    longest = _longest(later)
    return longest is not None and _shortest(earlier) >= longest


def _counted(window: WindowSpec) -> Length:
    return window.length or window.end_of_day or _NOTHING


def _shortest(window: WindowSpec) -> timedelta:
    """No window of this form lasts less, from its anchor on."""
    amount, unit = _counted(window).amount, _counted(window).unit
    start = -_DAY if window.next_day or window.length is None else timedelta()  # midnight is after the anchor, but for a clock set back
    span = absolute(_counted(window))
    if span is not None:
        return start + span
    if unit is Unit.months:
        return start + min(28 * amount, 31 * amount) * _DAY - _WALL
    return start + amount * _DAY - _WALL


def _longest(window: WindowSpec) -> timedelta | None:
    """No window of this form lasts longer, from its anchor on; None: that depends on the calendar."""
    amount, unit = _counted(window).amount, _counted(window).unit
    start = timedelta()
    if window.next_day or window.length is None:
        start = (3 if window.next_day and window.length is None else 2) * _DAY + _DAY
    span = absolute(_counted(window))
    if span is not None:
        return start + span
    if unit is Unit.months:
        return start + max(28 * amount, 31 * amount) * _DAY + _WALL
    return start + amount * _DAY + _WALL if unit is Unit.days else None
