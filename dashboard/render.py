"""How a page is made of its template. Texts come from words/, texts from the world go through autoescape only.

Read templates/page.html for what all pages share.
"""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from dashboard import preferences, rows
from dashboard.entry import access
from dashboard.parts import parts
from dashboard.words import LANGUAGES, TAGS, language_of
from groundswell.times import rfc3339

YEAR_S = 31_536_000

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals["span"] = rows.span
_templates.filters["path"] = partial(quote, safe="")
_templates.filters["rfc3339"] = rfc3339


def rendered(
    request: Request, template: str, *, words: Collection[str] = (), status: int = 200, **values: Any
) -> HTMLResponse:
    """A page in the language that was asked for. `words`: files of words/ that its modules read, beside page.json."""
    texts = parts(request).words
    language = language_of(request)
    html = _templates.get_template(template).render(
        t=partial(texts.say, language),
        word=partial(texts.name, language),
        texts=texts.of(language, words),
        language=language,
        tag=TAGS[language],
        other=next(one for one in LANGUAGES if one != language),
        chosen=preferences.chosen(request.cookies, language),
        zones=preferences.ZONES,
        here=request.url.path,
        person=access.person_of(request),
        **values,
    )
    response = HTMLResponse(html, status, {"Content-Language": TAGS[language], "Vary": "Accept-Language, Cookie"})
    if request.query_params.get("lang") in LANGUAGES:
        response.set_cookie("lang", language, max_age=YEAR_S, samesite="strict", httponly=True)
    return response
