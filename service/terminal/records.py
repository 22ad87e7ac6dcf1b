"""Records at the terminal: exports are fetched from a running service, or checked without one."""

import gzip
import json
import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Literal

import httpx
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from service.auth.keys import KeysUnusable, Verifier, VerifierKeyUnreadable, load_or_create_keys
from service.terminal.api_client import by_environment
from service.terminal.finding_texts import finding_text
from service.terminal.plain import plain, say
from workflows.domain.exports import read_trailer
from workflows.domain.times import rfc3339
from workflows.domain.verifying import Finding, Verdict, VerificationStatus, verify_export

Format = Literal["ndjson", "csv"]

EXIT_STATUS = {VerificationStatus.verified: 0, VerificationStatus.tampered: 1, VerificationStatus.unreadable: 2}
STYLE = {VerificationStatus.verified: "bold green", VerificationStatus.tampered: "bold red", VerificationStatus.unreadable: "bold yellow"}
LINE_BYTES_MAX = 4 * 1024 * 1024  # no record comes near; a file without newlines must not fill the memory
STDOUT = Path("-")
COPY_BYTES = 256 * 1024
TICK_LINES = 4096
PROGRESS_BYTES_MIN = 8 * 1024 * 1024
_GZIP_START = b"\x1f\x8b"
_ZIP_START = b"PK\x03\x04"
_TIMEOUT = httpx.Timeout(10, read=300)  # the service sorts a day before its first line


@dataclass(frozen=True, slots=True)
class _Checked:
    """What is known of one file; `verdict` is None where it could not be read as an export, `note` says why or what else is wrong."""

    status: VerificationStatus
    verdict: Verdict | None
    note: str = ""


def run_verify(files: list[Path], key: str | None = None, data_dir: Path | None = None, console: Console | None = None) -> int:
    """Check exports offline. `key` is a verifier key, or a file that holds one; else that of `data_dir`, where there is one.

    0: all verified. 1: one was tampered with. 2: one is unreadable, and none tampered with.
    """
    console = console or Console()
    try:
        trusted = _trusted_key(key, data_dir)
    except (OSError, ValueError, KeysUnusable) as error:
        say(console, f"The key cannot be used: {error}", style="red")
        return 2
    checked = {path: _check(path, trusted, console) for path in files}
    console.print(_overview(checked))
    for path, one in checked.items():
        if one.verdict is not None and one.verdict.findings:
            console.print(_findings(path, one.verdict))
    if trusted is None and any(one.verdict is not None and one.verdict.signer for one in checked.values()):
        say(console, "Whose key signed was not checked: give it with --key. The signature only fits the key that the file itself names.")
    statuses = {one.status for one in checked.values()}
    return next(
        EXIT_STATUS[status]
        for status in (VerificationStatus.tampered, VerificationStatus.unreadable, VerificationStatus.verified)
        if status in statuses
    )


def run_export(  # noqa: PLR0913 -- each is an option of the command
    url: str,
    token: str,
    *,
    format: Format,
    start: datetime | None,
    end: datetime | None,
    output: Path,
    console: Console,
    bom: bool = False,
) -> int:
    """Fetch an export of the service at `url` into `output` (`-`: standard output), which appears only when it is complete.

    0: done. 1: the service refused, could not be reached, or the stream was cut.
    """
    query: dict[str, str] = {"format": format}
    if bom:
        query["bom"] = "true"
    query |= {name: rfc3339(moment) for name, moment in (("from", start), ("to", end)) if moment is not None}
    try:
        with (
            httpx.Client(
                base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=_TIMEOUT, trust_env=by_environment(url)
            ) as client,
            client.stream("GET", "/v1/records/export", params=query) as response,
        ):
            if response.status_code != httpx.codes.OK:
                response.read()
                say(console, f"The service refused: {_problem(response)}", style="red")
                return 1
            with _destination(output) as (file, keep):
                last_line = _copy(response, file, console if output != STDOUT else Console(stderr=True))
                if format == "ndjson" and not _is_trailer(last_line):
                    say(console, "The export was cut: it ends without its trailer. Nothing was kept.", style="red")
                    return 1
                keep()
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        say(console, f"The export failed, nothing was kept: {type(error).__name__}: {error}", style="red")
        return 1
    return 0


def _trusted_key(key: str | None, data_dir: Path | None) -> str | None:
    if key is not None:
        text = key
        try:
            text = str(Verifier.parse(key))
        except VerifierKeyUnreadable:
            text = Path(key).read_text("utf-8")
        return str(Verifier.parse(text))
    # Checking must not make keys: a key made now has signed nothing.
    if data_dir is not None and (data_dir / "keys").is_dir() and any((data_dir / "keys").iterdir()):
        return load_or_create_keys(data_dir).evidence.verifier_key()
    return None


def _fits(key: str, signature: bytes, data: bytes) -> bool:
    try:
        return Verifier.parse(key).verify(signature, data)
    except ValueError:
        return False


def _check(path: Path, trusted: str | None, console: Console) -> _Checked:
    damage: list[str] = []
    try:
        with path.open("rb") as file:
            start = file.peek(len(_ZIP_START))[: len(_ZIP_START)]
            if start == _ZIP_START:
                return _Checked(VerificationStatus.unreadable, None, "not an export")
            content = gzip.GzipFile(fileobj=file) if start.startswith(_GZIP_START) else file
            with _watched(path, file, console) as tick:
                verdict = verify_export(_lines(content, damage, tick), check_signature=_fits, trusted_key=trusted)
    except OSError as error:
        return _Checked(VerificationStatus.unreadable, None, error.strerror or str(error))
    if verdict.status is VerificationStatus.unreadable:
        return _Checked(VerificationStatus.unreadable, None, damage[0] if damage else "not an export")
    return _Checked(VerificationStatus.tampered if damage else verdict.status, verdict, *damage)


def _lines(content: IO[bytes] | gzip.GzipFile, damage: list[str], tick: Callable[[], None]) -> Iterator[bytes]:
    """The lines as far as they can be read; what ended them too early goes into `damage`."""
    number = 0
    try:
        while line := content.readline(LINE_BYTES_MAX):
            yield line
            number += 1
            if number % TICK_LINES == 0:
                tick()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        damage.append(f"the compression is damaged: {error}")


@contextmanager
def _watched(path: Path, file: IO[bytes], console: Console) -> Iterator[Callable[[], None]]:
    """A progress bar over a big file, where somebody watches; what it yields moves the bar to where the file was read."""
    size = path.stat().st_size
    if size < PROGRESS_BYTES_MIN or not console.is_terminal:
        yield lambda: None
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(plain(path.name), total=size)
        yield lambda: progress.update(task, completed=file.tell())


def _overview(checked: dict[Path, _Checked]) -> Table:
    table = Table("File", "Result", "Records", "Chains", "Signed by", "Remark")
    for path, one in checked.items():
        verdict = one.verdict
        table.add_row(
            Text(plain(str(path)), overflow="fold"),
            Text(one.status, STYLE[one.status]),
            f"{verdict.records:,}" if verdict else "",
            f"{verdict.chains:,}" if verdict else "",
            Text(_signer(verdict), overflow="fold"),
            Text(plain(one.note), overflow="fold"),
        )
    return table


def _signer(verdict: Verdict | None) -> str:
    if verdict is None or verdict.signer is None:
        return "nobody"
    return f"{plain(verdict.signer)} ({'trusted' if verdict.signer_trusted else 'not checked'})"


def _findings(path: Path, verdict: Verdict) -> Table:
    shown = len(verdict.findings)
    more = "" if shown == verdict.findings_total else f", the first {shown} of {verdict.findings_total:,}"
    table = Table("Line", "Fault", "Chain", "Sequence", "What", title=Text(f"{plain(str(path))}{more}"), title_justify="left")
    for finding in verdict.findings:
        table.add_row(*(Text(cell, overflow="fold") for cell in _cells(finding)))
    return table


def _cells(finding: Finding) -> tuple[str, str, str, str, str]:
    sequence = "" if finding.sequence is None else str(finding.sequence)
    return str(finding.line), finding.fault.replace("_", " "), plain(finding.chain or ""), sequence, plain(finding_text(finding))


def _problem(response: httpx.Response) -> str:
    """The reason that a problem gives, or the bare status."""
    try:
        problem = response.json()
        return f"{response.status_code} {problem['title']}. {problem.get('detail') or ''}".rstrip()
    except (ValueError, KeyError, TypeError, AttributeError):
        return str(response.status_code)


@contextmanager
def _destination(output: Path) -> Iterator[tuple[IO[bytes], Callable[[], None]]]:
    """A file to write to, and what must be called for it to stay, under its name and on disk."""
    if output == STDOUT:
        yield sys.stdout.buffer, sys.stdout.buffer.flush
        return
    handle, name = tempfile.mkstemp(prefix=f".{output.name}.", dir=output.parent)
    try:
        with os.fdopen(handle, "wb") as file:

            def keep() -> None:
                file.flush()
                os.fsync(handle)
                Path(name).replace(output)

            yield file, keep
    finally:
        Path(name).unlink(missing_ok=True)  # gone already where it was kept


def _copy(response: httpx.Response, file: IO[bytes], console: Console) -> bytes:
    """Write the stream to the file, and return its last line."""
    tail = b""
    columns = (SpinnerColumn(), TextColumn("records"), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)
        for chunk in response.iter_bytes(COPY_BYTES):
            file.write(chunk)
            progress.advance(task, len(chunk))
            tail += chunk
            tail = tail[tail.rfind(b"\n", 0, -1) + 1 :][-LINE_BYTES_MAX:]
    return tail


def _is_trailer(line: bytes) -> bool:
    try:
        read_trailer(json.loads(line))
    except (ValueError, AttributeError):
        return False
    return line.endswith(b"\n")
