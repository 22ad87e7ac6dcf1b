"""What is measured of the interface, for Prometheus."""

from prometheus_client import Counter, Histogram

CALLS = Counter("refundry_calls_total", "Calls answered, by operation and status.", ["operation", "status"])
SECONDS = Histogram(
    "refundry_call_seconds",
    "Seconds to an answer, by operation.",
    ["operation"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
