"""Lints each migration's SQL for what hurts a live database: `python -m tests.lint_migrations`.

Exit status 0 where there is nothing to say, else 1.
"""

import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from alembic import command
from tests import ROOT

_EXCLUDED = {
    "prefer-bigint-over-int": "versions, positions, attempts and statuses count within one payment; amounts are bigint",
    "prefer-text-field": "alembic's own table is alembic's business",
}
_TIMEOUTS = ("set local lock_timeout = ", "set local statement_timeout = ")


def findings() -> list[str]:
    """All that is wrong with the migrations, a line each."""
    found = [line for revision, sql in upgrades() for line in (*lint(sql, revision), *missing_timeouts(sql, revision))]
    return found + [line for revision, sql in downgrades() for line in missing_timeouts(sql, revision)]


def lint(sql: str, name: str) -> list[str]:
    """What squawk says about the statements of one migration."""
    squawk = str(Path(sys.executable).with_name("squawk"))
    excluded = f"--exclude={','.join(_EXCLUDED)}"
    command_line = [squawk, "--reporter", "gcc", "--pg-version=18.0", excluded, "--stdin-filepath", f"{name}.sql"]
    done = subprocess.run(command_line, input=sql, capture_output=True, text=True, check=False)
    said = [line for line in done.stdout.splitlines() if line.strip()]
    return said or [done.stderr] if done.returncode else []


def missing_timeouts(sql: str, name: str) -> list[str]:
    """A migration waits for no lock for long: it sets its limits before it touches anything."""
    statements = [line.lower() for line in sql.splitlines() if line.lower().startswith(("set ", "create ", "alter ", "drop ", "do "))]
    first = [line for line in statements if "alembic_version" not in line][: len(_TIMEOUTS)]
    return [f"{name}: must begin with `{limit}…`" for limit in _TIMEOUTS if not any(line.startswith(limit) for line in first)]


def upgrades() -> Iterator[tuple[str, str]]:
    """Each revision with the SQL that leads to it from the one before."""
    for revision, before in _revisions():
        config, output = _config()
        command.upgrade(config, f"{before}:{revision}", sql=True)
        yield revision, output.getvalue()


def downgrades() -> Iterator[tuple[str, str]]:
    """Each revision with the SQL that leads back from it."""
    for revision, before in _revisions():
        config, output = _config()
        command.downgrade(config, f"{revision}:{before}", sql=True)
        yield f"{revision} (downgrade)", output.getvalue()


def _revisions() -> Iterator[tuple[str, str]]:
    for script in ScriptDirectory.from_config(_config()[0]).walk_revisions():
        yield script.revision, str(script.down_revision or "base")


def _config() -> tuple[Config, StringIO]:
    output = StringIO()
    return Config(toml_file=ROOT / "pyproject.toml", output_buffer=output), output


def main() -> int:
    found = findings()
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
