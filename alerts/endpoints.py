"""Endpoints as people handle them on the command line: add, list, remove. The address guard judges at once."""

import socket
import uuid
from collections.abc import Sequence

from msgspec import Struct

from alerts.guard import ConnectionRefusedByGuard, GuardedResolver, LookUps, Rules, Target, UrlRefused, check_url
from groundswell.clock import Clock, SystemClock
from groundswell.connect import close_producer, open_producer
from groundswell.control import ControlView, erase, write
from groundswell.records import Endpoint
from groundswell.secrets import SecretBox, new_signing_secret
from groundswell.settings import Settings
from stream.topology import Topology


class Listed(Struct, frozen=True, kw_only=True):
    """An endpoint as a list shows it: nothing in it is secret. `created_at` is epoch milliseconds."""

    id: str
    name: str
    shown: str
    created_at: int
    disabled: bool
    subjects: list[str]


async def add(
    settings: Settings,
    topology: Topology,
    url: str,
    name: str,
    *,
    subjects: Sequence[str] = (),
    clock: Clock | None = None,
    look_ups: LookUps | None = None,
) -> tuple[Endpoint, str]:
    """Make an endpoint known and return it with its signing secret, which is shown this once.

    `subjects` limits it to these and their pairs with topics. Raises AddressRefused, NoSecretKey, BrokerAway,
    ProduceFailed.
    """
    box, rules = SecretBox(settings.secret_key), Rules.of(settings)
    target = check_url(url, rules)
    await _check_name(target, rules, look_ups or LookUps())
    endpoint_id, secret = f"hook_{uuid.uuid4().hex[:20]}", new_signing_secret()
    endpoint = Endpoint(
        id=endpoint_id,
        name=name,
        url=box.seal(target.url, endpoint_id, "url"),
        secret=box.seal(secret, endpoint_id, "secret"),
        shown=target.shown,
        created_at=(clock or SystemClock()).now_ms(),
        subjects=list(subjects),
    )
    producer = await open_producer(settings)
    try:
        await write(producer, topology, endpoint)
    finally:
        await close_producer(producer)
    return endpoint, secret


async def remove(settings: Settings, topology: Topology, endpoint_id: str) -> None:
    """Forget an endpoint; what waits for it is dropped. Raises BrokerAway, ProduceFailed."""
    producer = await open_producer(settings)
    try:
        await erase(producer, topology, endpoint_id)
    finally:
        await close_producer(producer)


def listing(view: ControlView) -> list[Listed]:
    """All endpoints, oldest first."""
    return [
        Listed(
            id=found.id,
            name=found.name,
            shown=found.shown,
            created_at=found.created_at,
            disabled=found.disabled,
            subjects=found.subjects,
        )
        for found in sorted(view.endpoints.values(), key=lambda found: found.created_at)
    ]


async def _check_name(target: Target, rules: Rules, look_ups: LookUps) -> None:
    """What the name resolves to now is judged now. A name unknown here may be known where deliver runs."""
    try:
        await GuardedResolver(target, rules, look_ups).resolve(target.host, target.port, socket.AF_UNSPEC)
    except ConnectionRefusedByGuard as error:
        raise UrlRefused("resolved", "The address resolves to one that is not public.") from error
    except OSError:
        return
    finally:
        look_ups.close()
