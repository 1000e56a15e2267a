"""What a request carries, read no further than one message may be long, checked, and signed by who sends it."""

import asyncio
from typing import TypeVar

import msgspec
from starlette.requests import Request

from dashboard.entry import access
from groundswell.clients.connect import MAX_MESSAGE_BYTES
from groundswell.errors import BodyTooSlow, MessageTooLarge, NestedTooDeep, NotJson, NotUtf8, WrongShape

T = TypeVar("T")
WHOLE_S = 30.0
SHAPES = "docs/api.md and GET /api/v1/openapi.json show the body of each request."


async def limited(request: Request) -> bytes:
    """The bytes. Raises MessageTooLarge, BodyTooSlow."""
    read = bytearray()
    try:
        async with asyncio.timeout(WHOLE_S):
            async for chunk in request.stream():
                read += chunk
                if len(read) > MAX_MESSAGE_BYTES:
                    raise MessageTooLarge
    except TimeoutError as error:
        raise BodyTooSlow(f"The body was not whole after {WHOLE_S:g} s.") from error
    return bytes(read)


async def body(request: Request, kind: type[T]) -> T:
    """As one of these; an empty one is {}. Where it is known who asks, that name stands in place of `by`. Raises Refused."""
    try:
        return access.signed(request, msgspec.json.decode(await limited(request) or b"{}", type=kind))
    except UnicodeDecodeError as error:
        raise NotUtf8 from error
    except RecursionError as error:
        raise NestedTooDeep from error
    except msgspec.ValidationError as error:
        raise WrongShape(f"{error}.", remedy=SHAPES) from error
    except msgspec.DecodeError as error:
        raise NotJson(f"The body is not JSON: {error}.", remedy=SHAPES) from error
