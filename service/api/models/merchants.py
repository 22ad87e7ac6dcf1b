"""Merchants: who they are, how customers reach them, and their own terms."""

from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field, PlainValidator, StringConstraints, WithJsonSchema, model_validator

from service.api.models.base import Out, PseudonymText, Time, Version
from service.api.models.policies import RuleOut
from service.api.models.policy_schema import own_rules_schema
from service.api.queries import CURSOR_TEXT, MerchantsCursor, PageQuery, Query, Whole
from service.api.types import EMAIL, HTTPS_URL, PHONE, Body, Currency, Label, LineAmount, Optionally, not_blank, problem
from workflows.domain.faults import FaultCode
from workflows.domain.model import MerchantContact
from workflows.domain.policies.document import rules_data
from workflows.domain.policies.form import parse_own_rules
from workflows.domain.policies.merchants import Merchant, MerchantDetails
from workflows.domain.policies.policy import Rule

Email = Annotated[str, StringConstraints(max_length=254, pattern=EMAIL)]
Phone = Annotated[str, StringConstraints(max_length=32, pattern=PHONE)]
HttpsUrl = Annotated[str, StringConstraints(max_length=2000, pattern=HTTPS_URL)]

_RULES_EXAMPLE: Final[list[Any]] = [
    {
        "name": "two-hours",
        "when": {"state": "completed", "fulfilment": ["none", "preparing"]},
        "window": {"anchor": "completed_at", "length": "2 hours"},
        "route": "automatic",
    }
]


class ContactBody(Body):
    """How customers reach the merchant: a business's address, not a person's. At least one."""

    email: Optionally[Email] = Field(None, description="For customers.")
    phone: Optionally[Phone] = Field(None, description="With the country's code.")
    url: Optionally[HttpsUrl] = Field(None, description="A page for customers.")

    @model_validator(mode="after")
    def _reachable(self) -> "ContactBody":
        if self.email is None and self.phone is None and self.url is None:
            raise problem(FaultCode.no_contact)
        return self


def _own_rules(sent: object) -> tuple[Rule, ...]:
    """Raises PolicyInvalid with every fault of the rules."""
    if not isinstance(sent, list):
        raise problem(FaultCode.not_array)
    return parse_own_rules(sent)


Rules = Annotated[
    tuple[Rule, ...],
    PlainValidator(_own_rules),
    WithJsonSchema(own_rules_schema()),
]


class PutMerchant(Body):
    """All that is told of a merchant; what is left out, it has none of."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "name": "Sunny Shop",
                "contact": {"email": "help@sunny.example", "phone": "+86 21 5555 0100"},
                "auto_accept_up_to": {"CNY": 5000},
                "rules": _RULES_EXAMPLE,
            }
        }
    )

    name: Annotated[Label, AfterValidator(not_blank)] = Field(description="As customers know it.")
    contact: ContactBody = Field(description="Where policy tells a customer to contact the merchant, this is where.")
    webhook: Optionally[HttpsUrl] = Field(None, description="Where its events are to go. It is kept; this version delivers none.")
    rules: Rules = Field(
        default_factory=tuple,
        description="Its own rules, as under a policy's `rules`: `name when window route` and the three deadlines. Of both verdicts, the "
        "policy's and that of these rules, the kinder one decides.",
    )
    auto_accept_up_to: dict[Currency, LineAmount] = Field(
        default_factory=dict,
        description="By currency, in minor units: what would be handed off to it is accepted at once, as long as no more than that "
        "goes back of the payment in all.",
    )

    def details(self) -> MerchantDetails:
        contact = MerchantContact(email=self.contact.email, phone=self.contact.phone, url=self.contact.url)
        return MerchantDetails(
            name=self.name, contact=contact, webhook=self.webhook, rules=self.rules, auto_accept_up_to=dict(self.auto_accept_up_to)
        )


class MerchantContactOut(Out):
    """How customers reach the merchant."""

    email: str | None = Field(description="Null: not told.", examples=["help@sunny.example"])
    phone: str | None = Field(description="Null: not told.", examples=["+86 21 5555 0100"])
    url: str | None = Field(description="Null: not told.", examples=["https://sunny.example/help"])


class MerchantProfileOut(Out):
    """A version of what is told of a merchant. Payments are pinned to the version that was in force when they were authorised."""

    id: PseudonymText
    version: Version
    merchant_rules_version: str = Field(description="What payments of this version are pinned to.", examples=["shop-1@3"])
    name: str = Field(description="As customers know it.", examples=["Sunny Shop"])
    contact: MerchantContactOut = Field(description="How customers reach it.")
    webhook: str | None = Field(description="Where its events are to go; null: nowhere.", examples=[None])
    rules: list[RuleOut] = Field(description="Its own rules.")
    auto_accept_up_to: dict[str, int] = Field(
        description="By currency, in minor units: accepted without asking it.", examples=[{"CNY": 5000}]
    )
    created_at: Time = Field(description="When it was told first.")
    updated_at: Time = Field(
        description="When this version was told; it holds for payments registered afterwards that were authorised from then on."
    )
    updated_by: PseudonymText


def merchant_out(merchant: Merchant) -> MerchantProfileOut:
    details = merchant.details
    return MerchantProfileOut.of(
        merchant,
        merchant_rules_version=merchant.rules_version,
        name=details.name,
        contact=details.contact,
        webhook=details.webhook,
        rules=rules_data(details.rules),
        auto_accept_up_to=details.auto_accept_up_to,
        updated_at=merchant.changed_at,
        updated_by=merchant.changed_by,
    )


class GetMerchant(Query):
    """Which version."""

    version: Whole | None = Field(None, ge=1, le=2**31 - 1, description="That version; else the newest.")


class ListMerchants(PageQuery):
    """Merchants, by their id."""

    cursor: MerchantsCursor | None = Field(None, description=CURSOR_TEXT)
