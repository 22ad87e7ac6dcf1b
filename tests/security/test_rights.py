"""Who may do what, written down a second time by hand, call by call, and compared with the table."""

from datetime import UTC, datetime

import pytest

from service.api.problems import PROBLEMS
from service.api.rights import ACTION_OPERATIONS, OPERATIONS, Operation, allowed, available, operation
from service.app import HANDLERS
from service.auth.tokens import Principal
from workflows.domain.enums import CancellationTrigger, PaymentTrigger, Role

# One column a role: wallet, agent, supervisor, merchant, auditor, operator. A star: the call needs an Idempotency-Key.
MATRIX = """
POST /v1/payments                                   w - - - - -
POST /v1/payments/import                            w - - - - o
GET  /v1/payments/{payment_id}                      w a s m u -
GET  /v1/payments                                   w a s m u -
POST /v1/payments/{payment_id}/complete             w - - - - - *
POST /v1/payments/{payment_id}/fail                 w - - - - - *
POST /v1/payments/{payment_id}/modifications        w - - - - - *
POST /v1/payments/{payment_id}/fulfilment           w a s m - - *
GET  /v1/payments/{payment_id}/eligibility          w a s m u -
GET  /v1/payments/{payment_id}/records              w a s m u -
POST /v1/payments/{payment_id}/cancellations        w a s m - - *
GET  /v1/cancellations/{cancellation_id}            w a s m u -
GET  /v1/cancellations                              w a s m u -
POST /v1/cancellations/{cancellation_id}/withdraw   w a s - - - *
POST /v1/cancellations/{cancellation_id}/escalate   w a s - - - *
POST /v1/cancellations/{cancellation_id}/merchant-decision - - - m - - *
POST /v1/cancellations/{cancellation_id}/offer-response w a s - - - *
POST /v1/cancellations/{cancellation_id}/return     w a s - - - *
POST /v1/cancellations/{cancellation_id}/return-received - - - m - - *
POST /v1/cancellations/{cancellation_id}/assign     - a s - - - *
POST /v1/cancellations/{cancellation_id}/approve    - a s - - - *
POST /v1/cancellations/{cancellation_id}/deny       - a s - - - *
GET  /v1/refunds/{refund_id}                        w a s m u -
GET  /v1/refunds                                    w a s m u -
GET  /v1/records                                    - - - - u -
GET  /v1/records/export                             - - - - u -
GET  /v1/policies                                   w a s m u o
GET  /v1/policies/{version}                         w a s m u o
GET  /v1/meta                                       w a s m u o
GET  /v1/log/key                                    open
POST /v1/providers/{provider}/notifications         open
GET  /healthz                                       open
GET  /readyz                                        open
GET  /metrics                                       open
GET  /problems                                      open
GET  /problems/{slug}                               open
GET  /openapi.json                                  open
GET  /docs                                          open
"""
LETTERS = {"w": "wallet", "a": "agent", "s": "supervisor", "m": "merchant", "u": "auditor", "o": "operator"}
EXPECTED = {(line.split()[0], line.split()[1]): line.split()[2:] for line in MATRIX.strip().splitlines()}


def principal(role: Role) -> Principal:
    return Principal("somebody", role, "m-1" if role is Role.merchant else None, datetime(2026, 11, 22, tzinfo=UTC))


def test_the_table_names_the_expected_calls_and_no_other() -> None:
    assert {(one.method, one.path) for one in OPERATIONS} == set(EXPECTED)


def test_names_and_addresses_are_unique() -> None:
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS) == len({(one.method, one.path) for one in OPERATIONS})


def test_what_answers_is_in_the_table() -> None:
    assert set(HANDLERS) == {one.name for one in OPERATIONS}


@pytest.mark.parametrize("found", OPERATIONS, ids=lambda one: one.name)
@pytest.mark.parametrize("role", list(Role))
def test_each_role_may_what_it_should(found: Operation, role: Role) -> None:
    marks = EXPECTED[found.method, found.path]
    should = marks == ["open"] or role.value in {LETTERS[mark] for mark in marks if mark in LETTERS}

    assert allowed(found, principal(role)) is should


@pytest.mark.parametrize("found", OPERATIONS, ids=lambda one: one.name)
def test_who_has_no_token_may_the_open_calls_only(found: Operation) -> None:
    assert allowed(found, None) is (EXPECTED[found.method, found.path] == ["open"])


def test_idempotency_keys_are_asked_for_where_they_should_be() -> None:
    assert {(one.method, one.path) for one in OPERATIONS if one.idempotent} == {key for key, marks in EXPECTED.items() if "*" in marks}


def test_if_match_is_taken_by_every_action_on_a_payment_or_a_cancellation() -> None:
    assert [one.name for one in OPERATIONS if one.if_match] == [one.name for one in OPERATIONS if one.idempotent]


def test_all_problems_named_are_problems() -> None:
    assert {slug for one in OPERATIONS for slug in one.answers} <= set(PROBLEMS)
    assert all(len(set(one.answers)) == len(one.answers) for one in OPERATIONS)


def test_a_request_may_meet_every_refusal_of_the_domain() -> None:
    assert {
        "unauthenticated",
        "forbidden",
        "not-found",
        "idempotency-key-missing",
        "idempotency-key-reused",
        "idempotency-in-flight",
        "version-mismatch",
        "refundable-amount-changed",
        "cancellation-open",
        "payment-disputed",
        "wallet-frozen",
        "partial-not-supported",
        "amount-exceeds-refundable",
        "policy-refused",
        "client-reference-conflict",
        "invalid-state",
        "validation-failed",
    } <= set(operation("request_cancellation").answers)


def test_actions_lead_to_operations_and_are_words_of_the_machines_where_these_have_one() -> None:
    assert {operation(name).method for name in ACTION_OPERATIONS.values()} == {"POST"}
    assert set(ACTION_OPERATIONS) - {"modify", "fulfilment", "correct_fulfilment", "assign"} <= {*PaymentTrigger, *CancellationTrigger}


def test_available_actions_are_those_of_the_state_that_the_caller_may_take() -> None:
    every = ["complete", "fail", "request_cancellation", "keep", "confirm_void", "withdraw", "timeout"]

    found = {role.value: available(every, principal(role)) for role in Role}

    assert found == {
        "wallet": ("complete", "fail", "request_cancellation", "withdraw"),
        "agent": ("request_cancellation", "withdraw"),
        "supervisor": ("request_cancellation", "withdraw"),
        "merchant": ("request_cancellation",),
        "auditor": (),
        "operator": (),
    }
    assert available(every, None) == ()


def test_a_supervisor_may_what_an_agent_may() -> None:
    assert all(Role.supervisor in one.roles for one in OPERATIONS if one.roles and Role.agent in one.roles)


def test_an_auditor_changes_nothing() -> None:
    assert not [one.name for one in OPERATIONS if one.method == "POST" and one.roles and Role.auditor in one.roles]
