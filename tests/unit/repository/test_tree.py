"""The tests mirror the code: where a test stands says what it tests, and where a module stands says where its tests are.

`tests/<tier>/<package>/test_<module>.py` tests `<package>/<module>.py`; `test_<module>_<aspect>.py` a part of that, and
`test_<package>.py` a package as a whole. What concerns no module (documents, architecture, the bench) is in `<tier>/repository/`.
"""

import ast
from pathlib import Path

import pytest

from tests import ROOT

TIERS = ("unit", "integration", "crash")
CODE = ("service", "workflows")


def test_each_test_is_named_for_code_at_its_place() -> None:
    strangers = [
        str(path.relative_to(ROOT))
        for tier in TIERS
        for path in (ROOT / "tests" / tier).rglob("test_*.py")
        if "repository" not in path.relative_to(ROOT).parts and not any(_tests(path, name) for name in _names_in(_code_beside(path)))
    ]
    assert strangers == [], "each is to be named test_<module>.py or test_<module>_<aspect>.py, in the directory of that module"


@pytest.mark.slow
def test_each_module_has_a_test_of_its_name() -> None:
    lacking = [
        str(path.relative_to(ROOT))
        for package in CODE
        for path in sorted((ROOT / package).rglob("*.py"))
        if not path.stem.startswith("__") and _does_something(path) and not _is_tested(path)
    ]
    assert lacking == [], "each is to have a test_<module>.py in some tier, or a test_<package>.py for its package"


def _code_beside(test: Path) -> Path:
    return ROOT.joinpath(*test.relative_to(ROOT / "tests").parts[1:-1])


def _names_in(directory: Path) -> set[str]:
    return {path.stem for path in directory.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}


def _tests(test: Path, name: str) -> bool:
    told = test.stem.removeprefix("test_")
    return told == name or told.startswith(f"{name}_")


def _subject(test: Path, names: set[str]) -> str | None:
    """The longest name that fits: `test_replay_plan.py` tests `replay_plan`, not `replay`."""
    return max((name for name in names if _tests(test, name)), key=len, default=None)


def _is_tested(code: Path) -> bool:
    """By a test of its own, or of one of the packages that it is in."""
    while code.parent != ROOT:
        where = code.parent.relative_to(ROOT)
        names = _names_in(code.parent)
        if any(_subject(test, names) == code.stem for tier in TIERS for test in (ROOT / "tests" / tier / where).glob("test_*.py")):
            return True
        code = code.parent
    return False


def _does_something(code: Path) -> bool:
    """Whether it has any function with a body; a module of declarations alone has nothing to test."""
    return any(
        isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not _is_declared(node)
        for node in ast.walk(ast.parse(code.read_text("utf-8")))
    )


def _is_declared(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A protocol's method: a docstring or an ellipsis alone."""
    return all(isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant) for one in function.body)
