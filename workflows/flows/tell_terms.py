"""The terms in force, told before a payment is made; each answer is worked out once a minute."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from workflows.commands import Runtime, given
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.terms import CustomerTerms, TermsQuestion, customer_terms, terms_key
from workflows.domain.errors import TermsBusy

_ANSWERS_KEPT_MAX = 1_000
WAITING_MAX = 20  # with many rules an answer takes some tenths of a second

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsAnswer:
    """What holds for the payment that was asked about, and by which policy and merchant's terms."""

    question: TermsQuestion
    terms: PolicyContext
    told: CustomerTerms


class TermsAnswers:
    """The answers of the current minute. Where rules tell two questions apart in nothing, they share one.

    Anybody may ask. So one answer is worked out at a time, in a thread of its own, and few wait for it.
    """

    def __init__(self) -> None:
        self._minute: datetime | None = None
        self._known: dict[Key, CustomerTerms] = {}
        self.waiting: dict[Key, asyncio.Task[CustomerTerms]] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="terms")

    async def answer(self, runtime: Runtime, question: TermsQuestion) -> TermsAnswer:
        """By the policy and the merchant's terms in force, as of the beginning of this minute.

        Raises Unavailable without a policy, TermsBusy.
        """
        now = runtime.clock()
        in_force = given(await runtime.store.policies.in_force(now))
        merchant = await runtime.store.merchants.in_force(question.merchant_id, now)
        terms = given(await runtime.pinned_terms(in_force.policy.version, None if merchant is None else merchant.rules_version))
        told = await self._told(terms, question, now.replace(second=0, microsecond=0))
        return TermsAnswer(question=question, terms=terms, told=told)

    async def _told(self, terms: PolicyContext, question: TermsQuestion, minute: datetime) -> CustomerTerms:
        if minute != self._minute or len(self._known) >= _ANSWERS_KEPT_MAX:
            self._minute, self._known = minute, {}
        merchant = terms.merchant and terms.merchant.rules_version
        key = (minute, terms.policy.version, merchant, *terms_key(terms, question))
        if key in self._known:
            return self._known[key]
        running = self.waiting.get(key)
        if running is None:
            if len(self.waiting) >= WAITING_MAX:
                raise TermsBusy
            running = self.waiting[key] = asyncio.create_task(self._work_out(key, terms, question, minute))
        return await asyncio.shield(running)  # others may wait for the same

    async def _work_out(self, key: Key, terms: PolicyContext, question: TermsQuestion, minute: datetime) -> CustomerTerms:
        kept = self._known
        try:
            kept[key] = await asyncio.get_running_loop().run_in_executor(self._thread, customer_terms, terms, question, minute)
        finally:
            del self.waiting[key]
        return kept[key]
