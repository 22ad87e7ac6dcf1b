"""However much goes wrong, the log stays small, and says what it left out."""

import json
from pathlib import Path

import pytest

from service.line_limit import LINES_AT_ONCE
from tests.integration.service.scripts import run

pytestmark = pytest.mark.slow


MALFORMED = 100_000


def lines_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.long
def test_a_hundred_thousand_malformed_requests_leave_a_small_log_that_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "api-1.log"

    run(
        "import logging, sys, pathlib, structlog\n"
        "from service import logs\n"
        "logs.configure('info', pathlib.Path(sys.argv[1]))\n"
        f"for number in range({MALFORMED}):\n"
        "    logging.getLogger('uvicorn.error').warning('Invalid HTTP request received.')\n"
        "    structlog.get_logger('api').warning('database_unreachable', path=f'/v1/{number}')\n"
        "structlog.get_logger('api').info('still_heard')\n",
        str(path),
    )

    lines = lines_of(path)
    assert path.stat().st_size < MALFORMED
    assert [line for line in lines if line["event"] == "still_heard"]
    for kind, event in (
        ("uvicorn.error: Invalid HTTP request received.", "Invalid HTTP request received."),
        ("database_unreachable",) * 2,
    ):
        written = sum(line["event"] == event for line in lines)
        left_out = sum(int(str(line["lines"])) for line in lines if line.get("of") == kind)
        assert written >= LINES_AT_ONCE
        assert written + left_out == MALFORMED, "nothing is lost silently"
