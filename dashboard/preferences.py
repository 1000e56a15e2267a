"""How one reader wants the pages: theme, time zone, colour of rising prices, density, shortcuts. Kept in cookies, so that the first
paint is right already; static/preferences.js writes them. The language is words.py's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from zoneinfo import available_timezones

ZONES = ("UTC", "Asia/Shanghai", "America/New_York", "Europe/London")
"""Those that the dialog offers at once; any other IANA name may be written."""

RISE = {"zh": "red", "en": "green"}


@dataclass(frozen=True)
class Preferences:
    """What was chosen. An empty `theme` is the system's, an empty `zone` the browser's; `rise` colours prices and nothing else."""

    theme: str
    zone: str
    rise: str
    density: str
    shortcuts: bool


def chosen(cookies: Mapping[str, str], language: str) -> Preferences:
    """From the cookies of a request; whatever is not offered counts as not chosen."""
    zone = cookies.get("zone", "")
    return Preferences(
        theme=_one_of(cookies.get("theme", ""), ("light", "dark"), ""),
        zone=zone if zone in _zones() else "",
        rise=_one_of(cookies.get("rise", ""), ("red", "green"), RISE[language]),
        density=_one_of(cookies.get("density", ""), ("compact",), "comfortable"),
        shortcuts=cookies.get("shortcuts", "") != "off",
    )


def _one_of(value: str, offered: tuple[str, ...], otherwise: str) -> str:
    return value if value in offered else otherwise


@cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
