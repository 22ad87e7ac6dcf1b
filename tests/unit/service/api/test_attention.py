"""Stuck money as those of ours see it: each part with its advice, for those who work on it only."""

from uuid import UUID

from msgspec.structs import replace

from service.api.attention import advice_text, attention
from service.api.i18n import Language, words
from tests.unit.service.api.message_table import advice, refunding, situation_of
from tests.unit.service.api.sentences import assert_is_a_sentence
from workflows.domain.enums import ActorRole, CancellationState, LegState, Recovery
from workflows.domain.legs import TOLD_BY_PERSON, Leg
from workflows.domain.model import Snapshot


def test_whoever_looks_for_stuck_money_is_told_where() -> None:
    for spoken in Language:
        for _, one in advice():
            text = advice_text(situation_of(one), one, spoken)
            assert_is_a_sentence(text, spoken)
            assert "{" not in text
            if one.state in {LegState.submitted, LegState.unknown, LegState.processing}:
                assert one.rail_key in text


def test_only_who_works_on_a_stuck_case_sees_its_parts_and_only_what_has_not_arrived() -> None:
    snapshot, row = refunding(CancellationState.needs_attention, LegState.succeeded, LegState.failed)

    seen = {role: attention(snapshot, row, role, Language.en) for role in ActorRole}

    assert {role for role, parts in seen.items() if parts} == {ActorRole.agent, ActorRole.supervisor, ActorRole.auditor}
    [part] = seen[ActorRole.agent]
    assert (part.leg_id, part.amount) == (snapshot.legs[1].id, 4_000)
    executing = replace(row, state=CancellationState.executing)
    assert attention(replace(snapshot, cancellations=(executing,)), executing, ActorRole.agent, Language.en) == []


def test_what_is_known_of_a_part_goes_before_its_state() -> None:
    snapshot, _ = refunding(CancellationState.needs_attention, LegState.succeeded, LegState.failed)
    stuck = snapshot.legs[1]
    successor = replace(stuck, id=UUID(int=1), replaces=stuck.id, state=LegState.scheduled)
    told = replace(stuck, failure_code=TOLD_BY_PERSON)
    cases: dict[str, tuple[Snapshot, Leg]] = {
        "failed": (snapshot, stuck),
        "told": (snapshot, told),
        "never_sent": (snapshot, replace(told, attempts=0)),
        "replaced": (replace(snapshot, legs=(*snapshot.legs, successor)), replace(told, attempts=0)),
        "scheduled_again": (snapshot, successor),
        "ordered": (snapshot, replace(told, recovery=Recovery.retry)),
    }

    for key, (one, leg) in cases.items():
        beginning = words(Language.en, "attention")[key].partition("{")[0]
        assert beginning
        assert advice_text(one, leg, Language.en).startswith(beginning), key
