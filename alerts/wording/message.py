"""One message of one or several notices, and how it gets shorter until a service takes it. Every chat channel and mail render this."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from alerts.channels.contract import Missed, Telling
from alerts.say import Say
from alerts.wording.local_time import READERS, clock_time, moment
from alerts.wording.notice import Link, Notice, Tone, notice_of
from alerts.words import words_of

GOING_ON = frozenset({Say.FIRING, Say.UPDATED, Say.REPEAT, Say.ESCALATED})
LOUDEST = ("critical", "warning", "plain", "calm")


@dataclass(frozen=True)
class Entry:
    """One alert among several: its line, and the link to its evidence if there is one."""

    line: str
    link: Link | None


@dataclass(frozen=True)
class Message:
    """What a reader gets. Plain text: each channel escapes all of it. Either `quotes` (one alert) or `items` (several)."""

    tone: Tone
    title: str
    paragraphs: tuple[str, ...]
    quotes: tuple[str, ...]
    items: tuple[Entry, ...]
    links: tuple[Link, ...]
    footer: str
    short: str
    unlisted: str = ""  # how many items were left out, as a sentence


def message_of(tellings: Sequence[Telling], missed: Missed | None, lang: str) -> Message:
    """One alert in full, several as a list with a count; what was missed meanwhile is said first."""
    notices = [notice_of(telling, lang) for telling in tellings]
    said = (_missed(missed, lang),) if missed is not None and missed.count > 0 else ()
    if len(notices) == 1:
        one = notices[0]
        return Message(one.tone, one.title, (*said, *one.sentences), one.quotes, (), one.links, one.footer, one.short)
    title = _title([telling.say for telling in tellings], lang)
    louder = sorted(notices, key=lambda one: LOUDEST.index(one.tone))
    items = tuple(Entry(one.short, _evidence(one)) for one in louder)
    footer = words_of(lang)["footer.plain"]
    return Message(louder[0].tone, title, said, (), items, (), footer, title)


def fitted(message: Message, fits: Callable[[Message], bool], lang: str) -> Message:
    """The longest version that fits: documents go first, then items and sentences from the end. The title always stays."""
    bare = replace(message, paragraphs=(), quotes=(), items=(), links=())
    return next((shorter for shorter in _shorter(message, lang) if fits(shorter)), bare)


def _shorter(message: Message, lang: str) -> Iterator[Message]:
    for count in range(len(message.quotes), 0, -1):
        yield replace(message, quotes=message.quotes[:count])
    whole = replace(message, quotes=())
    for count in range(len(message.items), 0, -1):
        yield replace(whole, items=message.items[:count], unlisted=_unlisted(len(message.items) - count, lang))
    for count in range(len(message.paragraphs), -1, -1):
        yield replace(whole, items=(), paragraphs=message.paragraphs[:count])


def _title(said: Sequence[Say], lang: str) -> str:
    words, resolved = words_of(lang), said.count(Say.RESOLVED)
    firing = sum(say in GOING_ON for say in said)
    key = "digest" if firing + resolved == len(said) else "digest.news"
    return words[key].format(count=len(said), firing=firing, resolved=resolved)


def _unlisted(count: int, lang: str) -> str:
    return words_of(lang)["more.one" if count == 1 else "more"].format(count=count) if count else ""


def _missed(missed: Missed, lang: str) -> str:
    words, zone = words_of(lang), READERS.get(lang, "UTC")
    since, until = moment(missed.since_ms, zone), moment(missed.until_ms, zone)
    return words["missed.one" if missed.count == 1 else "missed"].format(
        **{
            "count": missed.count,
            "from": clock_time(since, until, words["day"]),
            "to": clock_time(until, since, words["day"]),
            "zone": words[f"zone.{zone}"],
        }
    )


def _evidence(notice: Notice) -> Link | None:
    return notice.links[0] if notice.links else None
