"""Every metric that a process counts itself. What the database knows is asked of it, and is not here (`service.api.metrics_page`)."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

REQUESTS: Final = Counter("refundry_calls_total", "Calls answered, by operation and status.", ["operation", "status"])
SECONDS: Final = Histogram(
    "refundry_call_seconds",
    "Seconds to the beginning of an answer, by operation.",
    ["operation"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
REFUSED: Final = Counter("refundry_requests_refused_total", "Requests refused because too many were being worked on.")
CONNECTIONS_REFUSED: Final = Counter(
    "refundry_connections_refused_total",
    "Connections that the server ended: refused, malformed, or too slow to send or to take an answer, by problem.",
    ["code"],
)
# A kind of gauge that is not "livesum" needs a file of its own: see `service.shared_metrics`.
WAITING: Final = Gauge("refundry_requests_waiting", "Requests that wait to be worked on.", multiprocess_mode="livesum")

RAIL_SECONDS: Final = Histogram(
    "refundry_rail_call_seconds",
    "Seconds that a rail took to answer, or that were waited in vain, by call.",
    ["rail", "call"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RAIL_ANSWERS: Final = Counter("refundry_rail_answers_total", "What the rails answered, by call and outcome.", ["rail", "call", "outcome"])
LEASES_LOST: Final = Counter("refundry_leases_lost_total", "Jobs whose lease had ended, so that their worker changed nothing any more.")


def observe_rail_call(rail: str, call: str, outcome: str, seconds: float) -> None:
    """One call to a rail and what came of it."""
    RAIL_SECONDS.labels(rail, call).observe(seconds)
    RAIL_ANSWERS.labels(rail, call, outcome).inc()
