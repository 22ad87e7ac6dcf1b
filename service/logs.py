"""Logs for operators: one line of JSON per fact, the event first, ids as fields; never a name, a note or a token."""

import logging
import sys

import asyncpg
import structlog

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def configure(level: str) -> None:
    """To standard error. What libraries log comes out in the same form, from warnings on."""
    shared: list[structlog.types.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        _without_rows,
        structlog.processors.format_exc_info,
        _event_first,
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
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
