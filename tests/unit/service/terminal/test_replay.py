"""Import and replay: what is planned, what is sent, what is counted, and what is found to be wrong."""

import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from service.auth.keys import LocalKeys, load_or_create_keys
from service.terminal.failure import UserError
from service.terminal.replay import Surroundings, run_import, run_replay
from tests.unit.service.terminal.fake_service import FakeService, Shaky
from tests.unit.service.terminal.history import FOLDER_CANCELLATIONS, FOLDER_PAYMENTS, NOW, cancellation, payment, write

URL = "http://fake"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> LocalKeys:
    return load_or_create_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


async def no_pause(_: float) -> None:
    """Time passes at once."""


def around(service: FakeService, loses: Callable[[httpx.Request], bool] = lambda _: False) -> Surroundings:
    transport = Shaky(httpx.ASGITransport(service.app), loses)
    return Surroundings(clock=lambda: NOW, transport=transport, pause=no_pause)


def verdict(invoice: str) -> str:
    return {"C": "automatic", "M": "merchant", "R": "refuse", "S": "stuck"}[invoice[0]]


def test_a_replay_counts_every_outcome_and_its_invariants_hold(tmp_path: Path, keys: LocalKeys, console: Console) -> None:
    service = FakeService(verdict)
    folder = write(tmp_path, FOLDER_PAYMENTS, FOLDER_CANCELLATIONS)

    status = run_replay(URL, keys, folder, console=console, around=around(service))

    told = " ".join(printed(console).split())
    assert status == 0
    assert service.effects == len(FOLDER_CANCELLATIONS)
    assert "│ registered │ 5 │ GBP 7.50 │" in told
    assert "│ requested │ 7 │" in told
    assert "│ refunded │ 4 │ GBP 3.33 │" in told  # 33 + 117, 33, 150
    assert "│ refused by rule │ 1 │ GBP 0.33 │" in told
    assert "│ ask-the-merchant: window-closed │ 1 │" in told
    assert "│ handed off, then withdrawn │ 1 │ GBP 0.33 │" in told
    assert "│ payment already over │ 1 │" in told
    assert "an earlier cancellation had undone the whole payment" in told
    assert "│ error │ 0 │" in told
    assert "request to money" in told
    assert "250 ms" in told
    assert "no (" not in told
    assert "refundry check" in told


def test_a_replay_loses_no_answer_and_does_nothing_twice(tmp_path: Path, keys: LocalKeys, console: Console) -> None:
    service = FakeService(verdict)
    folder = write(tmp_path, FOLDER_PAYMENTS, FOLDER_CANCELLATIONS)

    status = run_replay(URL, keys, folder, console=console, around=around(service, lambda _: True))

    assert status == 0
    assert service.effects == len(FOLDER_CANCELLATIONS)
    assert len(service.payments) == len(FOLDER_PAYMENTS)


def test_a_named_run_sends_the_same_again_and_another_run_makes_new_payments(tmp_path: Path, keys: LocalKeys, console: Console) -> None:
    service = FakeService(verdict)
    folder = write(tmp_path, FOLDER_PAYMENTS, FOLDER_CANCELLATIONS)
    run_replay(URL, keys, folder, console=console, around=around(service))
    before = (len(service.payments), service.effects)

    again = run_replay(URL, keys, folder, console=console, run="261122140000", around=around(service))
    after = (len(service.payments), service.effects)
    other = run_replay(URL, keys, folder, console=console, run="261122140001", around=around(service))

    assert (again, other) == (0, 0)
    assert after == before
    assert len(service.payments) == 2 * before[0]


def test_the_limit_takes_the_first_payments_with_their_cancellations_only(tmp_path: Path, keys: LocalKeys, console: Console) -> None:
    service = FakeService(verdict)
    folder = write(tmp_path, FOLDER_PAYMENTS, FOLDER_CANCELLATIONS)

    assert run_replay(URL, keys, folder, console=console, limit=2, around=around(service)) == 0

    assert len(service.payments) == 2
    assert service.effects == 4


def test_money_that_is_missing_is_found(tmp_path: Path, keys: LocalKeys, console: Console) -> None:
    service = FakeService(verdict)
    service.pay_too_little = True
    folder = write(tmp_path, [payment("p-0")], [cancellation("p-0", "C1")])

    assert run_replay(URL, keys, folder, console=console, around=around(service)) == 1

    told = printed(console)
    assert "32 instead of 33" in told
    assert "GBP: 32 at the service, 33 by the data" in told


def test_a_refund_that_never_ends_is_an_error(tmp_path: Path, keys: LocalKeys, console: Console) -> None:
    service = FakeService(verdict)
    folder = write(tmp_path, [payment("p-0")], [cancellation("p-0", "S1")])

    assert run_replay(URL, keys, folder, console=console, around=around(service)) == 1

    told = printed(console)
    assert "is a worker running?" in told
    assert "33 is reserved" in told


@pytest.mark.parametrize("name", ["payments", "cancellations"])
def test_a_folder_without_its_files_is_told(name: str, tmp_path: Path, keys: LocalKeys, console: Console) -> None:
    write(tmp_path, FOLDER_PAYMENTS, FOLDER_CANCELLATIONS)
    (tmp_path / f"{name}.ndjson.gz").unlink()

    with pytest.raises(UserError, match=f"There is no {name}"):
        run_replay(URL, keys, tmp_path, console=console, around=around(FakeService(verdict)))


# Import.

LINES = b"".join(json.dumps(payment(f"i-{n}")).encode() + b"\n" for n in range(3))


@pytest.mark.parametrize("packed", [False, True])
def test_an_import_registers_what_the_file_holds(packed: bool, tmp_path: Path, console: Console) -> None:
    service = FakeService(verdict)
    file = tmp_path / "p.ndjson"
    file.write_bytes(gzip.compress(LINES) if packed else LINES)

    assert run_import(URL, "t", str(file), console=console, around=around(service)) == 0
    assert run_import(URL, "t", str(file), console=console, around=around(service)) == 0

    assert len(service.payments) == 3
    assert "3" in printed(console)


def test_an_import_with_a_bad_line_says_which_and_ends_with_one(tmp_path: Path, console: Console) -> None:
    file = tmp_path / "p.ndjson"
    file.write_bytes(LINES + b"nonsense\n")

    assert run_import(URL, "t", str(file), console=console, around=around(FakeService(verdict))) == 1

    assert "malformed-request" in printed(console)


def test_an_import_reads_the_standard_input(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    service = FakeService(verdict)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(LINES))))

    assert run_import(URL, "t", "-", console=console, around=around(service)) == 0

    assert len(service.payments) == 3


def test_an_import_of_a_damaged_or_absent_file_is_told(tmp_path: Path, console: Console) -> None:
    file = tmp_path / "p.ndjson.gz"
    file.write_bytes(gzip.compress(LINES)[:-9])

    with pytest.raises(UserError, match="is damaged"):
        run_import(URL, "t", str(file), console=console, around=around(FakeService(verdict)))
    with pytest.raises(UserError, match="cannot be read"):
        run_import(URL, "t", str(tmp_path / "absent"), console=console, around=around(FakeService(verdict)))


def test_somebody_who_watches_sees_bars(tmp_path: Path, keys: LocalKeys) -> None:
    watched = Console(file=io.StringIO(), width=100, force_terminal=True)
    folder = write(tmp_path, FOLDER_PAYMENTS, FOLDER_CANCELLATIONS)

    assert run_replay(URL, keys, folder, console=watched, around=around(FakeService(verdict))) == 0

    assert "cancelling" in printed(watched)
    assert "7/7" in printed(watched)
