"""What was measured, as a file: the figures, and what they were measured with."""

import json
import os
import platform
import sysconfig
from pathlib import Path

from tests.bench.figures import Figures

Environment = dict[str, str]


def environment() -> Environment:
    """Taken before anything is measured."""
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}, {optimised()}",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()} {platform.release()}",
        "load_before": ", ".join(f"{average:.2f}" for average in os.getloadavg()),
    }


def optimised() -> str:
    """How the interpreter was built: profile-guided and link-time optimisation each make it some tenths faster."""
    told = " ".join(str(sysconfig.get_config_var(name) or "") for name in ("CONFIG_ARGS", "PY_CORE_CFLAGS", "PY_CFLAGS_NODIST"))
    profiled = "--enable-optimizations" in told or "-fprofile-use" in told or "-fprofile-instr-use" in told
    linked = "--with-lto" in told or "-flto" in told
    return f"{'with' if profiled else 'without'} PGO, {'with' if linked else 'without'} LTO"


def save(path: Path, figures: Figures, measured_with: Environment) -> None:
    path.write_text(json.dumps({"environment": measured_with, "figures": figures.values}, indent=2) + "\n", encoding="utf-8")


def load(path: Path) -> Figures:
    return Figures(json.loads(path.read_text(encoding="utf-8"))["figures"])
