"""The load client as seen from here: a process of its own, which asks only while it is told to."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Self

from tests import ROOT
from tests.bench import numbered
from workflows.domain import ids

_UNEXPECTED_SHARE_MAX = 0.01


@dataclass(frozen=True, slots=True)
class Request:
    """`%s` is the subject: a payment's id, or a new reference. `key`: it is the idempotency key, too."""

    method: str
    path: str
    body: str = ""
    key: bool = False
    expected: str = "200"


CANCEL = Request("POST", "/v1/payments/%s/cancellations", '{"reason":"changed_mind"}', key=True, expected="201")
READ = Request("GET", "/v1/payments/%s")
ELIGIBILITY = Request("GET", "/v1/payments/%s/eligibility")
REGISTER = Request(
    "POST",
    "/v1/payments",
    '{"reference":"%s","wallet_id":"wallet-1","merchant_id":"merchant-1","amount":4200,"currency":"CNY"}',
    expected="201",
)


@dataclass(slots=True, kw_only=True)
class Slice:
    """Some seconds of load. `per_second` leaves out how it began and ended; the CPU and the latencies are of all requests."""

    seconds: float = 0.0
    per_second: float = 0.0
    cpu_seconds: float = 0.0  # of the client itself
    statuses: dict[str, int] = field(default_factory=dict)
    unexpected: str = ""  # the first answer that was not the expected one
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(self.statuses.values())


class Client:
    """To be left by the end of the block, which ends the process."""

    def __init__(self, request: Request, subjects: Sequence[str], *, host: str, ports: Sequence[int], token: str, callers: int) -> None:
        self._request = request
        self._load = {**asdict(request), "host": host, "ports": list(ports), "token": token, "callers": callers, "subjects": list(subjects)}

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.bench.callers"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self._write(json.dumps(self._load))
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def slice(self, seconds: float) -> Slice:
        """Ask for so long. Raises RuntimeError where more than a few answers were not the expected ones."""
        done = self.warm_up(seconds)
        if self.unexpected(done) > _UNEXPECTED_SHARE_MAX * done.count:
            raise RuntimeError(f"{self._request.method} {self._request.path} got {done.statuses}\n{done.unexpected}")
        return done

    def unexpected(self, done: Slice) -> int:
        return done.count - done.statuses.get(self._request.expected, 0)

    def warm_up(self, seconds: float) -> Slice:
        """The same, whatever is answered: on a busy machine the first requests may take too long."""
        self._write(str(seconds))
        line = self._process.stdout.readline() if self._process.stdout is not None else ""
        if not line:
            raise RuntimeError("the load client has ended")
        return Slice(**json.loads(line))

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


def payments(numbers: Sequence[int]) -> list[str]:
    """Their public ids."""
    return [ids.public("pay", numbered.payment_id(number)) for number in numbers]
