"""One subject: its page, and what the page reads beside the counts (api.py, series): what was it about, and at what price.

The page is a frame with the subject's name in it; static/subject.js fills it. Times in addresses are epoch milliseconds.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.api import answer, number
from dashboard.parts import parts
from dashboard.render import rendered
from dashboard.subjects import breakdown as tables
from dashboard.subjects import history
from groundswell.errors import WrongShape
from groundswell.keys import HOUR_MS, MINUTE_MS
from groundswell.topics import TOPIC_NAMES

MOST_MS = 31 * 24 * HOUR_MS


async def page(request: Request) -> Response:
    """One subject: its chart, what lies beneath it, its alerts and its documents."""
    here, name = parts(request), request.path_params["subject"]
    row = here.hub.shown.rows.get(name)
    kind = row.kind if row else name.partition(":")[0]
    return rendered(
        request, "subject.html", words=("subject",), subject=name, names=row.names if row else {},
        kind=kind if kind in ("topic", "market") else "company", priced=here.prices.of(name) is not None,
    )  # fmt: skip


async def breakdown(request: Request) -> Response:
    """What negative texts of `from` to `to` were about, who published them, which stories spread; three hours by default."""
    here, subject = parts(request), request.path_params["subject"]
    begin, end = _span(request)
    cards, echoes = await tables.read(here.redis, here.keys, here.topology.scored_partition(subject), subject)
    found = msgspec.to_builtins(tables.breakdown(subject, cards, echoes, begin, end))
    shown = here.hub.shown.rows
    for row in found["topics"]:
        en, zh = TOPIC_NAMES.get(row["id"], ("", ""))
        known = shown.get(f"topic:{row['id']}")
        row["names"] = known.names if known else {"en": en or row["id"], "zh": zh or row["id"]}
    for row in found["companies"]:
        row["names"] = shown[row["id"]].names if row["id"] in shown else {}
    return answer(request, found)


async def prices(request: Request) -> Response:
    """Prices of `from` to `to` by `step` 60, 300 or 3600 s: the last one of each step; null where none stands."""
    here, subject = parts(request), request.path_params["subject"]
    begin, end = _span(request)
    step = number(request, "step", 60)
    if step not in history.STEPS_S or (end - begin) / 1000 / step > history.MAX_POINTS:
        raise WrongShape(
            f"step={step} from {begin} to {end} is not offered.",
            remedy=f"Use step=60, 300 or 3600, and at most {history.MAX_POINTS} points.",
        )
    step_ms = step * 1000
    begin = begin // step_ms * step_ms
    book = here.prices.of(subject)
    column = book.column(subject, begin, end, step_ms) if book else []
    return answer(
        request,
        {
            "subject": subject,
            "t0": begin,
            "step": step,
            "price": column,
            "last": book.last(subject) if book else None,
            "source": book.source if book else "",
        },
    )


async def prices_status(request: Request) -> Response:
    """Each source of prices that is set: what was read, and the lines that are none."""
    return answer(request, {"items": [book.status() for book in parts(request).prices.books]})


def _span(request: Request) -> tuple[int, int]:
    """`from` and `to`, whole minutes. Raises WrongShape."""
    end = number(request, "to", parts(request).now_ms())
    begin = number(request, "from", end - 3 * HOUR_MS)
    if not 0 < end - begin <= MOST_MS:
        raise WrongShape(
            f"from {begin} to {end} is no span of 1 ms to 31 days.", remedy="Times are epoch milliseconds."
        )
    return begin // MINUTE_MS * MINUTE_MS, end


ROUTES = [Route("/subjects/{subject}", page)]
API = [
    Route("/subjects/{subject}/breakdown", breakdown),
    Route("/subjects/{subject}/prices", prices),
    Route("/prices/status", prices_status),
]
