"""The domain is arithmetic, and nothing grows too long: checked on the syntax tree."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests import ROOT

DOMAIN = sorted((ROOT / "workflows" / "domain").rglob("*.py"))
ALL = sorted(path for folder in ("service", "workflows") for path in (ROOT / folder).rglob("*.py"))

LINES_PER_FILE_MAX = 400
LINES_PER_FUNCTION_MAX = 50

# Pure parts of the standard library; io only for StringIO. Not among them: time, random, secrets, os, pathlib, socket, asyncio, logging.
PURE = {"base64", "bisect", "calendar", "collections", "csv", "dataclasses", "datetime", "enum", "functools", "hashlib", "heapq", "io"}
PURE |= {"itertools", "json", "operator", "re", "string", "typing", "unicodedata", "uuid", "zoneinfo"}
# What values are made of (immutable, copied and compared in C), and the encoder of their canonical form.
VALUES = {"msgspec", "msgspec.structs", "msgspec.json"}
# What even these have that looks at a clock, at chance or at the machine.
IMPURE_CALLS = {"now", "utcnow", "today", "uuid1", "uuid4", "uuid6", "uuid7", "getnode", "open", "input", "print", "getenv"}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes(path: Path) -> tuple[Any, ...]:
    return tuple(ast.walk(tree(path)))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.slow
def test_no_floats_in_the_domain() -> None:
    assert [f"{name(path)}:{node.lineno}" for path in DOMAIN for node in nodes(path) if makes_a_float(node)] == []


def test_nothing_waits_in_the_domain() -> None:
    waiting = (ast.Await, ast.AsyncFor, ast.AsyncWith)
    for path in DOMAIN:
        # ports.py says what the outside must be able to do, and does nothing.
        kinds = waiting if path.name == "ports.py" else (*waiting, ast.AsyncFunctionDef)
        assert [f"{name(path)}:{node.lineno}" for node in nodes(path) if isinstance(node, kinds)] == []


def test_only_the_pure_part_of_the_standard_library_is_imported() -> None:
    for path in DOMAIN:
        foreign = {module for module in imported(path) if not module.startswith("workflows.domain") and module.split(".")[0] not in PURE}
        assert foreign - VALUES == ({"transitions"} if path.name == "machines.py" else set()), name(path)
    assert sys.stdlib_module_names >= PURE


def test_neither_the_clock_nor_chance_nor_the_machine_is_asked() -> None:
    for path in DOMAIN:
        called = [node.func for node in nodes(path) if isinstance(node, ast.Call)]
        names = {func.attr if isinstance(func, ast.Attribute) else func.id for func in called if isinstance(func, ast.Attribute | ast.Name)}
        assert not names & IMPURE_CALLS, name(path)


def test_each_file_is_short_enough() -> None:
    lengths = {name(path): len(path.read_text("utf-8").splitlines()) for path in ALL}

    assert {path: length for path, length in lengths.items() if length > LINES_PER_FILE_MAX} == {}


@pytest.mark.slow
def test_each_function_is_short_enough() -> None:
    lengths = {f"{name(path)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1 for path in ALL for node in functions(path)}

    assert {function: length for function, length in lengths.items() if length > LINES_PER_FUNCTION_MAX} == {}


def test_each_file_says_what_it_is() -> None:
    assert [name(path) for path in ALL if not ast.get_docstring(tree(path))] == []


def makes_a_float(node: ast.AST) -> bool:
    match node:
        case ast.Constant(value=float() | complex()) | ast.BinOp(op=ast.Div()) | ast.AugAssign(op=ast.Div()):
            return True
        case ast.Call(func=ast.Name(id="float")):
            return True
    return False


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in nodes(path) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def imported(path: Path) -> set[str]:
    modules: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            modules.add(node.module or "")
    return modules
