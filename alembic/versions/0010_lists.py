"""Give each documented filter of the lists its index, a cancellation and a refund their merchant's name, and the sweep of kept
replies an order.

The copies are filled in one statement each. On a database with many millions of cancellations, fill them in batches first: what is
filled already is not touched again.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

INDEXES = {
    "payment_newest": "payment (created_at nulls first, id nulls first)",
    "cancellation_newest": "cancellation (created_at nulls first, id nulls first)",
    "refund_newest": "refund (created_at nulls first, id nulls first)",
    "record_newest": "record (occurred_at nulls first, id nulls first)",
    "payment_order_created": "payment (order_reference, created_at, id) where order_reference is not null",
    "payment_state": "payment (state, created_at, id)",
    "cancellation_state": "cancellation (state, created_at, id)",
    "cancellation_route": "cancellation (route, created_at, id) where route is not null",
    "cancellation_merchant": "cancellation (merchant_id, created_at, id)",
    "cancellation_assigned": "cancellation (assigned_to, created_at, id) where assigned_to is not null",
    "cancellation_deadline": "cancellation (deadline_at) where deadline_at is not null",
    "cancellation_updated": "cancellation (updated_at, id)",
    "refund_updated": "refund (updated_at, id)",
    "refund_state": "refund (state, created_at, id)",
    "refund_merchant": "refund (merchant_id, created_at, id)",
    "leg_provider": "leg (provider, refund_id nulls first) where refund_id is not null",
    "record_type": "record (type, occurred_at, id)",
    "record_merchant": "record (merchant_id, occurred_at, id) where merchant_id is not null",
    "record_actor": "record (actor_id, occurred_at, id)",
    "kept_reply_oldest": "kept_reply (created_at)",
}
REPLACED = {
    "payment_created": "payment (created_at, id)",
    "cancellation_created": "cancellation (created_at, id)",
    "refund_created": "refund (created_at, id)",
    "payment_order": "payment (order_reference) where order_reference is not null",
    "record_occurred": "record using brin (occurred_at)",
    "kept_reply_created": "kept_reply using brin (created_at)",
}
COPIES = ("cancellation", "refund")
VACUUM = {"scale_factor": "0.01", "cost_limit": "2000", "cost_delay": "2"}


def do(statement: str) -> str:
    """A statement that says nothing when it is run again: what follows the first commit may have to be."""
    return f"do $$ begin {statement}; exception when duplicate_object then null; end $$"


def upgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    for table in COPIES:
        op.execute(f"alter table {table} add column if not exists merchant_id text")
        op.execute(do(f"alter table {table} add constraint {table}_merchant_id_not_null not null merchant_id not valid"))
    op.execute(do(f"alter table kept_reply set ({', '.join(f'autovacuum_vacuum_{name} = {value}' for name, value in VACUUM.items())})"))
    with op.get_context().autocommit_block():  # an index that is built beside running work cannot be built in a transaction
        for table in COPIES:
            filled = f"update {table} c set merchant_id = p.merchant_id from payment p where p.id = c.payment_id and c.merchant_id is null"  # noqa: S608 -- our own names
            op.execute(filled)
            op.execute(do(f"alter table {table} validate constraint {table}_merchant_id_not_null"))
        for name, on in INDEXES.items():
            op.execute(f"create index concurrently if not exists {name} on {on}")
        for name in REPLACED:
            op.execute(f"drop index concurrently if exists {name}")


def downgrade() -> None:
    op.execute("set local lock_timeout = '3s'")
    op.execute("set local statement_timeout = '60s'")
    for table in COPIES:
        op.execute(f"alter table {table} drop column merchant_id")
    op.execute(f"alter table kept_reply reset ({', '.join(f'autovacuum_vacuum_{name}' for name in VACUUM)})")
    with op.get_context().autocommit_block():
        for name, on in REPLACED.items():
            op.execute(f"create index concurrently if not exists {name} on {on}")
        for name in INDEXES:
            op.execute(f"drop index concurrently if exists {name}")
