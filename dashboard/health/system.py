"""The page of how the installation fares, in words and figures, and what it refused: readings.py has the one, letters.py the other."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.api import answer
from dashboard.entry.access import person_of
from dashboard.health import letters
from dashboard.health.readings import Readings, told
from dashboard.parts import parts
from dashboard.render import rendered
from dashboard.rows import at_ms
from groundswell import __version__
from groundswell.errors import NothingRuns
from groundswell.reserved import DRILLS
from stream.topology import SCORED


async def page(request: Request) -> Response:
    """Dead letters hold texts as they came: operators alone see them."""
    person = person_of(request)
    return rendered(request, "system.html", words=("system",), may_see_letters=person is None or person.may("operator"))


async def system(request: Request) -> Response:
    """What is wrong, stage by stage what was read and what became of it, services, model, watch. Changes only when something does."""
    here = parts(request)
    body = await told(_readings(request))
    body["healthy"] = not body["findings"]
    body["version"] = __version__
    body["watched"] = bool(here.settings.watch_url)
    body["drill_every_s"] = here.settings.drill_s
    body["drill_alert_at"] = _newest_drill(request)
    body["streams"] = here.hub.streams
    return answer(request, body)


def _newest_drill(request: Request) -> int | None:
    """When the newest alert that was a drill was found: also one by hand, and after deliver was started again."""
    views = parts(request).hub.shown.alerts.values()
    found = [at_ms(view.event.data.detected_at) for view in views if view.subject in DRILLS]
    return max((at for at in found if at is not None), default=None)


def _readings(request: Request) -> Readings:
    kept: Readings | None = getattr(request.app.state, "readings", None)
    if kept is None:
        here = parts(request)
        if here.installation is None:
            raise NothingRuns("These pages know of no broker.")
        kept = request.app.state.readings = Readings(
            here.redis, here.keys, here.clock, here.topology.partitions(SCORED), here.installation
        )
    return kept


ROUTES = [Route("/system", page)]
API = [Route("/system", system), *letters.API]
