"""Looks at the ledger's file before a rail is run on it."""

import sqlite3
from contextlib import closing
from pathlib import Path

from service.private_files import FileUnusable, make_private, unusable


def check_ledger(path: Path) -> None:
    """Make it where it is missing. Raises FileUnusable where it cannot be opened, or is no database of SQLite."""
    try:
        make_private(path)
        with closing(sqlite3.connect(path, timeout=10)) as sql:
            sql.execute("select count(*) from sqlite_master").fetchone()
    except OSError as error:
        raise unusable(path, error) from error
    except sqlite3.Error as error:
        raise FileUnusable(
            f"The sandbox rail's ledger {path} cannot be opened: {error}. Restore it from a backup; or move it away: "
            "an empty one is then begun, which does not know what the rail has moved."
        ) from error
