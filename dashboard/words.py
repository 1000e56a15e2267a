"""What the pages say, in Chinese and English as equals: words/{en,zh}/*.json hold every text, this picks one.

page.json has what all pages share, each other file what one page says. A key that is missing is an error in both languages,
never a silent fall-back. decisions.py values are keys too ("state.firing").
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from starlette.requests import Request

LANGUAGES = ("en", "zh")
TAGS = {"en": "en", "zh": "zh-CN"}
FOLDER = Path(__file__).parent / "words"


SHARED = "page"


class Words:
    """All texts of both languages."""

    def __init__(self) -> None:
        self._files: dict[str, dict[str, dict[str, str]]] = {language: _files(language) for language in LANGUAGES}
        self._texts = {
            language: {key: text for file in files.values() for key, text in file.items()}
            for language, files in self._files.items()
        }

    def of(self, language: str, files: Iterable[str] = ()) -> dict[str, str]:
        """The texts of one language that a page's own modules need: what all share, and these files. Raises KeyError."""
        return {key: text for name in (SHARED, *files) for key, text in self._files[language][name].items()}

    def say(self, language: str, key: str, **values: Any) -> str:
        """One text with its {places} filled. Raises KeyError for a text that is not written."""
        return self._texts[language][key].format(**values)

    def name(self, language: str, kind: str, value: str) -> str:
        """The word for a member of decisions.py; the bare member for one that these pages do not know yet."""
        return self._texts[language].get(f"{kind}.{value}", value)


def _files(language: str) -> dict[str, dict[str, str]]:
    return {one.stem: json.loads(one.read_text(encoding="utf-8")) for one in sorted((FOLDER / language).glob("*.json"))}


def language_of(request: Request) -> str:
    """?lang, then the cookie, then Accept-Language by weight, then English."""
    for asked in (request.query_params.get("lang", ""), request.cookies.get("lang", "")):
        if asked in LANGUAGES:
            return asked
    weighted = []
    for place, part in enumerate(request.headers.get("accept-language", "").split(",")[:20]):
        tag, _, quality = part.strip().partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            continue
        weighted.append((-weight, place, tag.lower()))
    for weight, _, tag in sorted(weighted):
        if weight < 0 and (language := tag.split("-")[0]) in LANGUAGES:
            return language
    return "en"
