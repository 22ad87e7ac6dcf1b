"""Two commits, measured in turns (A B A B …) by this bench, with this interpreter and its packages."""

import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from service.settings import environment_for_child
from tests import ROOT
from tests.bench import results
from tests.bench.figures import Figures
from tests.bench.plan import Reporter
from tests.bench.sheets import Sheet, compared

_BENCH = Path("tests", "bench")


def measure(
    commits: tuple[str, str], turns: int, arguments: Sequence[str], directory: Path, reporter: Reporter
) -> tuple[Sheet, tuple[Figures, Figures]]:
    """`arguments` are those of one run of the bench."""
    found = (Figures(), Figures())
    with _worktree(commits[0], directory / "a") as first, _worktree(commits[1], directory / "b") as second:
        for commit, tree in zip(commits, (first, second), strict=True):
            if (tree / "requirements.lock").read_bytes() != (ROOT / "requirements.lock").read_bytes():
                reporter.console.print(f"{commit} has another lock: it is measured with the packages that are here.", style="yellow")
        with reporter.part(f"{commits[0]} and {commits[1]} in turns", 2 * turns) as advance:
            for turn in range(turns):
                for position, tree in enumerate((first, second)):
                    saved = directory / f"{turn}-{position}.json"
                    _run(tree, [*arguments, "--save", str(saved)])
                    found[position].extend(results.load(saved))
                    advance(1)
    return compared("Medians and ranges of all turns; ratio: the second in parts of the first", commits, found), found


def _run(tree: Path, arguments: Sequence[str]) -> None:
    # Modules are found in the tree, by us and by every process that we start: it stands first on the path.
    environment = {**environment_for_child({}), "PYTHONPATH": str(tree)}
    command = [sys.executable, "-m", "tests.bench", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tree, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"the bench failed in {tree.name}:\n{(done.stdout + done.stderr)[-3000:]}")


@contextmanager
def _worktree(commit: str, path: Path) -> Iterator[Path]:
    """The commit's files, with our bench among them."""
    _git("worktree", "add", "--quiet", "--detach", str(path), commit)
    try:
        shutil.rmtree(path / _BENCH, ignore_errors=True)
        shutil.copytree(ROOT / _BENCH, path / _BENCH, ignore=shutil.ignore_patterns("__pycache__"))
        yield path
    finally:
        _git("worktree", "remove", "--force", str(path))


def _git(*arguments: str) -> None:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode != 0:
        raise RuntimeError(f"git {arguments[0]} {arguments[1]} failed:\n{done.stderr.strip()}")
