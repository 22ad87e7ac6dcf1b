"""Keep a refund in its cancellation's row: each has one at most, and one row less is written with each step of a refund.

This locks cancellation and refund until it ends, while every cancellation with a refund is written anew and its indexes are made: some
20 seconds for each million as measured. Stop the service first, and start the new one
afterwards: the one before cannot write to these tables, and statements that it had prepared fail. The way back takes as long.
"""

from alembic import op
from workflows.storage import guards

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

COLUMNS = {
    "refund_id": "uuid",
    "refund_version": "integer",
    "refund_state": "leg_state",
    "refund_amount": "amount",
    "refund_created_at": "timestamptz",
    "refund_updated_at": "timestamptz",
}
WHOLE = f"num_nonnulls({', '.join(COLUMNS)}) = any ('{{0,6}}')"
COPY = f"""
update cancellation c set {", ".join(f"{name} = r.{name.removeprefix('refund_')}" for name in COLUMNS)}
  from refund r where r.payment_id = c.payment_id and r.cancellation_id = c.id
"""  # noqa: S608 -- our own names
INDEXES = (
    "unique index refund_id on cancellation (refund_id, payment_id) where refund_id is not null",
    "index refund_newest on cancellation (refund_created_at nulls first, refund_id nulls first) where refund_id is not null",
    "index refund_updated on cancellation (refund_updated_at, refund_id) where refund_id is not null",
    "index refund_state on cancellation (refund_state, refund_created_at, refund_id) where refund_id is not null",
    "index refund_merchant on cancellation (merchant_id, refund_created_at, refund_id) where refund_id is not null",
)

REFUND = """
create table refund (
  payment_id uuid not null,
  id uuid not null,
  cancellation_id uuid not null,
  version integer not null,
  state leg_state not null,
  amount amount not null,
  currency text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null,
  merchant_id text not null,
  primary key (payment_id, id),
  constraint refund_of_a_cancellation foreign key (payment_id, cancellation_id) references cancellation (payment_id, id)
) with (fillfactor = 80)
"""
COPY_BACK = """
insert into refund (payment_id, id, cancellation_id, version, state, amount, currency, created_at, updated_at, merchant_id)
select payment_id, refund_id, id, refund_version, refund_state, refund_amount, currency, refund_created_at, refund_updated_at, merchant_id
  from cancellation where refund_id is not null
"""
INDEXES_BEFORE = (
    "index refund_id on refund (id)",
    "index refund_newest on refund (created_at nulls first, id nulls first)",
    "unique index one_refund_per_cancellation on refund (payment_id, cancellation_id)",
    "index refund_updated on refund (updated_at, id)",
    "index refund_state on refund (state, created_at, id)",
    "index refund_merchant on refund (merchant_id, created_at, id)",
)


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '30min'")
    for name, type_ in COLUMNS.items():
        op.execute(f"alter table cancellation add column {name} {type_}")
    op.execute(COPY)
    # Every refund that there is was just copied: nothing is lost with the table, and the table is locked while the rest is made.
    op.execute("-- squawk-ignore ban-drop-constraint\nalter table leg drop constraint leg_of_a_refund")
    op.execute("-- squawk-ignore ban-drop-table\ndrop table refund")
    op.execute(
        "-- squawk-ignore constraint-missing-not-valid\n"
        f"alter table cancellation add constraint cancellation_refund_is_whole check ({WHOLE})"
    )
    for index in INDEXES:
        op.execute(f"-- squawk-ignore require-concurrent-index-creation\ncreate {index}")
    op.execute(guards.grant_update("cancellation", COLUMNS))


def downgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '30min'")
    op.execute(REFUND)
    op.execute(COPY_BACK)
    for name in COLUMNS:  # the indexes and the CHECK go with them
        op.execute(f"alter table cancellation drop column {name}")
    for index in INDEXES_BEFORE:
        op.execute(f"create {index}")
    op.execute("alter table leg add constraint leg_of_a_refund foreign key (payment_id, refund_id) references refund (payment_id, id)")
    for statement in (
        *guards.refuse("refund", ("delete", "truncate")),
        *guards.grant("refund", ("select", "insert", "update"), update=("version", "state", "updated_at")),
    ):
        op.execute(statement)
