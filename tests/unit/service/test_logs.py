"""Logs: one line of JSON per fact, for operators, without what stands in anybody's row."""

import json
import logging
from collections.abc import Iterator

import asyncpg
import pytest
import structlog

from service import logs


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def refused_row() -> asyncpg.CheckViolationError:
    error = asyncpg.CheckViolationError("new row violates check constraint")
    error.detail = "Failing row contains (note, Anna Li never got it)."
    return error


def test_a_fact_is_one_line_of_json_with_the_event_first(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")

    structlog.get_logger("api").info("worker_started", worker="w-1")

    (line,) = capsys.readouterr().err.splitlines()
    assert next(iter(json.loads(line))) == "event"
    assert json.loads(line) | {"at": ""} == {"event": "worker_started", "worker": "w-1", "level": "info", "logger": "api", "at": ""}


def test_less_than_the_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning")

    structlog.get_logger("worker").info("quiet")
    logging.getLogger("a.library").info("quiet")

    assert capsys.readouterr().err == ""


def test_the_refused_row_is_not_told(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")

    structlog.get_logger("api").error("fault", exc_info=refused_row())
    try:
        raise RuntimeError("while applying") from refused_row()
    except RuntimeError:
        structlog.get_logger("worker").exception("job_failed")
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application")

    told = capsys.readouterr().err
    assert len(told.splitlines()) == 3
    assert told.count("new row violates check constraint") == 3
    assert "Anna Li" not in told
