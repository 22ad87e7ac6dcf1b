"""The answers: read off the rows of the domain, and silent about what a person wrote."""

import pytest
from pydantic import ValidationError

from service.api.models import base, cancellations, operations, payments, policies, records, refunds
from service.api.models.cancellations import DenialOut, ShareOut
from workflows.domain.enums import Source

ANSWERS = [
    model
    for module in (base, cancellations, operations, payments, policies, records, refunds)
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, base.Out)
]


def test_an_answer_that_does_not_fit_quotes_nothing_that_a_person_wrote() -> None:
    with pytest.raises(ValidationError) as raised:
        DenialOut.model_validate({"note": "Mrs Li, 138-0000, is ill"})

    assert "Li" not in str(raised.value)
    assert all(model.model_config.get("hide_input_in_errors") for model in ANSWERS)
    assert len(ANSWERS) > 40


def test_an_answer_is_read_off_a_row_and_what_is_said_beside_it_counts() -> None:
    class Row:
        source = Source.card
        amount = 5

    assert ShareOut.of(Row()) == ShareOut(source=Source.card, amount=5)
    assert ShareOut.of(Row(), amount=7).amount == 7
    assert ShareOut.of(None, source=Source.card, amount=1).amount == 1
    with pytest.raises(AttributeError):
        ShareOut.of(None, amount=1)
