"""The clocks that run while somebody owes the next step, and what happens when one strikes.

A clock has an id of its own and one job. It is never moved and never taken back: when its time has come, the job looks whether that
very clock still runs, and where it does not, there is nothing to do. So no race over a deadline needs anything but the payment's version.

Nor does it matter how late the job is: a caller's command first strikes the clocks of its payment whose time is over (`strike_overdue`),
and is decided upon what that leaves. So it is judged by its own moment, as if every clock had struck on time.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from workflows.domain.changes import Change, ChangeBuilder, Context
from workflows.domain.decisions.execution import execute, release
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.response import response_data, with_response, without_clocks
from workflows.domain.enums import (
    CANCELLATION_OURS,
    CANCELLATION_WAITING,
    ActorRole,
    CancellationState,
    CancellationTrigger,
    JobKind,
    OnDeadline,
)
from workflows.domain.machines import CANCELLATION, GuardFacts
from workflows.domain.model import Cancellation, Clock, DataValue, Snapshot
from workflows.domain.policies.policy import Deadlines, Timeout
from workflows.domain.policies.verdicts import needs_second_approval
from workflows.domain.record_types import RecordType
from workflows.domain.times import rfc3339
from workflows.domain.windows import deadline

# When the merchant is reminded, as shares of the time that he has.
REMINDERS = ((1, 2), (9, 10))
_RESOLVED_BY_AGENTS = frozenset({CancellationState.awaiting_agent, CancellationState.needs_attention})
_MICROSECOND = timedelta(microseconds=1)


def fire_deadline(snapshot: Snapshot, cancellation: Cancellation, terms: PolicyContext, context: Context) -> Change | None:
    """Do what is due of a running clock: remind the merchant, or what silence leads to. None: nothing is due yet, or never.

    Whoever comes too late for a reminder does not send it after the fact; the deadline itself is never left out.
    """
    due = next_deadline_at(cancellation)
    if due is None or context.now < due:
        return None
    builder = ChangeBuilder(snapshot, context)
    if is_over(cancellation, context.now):
        _time_out(builder, cancellation, terms)
    else:
        _remind(builder, cancellation)
    return builder.build()


def strike_overdue(snapshot: Snapshot, terms: PolicyContext, context: Context) -> Change | None:
    """What silence has led to by now, though no worker has come to it yet. None: no clock's time is over."""
    overdue = [cancellation for cancellation in snapshot.cancellations if is_over(cancellation, context.now)]
    if not overdue:
        return None
    builder = ChangeBuilder(snapshot, context)
    for cancellation in overdue:
        _time_out(builder, cancellation, terms)
    return builder.build()


def is_over(cancellation: Cancellation, now: datetime) -> bool:
    """Whether a clock runs, and its time has come: a deadline is the first moment that is too late."""
    return cancellation.clock is not None and cancellation.deadline_at is not None and now >= cancellation.deadline_at


def next_deadline_at(cancellation: Cancellation) -> datetime | None:
    """When the running clock has something to do; None where none runs."""
    clock, end = cancellation.clock, cancellation.deadline_at
    if clock is None or end is None:
        return None
    moments = _reminder_moments(clock.started_at, end) if _merchant_owes(cancellation) else []
    return next(iter(moments[clock.reminders :]), end)


def arrive(
    builder: ChangeBuilder,
    cancellation: Cancellation,
    state: CancellationState,
    terms: PolicyContext,
    *,
    said: RecordType,
    data: dict[str, DataValue] | None = None,
) -> Cancellation:
    """The cancellation in `state`, on record as `said`, with all that being there means: a clock, legs, or what was reserved given back."""
    moved = state is not cancellation.state
    row = replace(cancellation, state=state)
    if moved and state in CANCELLATION_OURS:
        row = replace(row, assigned_to=None)  # whoever had the case had another step, and may not be the one to take this
    row = waiting(builder, row, terms) if state in CANCELLATION_WAITING else without_clocks(row)
    if state is CancellationState.declined:
        row = replace(row, declined_by=builder.context.actor.role)
    row = builder.put_cancellation(row)
    arrived = response_data(row) if moved and state is CancellationState.awaiting_agent else {}
    builder.record_cancellation(said, row, (data or {}) | arrived)
    if moved and (waits := _WAITS.get(state)) is not None:
        builder.record_cancellation(waits, row, clock_data(row))
    if state is CancellationState.executing:
        execute(builder, row, terms.effective_terms(row))
    elif state is CancellationState.declined:
        release(builder, row)
    return row


def waiting(builder: ChangeBuilder, cancellation: Cancellation, terms: PolicyContext) -> Cancellation:
    """The cancellation with the clock that runs in its state, and the job that strikes it. Not yet put."""
    row, now = cancellation, builder.context.now
    effective_terms = terms.effective_terms(row)
    if row.state is CancellationState.awaiting_agent and not row.second_approval:
        row = replace(row, second_approval=needs_second_person(row, terms, agent_decides=True))
    timeout = _timeout(row, effective_terms.deadlines)
    end = deadline(now, timeout.length, terms.policy.zone, terms.calendar)
    started = now
    if row.state is CancellationState.awaiting_merchant and row.merchant_time_left_us is not None:
        # An offer came to nothing: the merchant goes on with the time that he had left, as if the clock had been held.
        span = end - now if row.merchant_time_us is None else row.merchant_time_us * _MICROSECOND
        end = now + row.merchant_time_left_us * _MICROSECOND
        started = end - span
    reminders = sum(moment <= now for moment in _reminder_moments(started, end))
    clock = Clock(id=builder.context.new_id(), started_at=started, reminders=reminders if _merchant_owes(row) else 0)
    if row.state is not CancellationState.offered:  # kept until the customer has answered
        row = replace(row, merchant_time_left_us=None, merchant_time_us=None)
    row = with_response(row, terms, now)
    if row.state in _RESOLVED_BY_AGENTS and row.resolution_due_at is not None and row.resolution_due_at > now:
        end = min(end, row.resolution_due_at)  # what is not decided in time is a supervisor's
    row = replace(row, clock=clock, deadline_at=end, on_deadline=timeout.then, raised=False)
    builder.enqueue(JobKind.deadline, clock.id, next_deadline_at(row) or end)
    return row


def needs_second_person(cancellation: Cancellation, terms: PolicyContext, *, agent_decides: bool) -> bool:
    """Whether a second person must approve what the cancellation now comes to."""
    if cancellation.override_ticket is not None:
        return True
    role = cancellation.requested_by.role
    return needs_second_approval(
        terms.effective_terms(cancellation), role, cancellation.amount, cancellation.currency, agent_decides=agent_decides
    )


def clock_data(cancellation: Cancellation) -> dict[str, DataValue]:
    """What a record says of the running clock."""
    return {
        "deadline_at": rfc3339(cancellation.deadline_at) if cancellation.deadline_at else None,
        "then": cancellation.on_deadline.value if cancellation.on_deadline else None,
        **response_data(cancellation),
    }


_WAITS = {
    CancellationState.awaiting_return: RecordType.cancellation_return_awaited,
    CancellationState.awaiting_second_approval: RecordType.cancellation_second_approval_awaited,
}


def _timeout(cancellation: Cancellation, deadlines: Deadlines) -> Timeout:
    """Which clock runs. An agent's never decides: it only raises the case to a supervisor."""
    match cancellation.state:
        case CancellationState.awaiting_merchant:
            return deadlines.merchant
        case CancellationState.offered:
            return deadlines.offer
        case CancellationState.awaiting_return:
            shipped = cancellation.goods is not None and cancellation.goods.shipped_at is not None
            return deadlines.inspection if shipped else deadlines.return_
        case CancellationState.awaiting_second_approval:
            return Timeout(deadlines.second_approval, OnDeadline.agent)
        case _:
            return Timeout(deadlines.agent, OnDeadline.agent)


def _merchant_owes(cancellation: Cancellation) -> bool:
    """Whether it is the merchant whose time runs: to answer, or to say what came back."""
    if cancellation.state is CancellationState.awaiting_return:
        return cancellation.goods is not None and cancellation.goods.shipped_at is not None
    return cancellation.state is CancellationState.awaiting_merchant


def _reminder_moments(started: datetime, end: datetime) -> list[datetime]:
    return [started + (end - started) * part // whole for part, whole in REMINDERS]


def _remind(builder: ChangeBuilder, cancellation: Cancellation) -> None:
    """No state changes, and no If-Match on the cancellation fails for it: only the record, and the count of what was sent.

    The payment's version grows, as it does with everything that is written about it.
    """
    clock, end = cancellation.clock, cancellation.deadline_at
    if clock is None or end is None:
        raise ValueError("a reminder without a clock")
    sent = sum(moment <= builder.context.now for moment in _reminder_moments(clock.started_at, end))
    part, whole = REMINDERS[sent - 1]
    row = builder.put_cancellation(replace(cancellation, clock=replace(clock, reminders=sent)), unseen=True)
    data: dict[str, DataValue] = {"whom": "merchant", "passed": f"{part}/{whole}"}
    builder.record_cancellation(RecordType.cancellation_reminded, row, data | clock_data(row))


def _time_out(builder: ChangeBuilder, cancellation: Cancellation, terms: PolicyContext) -> None:
    facts = GuardFacts(second_approval=cancellation.second_approval, on_deadline=cancellation.on_deadline, raised=cancellation.raised)
    state = CANCELLATION.step(cancellation.state, CancellationTrigger.timeout, facts)
    data: dict[str, DataValue] = {"clock": cancellation.state.value, **clock_data(cancellation)}
    if state is cancellation.state:
        _raise(builder, cancellation, data)
        return
    row = cancellation
    if row.state is CancellationState.awaiting_second_approval:
        row = replace(row, approvals=())  # the agents begin anew; the records keep who had approved
    arrive(builder, row, state, terms, said=RecordType.cancellation_timed_out, data=data)


def _raise(builder: ChangeBuilder, cancellation: Cancellation, data: dict[str, DataValue]) -> None:
    """The agents' time is over: a supervisor has the case, and the deadline that was missed stays to be seen."""
    row = builder.put_cancellation(replace(cancellation, clock=None, raised=True, assigned_to=None))
    builder.record_cancellation(RecordType.cancellation_timed_out, row, data)
    builder.record_cancellation(RecordType.cancellation_escalated, row, {"to": ActorRole.supervisor.value})
