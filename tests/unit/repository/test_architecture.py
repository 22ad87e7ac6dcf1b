"""The domain is arithmetic, and nothing grows too long: checked on the syntax tree."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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


def nodes(path: Path) -> Iterator[ast.AST]:
    return ast.walk(tree(path))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


domain = pytest.mark.parametrize("path", DOMAIN, ids=name)
everywhere = pytest.mark.parametrize("path", ALL, ids=name)


@domain
def test_no_floats(path: Path) -> None:
    for node in nodes(path):
        assert not (isinstance(node, ast.Constant) and isinstance(node.value, float | complex)), f"line {node.lineno}"
        assert not (isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div)), f"line {node.lineno}: / makes a float"
        assert not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float"), f"line {node.lineno}"


@domain
def test_nothing_waits(path: Path) -> None:
    waiting = (ast.Await, ast.AsyncFor, ast.AsyncWith)
    assert [node.lineno for node in nodes(path) if isinstance(node, waiting)] == []
    if path.name != "ports.py":  # says what the outside must be able to do, and does nothing
        assert [node.name for node in nodes(path) if isinstance(node, ast.AsyncFunctionDef)] == []


@domain
def test_only_the_pure_part_of_the_standard_library_is_imported(path: Path) -> None:
    foreign = {module for module in imported(path) if not module.startswith("workflows.domain") and module.split(".")[0] not in PURE}

    assert foreign - VALUES == ({"transitions"} if path.name == "machines.py" else set())
    assert sys.stdlib_module_names >= PURE


@domain
def test_neither_the_clock_nor_chance_nor_the_machine_is_asked(path: Path) -> None:
    called = [node.func for node in nodes(path) if isinstance(node, ast.Call)]
    names = {func.attr if isinstance(func, ast.Attribute) else func.id for func in called if isinstance(func, ast.Attribute | ast.Name)}

    assert not names & IMPURE_CALLS


@everywhere
def test_a_file_is_short_enough(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LINES_PER_FILE_MAX


@everywhere
def test_a_function_is_short_enough(path: Path) -> None:
    long = {f"{name(path)}:{node.name}" for node in functions(path) if (node.end_lineno or 0) - node.lineno + 1 > LINES_PER_FUNCTION_MAX}

    assert not long


@everywhere
def test_a_file_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree(path))


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
