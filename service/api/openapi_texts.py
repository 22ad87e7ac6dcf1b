"""What the OpenAPI document tells a person about each call: what happens, what comes next, and what no schema can say."""

from typing import Final

TITLE: Final = "Refundry"

INTRODUCTION: Final = """\
What may still be cancelled, who decides, and where the money is.

**Money** is an integer in the currency's minor unit (ISO 4217: JPY 0 digits, CNY 2, KWD 3) beside `currency`. Integers are written without
point or exponent: `100`, never `100.0` or `1e2`.
**Times** are RFC 3339 in UTC with `Z`. **Ids** are a prefix and 32 lowercase hex digits: `pay_ can_ rfd_ leg_ rec_`.

**Pseudonyms.** `wallet_id`, `merchant_id`, `funder`, `client_reference`, `ticket` and the token's `sub` stand in records that can never
be erased: send pseudonyms, never names, telephone numbers or e-mail addresses.

**Once only.** A call that asks for an `Idempotency-Key` may be sent again with the same key after any lost answer: the first answer comes
back byte for byte, with `Idempotent-Replayed: true`. A key belongs to the caller and the payment, and is kept for 30 days. Answers of
success and the refusals 409 and 422 of the domain are kept; authentication, validation, 412, 429 and 503 are not. The same key
with another request is 422 `idempotency-key-reused`; while the first is still running, the second waits up to 5 seconds and is then
answered 409 `idempotency-in-flight`.

**Versions.** Payments and cancellations carry an `ETag`; with `If-Match` an action is done to that version only, else 412.

**Errors** are RFC 9457 problems. `type` leads to a page that explains it; `Accept-Language: zh-CN` or `en` chooses the language of
`title`, `detail` and `message`. Checks come in this order: 401; 403 by role; 404; 413, 415, 400; the idempotency key; 422 of the body;
the kept answer; the same `client_reference`; 412; 409; what the amounts and the policy say.

**Limits.** A body has at most 256 KiB (the import: any length, each line at most that), an array whatever that holds, a page at most
200. Members and query parameters that are not known here are refused. A moment may lie at most 5 minutes in the future.
"""

TAGS: Final = {
    "payments": "Money that went from a wallet to a merchant: registered here, so that it can be undone.",
    "cancellations": "The wish to undo all or part of a payment, and everything that becomes of it.",
    "refunds": "Money on its way back, in one leg per funding source.",
    "records": "The audit trail: one chain of hashes per payment, never changed, never removed.",
    "policies": "The rules that decide, as data: versioned, never changed once published.",
    "service": "The service itself.",
}

DESCRIPTIONS: Final[dict[str, str]] = {
    "register_payment": """\
Registers a payment that the wallet has authorised, or that has settled already (`completed_at` given). `reference` is the natural key, so
that no `Idempotency-Key` is needed: the same content again answers 200 with what exists, other content 409
`payment-reference-conflict`. Same content means that every member given equals what was registered, times as instants; members left out are
not compared.

Beyond the schema: `funding` and `items` each sum to `amount`; the references of `items` are unique; `provider` is one that is set up
here (`GET /v1/meta`); `authorised_at` ≤ `completed_at` ≤ now + 5 minutes; texts are not blank. `wallet_id` and `merchant_id` must be
pseudonyms. Next: ask `eligibility`, or for a cancellation.""",
    "import_payments": """\
A stream of payments, one JSON object a line, each as for `POST /v1/payments`; any length, in constant memory. A bad line never costs a
good one: it is counted in `rejected` and told in `errors` (the first 1,000). Sent again, what is there already counts as
`duplicates`; so a broken stream is simply sent again.""",
    "get_payment": "The payment as it now is; `available_actions` is what this caller may do with it. Somebody else's payment is 404.",
    "list_payments": "Newest first. A merchant finds its own payments only.",
    "complete_payment": """\
The rail settled the payment: `pending` becomes `completed`. While a cancellation is open the payment stays `cancel_requested`, and a void
that was on its way becomes a refund. Anything else is 409 `invalid-state`.""",
    "fail_payment": "The rail gave the payment up. Final; an open cancellation is then `completed`, since nothing had moved.",
    "modify_payment": """\
The wallet lowered (never raised) a `pending` payment at its rail. `funding` must be given anew where there is more than one source, and
`items` where there are any; each sums to the new `amount`. 409 `cancellation-open` while a cancellation is open.""",
    "change_fulfilment": """\
`none → preparing → shipped → delivered`, and `returned`; never backwards. The same status again is accepted, only fills what was missing,
and changes nothing where nothing was. Times lie between the `authorised_at` that was told and now, and keep that order. What a merchant
tells late is kept as told, and windows count it from when it was told. A wrong time is corrected, or a merchant's confirmed, by an agent
or a supervisor, with `correction: true`, the right time as `at` and a `note`; both values stand on record.""",
    "get_eligibility": """\
What a request would lead to now, by the very code path of the request and on the same facts, limits too, without any effect: whether
it is allowed, which rule and window decide, who would have to agree, where the money would go and when, and what of promotions would
not go back. `refusal` says why not. Policy may look at the `reason`: without one the answer is the best that any reason would bring,
and `by_reason` tells them apart.""",
    "list_payment_records": "The audit trail, oldest first; `sequence` has no gap, and each record names the hash of the one before.",
    "request_cancellation": """\
The wish to undo all (neither `amount` nor `items`) or part of a payment. The amount is reserved from now on. What becomes of it stands
in `state`: `executing` (a void or refund is under way: read it until it is `completed`), `awaiting_merchant`, `awaiting_return`,
`awaiting_agent` or `awaiting_second_approval` (somebody must decide first; see `deadline_at` and `on_deadline`).

One open cancellation a payment: another request is 409 `cancellation-open`; of N at the same moment exactly one is 201. A refusal by
policy is 422 `policy-refused`, and is on record itself, under `cancellation_id`. `client_reference` is a second key that never
expires: the same wish under it again answers 200 with the existing cancellation (after a refusal: the same 422), another wish 409
`client-reference-conflict`.

Not `amount` and `items` together; reason `other` needs a `note`. Beyond the schema: the references of `items` are unique and the
payment's own, and come to at least one minor unit; an agent or supervisor names a `channel` other than `app`; a merchant's is `merchant`;
`system` is nobody's; `override` is for supervisors and always needs a second person. `ticket`, `client_reference` and
`verification.reference` must be pseudonyms. A `pending` payment can only be cancelled whole.""",
    "get_cancellation": "The cancellation as it now is; `message` is what to tell the customer, in the language asked for.",
    "list_cancellations": "Newest first. A merchant finds its own payments' only.",
    "withdraw_cancellation": """\
The customer takes the wish back, as long as nobody has approved it: the payment is where it was, and what was reserved is refundable
again. 409 `invalid-state` once money moves or the cancellation is over.""",
    "escalate_cancellation": """\
The customer turns to an agent: while the merchant is silent, or within seven days of the merchant's no, if nothing else of the payment is
open. After the no the amount is reserved anew. `awaiting_agent` comes next.""",
    "decide_hand_off": """\
The merchant answers: `accept` (`executing`, or `awaiting_second_approval` where two persons are needed), `accept_with_return`
(`awaiting_return`: once the goods are back), `offer` (`offered`: less than what was asked for, put to the customer, at most three times) or
`decline` (`declined`). An answer that comes after the customer's withdrawal, or after the deadline, is 409 `invalid-state` with the `state`
that it lost to.""",
    "respond_to_offer": """\
Taken, the offered amount is what is cancelled, and the difference is refundable again. Not taken, the cancellation is the merchant's again,
with the time that was left.""",
    "ship_return": """\
The customer has sent the goods: from now on the merchant's time to look at them runs. Said again, it corrects the carrier or the
number, and the clock goes on.""",
    "receive_return": "`intact` is paid (or awaits a second person, where one is needed); `damaged` or `missing` is an agent's to judge.",
    "assign_cancellation": "Whose case it is. It says nothing about who may act.",
    "approve_cancellation": """\
Four eyes: whoever asked never approves, at any amount; the second person is another one, and a supervisor. Else 403
`second-approver-required`. Above the rule's amount `awaiting_second_approval` comes first, then `executing`. A case whose deadline the
agents let pass is a supervisor's: for agents 403 `forbidden`.""",
    "deny_cancellation": "The answer is no: `declined`, what was reserved is refundable again, and the reason is on record.",
    "get_refund": "The refund and its legs, one per funding source. Its state is its legs' worst; `eta` says when the money will be there.",
    "list_refunds": "Newest first. A merchant finds its own payments' only.",
    "search_records": "Newest first, over all payments.",
    "export_records": """\
All records of a span, streamed in constant memory, ordered by UTC day, chain and sequence. NDJSON ends with a trailer line that names the
totals and digests and is signed with the key of `GET /v1/log/key`, so that a cut or changed stream is seen: `refundry verify`.""",
    "list_policies": "All published versions, newest first.",
    "get_policy": "A published version never changes. Every payment is decided by the one that was in force when it was authorised.",
    "meta": "The version, the rails that it can reach, and the sandbox rail's own address where there is one.",
    "log_key": "In the form `name+hex(key id)+base64(0x01 || Ed25519 public key)`, as `refundry verify --key` takes it.",
    "provider_notifications": """\
For rails, not for callers. The body is whatever the rail sends, and its signature is checked over those very bytes; it is stored first and
acted on afterwards, and duplicates and reordering are harmless. The sandbox signs in `Refundry-Sandbox-Signature`.""",
    "healthz": "Answers as long as the process lives. Asks nothing of the database.",
    "readyz": "200 when the database answers, its schema is this program's and a worker is alive; else 503, with what failed.",
    "metrics": "Prometheus text format.",
    "list_problems": "A page for people, in their language.",
    "get_problem": "A page for people: what happened, why, and what to do. It is where a problem's `type` leads.",
    "openapi": "OpenAPI 3.1.",
    "docs": "A page for people.",
}

STATUS_TEXTS: Final = {
    400: "The request cannot be read, or lacks its idempotency key.",
    401: "Nobody, or nobody whom we know, is calling.",
    403: "This role, or this person, may not do that.",
    404: "There is nothing here that this caller may see.",
    409: "It cannot be done as things stand.",
    412: "Things have changed since the caller looked.",
    413: "The body is too large.",
    415: "Not a media type that this call reads.",
    422: "Understood, and it cannot be so.",
    429: "Too many requests.",
    503: "Not available right now; the same request again under the same key is safe, and tells whether it was done.",
}
