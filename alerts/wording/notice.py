"""What is said of one event, in order: state and subject, how many against how many, since when, why, how sure, where to look.

Plain text, cleaned and in no markup; every channel escapes the whole of it. Words are in alerts/words; message.py makes one
message of several notices.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from urllib.parse import urlsplit

from alerts.channels.contract import Telling
from alerts.say import Say
from alerts.wording.clean import outside
from alerts.wording.local_time import clock_time, moment, zone_of
from alerts.words import words_of
from groundswell.effect import MANY_TIMES
from groundswell.records import AlertDocument, CauseCount
from groundswell.topics import TOPIC_NAMES

TEXT_LIMIT = 560  # of title and sentences together, before the documents
LINE_LIMITS = {"en": 80, "zh": 40}  # of a first line, which a phone shows alone
PERSON_LIMIT = 12  # of names in it
NAME_LEAST = 6  # of a subject's name that has to be cut
RULE_LIMIT, RULE_NAME_LIMIT = 360, 24
NAME_LIMIT, TITLE_LIMIT, NOTE_LIMIT, SUMMARY_LIMIT, LINK_LIMIT = 40, 90, 120, 240, 500
OTHERS = 4  # further documents quoted
COUNTED = 3  # topics and sources named
LONGEST_S = 366 * 86_400
YEAR_D = 365  # a bound is as good as the counts that it was learned from: nothing rarer is claimed
# False alarms a day over all subjects that each sensitivity allows in expectation; as stream/detection/surge.py has them.
BUDGETS = {"fewer": 1.0, "balanced": 5.0, "more": 20.0}
PEAK_WORTH_S = 600  # below, the peak is nearly the whole

Tone = Literal["critical", "warning", "calm", "plain"]

_OURS = re.compile(r"https?://[A-Za-z0-9\[][A-Za-z0-9_.~:/?=&%+,;#\[\]-]*")
_CHINESE_TAILS = {"XSHG": "SH", "XSHE": "SZ", "XBSE": "BJ", "XHKG": "HK"}
_SINGLE = str.maketrans({"“": "‘", "”": "’", '"': "'", "„": "‘", "‟": "’", "＂": "'", "〝": "‘", "〞": "’"})
_CODED = re.compile(r"[A-Z]{3,8}:[A-Z0-9]{1,12}(?:[.-][A-Z0-9])?")  # never what could be read as an address
_DIGITS = re.compile(r"[0-9]{4,6}")


@dataclass(frozen=True)
class Link:
    """A link of our own making."""

    label: str
    url: str


@dataclass(frozen=True)
class Notice:
    """One event in one language. `sentences` begin with what matters most; `short` is one line for a phone."""

    tone: Tone
    title: str
    sentences: tuple[str, ...]
    quotes: tuple[str, ...]
    links: tuple[Link, ...]
    footer: str
    short: str


def notice_of(telling: Telling, lang: str) -> Notice:
    """What is said of this event. Never raises on the event's texts, whatever they hold."""
    return _Writer(telling, lang).notice()


class _Writer:
    """Fills the sentences of one language from one event."""

    def __init__(self, telling: Telling, lang: str) -> None:
        self.say, self.data, self.lang = telling.say, telling.event.data, lang
        self.own = (
            self.data.subject.kind == "system"
        )  # about the installation: nothing was counted, the summary says it all
        self.words = words_of(lang)
        self.zone = zone_of(self.data.subject.id, lang)
        self.at = telling.event.timestamp
        self.places = self._places()

    def notice(self) -> Notice:
        title = self._title()
        return Notice(
            tone=self._tone(),
            title=title,
            sentences=_within(TEXT_LIMIT - len(title), self._sentences()),
            quotes=self._quotes(),
            links=self._links(),
            footer=self._footer(),
            short=self._short(),
        )

    # -- the parts, in the order a reader meets them ------------------------------------------------------------------

    def _title(self) -> str:
        data, acknowledged = self.data, self.data.acknowledged
        more: dict[str, str] = {}
        if self.say in (Say.DISABLED, Say.RECOVERED, Say.RESOLVED) or (self.own and self.say is Say.TEST):
            ruled = self.say is Say.RESOLVED and not data.rule.bounded
            key = "head.rule_over" if ruled else "head.settled" if self._settled() else f"head.{self.say.value}"
        elif self.say is Say.ACKNOWLEDGED and acknowledged is None:
            key = "head.seen"
        elif self.say is Say.ACKNOWLEDGED and acknowledged is not None:
            key = "head.assigned" if acknowledged.assigned else "head.acknowledged"
            more = {
                "by": outside(acknowledged.by, PERSON_LIMIT),
                "assigned": outside(acknowledged.assigned, PERSON_LIMIT),
            }
        elif self.own:
            key = "head.system"
        elif not data.rule.bounded:
            key = "head.rule"
        elif data.kind == "share":
            key = "head.share"
        else:
            key = "head.over" if data.effect > MANY_TIMES else "head.count"
        return self._line([key], **more)

    def _sentences(self) -> list[str]:
        """The most important first; what does not fit is left out from the end."""
        if self.own:
            summary = self.data.summary.get(self.lang) or self.data.summary.get("en", "")
            return [outside(summary, SUMMARY_LIMIT)] if summary else []
        if self.data.rule.bounded:
            said = [self._fill("lasted" if self.say is Say.RESOLVED else "counted", sparse=self.places["sparse"])]
        else:  # what a user's own rule counted, only its summary knows
            said = [outside(self.data.summary.get(self.lang) or self.data.summary.get("en", ""), RULE_LIMIT)]
        if self.data.test:
            said.insert(0, self.words["test" if self.say is Say.TEST else "drill"])
        if self.data.during:
            said.append(self.words["during"].format(event=outside(self.data.during, NAME_LIMIT)))
        said += self._people()
        if self.say is Say.RESOLVED:
            return [*said, self._peak()] if self.data.peak else said
        said += [self._cause(), self.words["firm" if self.data.fires_without_largest_story else "fragile"]]
        said += [self._chance(), self._fill("share")]
        said += [self._counted("topics", self.data.topics), self._counted("sources", self.data.sources), self._peak()]
        if (
            self.data.rule.bounded
            and self.data.kind != "share"
            and 0 < self.data.effect_low <= self.data.effect <= MANY_TIMES
        ):
            said.append(self.words["size"].format(low=_times(self.data.effect_low), high=_times(self.data.effect_high)))
        return [one for one in said if one]

    def _people(self) -> list[str]:
        acknowledged = self.data.acknowledged
        if acknowledged is not None:
            places = {"by": outside(acknowledged.by, NAME_LIMIT), "note": outside(acknowledged.note, NOTE_LIMIT)}
            key = "acknowledged.note" if places["note"] else "acknowledged"
            said = [self._fill(key, at=self._time(acknowledged.at), **places)]
            if acknowledged.assigned and self.say is not Say.ACKNOWLEDGED:
                said.append(self.words["assigned"].format(assigned=outside(acknowledged.assigned, NAME_LIMIT)))
            return said
        return [self._fill("waiting", at=self._time(self.data.detected_at))] if self.say is Say.ESCALATED else []

    def _cause(self) -> str:
        largest = _largest(self.data.documents)
        if largest is None:
            return ""
        key = "cause" if not largest.echoes else "cause.one" if largest.echoes == 1 else "cause.echoes"
        return self._fill(key, title=_said(largest), source=self._source(largest), echoes=largest.echoes)

    def _chance(self) -> str:
        """How often chance alone would bring such evidence: the budget, less by as much as the evidence exceeds its threshold.

        An upper bound in expectation (stream/detection/surge.py), as far as the counts are what was learned to expect.
        """
        budget = _budget(self.data.versions.get("sensitivity", ""))
        if budget is None or self.data.test or not self.data.rule.bounded:
            return ""
        excess = min(max(self.data.log10_e_value - self.data.log10_threshold, 0.0), 9.0)
        days = 10**excess / budget
        if days > YEAR_D:
            return self.words["chance.never"]
        key = "days" if days >= 1.5 else "often" if days <= 1 / 1.5 else "once"
        return self.words[f"chance.{key}"].format(days=round(days), often=round(1 / days))

    def _peak(self) -> str:
        peak = self.data.peak
        if peak is None or (self.data.window_s < PEAK_WORTH_S and self.say is not Say.RESOLVED):
            return ""
        return self.words["peak"].format(
            most=peak.negatives, minutes=max(1, peak.window_s // 60), at=self._time(peak.at)
        )

    def _counted(self, key: str, counted: Sequence[CauseCount]) -> str:
        if not counted:
            return ""
        named = [
            self.words["one_of_them"].format(name=self._name_of(one.id, key), negatives=one.negatives)
            for one in counted[:COUNTED]
        ]
        return self.words[key].format(**{key: self.words["between"].join(named)})

    def _quotes(self) -> tuple[str, ...]:
        """The other documents; of the largest story, already told, its deciding sentence."""
        if self.own or self.say in (Say.RESOLVED, Say.ACKNOWLEDGED):
            return ()
        largest, said = _largest(self.data.documents), []
        for one in self.data.documents:
            text = _inner(outside(one.excerpt, TITLE_LIMIT)) if one is largest and one.title else _said(one)
            if text and (one is not largest or one.title):
                key = "quote.echoes" if one.echoes and one is not largest else "quote"
                source, at = self._source(one), self._time(one.published_at)
                said.append(self._fill(key, title=text, source=source, at=at, echoes=one.echoes))
        return tuple(said[: OTHERS + 1])

    def _links(self) -> tuple[Link, ...]:
        wanted = ["evidence"]
        if self.say in (Say.FIRING, Say.UPDATED, Say.REPEAT, Say.ESCALATED) and self.data.acknowledged is None:
            wanted.append("acknowledge")
        evidence = self.data.links.get("evidence", "")
        otherwise = {"evidence": "", "acknowledge": "" if "#" in evidence else f"{evidence}#acknowledge"}
        urls = {name: self.data.links.get(name) or otherwise[name] for name in wanted}
        return tuple(Link(self.words[f"link.{name}"], url) for name, url in urls.items() if is_ours(url))

    def _footer(self) -> str:
        if self.own:
            return self.words["footer.plain"]
        rule, episode = outside(self.data.rule.id, NAME_LIMIT), outside(self.data.episode_id, NAME_LIMIT)
        return self.words["footer"].format(rule=rule, version=self.data.rule.version, episode=episode)

    def _short(self) -> str:
        if self.own or self.say is Say.ACKNOWLEDGED:
            return self._title()
        if not self.data.rule.bounded:
            return self._title()
        kind = "share" if self.data.kind == "share" else "sparse" if self.places["sparse"] else "count"
        kind = "settled" if self._settled() else "resolved" if self.say is Say.RESOLVED else kind
        return self._line([f"short.{kind}", f"shorter.{kind}"])

    def _settled(self) -> bool:
        """It is over because it has become the usual, not because it calmed down."""
        return self.say is Say.RESOLVED and self.data.ended == "new_level"

    def _line(self, keys: Sequence[str], **more: str) -> str:
        """The first of these sentences that fits a line: with the subject's code, without, or with a part of its name."""
        limit = LINE_LIMITS.get(self.lang, LINE_LIMITS["en"])
        for subject in (self._subject(), self._named()):
            for key in keys:
                whole = self._fill(key, **{"subject": subject, **more})
                if len(whole) <= limit:
                    return whole
        room = limit - len(self._fill(keys[-1], **{"subject": "", **more}))
        named = _cut(self._named(), max(room, NAME_LEAST))
        return _cut(self._fill(keys[-1], **{"subject": named, **more}), limit)

    # -- what goes into the places ------------------------------------------------------------------------------------

    def _places(self) -> dict[str, object]:
        data = self.data
        start = self._moment(data.started_at)
        over = data.resolved_at if self.say is Say.RESOLVED else None
        # Counted until when the event was made: an acknowledgement of it may be hours younger.
        until = self._moment(over) if over else start + timedelta(seconds=min(max(data.window_s, 60), LONGEST_S))
        high = max(data.expected.high, 1)
        return {
            "tag": self._tag(),
            "rule": outside(data.rule.name.get(self.lang) or data.rule.name.get("en") or data.rule.id, RULE_NAME_LIMIT),
            "subject": self._subject(),
            "times": _times(min(data.effect, MANY_TIMES)),
            "percent": round(100 * min(max(data.observed.negative_share, 0.0), 1.0)),
            "negatives": data.observed.negatives,
            "mentions": data.observed.mentions,
            "reach": data.observed.reach,
            "low": data.expected.low,
            "high": high,
            "sparse": data.expected.low == 0 and high == 1,
            "span": self._span(until - start),
            "from": clock_time(start, until, self.words["day"]),
            "to": clock_time(until, start, self.words["day"]),
            "zone": self.words.get(f"zone.{self.zone}", "UTC"),
        }

    def _fill(self, key: str, *, sparse: object = False, **more: object) -> str:
        return self.words[f"{key}.sparse" if sparse else key].format(**(self.places | more))

    def _tag(self) -> str:
        key = self.say.value
        if self.data.test and not self.own and self.say is not Say.TEST:
            key = "drill_over" if self.say is Say.RESOLVED else "drill"
        return self.words[f"tag.{key}"].format(level=self.words[f"level.{self.data.severity}"])

    def _subject(self) -> str:
        name, code = self._named(), code_of(self.data.subject.id, self.lang)
        return self.words["subject.coded"].format(name=name, code=code) if code and code != name else name

    def _named(self) -> str:
        names = self.data.subject.names
        return outside(names.get(self.lang) or names.get("en") or self.data.subject.id, NAME_LIMIT)

    def _name_of(self, found: str, kind: str) -> str:
        if kind == "topics" and found in TOPIC_NAMES:
            return TOPIC_NAMES[found][1 if self.lang == "zh" else 0]
        return outside(found, NAME_LIMIT)

    def _source(self, document: AlertDocument) -> str:
        source, host = outside(document.source, NAME_LIMIT), _host(document.url)
        if not host or host.replace("\u2060", "").endswith(source.replace("\u2060", "")):
            return host or source
        return self.words["source.host"].format(source=source, host=host)

    def _time(self, at: str) -> str:
        return clock_time(self._moment(at), self._moment(self.at), self.words["day"])

    def _moment(self, at: str) -> datetime:
        try:
            return moment(at, self.zone)
        except ValueError:  # whoever wrote that to the topic: the alert is told, its time is visibly not one
            return moment(0, self.zone)

    def _span(self, lasted: timedelta) -> str:
        minutes = max(1, round(lasted.total_seconds() / 60))
        if minutes < 120:
            return self.words["span.minutes"].format(minutes=minutes)
        if minutes < 48 * 60:
            return self.words["span.hours"].format(hours=minutes // 60, minutes=minutes % 60)
        return self.words["span.days"].format(days=minutes // 1440, hours=minutes % 1440 // 60)

    def _tone(self) -> Tone:
        if self.say in (Say.RESOLVED, Say.RECOVERED):
            return "calm"
        if self.say in (Say.ACKNOWLEDGED, Say.TEST) or (self.data.test and not self.own):
            return "plain"
        if self.say is Say.DISABLED:
            return "warning"
        return "plain" if self.data.severity == "notice" else self.data.severity


def code_of(subject: str, lang: str) -> str:
    """A company's code as its readers write it: 600519.SH and AAPL in Chinese, XSHG:600519 in English; "" for a topic."""
    listing = subject.partition("|")[0]
    market, _, code = listing.partition(":")
    if market in ("topic", "PRIVATE", "TEST") or not _CODED.fullmatch(listing):
        return ""
    if lang != "zh":
        return listing
    return f"{code}.{_CHINESE_TAILS[market]}" if market in _CHINESE_TAILS and _DIGITS.fullmatch(code) else code


def is_ours(url: str) -> bool:
    """Whether this is a link that markup of any channel may hold as it is: http(s), no blank, quote, bracket of markup."""
    return len(url) <= LINK_LIMIT and _OURS.fullmatch(url) is not None


def _budget(sensitivity: str) -> float | None:
    """False alarms a day over all subjects: of a word, or the number itself. None for neither."""
    try:
        return BUDGETS.get(sensitivity) or float(sensitivity) or None
    except ValueError:
        return None


def _largest(documents: Sequence[AlertDocument]) -> AlertDocument | None:
    """The document shown of the story with most echoes; the first, who is surest, among equals."""
    return max(documents, key=lambda one: one.echoes, default=None)


def _said(document: AlertDocument) -> str:
    return _inner(outside(document.title or document.excerpt, TITLE_LIMIT))


def _inner(quoted: str) -> str:
    """Quotation marks within a quotation are single ones: a title cannot close ours and speak in our voice."""
    return quoted.translate(_SINGLE)


def _cut(line: str, limit: int) -> str:
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _host(url: str | None) -> str:
    """Where a document lies, to be read and not to be clicked: the host of an http(s) address."""
    try:
        parts = urlsplit(url or "")
        host = (parts.hostname or "") if parts.scheme in ("http", "https") else ""
    except ValueError:
        return ""
    return outside(host, NAME_LIMIT) if host.isascii() else ""


def _within(limit: int, sentences: Sequence[str]) -> tuple[str, ...]:
    """As many as fit, in order: a long one that does not is passed over for the shorter ones after it."""
    kept, used = [], 0
    for one in sentences:
        if used + len(one) + 1 <= limit:
            kept.append(one)
            used += len(one) + 1
    return tuple(kept)


def _times(effect: float) -> str:
    return f"{effect:.0f}" if effect >= 10 else f"{effect:.1f}"
