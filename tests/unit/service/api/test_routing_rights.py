"""Who may do what, written down a second time by hand, call by call, and compared with the table."""

from service.api.problems import PROBLEMS
from service.app import declared_operations
from workflows.domain.enums import AnomalyAction, CancellationTrigger, PaymentTrigger, Role

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
POST /v1/cancellations/next                         - a s - - - *
POST /v1/cancellations/{cancellation_id}/assign     - a s - - - *
POST /v1/cancellations/{cancellation_id}/approve    - a s - - - *
POST /v1/cancellations/{cancellation_id}/retry      - a s - - - *
POST /v1/cancellations/{cancellation_id}/redirect   - a s - - - *
POST /v1/cancellations/{cancellation_id}/close      - a s - - - *
POST /v1/cancellations/{cancellation_id}/outcome    - - s - - - *
POST /v1/cancellations/{cancellation_id}/deny       - a s - - - *
GET  /v1/refunds/{refund_id}                        w a s m u -
GET  /v1/refunds                                    w a s m u -
GET  /v1/anomalies                                  - a s - u -
GET  /v1/anomalies/{anomaly_id}                     - a s - u -
POST /v1/anomalies/{anomaly_id}/resolve             - a s - - - *
GET  /v1/records                                    - - - - u -
GET  /v1/records/export                             - - - - u -
GET  /v1/policies                                   w a s m u o
POST /v1/policies                                   - - - - - o *
POST /v1/policies/simulate                          - - - - - o
GET  /v1/policies/{version}                         w a s m u o
GET  /v1/merchants                                  w a s m u o
GET  /v1/merchants/{merchant_id}                    w a s m u o
PUT  /v1/merchants/{merchant_id}                    - - - - - o
GET  /v1/terms                                       open
GET  /terms/{merchant_id}                            open
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
GET  /redoc                                         open
GET  /                                              open
"""
LETTERS = {"w": "wallet", "a": "agent", "s": "supervisor", "m": "merchant", "u": "auditor", "o": "operator"}
EXPECTED = {(line.split()[0], line.split()[1]): line.split()[2:] for line in MATRIX.strip().splitlines()}


OPERATIONS = declared_operations()


def test_the_table_names_the_expected_calls_and_no_other() -> None:
    assert {(one.method, one.path) for one in OPERATIONS} == set(EXPECTED)


def test_names_and_addresses_are_unique() -> None:
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS) == len({(one.method, one.path) for one in OPERATIONS})


def test_each_role_may_what_it_should() -> None:
    may = {(one.name, role.value) for one in OPERATIONS for role in Role if one.roles is None or role in one.roles}
    should = {(one.name, role.value) for one in OPERATIONS for role in Role if _should(EXPECTED[one.method, one.path], role)}

    assert len(OPERATIONS) * len(Role) > len(should) > len(OPERATIONS)
    assert may - should == set(), "these may, and should not"
    assert should - may == set(), "these should, and may not"


def _should(marks: list[str], role: Role) -> bool:
    return marks == ["open"] or role.value in {LETTERS[mark] for mark in marks if mark in LETTERS}


def test_who_has_no_token_may_the_open_calls_only() -> None:
    assert [one.name for one in OPERATIONS if (one.roles is None) is not (EXPECTED[one.method, one.path] == ["open"])] == []


def test_idempotency_keys_are_asked_for_where_they_should_be() -> None:
    assert {(one.method, one.path) for one in OPERATIONS if one.is_command} == {key for key, marks in EXPECTED.items() if "*" in marks}


def test_all_problems_named_are_problems() -> None:
    assert {slug for one in OPERATIONS for slug in one.problems} <= set(PROBLEMS)
    assert all(len(set(one.problems)) == len(one.problems) for one in OPERATIONS)


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
    } <= set(next(one.problems for one in OPERATIONS if one.name == "request_cancellation"))


# Who may take each step that `available_actions` can name; the letters are the matrix's.
ACTIONS = {
    "complete": "w",
    "fail": "w",
    "modify": "w",
    "fulfilment": "wm",
    "correct_fulfilment": "as",
    "request_cancellation": "wasm",
    "withdraw": "was",
    "escalate": "was",
    "accept": "m",
    "accept_with_return": "m",
    "offer": "m",
    "decline": "m",
    "accept_offer": "was",
    "decline_offer": "was",
    "return_shipped": "was",
    "return_received": "m",
    "assign": "as",
    "approve": "as",
    "retry": "as",
    "redirect": "as",
    "close": "as",
    "record_outcome": "s",
    "deny": "as",
    "note": "as",
    "adopt": "as",
    "refund": "as",
}


def test_each_step_is_taken_by_one_operation_and_by_those_who_should() -> None:
    taken = [(word, one.method, roles) for one in OPERATIONS for word, roles in one.actions.items()]

    assert {word: {role.value for role in roles} for word, _, roles in taken} == {
        word: {LETTERS[letter] for letter in letters} for word, letters in ACTIONS.items()
    }
    assert len(taken) == len(ACTIONS)
    assert {method for _, method, _ in taken} == {"POST"}
    assert set(ACTIONS) - {"modify", "fulfilment", "correct_fulfilment", "assign", "record_outcome"} <= {
        *PaymentTrigger,
        *CancellationTrigger,
        *AnomalyAction,
    }


def test_a_supervisor_may_what_an_agent_may() -> None:
    assert all(Role.supervisor in one.roles for one in OPERATIONS if one.roles and Role.agent in one.roles)


def test_an_auditor_changes_nothing() -> None:
    assert not [one.name for one in OPERATIONS if one.method == "POST" and one.roles and Role.auditor in one.roles]
