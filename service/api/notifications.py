"""A rail's notification: its signature checked, stored as it came, answered at once; a worker acts on it."""

from typing import Any, Final

from service.api.context import RequestContext
from service.api.reading import read_body
from service.auth.tokens import TokenFault, Unauthenticated
from service.providers.sandbox import SandboxProvider, verify_notification
from workflows.clock_and_ids import new_id
from workflows.domain.errors import NotFound
from workflows.domain.ids import from_rail_key, scope_id
from workflows.storage.notifications import ReceivedNotification

NOTIFICATION_BODY: Final[dict[str, Any]] = {
    "parameters": [
        {
            "name": "Refundry-Sandbox-Signature",
            "in": "header",
            "required": False,
            "description": "The sandbox rail's signature over the body; without a good one: 401.",
            "schema": {"type": "string"},
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"type": "object", "additionalProperties": True, "description": "Whatever the rail sends."},
                "example": {
                    "id": "ntf_7d0c1f52a9be4b63a1f0d2c4e6b88a10",
                    "rail_key": "019ab2f0c4d17e2f8a6b1c2d3e4f50620198f2a7c1d27a3b8c4d5e6f708192a3",
                    "kind": "refund",
                    "status": "succeeded",
                    "amount": 12912,
                    "currency": "CNY",
                    "at": "2026-11-22T08:26:00.000Z",
                    "provider_refund_id": "sbx_3f0c9a7be2d14c5f8a6b7c11",
                    "rail_reference": "74512890376451289037645",
                },
            }
        },
    },
}


async def store_notification(context: RequestContext, provider: str) -> None:
    """Duplicates and disorder are harmless: a notification is stored once, and the worker knows what it changes."""
    if provider != SandboxProvider.name or provider not in context.services.rails.providers:
        raise NotFound
    body = await read_body(context)
    now = context.now()
    secret = context.services.settings.sandbox_secret.get_secret_value()
    notification = verify_notification(context.headers, body, secret, now)
    if notification is None:
        raise Unauthenticated(TokenFault.notification)
    key = from_rail_key(notification.rail_key)
    # A notification about a key that is none of ours is kept too, under a name of its own.
    payment_id = key[0] if key is not None else scope_id(f"notifications:{provider}")
    received = ReceivedNotification(payment_id=payment_id, provider=provider, rail_id=notification.id, body=body, received_at=now)
    await context.store.store_notification(received, id=new_id(), job_id=new_id())
