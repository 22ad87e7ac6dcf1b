"""Policies for tests, and what `refundry policy lint` says of them."""

import io
from pathlib import Path

from rich.console import Console

from service.terminal.policies import run_lint

GOOD = """
version: v-1
effective_from: 2026-12-01T00:00:00Z
timezone: Asia/Shanghai
calendar: CN
rules:
  - {name: all, route: agent}
"""


def lint(tmp_path: Path, text: str | bytes) -> tuple[int, str]:
    file, console = tmp_path / "policy.yaml", Console(file=io.StringIO(), width=300)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    status = run_lint(file, console=console)
    return status, str(console.file.getvalue()).replace(str(file), "FILE")  # type: ignore[attr-defined]  # a StringIO


PENDING = (
    "Example: pending payment of CNY 100.00 from balance to another-merchant, general, fulfilment none; wallet asks by app: changed_mind."
)

MISTAKES = """
version: v-1
effective_from: 2026-12-01T00:00:00Z
timezone: UTC
calendar: none
second_approval_above: {CNY: 5}
agent_limits: {amount_per_day: {EUR: 5}}
rules:
  - name: by-nobody
    when: {role: merchant, channel: app}
    route: void
  - name: not-yet
    when: {state: pending}
    window: {anchor: completed_at, length: 1 day, requires_anchor: true}
    route: void
  - {name: settled, when: {state: completed}, route: agent}
  - name: exact
    when:
      state: completed
      amount: 100
    route: automatic
"""
