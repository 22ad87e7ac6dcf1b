"""Calls about terms, for tests: the answer, and a merchant that is described."""

from typing import Any

from tests.harness import Api, Json
from workflows.domain.times import parse_rfc3339


async def terms(api: Api, query: str, language: str = "en") -> Json:
    response = await api.http.get(f"/v1/terms?{query}", headers={"accept-language": language})
    assert response.status_code == 200, response.text
    return dict(response.json())


async def described(api: Api, merchant_id: str, **members: Any) -> None:
    body = {"name": "Sunny Shop", "contact": {"email": "help@sunny.example", "phone": "+86 21 5555 0100"}, **members}
    headers = {"authorization": f"Bearer {api.token('operator')}"}
    response = await api.http.put(f"/v1/merchants/{merchant_id}", json=body, headers=headers)
    assert response.status_code == 201, response.text
    api.clock.now = max(api.clock.now, parse_rfc3339(response.json()["updated_at"]))  # from then on its terms are in force
