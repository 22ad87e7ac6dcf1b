"""The metrics that a process counts itself."""

from prometheus_client import REGISTRY, Gauge

from service import metrics


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_call_to_a_rail_is_counted_once_under_what_came_of_it_and_timed_under_its_call() -> None:
    rail = {"rail": "of-this-test", "call": "send"}

    for outcome, seconds in (("done", 0.03), ("unknown", 40.0)):
        metrics.observe_rail_call("of-this-test", "send", outcome, seconds)

    assert [counted("refundry_rail_answers_total", **rail, outcome=one) for one in ("done", "unknown", "declined")] == [1, 1, 0]
    assert (counted("refundry_rail_call_seconds_sum", **rail), counted("refundry_rail_call_seconds_count", **rail)) == (40.03, 2)
    assert [counted("refundry_rail_call_seconds_bucket", **rail, le=le) for le in ("0.025", "0.05", "30.0", "+Inf")] == [0, 1, 1, 2]


def test_a_gauge_is_the_sum_of_the_processes_that_live() -> None:
    """Any other kind needs a file of its own, which `service.shared_metrics` does not have."""
    gauges = {name: one for name, one in vars(metrics).items() if isinstance(one, Gauge)}

    assert gauges
    assert {name: one._multiprocess_mode for name, one in gauges.items()} == dict.fromkeys(gauges, "livesum")
