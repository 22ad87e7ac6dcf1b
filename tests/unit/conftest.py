"""Unit tests open no connection and start no program: either fails. They read the project's files, and write to a temporary directory."""

import os
import socket
import subprocess
from typing import Any, NoReturn

import pytest

FORBIDDEN: tuple[tuple[Any, str], ...] = (
    (socket.socket, "connect"),
    (socket.socket, "bind"),
    (socket, "getaddrinfo"),
    (subprocess.Popen, "__init__"),
    (os, "fork"),
    (os, "posix_spawn"),
    (os, "system"),
)


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise RuntimeError("A unit test opens no connection and starts no program. Move it to tests/integration.")


@pytest.fixture(autouse=True)
def _no_network_and_no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    for owner, name in FORBIDDEN:
        monkeypatch.setattr(owner, name, _refuse)
