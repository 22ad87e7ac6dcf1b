"""What was measured: for each name one value a round. Medians, quantiles and ranges of them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Figures:
    """Names are made of parts with dots; the last part is the unit: `cancel.8.service.per_second`."""

    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        self.values.setdefault(name, []).append(value)

    def add_all(self, prefix: str, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.add(f"{prefix}.{name}", value)

    def median(self, name: str) -> float | None:
        found = self.values.get(name)
        return statistics.median(found) if found else None

    def shown(self, name: str) -> str:
        """The median, and the range where there is one."""
        return shown(self.values.get(name, ()))

    def extend(self, other: "Figures") -> None:
        for name, values in other.values.items():
            self.values.setdefault(name, []).extend(values)


def shown(values: Sequence[float]) -> str:
    if not values:
        return "-"
    middle = rounded(statistics.median(values))
    low, high = rounded(min(values)), rounded(max(values))
    return middle if low == high else f"{middle} ({low}–{high})"


def rounded(value: float) -> str:
    """Three digits that count, and no more than are known."""
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def quantile(values: Sequence[float], share: float) -> float:
    """The nearest rank; 0 where there is nothing."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0.0


def latencies(milliseconds: Sequence[float]) -> dict[str, float]:
    return {f"p{round(share * 100)}_ms": quantile(milliseconds, share) for share in (0.50, 0.95, 0.99)}


def per(seconds: float, count: int) -> float:
    """Microseconds for each."""
    return 1_000_000 * seconds / count if count else 0.0
