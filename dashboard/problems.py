"""Errors as RFC 9457 problem details: `reason` is the word that metrics use, `remedy` is what to do next."""

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from groundswell.errors import GroundswellError, RedisAway, Retryable

STATUS = {
    "message_too_large": 413,
    "body_too_slow": 408,
    "text_too_long": 413,
    "no_such_endpoint": 404,
    "no_such_letter": 404,
    "no_such_episode": 404,
    "no_such_silence": 404,
    "no_such_rule": 404,
    "no_such_list": 404,
    "no_such_preview": 404,
    "nothing_set": 404,
    "preview_busy": 409,
    "no_such_document": 404,
    "no_acknowledgement": 404,
    "too_many_endpoints": 409,
    "no_such_token": 404,
    "token_refused": 409,
    "no_secret_key": 503,
    "nothing_runs": 503,
}


def problem(status: int, reason: str, title: str, remedy: str, **headers: str) -> Response:
    """One problem as application/problem+json."""
    body = {"type": f"urn:groundswell:{reason}", "title": title, "status": status, "reason": reason, "remedy": remedy}
    return Response(
        msgspec.json.encode(body),
        status,
        {name.replace("_", "-"): value for name, value in headers.items()},
        media_type="application/problem+json",
    )


async def from_redis(_request: Request, error: Exception) -> Response:
    """Redis went away in the middle of a request."""
    away = RedisAway(f"Redis does not answer: {type(error).__name__}.")
    return problem(503, away.reason, str(away), away.remedy, Retry_After="5")


async def from_error(_request: Request, error: Exception) -> Response:
    """A refused input is the sender's to mend (400, 413); what is retryable is 503."""
    if not isinstance(error, GroundswellError):
        raise error
    if isinstance(error, Retryable):
        return problem(503, error.reason, str(error), error.remedy, Retry_After="5")
    return problem(STATUS.get(error.reason, 400), error.reason, str(error), error.remedy)
