"""The bench's own parts: what it makes of a recorded request, its arithmetic, and what it writes. No timing decides anything."""

import json
import re
import xml.etree.ElementTree as ET
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tests.bench import options, results, stock, svg
from tests.bench.figures import Figures, latencies, per, quantile, rounded, shown
from tests.bench.numbered import Numbered, named_ids, payment_hex_sql, payment_id
from tests.bench.pgbench import Transaction, Window, rate, read_log, undisturbed, within
from tests.bench.sheets import Sheet, compared, markdown, sheets
from tests.bench.statements import Script, Sent, make_script
from tests.bench.usage import Reading, between, kind_of
from tests.integration.workflows.storage import rows

Pool = Any  # asyncpg ships no types

PAYMENT = UUID("0b9d5a4e-7c11-8f2a-9d3e-1a2b3c4d5e6f")
CANCELLATION = UUID("0199f0aa-1111-7000-8000-00000000c0de")
LEG = UUID("0199f0aa-2222-7000-8000-00000000beef")


def script(text: str, *arguments: object, types: tuple[str, ...]) -> Script:
    return make_script([Sent(text, arguments, types)], PAYMENT)


async def run_for(pool: Pool, made: Script, number: int) -> Any:
    """The row that the script's last line gives, with its variables put in as literals."""
    values = {**made.constants, "number": str(number), "nothing": "nothing"}
    quoted = {name: "'" + value.replace("'", "''") + "'" for name, value in values.items()}
    statement = made.text.splitlines()[-1].rstrip(";")
    return await pool.fetchrow(re.sub(r"(?<!:):([a-z]\w*)", lambda found: quoted[found[1]], statement))


async def parameters_of(pool: Pool, made: Script) -> set[str]:
    """The types that PostgreSQL finds for pgbench's parameters, each of which stands for itself."""
    order = count(1)
    statement = re.sub(r"(?<!:):[a-z]\w*", lambda _: f"${next(order)}", made.text.splitlines()[-1].rstrip(";"))
    async with pool.acquire() as connection:
        prepared = await connection.prepare(statement)
        return {one.name for one in prepared.get_parameters()}


async def test_ids_become_the_transactions_own_wherever_they_stand(pool: Pool) -> None:
    document = json.dumps(
        {
            "id": CANCELLATION.hex,
            "payment": str(PAYMENT),
            "shown": f"can_{CANCELLATION.hex}",
            "rail_key": PAYMENT.hex + LEG.hex,
            "leg": f"leg_{LEG.hex}",
            "hash": "ab" * 32,
            "note": "100 % of it",
        }
    )
    made = script("select $1 as payment, $2 as document, $3 as bare", PAYMENT, document, LEG.hex, types=("uuid", "jsonb", "text"))
    row = await run_for(pool, made, 42)
    assert await parameters_of(pool, made) == {"text"}
    found = json.loads(row["document"])

    assert row["payment"] == payment_id(42)
    assert UUID(found["payment"]) == payment_id(42)
    assert found["shown"] == f"can_{found['id']}"
    assert found["leg"] == f"leg_{row['bare']}"
    assert found["rail_key"] == payment_id(42).hex + row["bare"]
    assert (found["hash"], found["note"]) == ("ab" * 32, "100 % of it")
    assert len({found["id"], row["bare"], payment_id(42).hex}) == 3
    assert not [one for one in (PAYMENT, CANCELLATION, LEG) for text in (one.hex, str(one)) if text in row["document"]]


async def test_other_arguments_keep_value_and_type(pool: Pool) -> None:
    made = script(
        "select $1 as nothing, $2 as empty, $3 as bytes, $4 as words, $5 as zero, 'HH24:MI' as clock, $6 as yes",
        None,
        "",
        b"\x00\xff",
        ["a", 'b"\\,', None],
        UUID(int=0),
        True,
        types=("int4", "text", "bytea", "text[]", "uuid", "bool"),
    )

    assert tuple(await run_for(pool, made, 1)) == (None, "", b"\x00\xff", ["a", 'b"\\,', None], UUID(int=0), "HH24:MI", True)
    assert "24:MI" not in made.text  # pgbench would take `:MI` for a variable


async def test_ids_of_two_numbers_never_meet(pool: Pool) -> None:
    numbered = Numbered("n::text")
    numbered.add([PAYMENT, CANCELLATION])
    expressions = ", ".join(f"{numbered.id_sql(one)}" for one in (PAYMENT, CANCELLATION))
    found = await pool.fetch(f"select {expressions} from unnest(array[1, 11, 111, 12, 112]) n")  # noqa: S608 -- of our own

    assert len({value for row in found for value in row}) == 10
    assert numbered.id_sql(PAYMENT) == payment_hex_sql("n::text")
    assert numbered.id_sql(LEG) is None


def test_ids_are_found_in_texts() -> None:
    text = f'{{"a": "{PAYMENT}", "b": "can_{CANCELLATION.hex}", "c": "{LEG.hex}", "hash": "{"ab" * 32}", "key": "{PAYMENT.hex}{LEG.hex}"}}'

    assert set(named_ids(text)) == {PAYMENT, CANCELLATION, LEG}
    assert named_ids("ab" * 32) == []


async def test_copies_are_whole_payments_with_ids_of_their_own(database: Any) -> None:
    connection = await asyncpg.connect(database.owner_url, ssl=False)
    try:
        await rows.insert_first(connection)
        original = stock.Original(UUID(rows.id_(rows.PAYMENT)), "order-1")
        await stock.fill(database.owner_url, original, 100, 3)
        await stock.settle(database.owner_url)
        made = await connection.fetch(
            "select p.reference, p.id, l.id as leg from payment p"
            " join cancellation c on c.payment_id = p.id"
            " join leg l on l.payment_id = p.id and l.refund_id = c.refund_id join record d on d.payment_id = p.id"
            " where p.id <> $1 order by p.id",
            original.payment,
        )
    finally:
        await connection.close()

    assert [row["id"] for row in made] == [payment_id(number) for number in (100, 101, 102)]
    assert [row["reference"] for row in made] == ["copy-100", "copy-101", "copy-102"]
    assert await stock.changed(database.owner_url, 100, 3) == 0


def test_medians_quantiles_and_ranges() -> None:
    figures = Figures()
    for value in (3.0, 1.0, 2.0):
        figures.add("cost.us", value)
    ordered = [float(number) for number in range(1, 101)]

    assert figures.median("cost.us") == 2.0
    assert figures.median("unknown") is None
    assert figures.shown("cost.us") == "2.00 (1.00–3.00)"
    assert (shown([]), shown([12.34]), rounded(1234.5)) == ("-", "12.3", "1,234")
    assert (quantile(ordered, 0.5), quantile(ordered, 0.99), quantile([], 0.5)) == (51.0, 100.0, 0.0)
    assert latencies([7.0]) == {"p50_ms": 7.0, "p95_ms": 7.0, "p99_ms": 7.0}
    assert (per(1.0, 1000), per(1.0, 0)) == (1000.0, 0.0)


def test_pgbenchs_log_is_cut_by_windows() -> None:
    log = read_log("0 1 5000 0 100 250000\n1 1 900000 0 100 500000\n0 2 5000 0 103 0\n")
    window = Window(100.0, 101.0)

    assert log[0] == Transaction(100.25, 5.0)
    assert within(log, window) == log[:2]
    assert undisturbed(log, window) == log[:1]  # the other one began before the window: a pause lies in it
    assert rate(log, window) == pytest.approx(2 / 0.8)


def test_postgresqls_cpu_is_kept_apart() -> None:
    before = Reading({1: ("service", 1.0), 2: ("pgbench", 5.0), 3: ("writers", 0.5)}, postmaster=0.1, ended=2.0)
    after = Reading({1: ("service", 1.5), 2: ("pgbench", 5.0), 3: ("writers", 0.6), 4: ("service", 0.2)}, postmaster=0.2, ended=2.3)
    spent = between(before, after)

    assert {kind: round(seconds, 6) for kind, seconds in spent.items()} == {
        "service": 0.5,
        "pgbench": 0.0,
        "writers": 0.1,
        "autovacuum": 0.3,
        "starts": 0.3,
    }


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("postgres: app refundry 127.0.0.1(4711) idle", "service"),
        ("postgres: owner refundry 127.0.0.1(4712) INSERT", "pgbench"),
        ("postgres: autovacuum worker refundry", "autovacuum"),
        ("postgres: autovacuum launcher", "autovacuum"),
        ("postgres: checkpointer", "writers"),
        ("postgres: io worker 0", "writers"),
    ],
)
def test_a_process_is_known_by_its_title(title: str, kind: str) -> None:
    assert kind_of(title, "app") == kind


def example() -> Figures:
    figures = Figures()
    for who in ("service", "pgbench"):
        units = ("per_second", "p50_ms", "p95_ms", "p99_ms", "python_us", "postgres_us", "client_us")
        figures.add_all(f"cancel.8.{who}", {unit: 100.0 for unit in units if (who, unit) != ("pgbench", "python_us")})
    figures.add("cancel.8.rate_ratio", 0.5)
    figures.add("cancel.8.cpu_ratio", 0.25)
    figures.add_all("endpoint.get", {"per_second": 900.0, "python_us": 40.0, "postgres_us": 20.0})
    return figures


def test_markdown_is_a_table() -> None:
    lines = markdown(Sheet("Title", ("what", "a|b"), [("x", "1"), ("y", "2")])).splitlines()

    assert lines == ["**Title**", "", "| what | a\\|b |", "| --- | ---: |", "| x | 1 |", "| y | 2 |"]


def test_only_what_was_measured_has_a_table() -> None:
    made = sheets(example())

    assert [len(sheet.rows) for sheet in made] == [2, 1, 1]
    assert made[1].rows[0] == ("8", "50%", "25%")
    assert all(len(row) == len(sheet.columns) for sheet in made for row in sheet.rows)
    assert sheets(Figures()) == []


def test_two_versions_are_compared_by_medians() -> None:
    table = compared("", ("a", "b"), (Figures({"x.us": [1.0, 2.0, 9.0], "only_a": [1.0]}), Figures({"x.us": [1.0, 1.0, 1.0]})))

    assert table.rows == [("x.us", "2.00 (1.00–9.00)", "1.00", "0.50")]


def test_the_chart_is_svg_with_a_bar_for_each_cost() -> None:
    bars = svg.bars(example())
    root = ET.fromstring(svg.chart([*bars, svg.Bar("<&>", 1.0, 1.0)]))  # noqa: S314 -- our own
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]

    assert [bar.label for bar in bars] == ["request a cancellation", "its statements by pgbench", "get a payment"]
    assert bars[0].goal == 200.0
    assert {"request a cancellation", "<&>"} <= set(texts)
    assert "prefers-color-scheme: dark" in svg.chart(bars)
    assert ET.fromstring(svg.chart([])) is not None  # noqa: S314 -- as above


def test_figures_survive_their_file(tmp_path: Path) -> None:
    results.save(tmp_path / "figures.json", example(), results.environment())

    assert results.load(tmp_path / "figures.json") == example()


def test_options_make_a_plan(tmp_path: Path) -> None:
    quick = options.parse("", ["--quick", "--growth"])
    plan = options.plan(quick, tmp_path)

    assert (plan.rounds, plan.growth, plan.parts[-1]) == (1, (10_000, 1_000_000), "growth")
    assert "growth" not in options.plan(options.parse("", []), tmp_path).parts
    compared_run = options.parse("", options.for_one_run(options.parse("", ["--compare", "a", "b", "--callers", "1", "8"])))
    assert (compared_run.only, compared_run.callers, compared_run.rounds) == (["requests", "endpoints"], [1, 8], 1)
