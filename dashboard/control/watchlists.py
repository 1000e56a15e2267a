"""The page of lists of the subjects that matter most: two fifths of the false-alarm budget are theirs, so they fire on less evidence.

`ListDesk` in parts.py does the work; how each subject stands now is the hub's.
"""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.api import answer
from dashboard.control.rules import tuning
from dashboard.entry.access import who
from dashboard.entry.body import body
from dashboard.parts import parts
from dashboard.render import rendered
from dashboard.rows import NOBODY, rank, subject_row
from groundswell.asked_tuning import AskedList, AskedMembers, Entry, ListRow
from groundswell.decisions import SubjectState
from groundswell.records import LiveRow

# Of a pattern's subjects, those in one of these states are shown.
SPEAKS = (SubjectState.FIRING, SubjectState.RECOVERING, SubjectState.PENDING)


async def page(request: Request) -> Response:
    return rendered(request, "watchlists.html", words=("watchlists",))


async def lists(request: Request) -> Response:
    """All lists, how the budget is shared, and how each entry stands now."""
    found = await tuning(request).lists.lists()
    return answer(
        request, {"items": [_live(request, one) for one in found.items], "sharing": found.sharing, "next": found.next}
    )


async def one(request: Request) -> Response:
    """One list, its subjects with their figures of now."""
    return answer(request, _live(request, await tuning(request).lists.one(request.path_params["list"])))


async def put(request: Request) -> Response:
    """Make it, say what is on it, or call it something else; 200 once the broker has it."""
    asked = await body(request, AskedList)
    return answer(
        request, _live(request, await tuning(request).lists.put(request.path_params["list"], asked, by=NOBODY))
    )


async def remove(request: Request) -> Response:
    """The list and its sensitivity; its subjects are as all others."""
    await tuning(request).lists.remove(request.path_params["list"])
    return Response(status_code=204)


async def add(request: Request) -> Response:
    """Names as people write them, many at once; `not_found` are those that nobody knows."""
    asked = await body(request, AskedMembers)
    made = await tuning(request).lists.add(request.path_params["list"], asked.subjects, by=asked.by or NOBODY)
    return answer(
        request,
        {
            "list": _live(request, made.watchlist),
            "added": made.added,
            "known": made.known,
            "not_found": made.not_found,
        },
        201,
    )


async def take(request: Request) -> Response:
    """One entry off the list; an empty list stays."""
    name, entry = request.path_params["list"], request.path_params["entry"]
    left = await tuning(request).lists.take(name, (entry,), by=who(request) or NOBODY)
    return answer(request, _live(request, left), 202)


def _live(request: Request, row: ListRow) -> dict[str, Any]:
    """A list with what is seen of its entries now; `firing` counts its subjects that do."""
    shown = parts(request).hub.shown.rows
    entries = [_entry(each, shown) for each in row.entries]
    subjects = {subject for each in row.entries for subject in each.subjects}
    firing = sum(subject in shown and shown[subject].state == SubjectState.FIRING for subject in subjects)
    return {**msgspec.to_builtins(row), "entries": entries, "firing": firing}


def _entry(entry: Entry, shown: dict[str, LiveRow]) -> dict[str, Any]:
    """A subject with its live row; a pattern with the number of its subjects and the rows of those that speak."""
    # What no catalogue has any more may be counted still.
    subjects = entry.subjects if entry.pattern else [entry.entry]
    rows = sorted((shown[subject] for subject in subjects if subject in shown), key=rank)
    found: dict[str, Any] = {
        "entry": entry.entry, "pattern": entry.pattern, "names": entry.names, "kind": entry.kind, "matched": len(entry.subjects),
        "neg": sum(row.negatives_15 for row in rows), "exp": round(sum(row.expected_15 for row in rows), 2),
    }  # fmt: skip
    if entry.pattern:
        return {**found, "row": None, "speak": [subject_row(row) for row in rows if row.state in SPEAKS][:10]}
    return {**found, "row": subject_row(rows[0]) if rows else None, "speak": []}


ROUTES = [Route("/watchlists", page)]
API = [
    Route("/watchlists", lists),
    Route("/watchlists/{list}", one, methods=["GET"]),
    Route("/watchlists/{list}", put, methods=["PUT"]),
    Route("/watchlists/{list}", remove, methods=["DELETE"]),
    Route("/watchlists/{list}/members", add, methods=["POST"]),
    Route("/watchlists/{list}/members/{entry}", take, methods=["DELETE"]),
]
