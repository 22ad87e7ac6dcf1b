"""The interface as a table: a row for each operation, and what all of them may answer with said once."""

import io

from rich.console import Console

from service.app import declared_operations
from service.terminal.route_table import route_table


def test_each_operation_has_its_row_and_no_problem_of_all_stands_in_one() -> None:
    operations, console = declared_operations(), Console(file=io.StringIO(), width=400)
    table = route_table(operations)

    console.print(table)

    assert isinstance(console.file, io.StringIO)
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in console.file.getvalue().splitlines() if line.startswith("│")]
    shown = {(method, path): roles for method, path, _, roles, *_ in rows if method}
    assert shown == {(one.method, one.path): "no token" if one.roles is None else " ".join(sorted(one.roles)) for one in operations}
    common = {"unauthenticated", "forbidden", "validation-failed", "rate-limited", "unavailable"}
    assert isinstance(table.caption, str)
    assert all(slug in table.caption for slug in common)
    unmarked = [one for one in operations if one.name != "provider_notifications"]  # its signature is its token
    assert [one.name for one in unmarked if common & set(one.own_problems)] == []
