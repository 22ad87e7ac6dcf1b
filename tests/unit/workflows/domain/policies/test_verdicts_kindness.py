"""Of two verdicts the kinder one wins: every two can be compared, in the order that is promised."""

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.factories import COMPLETED_AT, DAY, policy_of
from tests.unit.workflows.domain.policies.rules import decide, window
from workflows.domain.enums import (
    Anchor,
    OnDeadline,
    Refusal,
    Route,
)
from workflows.domain.errors import Window
from workflows.domain.policies.policy import Timeout
from workflows.domain.policies.verdicts import Allowed, Denied, Verdict, kindness, more_favourable

verdicts = st.one_of(
    st.builds(
        lambda route, then, closes, version: Allowed(
            route=route,
            rule="r",
            window=closes,
            policy_version=version,
            effective_terms=replace(policy_of({}).effective_terms("r0"), deadlines=deadlines_with(then)),
        ),
        st.sampled_from(Route),
        st.sampled_from(OnDeadline),
        st.sampled_from(
            [None, *(Window(Anchor.completed_at, COMPLETED_AT, COMPLETED_AT + days * DAY) for days in (1, 2)), Window(None, None, None)]
        ),
        st.sampled_from(["a", "b"]),
    ),
    st.builds(
        lambda refusal, closes, version: Denied(refusal=refusal, rule=None, window=closes, next_steps=(), policy_version=version),
        st.sampled_from(Refusal),
        st.sampled_from([None, *(Window(Anchor.completed_at, COMPLETED_AT, COMPLETED_AT + days * DAY) for days in (1, 2))]),
        st.sampled_from(["a", "b"]),
    ),
)


def deadlines_with(then: OnDeadline) -> Any:
    usual = policy_of({}).deadlines
    return replace(usual, merchant=Timeout(usual.merchant.length, then))


@given(verdicts, verdicts, verdicts)
def test_kindness_orders_all_verdicts(first: Verdict, second: Verdict, third: Verdict) -> None:
    one, two, three = kindness(first), kindness(second), kindness(third)

    assert (one < two) + (one == two) + (one > two) == 1
    assert not (one <= two <= three) or one <= three
    assert kindness(more_favourable(first, second)) == kindness(more_favourable(second, first)) == max(one, two)
    assert more_favourable(first, first) is first
    both = more_favourable(more_favourable(first, second), third), more_favourable(first, more_favourable(second, third))
    assert both[0] == both[1]


def allowed(route: Route, then: OnDeadline = OnDeadline.agent, closes: Window | None = None) -> Allowed:
    effective = replace(policy_of({}).effective_terms("r0"), deadlines=deadlines_with(then))
    return Allowed(route=route, rule="r", window=closes, policy_version="v", effective_terms=effective)


def test_the_order_is_the_promised_one() -> None:
    refused = Denied(refusal=Refusal.window_not_open, rule=None, window=None, next_steps=(), policy_version="v")
    by_route = [kindness(refused), *map(kindness, map(allowed, (Route.agent, Route.merchant, Route.return_, Route.automatic)))]
    by_silence = [kindness(allowed(Route.merchant, then)) for then in (OnDeadline.decline, OnDeadline.agent, OnDeadline.accept)]
    by_end = [
        kindness(allowed(Route.agent, closes=closes))
        for closes in (
            Window(Anchor.completed_at, COMPLETED_AT, COMPLETED_AT + DAY),
            Window(Anchor.completed_at, COMPLETED_AT, COMPLETED_AT + 2 * DAY),
            None,
        )
    ]

    for ascending in (by_route, by_silence, by_end):
        assert all(less < more for less, more in itertools.pairwise(ascending))
    assert kindness(allowed(Route.void)) == kindness(allowed(Route.automatic))
    assert max(by_silence) < kindness(allowed(Route.return_))
    assert {kindness(allowed(Route.agent, then)) for then in OnDeadline} == {kindness(allowed(Route.agent))}


def test_kindness_goes_by_route_then_by_the_later_end() -> None:
    def allowed(route: str, hours: int | None) -> Verdict:
        return decide(policy_of({"route": route} | ({} if hours is None else {"window": window("completed_at", f"{hours} hours")})))

    ladder = [
        decide(policy_of()),
        allowed("agent", 1),
        allowed("agent", None),
        allowed("merchant", 1),
        allowed("return", 1),
        allowed("automatic", 1),
        allowed("void", 2),
        allowed("automatic", None),
    ]

    for position, kind in enumerate(ladder):
        for harsher in ladder[:position]:
            assert more_favourable(kind, harsher) is kind
            assert more_favourable(harsher, kind) is kind
    equal = allowed("void", 2)
    assert more_favourable(equal, ladder[6]) is equal  # of equals the first
