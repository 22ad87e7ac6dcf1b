"""Logs for operators: one line of JSON per fact, the event first, ids as fields; never a name, a note or a token."""

import logging
import sys
import threading
from pathlib import Path
from typing import Final, TextIO

import asyncpg
import structlog

from service.line_limit import LineLimit
from service.log_file import LogFile

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
LEFT_OUT: Final = "lines_left_out"
LEFT_OUT_SECONDS: Final = 60.0  # so long after a line was left out it is told how many were
_KIND_LENGTH_MAX: Final = 200

log = structlog.get_logger("logs")


def configure(level: str, file: Path | None = None) -> None:
    """To standard error, which is `file` from now on where one is given. What libraries log comes out in the same form, from warnings on.

    Of each kind of line only so many are written (`service.line_limit`); a line `lines_left_out` says a minute later how many were not.
    """
    limited = _Limited(LineLimit())
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _without_rows,
        structlog.processors.format_exc_info,
        _event_first,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, limited, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = _Handler(limited, None if file is None else LogFile(file))
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for ours in ("api", "worker", "sandbox"):
        logging.getLogger(ours).setLevel(LEVELS[level])


class _Limited:
    """Leaves out lines of which there were too many, before anything is done for them; as a structlog processor, our own."""

    def __init__(self, limit: LineLimit) -> None:
        self._limit = limit
        self._timer: threading.Timer | None = None
        self._lock = threading.Lock()

    def __call__(self, _: object, __: str, fields: structlog.types.EventDict) -> structlog.types.EventDict:
        event = str(fields.get("event"))
        if event != LEFT_OUT and not self.admits(event):
            raise structlog.DropEvent
        return fields

    def admits(self, kind: str) -> bool:
        if self._limit.admits(kind[:_KIND_LENGTH_MAX]):
            return True
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(LEFT_OUT_SECONDS, self.tell)
                self._timer.daemon = True
                self._timer.start()
        return False

    def tell(self) -> None:
        """Write how many lines were left out since the last time."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = None
        for kind, lines in self._limit.take_left_out().items():
            log.warning(LEFT_OUT, of=kind, lines=lines)


class _Handler(logging.StreamHandler[TextIO]):
    """To standard error; what libraries log is limited here, by the text before its values are put in."""

    def __init__(self, limited: _Limited, file: LogFile | None) -> None:
        super().__init__(sys.stderr)
        self._limited = limited
        self._file = file

    def filter(self, record: logging.LogRecord) -> bool:
        ours = isinstance(record.msg, dict)  # from structlog, and limited there
        return (ours or self._limited.admits(f"{record.name}: {record.msg}")) and bool(super().filter(record))

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        if self._file is not None:
            self._file.make_room(len(line) + 1)
        return line

    def close(self) -> None:
        """At the end of the program what was left out is still told."""
        if self in logging.getLogger().handlers:
            self._limited.tell()
        super().close()


def _without_rows(_: object, __: str, fields: structlog.types.EventDict) -> structlog.types.EventDict:
    """PostgreSQL tells, of a row that it refuses, all that stands in it: notes and names too."""
    given = fields.get("exc_info")
    error = given if isinstance(given, BaseException) else given[1] if isinstance(given, tuple) else sys.exc_info()[1] if given else None
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if isinstance(error, asyncpg.PostgresError):
            error.detail = None
        error = error.__cause__ or error.__context__
    return fields


def _event_first(_: object, __: str, fields: structlog.types.EventDict) -> structlog.types.EventDict:
    return {"event": fields.pop("event", None), **fields}
