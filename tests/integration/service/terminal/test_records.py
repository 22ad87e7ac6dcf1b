"""`refundry verify` and `refundry export`, with real keys, real files and a real HTTP server."""

import gzip
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from service.auth.keys import EvidenceKey, load_or_create_keys
from service.cli import application
from service.terminal.records import LINE_BYTES_MAX, run_export, run_verify
from tests.factories import chain, export, in_order, lines_of
from workflows.domain.canonical import canonical
from workflows.domain.exports import ExportDigest, Scope, trailer_line
from workflows.domain.records import Record

RECORDS = in_order([*chain("a", 3), *chain("b", 2)])


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200, color_system=None)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def ours(data_dir: Path) -> EvidenceKey:
    return load_or_create_keys(data_dir).evidence


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def signed(records: list[Record], key: EvidenceKey) -> bytes:
    digest = ExportDigest()
    lines = lines_of(records)
    for line, record in zip(lines, records, strict=True):
        digest.add(line, record.chain, record.sequence, record.hash)
    return b"".join([*lines, trailer_line(digest.totals(), scope=Scope(), key=key.verifier_key(), sign=key.sign)])


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


class TestVerify:
    def test_with_the_key_as_text(self, tmp_path: Path, ours: EvidenceKey, console: Console) -> None:
        file = put(tmp_path / "x.ndjson", signed(RECORDS, ours))

        assert run_verify([file], ours.verifier_key(), None, console) == 0
        assert "verified" in said(console)
        assert "(trusted)" in said(console)
        assert "not checked" not in said(console)

    def test_with_the_key_in_a_file(self, tmp_path: Path, ours: EvidenceKey, console: Console) -> None:
        file = put(tmp_path / "x.ndjson", signed(RECORDS, ours))
        key = put(tmp_path / "key.txt", f"{ours.verifier_key()}\n".encode())
        assert run_verify([file], str(key), None, console) == 0
        assert "(trusted)" in said(console)

    def test_with_the_key_of_a_data_directory(self, tmp_path: Path, data_dir: Path, ours: EvidenceKey, console: Console) -> None:
        file = put(tmp_path / "x.ndjson", signed(RECORDS, ours))
        assert run_verify([file], None, data_dir, console) == 0
        assert "(trusted)" in said(console)

    def test_without_a_key_it_says_that_the_signer_was_not_checked(self, tmp_path: Path, ours: EvidenceKey, console: Console) -> None:
        file = put(tmp_path / "x.ndjson", signed(RECORDS, ours))
        elsewhere = tmp_path / "elsewhere"

        assert run_verify([file], None, elsewhere, console) == 0
        assert "Whose key signed was not checked" in said(console)
        assert not elsewhere.exists()  # checking makes no keys

    def test_signed_by_another_key(self, tmp_path: Path, ours: EvidenceKey, console: Console) -> None:
        theirs = load_or_create_keys(tmp_path / "theirs").evidence
        file = put(tmp_path / "x.ndjson", signed(RECORDS[:-1], theirs))
        assert run_verify([file], None, None, console) == 0
        assert run_verify([file], ours.verifier_key(), None, console) == 1
        assert "other signer" in said(console)

    def test_a_trailer_made_anew_without_the_key(self, tmp_path: Path, ours: EvidenceKey, console: Console) -> None:
        forged = json.loads(signed(RECORDS[:-1], ours).splitlines()[-1])
        forged["signature"] = json.loads(signed(RECORDS, ours).splitlines()[-1])["signature"]
        file = put(tmp_path / "x.ndjson", b"".join(lines_of(RECORDS[:-1])) + canonical(forged) + b"\n")
        assert run_verify([file], None, None, console) == 1
        assert "was not signed with the key that it names" in said(console)

    def test_a_change_is_named_with_its_place(self, tmp_path: Path, ours: EvidenceKey, console: Console) -> None:
        lines = signed(RECORDS, ours).splitlines(keepends=True)
        lines[3] = lines[3].replace(b'"amount":1000', b'"amount":1001')
        file = put(tmp_path / "x.ndjson", b"".join(lines))

        assert run_verify([file], ours.verifier_key(), None, console) == 1
        row = next(line for line in said(console).splitlines() if "changed" in line)
        assert [cell.strip() for cell in row.strip("│ ").split("│")][:4] == ["4", "changed", RECORDS[3].chain, str(RECORDS[3].sequence)]

    def test_compressed(self, tmp_path: Path, ours: EvidenceKey, console: Console) -> None:
        whole = gzip.compress(signed(RECORDS, ours))
        assert run_verify([put(tmp_path / "x.ndjson.gz", whole)], ours.verifier_key(), None, console) == 0
        assert run_verify([put(tmp_path / "y", whole)], ours.verifier_key(), None, console) == 0
        assert run_verify([put(tmp_path / "cut.gz", whole[:-30])], ours.verifier_key(), None, console) == 1
        assert run_verify([put(tmp_path / "sum.gz", whole[:-5] + b"\0" + whole[-4:])], ours.verifier_key(), None, console) == 1
        assert "the compression is damaged" in said(console)

    @pytest.mark.parametrize("content", [b"", b"hello\n", b"PK\x03\x04zip", b"\x1f\x8bnot gzip", b"{}\n", bytes(range(256)) * 10])
    def test_what_is_no_export(self, tmp_path: Path, content: bytes, console: Console) -> None:
        assert run_verify([put(tmp_path / "x", content)], None, None, console) == 2
        assert "unreadable" in said(console)

    def test_what_is_not_there_or_no_file(self, tmp_path: Path, console: Console) -> None:
        assert run_verify([tmp_path / "nowhere"], None, None, console) == 2
        assert run_verify([tmp_path], None, None, console) == 2
        assert "No such file" in said(console)

    def test_a_file_without_an_end_of_line(self, tmp_path: Path, console: Console) -> None:
        assert run_verify([put(tmp_path / "x", b"a" * (LINE_BYTES_MAX * 2 + 1))], None, None, console) == 2

    def test_the_worst_of_many_files_counts(self, tmp_path: Path, ours: EvidenceKey, console: Console) -> None:
        whole = signed(RECORDS, ours)
        good, cut, none = (put(tmp_path / name, content) for name, content in [("good", whole), ("cut", whole[:-9]), ("none", b"x")])
        assert run_verify([good, good], None, None, console) == 0
        assert run_verify([good, none], None, None, console) == 2
        assert run_verify([none, cut, good], None, None, console) == 1

    @pytest.mark.parametrize("key", ["nonsense", "refundry+00000000+AAAA"])
    def test_a_key_that_is_none(self, tmp_path: Path, ours: EvidenceKey, console: Console, key: str) -> None:
        file = put(tmp_path / "x.ndjson", signed(RECORDS, ours))
        assert run_verify([file], key, None, console) == 2
        assert run_verify([file], str(file), None, console) == 2
        assert said(console).count("The key cannot be used") == 2

    def test_what_a_terminal_would_obey_is_not_printed(self, tmp_path: Path, console: Console) -> None:
        record = json.loads(lines_of(RECORDS)[0]) | {"chain": "\x1b[2J[bold]evil"}
        run_verify([put(tmp_path / "x", canonical(record) + b"\n")], None, None, console)
        assert "\x1b" not in said(console)
        assert "[bold]evil" in said(console)

    @pytest.mark.slow
    def test_a_big_file_shows_how_far_it_is(self, tmp_path: Path, ours: EvidenceKey) -> None:
        console = Console(file=io.StringIO(), width=200, force_terminal=True)
        file = put(tmp_path / "x.ndjson", signed(chain("long", 25_000), ours))
        assert run_verify([file], None, None, console) == 0
        assert "MB" in said(console)


ASKED: list[tuple[str, str | None]] = []


@contextmanager
def service(status: int, body: bytes, *, promised: int | None = None) -> Iterator[str]:
    """A server that gives this answer; `promised` is the length that it claims."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            ASKED.append((self.path, self.headers["Authorization"]))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) if promised is None else promised))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class TestExport:
    @pytest.fixture
    def output(self, tmp_path: Path) -> Path:
        (tmp_path / "out").mkdir()
        return tmp_path / "out" / "records"

    def fetch(self, url: str, output: Path, console: Console, format: str = "ndjson") -> int:
        assert format in ("ndjson", "csv")
        start = datetime(2026, 11, 1, tzinfo=UTC)
        return run_export(
            url, "secret", format="csv" if format == "csv" else "ndjson", start=start, end=None, output=output, console=console
        )

    def test_the_whole_is_kept(self, output: Path, console: Console) -> None:
        whole = b"".join(export(RECORDS))
        with service(200, whole) as url:
            assert self.fetch(url, output, console) == 0
        assert output.read_bytes() == whole
        assert list(output.parent.iterdir()) == [output]
        assert ASKED[-1] == ("/v1/records/export?format=ndjson&from=2026-11-01T00%3A00%3A00.000000Z", "Bearer secret")

    def test_big_exports_too(self, output: Path, console: Console) -> None:
        whole = b"".join(export(chain("long", 2_000)))
        with service(200, whole) as url:
            assert self.fetch(url, output, console) == 0
        assert output.read_bytes() == whole

    def test_csv(self, output: Path, console: Console) -> None:
        with service(200, b"id,chain\r\n") as url:
            assert self.fetch(url, output, console, "csv") == 0
        assert output.read_bytes() == b"id,chain\r\n"

    def test_csv_with_a_mark(self, output: Path, console: Console) -> None:
        with service(200, b"\xef\xbb\xbfid,chain\r\n") as url:
            assert run_export(url, "secret", format="csv", start=None, end=None, output=output, console=console, bom=True) == 0
        assert output.read_bytes() == b"\xef\xbb\xbfid,chain\r\n"
        assert ASKED[-1][0] == "/v1/records/export?format=csv&bom=true"

    def test_a_mark_belongs_to_csv(self, output: Path) -> None:
        done = CliRunner().invoke(application, ["export", "--bom", "-o", str(output)])

        assert (done.exit_code, output.exists()) == (2, False)

    def test_to_standard_output(self, console: Console, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        whole = b"".join(export(RECORDS))
        with service(200, whole) as url:
            assert self.fetch(url, Path("-"), console) == 0
        assert capfdbinary.readouterr().out == whole

    @pytest.mark.parametrize("cut", [1, 20, 1000])
    def test_a_cut_export_is_not_kept(self, output: Path, console: Console, cut: int) -> None:
        output.write_bytes(b"the one before")
        with service(200, b"".join(export(RECORDS))[:-cut]) as url:
            assert self.fetch(url, output, console) == 1
        assert (output.read_bytes(), list(output.parent.iterdir())) == (b"the one before", [output])
        assert "was cut" in said(console)

    @pytest.mark.parametrize("format", ["ndjson", "csv"])
    def test_a_broken_stream_is_not_kept(self, output: Path, console: Console, format: str) -> None:
        whole = b"".join(export(RECORDS))
        with service(200, whole, promised=len(whole) + 1) as url:
            assert self.fetch(url, output, console, format) == 1
        assert list(output.parent.iterdir()) == []

    @pytest.mark.parametrize(
        ("body", "reason"),
        [
            (b'{"title": "Forbidden", "detail": "An auditor may."}', "403 Forbidden. An auditor may."),
            (b'{"title": "Forbidden", "detail": null}', "403 Forbidden."),
            (b"<html>", "403"),
            (b"[]", "403"),
        ],
    )
    def test_a_refusal_is_passed_on(self, output: Path, console: Console, body: bytes, reason: str) -> None:
        with service(403, body) as url:
            assert self.fetch(url, output, console) == 1
        assert said(console) == f"The service refused: {reason}\n"
        assert list(output.parent.iterdir()) == []

    def test_nobody_there(self, output: Path, console: Console) -> None:
        with service(200, b"") as url:
            pass
        assert self.fetch(url, output, console) == 1
        assert "ConnectError" in said(console)

    def test_no_such_folder(self, tmp_path: Path, console: Console) -> None:
        with service(200, b"".join(export(RECORDS))) as url:
            assert self.fetch(url, tmp_path / "nowhere" / "x", console) == 1
        assert "nothing was kept" in said(console)
