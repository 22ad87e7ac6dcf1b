"""What is no fault, but waits for a person: as data, a name and the SQL for how many there are and how long the oldest has waited."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """`sql` selects one row: how many, and since when the oldest of them; null where there is none."""

    name: str
    sql: str


def _anomalies(condition: str) -> str:
    return f"""
    select count(*), min(a.created_at) from anomaly a
      left join lateral (
           select count(*) as taken, coalesce(bool_or(s.closes), false) as closed
             from anomaly_step s where s.scope_id = a.scope_id and s.anomaly_id = a.id) s on true
     where {condition}"""


# A job is late a while after its time: a worker that is busy takes it up later than it is due.
_LATE = "interval '5 minutes'"

NOTICES = (
    Notice(
        name="jobs_overdue",
        sql=f"select count(*), min(coalesce(leased_until, run_at)) from job where coalesce(leased_until, run_at) < now() - {_LATE}",
    ),
    Notice(name="outcomes_unknown", sql="select count(*), min(coalesce(first_sent_at, created_at)) from leg where state = 'unknown'"),
    Notice(name="cases_need_attention", sql="select count(*), min(updated_at) from cancellation where state = 'needs_attention'"),
    Notice(
        name="cases_overdue",
        sql="select count(*), min(least(first_response_due_at, resolution_due_at, deadline_at)) from cancellation"
        " where least(first_response_due_at, resolution_due_at, deadline_at) <= now()",
    ),
    Notice(name="anomalies_open", sql=_anomalies("s.taken = 0")),
    Notice(name="anomalies_awaiting_second_approval", sql=_anomalies("s.taken > 0 and not s.closed")),
)
