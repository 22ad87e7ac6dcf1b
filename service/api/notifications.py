"""A rail's word: its signature checked, stored as it came, answered at once; a worker acts on it."""

from starlette.responses import Response

from service.api.calls import Call
from service.api.reading import JSON_TYPE, read_body
from service.auth.tokens import TokenFault, Unauthenticated
from service.providers.sandbox import SandboxProvider, verify_notification
from workflows.clock_and_ids import new_id
from workflows.domain.errors import NotFound
from workflows.domain.ids import from_rail_key, scope_id
from workflows.storage.notifications import ReceivedNotification


async def receive(call: Call) -> Response:
    """Duplicates and disorder are harmless: a word is stored once, and the worker knows what it changes."""
    provider = call.request.path_params["provider"]
    if provider != SandboxProvider.name or provider not in call.services.rails.providers:
        raise NotFound
    body = await read_body(call.request)
    runtime = call.services.runner.runtime
    secret = call.services.settings.sandbox_secret.get_secret_value()
    now = runtime.clock()
    said = verify_notification(call.request.headers, body, secret, now)
    if said is None:
        raise Unauthenticated(TokenFault.notification)
    key = from_rail_key(said.rail_key)
    # A word about a key that is none of ours is kept too, under a name of its own.
    payment_id = key[0] if key is not None else scope_id(f"notifications:{provider}")
    incoming = ReceivedNotification(payment_id=payment_id, provider=provider, rail_id=said.id, body=body, received_at=now)
    await call.store.store_notification(incoming, id=new_id(), job_id=new_id())
    return Response(b"{}", media_type=JSON_TYPE)
