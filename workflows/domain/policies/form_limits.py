"""The part of a policy's written form that limits how much agents ask for."""

from workflows.domain.agent_limits import AgentLimits
from workflows.domain.faults import FaultCode
from workflows.domain.forms import CURRENCY, FormReader
from workflows.domain.model import DataValue
from workflows.domain.money import AMOUNT_MAX

_COUNT_MAX = 1_000_000
_MEMBERS = frozenset({"requests_per_day", "amount_per_day", "refunds_to_wallet_per_day"})


def read_agent_limits(form: FormReader) -> AgentLimits:
    has = form.members(_MEMBERS)
    requests, to_wallet = has.get("requests_per_day"), has.get("refunds_to_wallet_per_day")
    return AgentLimits(
        requests_per_day=None if requests is None else requests.integer(1, _COUNT_MAX),
        amount_per_day=_amounts(has["amount_per_day"]) if "amount_per_day" in has else {},
        refunds_to_wallet_per_day=None if to_wallet is None else to_wallet.integer(1, _COUNT_MAX),
    )


def agent_limits_data(limits: AgentLimits) -> dict[str, DataValue]:
    data: dict[str, DataValue] = {
        "requests_per_day": limits.requests_per_day,
        "amount_per_day": dict(limits.amount_per_day) or None,
        "refunds_to_wallet_per_day": limits.refunds_to_wallet_per_day,
    }
    return {name: value for name, value in data.items() if value is not None}


def _amounts(form: FormReader) -> dict[str, int]:
    return {
        FormReader(name, entry.pointer, form.faults).text(CURRENCY, FaultCode.invalid_currency_code): entry.integer(1, AMOUNT_MAX)
        for name, entry in form.any_members().items()
    }
