"""The alert pages: a list by address, and the evidence of one, whole without a script; and its course as JSON, for who watches it.

evidence.py has the figures, papers.py the documents, course.py what happened; feedback.py takes what people say. Every text of the
world is made visible and escaped.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, get_args
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard import rows
from dashboard.alerts import course, evidence, listing, papers
from dashboard.alerts.evidence import Tongue
from dashboard.api import answer
from dashboard.parts import Parts, parts
from dashboard.render import rendered
from dashboard.subjects import history
from dashboard.words import language_of
from groundswell import alert_views, feedback
from groundswell.decisions import SubjectState
from groundswell.errors import NoSuchEpisode
from groundswell.records import AlertData, AlertView, Severity
from groundswell.text import safe

PAGE = 30
TABS = ("firing", "acknowledged", "resolved", "all")
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # the least first


async def listed(request: Request) -> Response:
    """Alerts by address: `state` (a tab), `subject`, `severity` (the least), `cursor`. A page may be short while there are older ones."""
    here, asked = parts(request), request.query_params
    state = asked.get("state", "")
    tab = state if state in TABS else "all"
    severity = asked.get("severity", "")
    least = SEVERITIES.index(severity) if severity in SEVERITIES else 0
    subject = asked.get("subject", "").strip()[:120]
    seen = here.hub.acknowledged

    def wanted(view: AlertView) -> bool:
        over = view.state == SubjectState.RESOLVED
        of_tab = tab == "all" or (
            over if tab == "resolved" else not over and (view.episode in seen) == (tab == "acknowledged")
        )
        of_subject = not subject or _named(view, subject)
        return of_tab and of_subject and SEVERITIES.index(view.event.data.severity) >= least

    views, following = await listing.listed(
        here.redis, here.keys, cursor=asked.get("cursor", ""), limit=PAGE, wanted=wanted
    )
    chosen = {"state": tab, "subject": subject, "severity": severity if least else ""}

    def address(**changes: str) -> str:
        kept = {
            name: value for name, value in (chosen | changes).items() if value and (name, value) != ("state", "all")
        }
        return "/alerts?" + urlencode(kept) if kept else "/alerts"

    return rendered(
        request, "alerts.html", alerts=[rows.alert_row(view, seen.get(view.episode)) for view in views], tab=tab,
        tabs=[(name, address(state=name)) for name in TABS], subject=subject, severity=chosen["severity"], severities=SEVERITIES[1:],
        older=address(cursor=following) if following else "", newest=address() if asked.get("cursor") else "",
        filtered=bool(subject or least or tab != "all"), clear=address(subject="", severity=""),
    )  # fmt: skip


async def page(request: Request) -> Response:
    """The evidence of one episode: server-rendered from the frozen record."""
    here, language = parts(request), _tongue(request)
    view = await alert_views.one(here.redis, here.keys, request.path_params["episode"])
    if view is None:
        return rendered(request, "missing.html", status=404)
    ack = here.hub.acknowledged.get(view.episode)
    begin, end = evidence.span(view, here.now_ms())
    past = await history.series(
        here.redis, here.keys, here.topology.scored_partition(view.subject), view.subject,
        begin_ms=begin, end_ms=end, step_s=evidence.step_s(begin, end), until_ms=here.now_ms(),
    )  # fmt: skip
    words, name_of = here.remarks.of(view.episode), _names(here, view, language)
    own = await papers.cards(here, view.subject)
    documents = await papers.shown(here, view, own, feedback.labels(words), name_of)
    person = getattr(request.state, "person", None)
    shown = evidence.explained(view, language, name_of, papers.stories(own), here.now_ms())
    return rendered(
        request, "alert.html", words=("alert",), alert=rows.alert_row(view, ack), event=view.event.id, shown=shown,
        figure=evidence.figure(past, view), documents=documents,
        documents_total=max(view.event.data.documents_total, len(documents)), course=await _course(here, view, language),
        may_act=person is None or person.may("analyst"), signed_in=bool(person and person.name),
    )  # fmt: skip


async def told(request: Request) -> Response:
    """What happened to one alert until now: its steps in words of `lang`, who has seen it, what holds it back, how it was judged."""
    here = parts(request)
    view = await alert_views.one(here.redis, here.keys, request.path_params["episode"])
    if view is None:
        raise NoSuchEpisode
    return answer(request, {"cursor": here.hub.cursor, **await _course(here, view, _tongue(request))})


async def _course(here: Parts, view: AlertView, language: Tongue) -> dict[str, Any]:
    data, words = view.event.data, here.remarks.of(view.episode)
    began = rows.at_ms(data.started_at) or 0
    tries, whole = await here.desk.tried(view.episode, since_ms=began)
    silences = here.desk.silences_on(data)
    names = {one.id: one.name for one in await here.desk.endpoints()} if tries else {}
    known = course.Known(
        view=view, ack=here.hub.acknowledged.get(view.episode), words=words, tries=tries, silences=silences,
        markets=[market for market in _at_the_time(here, data) if here.desk.explains(market, data)], endpoints=names,
    )  # fmt: skip
    t, word = partial(here.words.say, language), partial(here.words.name, language)
    now = here.clock.now_ms()
    return {
        "episode": view.episode,
        "event": view.event.id,
        "state": view.state,
        "severity": data.severity,
        "ack": rows.ack_row(known.ack),
        "steps": course.steps(known, language, t, word, _names(here, view, language)),
        "tries_whole": whole,
        "silences": [
            {"id": one.id, "until": one.until, "by": "" if one.by == rows.NOBODY else one.by, "reason": one.reason}
            for one in silences
            if one.until > now
        ],
        "verdict": feedback.counted(feedback.verdicts(words).get(view.episode, {}).values()),
    }


def _at_the_time(here: Parts, data: AlertData) -> list[AlertData]:
    """Alerts that lasted while this one did, of those that are shown."""
    far = 1 << 62
    began, over = rows.at_ms(data.detected_at) or 0, rows.at_ms(data.resolved_at) or far
    others = (view.event.data for view in here.hub.shown.alerts.values() if view.subject != data.subject.id)
    return [
        one
        for one in others
        if (rows.at_ms(one.detected_at) or 0) < over and (rows.at_ms(one.resolved_at) or far) > began
    ]


def _names(here: Parts, view: AlertView, language: Tongue) -> Callable[[str], str]:
    """How a subject is called: as its live row says, or the alert; else by its id."""

    def name(subject: str) -> str:
        row = here.hub.shown.rows.get(subject)
        own = view.event.data.subject
        names = row.names if row is not None else own.names if subject == own.id else {}
        return names.get(language) or names.get("en") or subject

    return name


def _named(view: AlertView, wanted: str) -> bool:
    """By id, its pairs with topics too, or by a part of a name."""
    own = view.event.data.subject
    if view.subject == wanted or view.subject.startswith(f"{wanted}|"):
        return True
    folded = wanted.casefold()
    return any(folded in safe(name, 120).casefold() for name in (own.id, *own.names.values()))


def _tongue(request: Request) -> Tongue:
    return "zh" if language_of(request) == "zh" else "en"


ROUTES = [Route("/alerts", listed), Route("/alerts/{episode}", page)]
API = [Route("/alerts/{episode}/course", told)]
