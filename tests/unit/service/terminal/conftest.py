"""The history that comparisons are made of, as a folder."""

from pathlib import Path

import pytest

from tests.unit.service.terminal.comparing import CANCELLATIONS, PAYMENTS
from tests.unit.service.terminal.history import write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path, PAYMENTS, CANCELLATIONS)
