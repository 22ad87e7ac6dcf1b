"""The tests. `unit` needs nothing, `integration` a real database, HTTP or programs, `crash` kills them; each mirrors the code's tree."""

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
