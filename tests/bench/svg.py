"""A small bar chart: what a request costs Python and PostgreSQL, against the goal. Readable on light and on dark."""

from dataclasses import dataclass
from html import escape

from tests.bench.figures import Figures, rounded
from tests.bench.sheets import callers_measured

# A cancellation is to cost no more than this many times what its two statements cost PostgreSQL alone: half of pgbench's rate, that is.
GOAL_FACTOR = 2.0

_WIDTH, _LEFT, _RIGHT = 760, 210, 110
_BAR, _STEP, _TOP = 20, 34, 52
_STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #24292f }
  .title { font-weight: 600 } .quiet { fill: #57606a }
  .python { fill: #3572a5 } .postgres { fill: #d98c2b }
  .goal { stroke: #24292f; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .quiet { fill: #9198a1 }
    .python { fill: #58a6ff } .postgres { fill: #e3b341 } .goal { stroke: #e6edf3 }
  }
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """CPU microseconds a request; `goal` where there is one."""

    label: str
    python: float
    postgres: float
    goal: float | None = None

    @property
    def total(self) -> float:
        return self.python + self.postgres


def bars(figures: Figures, goal: float | None = None) -> list[Bar]:
    """Cancellations by the middle number of callers, and the other endpoints."""
    found = []
    measured = callers_measured(figures)
    if measured:
        prefix = f"cancel.{measured[len(measured) // 2]}"
        alone = figures.median(f"{prefix}.pgbench.postgres_us")
        if goal is None and alone is not None:
            goal = GOAL_FACTOR * alone
        found.append(_bar("request a cancellation", f"{prefix}.service", figures, goal))
        if alone is not None:
            found.append(Bar("its statements by pgbench", 0.0, alone))
    for name, label in {"register": "register a payment", "eligibility": "check eligibility", "get": "get a payment"}.items():
        found.append(_bar(label, f"endpoint.{name}", figures, None))
    return [bar for bar in found if bar.total]


def chart(shown: list[Bar]) -> str:
    height = _TOP + _STEP * len(shown) + 16
    longest = max([bar.total for bar in shown] + [bar.goal or 0.0 for bar in shown] + [1.0])
    scale = (_WIDTH - _LEFT - _RIGHT) / longest
    body = [line for position, bar in enumerate(shown) for line in _drawn(bar, _TOP + _STEP * position, scale)]
    said = "; ".join(f"{bar.label} {rounded(bar.total)}" for bar in shown)
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" aria-labelledby="title said">',
            f'<title id="title">CPU microseconds a request</title><desc id="said">{escape(said)}</desc>',
            f"<style>{_STYLE}</style>",
            '<text class="title" x="12" y="22">CPU µs a request</text>',
            *_legend(),
            *body,
            "</svg>",
            "",
        )
    )


def _legend() -> tuple[str, ...]:
    return (
        f'<rect class="python" x="{_LEFT}" y="12" width="12" height="12"/><text x="{_LEFT + 18}" y="22">Python</text>',
        f'<rect class="postgres" x="{_LEFT + 90}" y="12" width="12" height="12"/><text x="{_LEFT + 108}" y="22">PostgreSQL</text>',
        f'<line class="goal" x1="{_LEFT + 205}" y1="10" x2="{_LEFT + 205}" y2="26"/><text x="{_LEFT + 215}" y="22">goal</text>',
    )


def _drawn(bar: Bar, top: int, scale: float) -> list[str]:
    python, postgres, base = bar.python * scale, bar.postgres * scale, top + 15
    lines = [
        f'<text x="{_LEFT - 10}" y="{base}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect class="python" x="{_LEFT}" y="{top}" width="{python:.1f}" height="{_BAR}"/>',
        f'<rect class="postgres" x="{_LEFT + python:.1f}" y="{top}" width="{postgres:.1f}" height="{_BAR}"/>',
    ]
    end, told = _LEFT + python + postgres, rounded(bar.total)
    if bar.goal is not None:
        x = _LEFT + bar.goal * scale
        lines.append(f'<line class="goal" x1="{x:.1f}" y1="{top - 5}" x2="{x:.1f}" y2="{top + _BAR + 5}"/>')
        end, told = max(x, end), f"{told} of {rounded(bar.goal)}"
    lines.append(f'<text class="quiet" x="{end + 8:.1f}" y="{base}">{told}</text>')
    return lines


def _bar(label: str, prefix: str, figures: Figures, goal: float | None) -> Bar:
    return Bar(label, figures.median(f"{prefix}.python_us") or 0.0, figures.median(f"{prefix}.postgres_us") or 0.0, goal)
