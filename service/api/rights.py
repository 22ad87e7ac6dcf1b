"""Every operation of the interface, and who may call it: the one table behind the routes, the OpenAPI and the matrix test."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from service.auth.tokens import Principal
from workflows.domain.enums import Role

Method = Literal["GET", "POST"]
Tag = Literal["payments", "cancellations", "refunds", "records", "policies", "service"]

EVERYONE = frozenset(Role)
WALLET = frozenset({Role.wallet})
AUDITOR = frozenset({Role.auditor})
IMPORTERS = frozenset({Role.wallet, Role.operator})
READERS = frozenset({Role.wallet, Role.agent, Role.supervisor, Role.merchant, Role.auditor})  # a merchant: its own
REQUESTERS = frozenset({Role.wallet, Role.agent, Role.supervisor, Role.merchant})  # a merchant: on its own payments
SHIPPERS = frozenset({Role.wallet, Role.merchant})
TELL_OF_GOODS = SHIPPERS | {Role.agent, Role.supervisor}  # agents correct a wrong time, and nothing else
CUSTOMER_SIDE = frozenset({Role.wallet, Role.agent, Role.supervisor})
MERCHANT = frozenset({Role.merchant})  # on its own payments
REVIEWERS = frozenset({Role.agent, Role.supervisor})


@dataclass(frozen=True, slots=True)
class Operation:
    """One call. `roles` is None where no token is asked for; `problems` are those of its own, beside what `answers` adds."""

    name: str
    method: Method
    path: str
    roles: frozenset[Role] | None
    tag: Tag
    summary: str
    problems: tuple[str, ...] = ()
    idempotent: bool = False  # wants an Idempotency-Key
    if_match: bool = False  # takes an If-Match

    @property
    def answers(self) -> tuple[str, ...]:
        """The slugs of all problems that it may answer with."""
        common: list[str] = ["rate-limited", "unavailable", "validation-failed"]
        if self.roles is not None:
            common += ["unauthenticated", "forbidden"]
        if "{" in self.path:
            common += ["not-found"]
        if self.method == "POST":
            common += ["malformed-request", "body-too-large", "unsupported-media-type"]
        if self.idempotent:
            common += ["idempotency-key-missing", "idempotency-key-reused", "idempotency-in-flight"]
        if self.if_match:
            common += ["version-mismatch"]
        return (*common, *self.problems)


_REQUEST_PROBLEMS = (
    "invalid-state",
    "cancellation-open",
    "payment-disputed",
    "wallet-frozen",
    "refundable-amount-changed",
    "partial-not-supported",
    "amount-exceeds-refundable",
    "policy-refused",
    "client-reference-conflict",
)


def _action(name: str, path: str, roles: frozenset[Role], tag: Tag, summary: str, *problems: str) -> Operation:
    """A step on a payment or a cancellation: idempotent, and guarded by its version."""
    return Operation(name, "POST", path, roles, tag, summary, ("invalid-state", *problems), idempotent=True, if_match=True)


def _step(name: str, path: str, roles: frozenset[Role], summary: str, *problems: str) -> Operation:
    """A step on a cancellation."""
    return _action(name, f"/v1/cancellations/{{cancellation_id}}/{path}", roles, "cancellations", summary, *problems)


_RESERVES = ("cancellation-open", "payment-disputed", "amount-exceeds-refundable")  # what a request would have to pass too

_PAYMENTS = (
    Operation("register_payment", "POST", "/v1/payments", WALLET, "payments", "Register a payment", ("payment-reference-conflict",)),
    Operation("import_payments", "POST", "/v1/payments/import", IMPORTERS, "payments", "Import payments as NDJSON"),
    Operation("get_payment", "GET", "/v1/payments/{payment_id}", READERS, "payments", "Read a payment"),
    Operation("list_payments", "GET", "/v1/payments", READERS, "payments", "List payments"),
    _action("complete_payment", "/v1/payments/{payment_id}/complete", WALLET, "payments", "Tell that a payment has settled"),
    _action("fail_payment", "/v1/payments/{payment_id}/fail", WALLET, "payments", "Tell that a payment has failed"),
    _action(
        "modify_payment",
        "/v1/payments/{payment_id}/modifications",
        WALLET,
        "payments",
        "Tell that a pending payment was lowered",
        "cancellation-open",
    ),
    _action("change_fulfilment", "/v1/payments/{payment_id}/fulfilment", TELL_OF_GOODS, "payments", "Tell how far the delivery is"),
    Operation("get_eligibility", "GET", "/v1/payments/{payment_id}/eligibility", READERS, "payments", "See what a request would lead to"),
    Operation("list_payment_records", "GET", "/v1/payments/{payment_id}/records", READERS, "payments", "Read a payment's audit trail"),
)
_CANCELLATIONS = (
    Operation(
        "request_cancellation",
        "POST",
        "/v1/payments/{payment_id}/cancellations",
        REQUESTERS,
        "cancellations",
        "Ask to cancel or refund a payment",
        _REQUEST_PROBLEMS,
        idempotent=True,
        if_match=True,
    ),
    Operation("get_cancellation", "GET", "/v1/cancellations/{cancellation_id}", READERS, "cancellations", "Read a cancellation"),
    Operation("list_cancellations", "GET", "/v1/cancellations", READERS, "cancellations", "List cancellations"),
    _action(
        "withdraw_cancellation",
        "/v1/cancellations/{cancellation_id}/withdraw",
        CUSTOMER_SIDE,
        "cancellations",
        "Take a cancellation back",
    ),
    _step("escalate_cancellation", "escalate", CUSTOMER_SIDE, "Ask for an agent", *_RESERVES),
    _step("decide_hand_off", "merchant-decision", MERCHANT, "Answer a hand-off as the merchant", "partial-not-supported"),
    _step("respond_to_offer", "offer-response", CUSTOMER_SIDE, "Take the merchant's offer, or not"),
    _step("ship_return", "return", CUSTOMER_SIDE, "Tell that the goods are on their way back"),
    _step("receive_return", "return-received", MERCHANT, "Tell what came back"),
    _step("assign_cancellation", "assign", REVIEWERS, "Take a case, or hand it on"),
    _step("approve_cancellation", "approve", REVIEWERS, "Say yes, as the first or the second person", "second-approver-required"),
    _step("deny_cancellation", "deny", REVIEWERS, "Say no, with a reason"),
)
_REFUNDS = (
    Operation("get_refund", "GET", "/v1/refunds/{refund_id}", READERS, "refunds", "Read a refund"),
    Operation("list_refunds", "GET", "/v1/refunds", READERS, "refunds", "List refunds"),
)
_RECORDS = (
    Operation("search_records", "GET", "/v1/records", AUDITOR, "records", "Search the records"),
    Operation("export_records", "GET", "/v1/records/export", AUDITOR, "records", "Export the records, signed"),
)
_POLICIES = (
    Operation("list_policies", "GET", "/v1/policies", EVERYONE, "policies", "List the published policies"),
    Operation("get_policy", "GET", "/v1/policies/{version}", EVERYONE, "policies", "Read a policy"),
)
_SERVICE = (
    Operation("meta", "GET", "/v1/meta", EVERYONE, "service", "What this service is, and how it is set up"),
    Operation("log_key", "GET", "/v1/log/key", None, "service", "The public key that checks evidence"),
    Operation(
        "provider_notifications",
        "POST",
        "/v1/providers/{provider}/notifications",
        None,
        "service",
        "Take a rail's word, by the rail's own signature",
        ("unauthenticated",),
    ),
    Operation("healthz", "GET", "/healthz", None, "service", "Whether the process is alive"),
    Operation("readyz", "GET", "/readyz", None, "service", "Whether it can serve"),
    Operation("metrics", "GET", "/metrics", None, "service", "Measurements for Prometheus"),
    Operation("list_problems", "GET", "/problems", None, "service", "All problems, explained"),
    Operation("get_problem", "GET", "/problems/{slug}", None, "service", "One problem, explained"),
    Operation("openapi", "GET", "/openapi.json", None, "service", "This interface as OpenAPI"),
    Operation("docs", "GET", "/docs", None, "service", "This interface, to be read"),
)

OPERATIONS: tuple[Operation, ...] = (*_PAYMENTS, *_CANCELLATIONS, *_REFUNDS, *_RECORDS, *_POLICIES, *_SERVICE)
_BY_NAME = {operation.name: operation for operation in OPERATIONS}

# What `available_actions` calls a step, and the operation that does it.
ACTION_OPERATIONS: dict[str, str] = {
    "complete": "complete_payment",
    "fail": "fail_payment",
    "modify": "modify_payment",
    "fulfilment": "change_fulfilment",
    "correct_fulfilment": "change_fulfilment",
    "request_cancellation": "request_cancellation",
    "withdraw": "withdraw_cancellation",
    "escalate": "escalate_cancellation",
    "accept": "decide_hand_off",
    "accept_with_return": "decide_hand_off",
    "offer": "decide_hand_off",
    "decline": "decide_hand_off",
    "accept_offer": "respond_to_offer",
    "decline_offer": "respond_to_offer",
    "return_shipped": "ship_return",
    "return_received": "receive_return",
    "assign": "assign_cancellation",
    "approve": "approve_cancellation",
    "deny": "deny_cancellation",
}


# Two actions of one operation, for different callers.
_ACTION_ROLES: dict[str, frozenset[Role]] = {"fulfilment": SHIPPERS, "correct_fulfilment": REVIEWERS}


def operation(name: str) -> Operation:
    """The operation of that name; KeyError where there is none."""
    return _BY_NAME[name]


def allowed(operation: Operation, principal: Principal | None) -> bool:
    """Whether that caller may make the call at all. Whose payment it is, is another question."""
    if operation.roles is None:
        return True
    return principal is not None and principal.role in operation.roles


def available(actions: Iterable[str], principal: Principal | None) -> tuple[str, ...]:
    """Of the steps that the state allows, those that this caller may take. Steps without an operation are not the callers' to take."""
    return tuple(action for action in actions if action in ACTION_OPERATIONS and _may_take(action, principal))


def _may_take(action: str, principal: Principal | None) -> bool:
    roles = _ACTION_ROLES.get(action)
    if roles is not None and (principal is None or principal.role not in roles):
        return False
    return allowed(operation(ACTION_OPERATIONS[action]), principal)
