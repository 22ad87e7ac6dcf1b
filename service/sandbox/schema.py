"""The tables of the sandbox rail's ledger."""

SCHEMA = """
create table if not exists operations (
    rail_key           text primary key,
    kind               text not null check (kind in ('refund', 'void')),
    payment_reference  text not null,
    provider_reference text not null,
    amount             integer not null check (amount > 0),
    currency           text not null,
    attempts           integer not null default 1,
    status             text check (status in ('pending', 'succeeded', 'declined', 'requires_action', 'settled', 'returned')),
    failure_code       text,
    return_after_ms    integer,
    copies             integer not null default 1 check (copies between 0 and 2),
    at_ms              integer not null,
    next_status        text,
    next_code          text,
    due_ms             integer,
    check ((due_ms is null) = (next_status is null)),
    check ((status = 'pending') <= (due_ms is not null))
) strict, without rowid;
create index if not exists operations_due on operations (due_ms) where due_ms is not null;

-- The truth about money: one line a key, whatever the callers and the crashes did.
create table if not exists movements (
    seq               integer primary key autoincrement,
    rail_key          text not null unique references operations,
    kind              text not null,
    payment_reference text not null,
    amount            integer not null check (amount > 0),
    currency          text not null,
    at_ms             integer not null,
    returned_ms       integer
) strict;
create index if not exists movements_of_payment on movements (payment_reference, seq);

create table if not exists outbox (
    seq      integer primary key autoincrement,
    rail_key text not null,
    body     text not null,
    attempts integer not null default 0,
    due_ms   integer not null
) strict;
create index if not exists outbox_due on outbox (due_ms, seq);
create index if not exists outbox_key on outbox (rail_key);

create table if not exists questions (rail_key text primary key, asked integer not null) strict, without rowid;
create table if not exists cancels (rail_key text primary key, asked integer not null) strict, without rowid;
create table if not exists settings (name text primary key, value text not null) strict, without rowid;
"""
