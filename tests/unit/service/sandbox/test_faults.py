"""What a reference asks for, what befalls which attempt, and chance that repeats itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.sandbox.faults import KINDS_DEFAULT, NONE, Faults, RandomFaults, UnreadableFault, for_attempt, parse_faults


@pytest.mark.parametrize(
    "reference", ["", "ok", "ok|ch_123", "|ch_123", "acct-778", "acct-778|x", "ch_1,ch_2", "slowly:2s", "2026-11-22", "a:b:c", "🦊", ",,"]
)
def test_a_plain_reference_asks_for_nothing(reference: str) -> None:
    assert parse_faults(reference) == NONE


@pytest.mark.parametrize(
    ("reference", "asked"),
    [
        ("slow:2s", Faults(slow_ms=2000)),
        ("slow:500ms", Faults(slow_ms=500)),
        ("slow:2", Faults(slow_ms=2000)),
        ("slow:1.5s", Faults(slow_ms=1500)),
        ("pending:5s", Faults(pending_ms=5000)),
        ("pending:0", Faults(pending_ms=0)),
        ("decline:account_closed", Faults(decline="account_closed")),
        ("timeout_after_effect", Faults(timeout_after_effect=True)),
        ("timeout_before_effect", Faults(timeout_before_effect=True)),
        ("unavailable:3", Faults(unavailable=3)),
        ("drop_notification", Faults(drop_notification=True)),
        ("duplicate_notification", Faults(duplicate_notification=True)),
        ("early_notification", Faults(early_notification=True)),
        ("requires_action", Faults(requires_action=True)),
        ("return_after:10s", Faults(return_after_ms=10_000)),
        ("garbage", Faults(garbage=True)),
        ("captured_meanwhile", Faults(captured_meanwhile=True)),
        ("decline", Faults(decline="do_not_honour")),
        (" unavailable:2 , pending:1s |ch_1,slow:9s", Faults(unavailable=2, pending_ms=1000)),
        ("ok,garbage", Faults(garbage=True)),
    ],
)
def test_every_word_is_read(reference: str, asked: Faults) -> None:
    assert parse_faults(reference) == asked


@pytest.mark.parametrize(
    "reference",
    ["ok,nonsense", "slow:soon", "slow:-1s", "slow:61s", "pending:8000000s", "unavailable:x", "unavailable:1001", "unavailable:-1",
     "decline:", "decline:Bad Code", "garbage:1", "slow:", "pending:5s,", "unavailable:٣"],
)  # fmt: skip
def test_an_unreadable_word_beside_a_fault_is_told_to_a_person(reference: str) -> None:
    with pytest.raises(UnreadableFault, match=r"^'.*\.$"):
        parse_faults(reference)


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(reference: str) -> None:
    try:
        asked = parse_faults(reference)
    except UnreadableFault:
        return
    assert isinstance(asked, Faults)


def test_what_loses_an_answer_happens_at_the_first_attempt_that_is_heard() -> None:
    asked = parse_faults("unavailable:2,timeout_after_effect,garbage,duplicate_notification")

    befalls = [for_attempt(asked, NONE, attempt) for attempt in (1, 2, 3, 4)]

    assert [faults.unavailable for faults in befalls] == [1, 1, 0, 0]
    assert [faults.timeout_after_effect for faults in befalls] == [False, False, True, False]
    assert [faults.garbage for faults in befalls] == [False, False, True, False]
    assert all(faults.duplicate_notification for faults in befalls)


def test_chance_comes_on_top_of_what_was_asked() -> None:
    assert for_attempt(parse_faults("pending:1s"), parse_faults("garbage"), 7) == Faults(pending_ms=1000, garbage=True)
    assert for_attempt(parse_faults("decline:a"), parse_faults("decline:b"), 1) == Faults(decline="b")


@given(st.integers(), st.text(max_size=20), st.integers(1, 50))
def test_chance_repeats_itself(seed: int, rail_key: str, attempt: int) -> None:
    first, again = (RandomFaults(rate=0.5, kinds=KINDS_DEFAULT, seed=seed) for _ in range(2))

    assert first.draw("send", rail_key, attempt) == again.draw("send", rail_key, attempt)


def test_chance_keeps_its_rate_and_depends_on_seed_and_attempt() -> None:
    def drawn(seed: int, attempt: int) -> list[bool]:
        chance = RandomFaults(rate=0.2, kinds=KINDS_DEFAULT, seed=seed)
        return [chance.draw("send", str(key), attempt) != NONE for key in range(5000)]

    assert 900 < sum(drawn(1, 1)) < 1100
    assert drawn(1, 1) != drawn(2, 1)
    assert drawn(1, 1) != drawn(1, 2)


@pytest.mark.parametrize("chance", [RandomFaults(), RandomFaults(rate=0.0, kinds=KINDS_DEFAULT), RandomFaults(rate=1.0, kinds=())])
def test_without_rate_or_kinds_there_is_no_chance(chance: RandomFaults) -> None:
    assert all(chance.draw("send", str(key), 1) == NONE for key in range(100))


def test_at_full_rate_every_attempt_is_befallen() -> None:
    chance = RandomFaults(rate=1.0, kinds=("garbage",), seed=4)

    assert {chance.draw("find", str(key), 1) for key in range(100)} == {Faults(garbage=True)}
