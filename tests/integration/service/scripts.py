"""Runs a script in a Python of its own, for tests."""

import subprocess
import sys

from service.settings import environment_for_child


def run(script: str, *arguments: str) -> None:
    command = [sys.executable, "-c", script, *arguments]
    subprocess.run(command, env=environment_for_child({}), check=True, timeout=120)
