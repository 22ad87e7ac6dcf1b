"""The terms before a payment, over HTTP: what is in force now, for anybody, in their language."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from service.api.i18n import Language, words
from service.api.models.terms import TermsOut
from tests.database import Cluster
from tests.harness import Api, Json, assert_problem, running
from tests.integration.service.terms_calls import described, terms
from tests.rails import RailProcess
from workflows.domain.decisions.policy_context import PolicyContext
from workflows.domain.decisions.terms import CustomerTerms, PaymentStage, TermsQuestion, customer_terms
from workflows.domain.errors import TermsBusy
from workflows.domain.times import rfc3339
from workflows.flows import tell_terms
from workflows.flows.tell_terms import WAITING_MAX, TermsAnswer, TermsAnswers

TWO_HOURS = {
    "name": "two-hours",
    "when": {"state": "completed", "fulfilment": ["none", "preparing"]},
    "window": {"anchor": "completed_at", "length": "2 hours"},
    "route": "automatic",
}


@pytest.fixture(scope="module")
async def api(cluster: Cluster, rail: RailProcess, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """A service of its own: here a database loses its policies."""
    async with cluster.clone() as database, running(database, tmp_path_factory.mktemp("terms"), rail.url) as made:
        yield made


def this_minute(api: Api) -> datetime:
    return api.clock().replace(second=0, microsecond=0)


def option(told: Json, stage: str, reason: str) -> Json:
    (at,) = [one for one in told["stages"] if stage in one["applies_to"]]
    (found,) = [one for one in at["options"] if reason in one["reasons"]]
    return dict(found)


def outcomes(told: Json, stage: str, reason: str) -> list[tuple[str, str | None]]:
    periods = option(told, stage, reason)["periods"]
    return [(one["route"] or one["refusal"], one["until"] and one["until"]["length"]) for one in periods]


# The policy in force.


async def test_whoever_asks_is_told_the_default_policy(api: Api) -> None:
    told = await terms(api, "merchant_id=nobody-knows-it")

    assert (told["merchant_id"], told["merchant"], told["merchant_rules_version"]) == ("nobody-knows-it", None, None)
    assert (told["policy_version"], told["category"], told["amount"], told["currency"]) == ("2026-11-a", "general", None, None)
    assert told["as_of"] == rfc3339(this_minute(api))
    assert outcomes(told, "before_settlement", "other") == [("void", "7 days"), ("window-closed", None)]
    assert outcomes(told, "paid", "changed_mind") == [("automatic", "30 minutes"), ("merchant", "15 days"), ("window-closed", None)]
    assert outcomes(told, "shipped", "changed_mind") == [("window-not-open", None)]
    assert outcomes(told, "delivered", "changed_mind") == [("return", "7 days"), ("window-closed", None)]
    assert outcomes(told, "delivered", "damaged") == [("merchant", "60 days"), ("window-closed", None)]
    assert outcomes(told, "delivered", "unauthorised") == [("agent", "13 months"), ("window-closed", None)]
    assert [step["action"] for step in told["next_steps"]] == ["contact_merchant", "contact_support"]


async def test_a_period_names_its_rule_its_window_and_who_decides(api: Api) -> None:
    periods = option(await terms(api, "merchant_id=shop-9"), "delivered", "changed_mind")["periods"]
    today = this_minute(api).astimezone(ZoneInfo("Asia/Shanghai")).replace(hour=0, minute=0)

    assert {name: value for name, value in periods[0].items() if name != "message"} == {
        "opens_at": rfc3339(this_minute(api)),
        "closes_at": rfc3339((today + timedelta(days=8)).astimezone(UTC)),
        "until": {
            "anchor": "delivered_at",
            "length": "7 days",
            "end_of_day": None,
            "count_from": "next_day",
            "message": "7 days from the day after delivery",
        },
        "route": "return",
        "refusal": None,
        "decided_by": "merchant",
        "merchant_deadline": None,
        "return_deadline": {"length": "15 days", "then": "decline"},
        "agent_deadline": None,
        "rule": "seven-day-return",
        "policy_version": "2026-11-a",
    }


async def test_a_payment_is_decided_as_was_told_before(api: Api) -> None:
    """Registered after the terms were read, and asked about at once and half an hour later."""
    told = await terms(api, "merchant_id=shop-1&amount=10000&currency=CNY")
    seen = []
    for span in ({"minutes": 0}, {"minutes": 29, "seconds": 59}, {"minutes": 30}, {"days": 14}, {"days": 15}):
        payment = await api.register(completed_at=api.clock.ago(**span))
        asked = (await api.get(f"/v1/payments/{payment['id']}/eligibility?reason=changed_mind")).json()
        seen.append((asked["route"] or asked["refusal"], asked["rule"]))

    first, second, third = [(one["route"] or one["refusal"], one["rule"]) for one in option(told, "paid", "changed_mind")["periods"]]
    assert seen == [first, first, second, second, third]


async def test_the_category_counts(api: Api) -> None:
    told = {name: await terms(api, f"merchant_id=shop-9&category={name}") for name in ("digital", "transfer")}

    assert outcomes(told["digital"], "delivered", "changed_mind")[0] == ("category-excluded", "7 days")
    assert option(told["digital"], "delivered", "changed_mind")["message"] == (
        "This kind of product, service or transfer cannot be cancelled or returned in this way."
    )
    assert outcomes(told["transfer"], "paid", "changed_mind") == [("merchant", "365 days"), ("window-closed", None)]


# The merchant's own terms.


async def test_a_merchants_own_terms_are_told_with_its_contact(api: Api) -> None:
    await described(api, "sunny", rules=[TWO_HOURS], auto_accept_up_to={"CNY": 5_000})

    small, large = [await terms(api, f"merchant_id=sunny&amount={amount}&currency=CNY") for amount in (5_000, 5_001)]
    open_ = await terms(api, "merchant_id=sunny")

    assert (large["merchant"]["name"], large["merchant_rules_version"]) == ("Sunny Shop", "sunny@1")
    assert outcomes(large, "paid", "other") == [("automatic", "2 hours"), ("merchant", "15 days"), ("window-closed", None)]
    assert outcomes(small, "paid", "other") == [("automatic", "30 minutes"), ("automatic", "15 days"), ("window-closed", None)]
    assert option(large, "paid", "other")["periods"][0]["policy_version"] == "sunny@1"
    assert option(small, "paid", "other")["message"].startswith("For 15 days after payment, you get your money back at once")
    assert large["next_steps"][0]["contact"]["email"] == "help@sunny.example"
    assert (large["depends_on"], open_["depends_on"]) == ([], ["amount"])
    assert open_["message"].endswith("What is possible also depends on the amount.")


# Sentences.


async def test_the_sentences_of_the_default_policy(api: Api) -> None:
    english, chinese = await terms(api, "merchant_id=shop-9"), await terms(api, "merchant_id=shop-9", "zh-CN")

    assert english["message"] == (
        "For 30 minutes after payment, you get your money back at once when you ask for it. After that, up to 15 days after payment, "
        "you can ask for your money back, and the merchant decides; if it does not answer within 48 hours, our customer support decides. "
        "After that, it is too late to ask for it in the app."
    )
    assert chinese["message"] == (
        "付款后 30 分钟内，您申请后可立即获得退款。此后，付款后 15 天内，您可以申请退款，由商户处理；"
        "商户在 48 小时内未答复的，由我们的客服处理。此后不能再在应用内申请。"
    )
    assert option(english, "before_settlement", "other")["message"] == (
        "For 7 days after authorisation, you can cancel, and no money is taken. After that, it is too late to ask for it in the app."
    )
    assert option(chinese, "delivered", "other")["message"] == (
        "自签收次日起 7 天内，您可以退货；请在申请后 15 天内寄出商品，商户收到完好的商品后为您退款。此后不能再在应用内申请。"
    )
    assert option(english, "shipped", "other")["message"] == "This is possible after the goods have been delivered."


# The form of the call.


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("", "/query/merchant_id", "required"),
        ("merchant_id=", "/query/merchant_id", "too_few_characters"),
        ("merchant_id=a%20b", "/query/merchant_id", "not_visible_ascii"),
        ("merchant_id=a&category=shoes", "/query/category", "unknown_value"),
        ("merchant_id=a&amount=1", "/query/currency", "required"),
        ("merchant_id=a&currency=CNY", "/query/amount", "required"),
        ("merchant_id=a&amount=0&currency=CNY", "/query/amount", "below_minimum"),
        ("merchant_id=a&amount=1.5&currency=CNY", "/query/amount", "not_integer"),
        ("merchant_id=a&amount=1&currency=XXX", "/query/currency", "invalid_currency"),
        ("merchant_id=a&state=pending", "/query/state", "unknown_member"),
        ("merchant_id=a&merchant_id=b", "/query/merchant_id", "given_twice"),
    ],
)
async def test_a_wrong_query_is_422_and_says_where(api: Api, query: str, pointer: str, code: str) -> None:
    (error,) = assert_problem(await api.http.get(f"/v1/terms?{query}"), 422, "validation-failed")["errors"]

    assert (error["pointer"], error["code"]) == (pointer, code)


async def test_the_answer_may_be_kept_for_a_minute(api: Api) -> None:
    first = await api.http.get("/v1/terms?merchant_id=shop-9")
    tag = first.headers["etag"]
    again = await api.http.get("/v1/terms?merchant_id=shop-9", headers={"if-none-match": tag})
    chinese = await api.http.get("/v1/terms?merchant_id=shop-9", headers={"if-none-match": tag, "accept-language": "zh"})

    assert (first.headers["cache-control"], first.headers["vary"]) == ("public, max-age=60", "Accept-Language")
    assert (again.status_code, again.content, again.headers["cache-control"]) == (304, b"", "public, max-age=60")
    assert (chinese.status_code, chinese.headers["content-language"]) == (200, "zh-CN")
    TermsOut.model_validate(first.json())


async def test_the_same_is_worked_out_once_and_few_wait(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token nobody can make the service work for long: one at a time, and no more than some wait."""
    asked: list[int | None] = []
    go_on = threading.Event()

    def slow(terms: PolicyContext, question: TermsQuestion, as_of: datetime) -> CustomerTerms:
        asked.append(question.amount)
        go_on.wait(60)
        return customer_terms(terms, question, as_of)

    monkeypatch.setattr(tell_terms, "customer_terms", slow)
    monkeypatch.setattr(tell_terms, "terms_key", lambda _, question: (question.amount,))
    answers, runtime = TermsAnswers(), api.worker.runtime

    def ask(amount: int) -> asyncio.Task[TermsAnswer]:
        return asyncio.create_task(answers.answer(runtime, TermsQuestion(merchant_id="shop-9", amount=amount, currency="CNY")))

    same = [ask(1) for _ in range(10)]
    others = [ask(amount) for amount in range(2, WAITING_MAX + 1)]
    while len(answers.waiting) < WAITING_MAX:
        await asyncio.sleep(0.01)
    one_more = ask(WAITING_MAX + 1)
    await asyncio.wait({one_more}, timeout=60)  # only bounds a hang
    same[0].cancel()
    go_on.set()
    with pytest.raises(TermsBusy):
        await one_more
    told = await asyncio.gather(*same[1:], *others)

    assert sorted(filter(None, asked)) == list(range(1, WAITING_MAX + 1))
    assert {answer.question.amount for answer in told} == set(range(1, WAITING_MAX + 1))
    assert not answers.waiting


# Last, since the policies are gone afterwards.


async def test_without_a_policy_in_force_nothing_is_promised(api: Api) -> None:
    await api.owner.execute("alter table policy disable trigger all")
    await api.owner.execute("delete from policy")

    for path in ("/v1/terms?merchant_id=shop-9", "/terms/shop-9"):
        assert_problem(await api.http.get(path), 503, "unavailable")


def test_every_stage_has_its_title() -> None:
    for language in Language:
        assert set(words(language, "terms_stage")) == {*PaymentStage, "not_shipped", "settled"}
