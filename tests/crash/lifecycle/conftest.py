"""How long the lifecycle is played: `pytest tests/crash/lifecycle --hypothesis-profile=long` plays it for as long as it takes."""

from hypothesis import HealthCheck, settings

_SLOW = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
settings.register_profile("long", max_examples=1_500, stateful_step_count=80, derandomize=False, deadline=None, suppress_health_check=_SLOW)
