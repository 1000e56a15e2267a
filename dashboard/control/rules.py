"""The page of rules of a user's own and of the sensitivity, and what the past would have been with others.

`RuleDesk`, `ListDesk` and `Previews` in parts.py do the work; groundswell/asked_tuning.py has the bodies and the answers.
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.api import answer
from dashboard.entry.access import who
from dashboard.entry.body import body
from dashboard.parts import Tuning, parts
from dashboard.render import rendered
from dashboard.rows import NOBODY
from groundswell.asked_tuning import AskedPreview, AskedRulePreview, AskedRules, AskedSensitivity
from groundswell.errors import NothingRuns, Retryable


class ControlNotRead(Retryable):
    """What people have set has not been read yet."""

    reason = "control_not_read"
    remedy = "It comes from the control topic, within seconds of the start; `groundswell health` says whether the broker answers."


async def page(request: Request) -> Response:
    return rendered(request, "rules.html", words=("rules",))


# -- rules -----------------------------------------------------------------------------------------------------------


async def board(request: Request) -> Response:
    """All rules, how many processes run them, and how often each matched in 24 h."""
    return answer(request, await tuning(request).rules.board())


async def apply(request: Request) -> Response:
    """Rules as TOML or one as JSON; 201 once the broker has them. `in_force_in` of GET says when they are in force."""
    asked = await body(request, AskedRules)
    return answer(request, {"items": await tuning(request).rules.apply(asked, by=NOBODY)}, 201)


async def remove(request: Request) -> Response:
    """One rule, or all of a file by its `set`. What fires by it ends."""
    await tuning(request).rules.remove(request.path_params["rule"], by=who(request) or NOBODY)
    return Response(status_code=204)


async def check(request: Request) -> Response:
    """What each rule of a text means, and each that is wrong with its line. Writes nothing; 200 also where all is wrong."""
    asked = await body(request, AskedRules)
    return answer(request, await tuning(request).rules.check(asked.text, asked.name))


# -- sensitivities ---------------------------------------------------------------------------------------------------


async def sensitivities(request: Request) -> Response:
    """That of all subjects first, then those of lists and of subjects."""
    return answer(request, await tuning(request).lists.sensitivities())


async def adjust(request: Request) -> Response:
    """A word or a number, of `all`, `watchlist:NAME` or a subject; 202 once the broker has it: the next step is judged by it."""
    asked = await body(request, AskedSensitivity)
    made = await tuning(request).lists.adjust(request.path_params["about"], asked.value, by=asked.by or NOBODY)
    return answer(request, made, 202)


async def clear(request: Request) -> Response:
    """Whoever it is about is as all others again; all are as the settings say."""
    await tuning(request).lists.clear(request.path_params["about"])
    return Response(status_code=204)


# -- previews --------------------------------------------------------------------------------------------------------


async def preview_sensitivities(request: Request) -> Response:
    """202 and a preview that runs, or runs already, or was made a moment ago. One at a time: else 409."""
    asked = await body(request, AskedPreview)
    return answer(request, await tuning(request).previews.of_sensitivities(asked, parts(request).now_ms()), 202)


async def preview_rules(request: Request) -> Response:
    """The same of rules."""
    asked = await body(request, AskedRulePreview)
    return answer(request, await tuning(request).previews.of_rules(asked, parts(request).now_ms()), 202)


async def preview(request: Request) -> Response:
    """How far it is (`share`), or what it found."""
    return answer(request, tuning(request).previews.get(request.path_params["preview"]))


async def stop_preview(request: Request) -> Response:
    """It ends."""
    return answer(request, await tuning(request).previews.stop(request.path_params["preview"]), 202)


def tuning(request: Request) -> Tuning:
    """What decides when it alerts. Raises NothingRuns where these pages run alone, ControlNotRead in their first moment."""
    found = parts(request).tuning
    if found is None:
        raise NothingRuns("These pages run alone: rules and lists are not theirs to change.")
    if not parts(request).control_read():
        raise ControlNotRead  # a list that is not known yet would be written over, or looks empty
    return found


ROUTES = [Route("/rules", page)]
API = [
    Route("/rules", board, methods=["GET"]),
    Route("/rules", apply, methods=["POST"]),
    Route("/rules/check", check, methods=["POST"]),
    Route("/rules/preview", preview_rules, methods=["POST"]),
    Route("/rules/{rule}", remove, methods=["DELETE"]),
    Route("/sensitivities", sensitivities, methods=["GET"]),
    Route("/sensitivities/preview", preview_sensitivities, methods=["POST"]),
    Route("/sensitivities/{about}", adjust, methods=["PUT"]),
    Route("/sensitivities/{about}", clear, methods=["DELETE"]),
    Route("/previews/{preview}", preview, methods=["GET"]),
    Route("/previews/{preview}", stop_preview, methods=["DELETE"]),
]
