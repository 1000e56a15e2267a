"""Which companies, indices, currencies and coins a normalised text speaks of, and where; subjects.py loads the names.

The rules, in order (each is one function below): feed symbols, cashtags, codes, unambiguous names, bare tickers, and
last the names that mean something else too ("Apple", 长城), which need a reason from the same text.
Chinese family names (平安, 中信) are in no list: only a full member (平安银行) links.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from groundswell.records import Mention
from groundswell.reserved import is_test
from groundswell.settings import Settings
from stream.names.packs import packs_of
from stream.names.subjects import FOLDER, Catalogue, Entry, Name, Strength, load, matchable

__all__ = ["Catalogue", "Entry", "Mention", "link", "load", "load_for", "unknown_symbols"]

MAX_SUBJECTS = 20
_LONGEST = 20_000  # code points that are searched; the subject of a text is named before that

_CASHTAG = re.compile(r"(?<![A-Za-z0-9_$])\$([A-Za-z]{1,10}(?:[.\-_][A-Za-z]{1,2}(?![A-Za-z]))?)(?![A-Za-z0-9_])")
_MAINLAND_CODE = re.compile(
    r"(?<![A-Za-z0-9])(?:(?P<front>SH|SZ|XSHG|XSHE|SSE|SZSE)[:：.]?\s?(?P<a>\d{6})|(?P<b>\d{6})\.(?P<back>SH|SS|SZ|XSHG|XSHE))"
    r"(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_HONG_KONG_CODE = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:HK|HKG|HKEX|SEHK|XHKG)[:：.]?\s?(?P<a>\d{4,5})|(?P<b>\d{4,5})\.HK)(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_IN_BRACKETS = re.compile(
    r"(?<!单号)(?<!编号)(?<!号码)(?<!订单)(?<!证码)(?<!邮编)(?<!电话)(?<!热线)[(（]\s*(\d{5,6})\s*[)）]"
)
_BARE_CODE = re.compile(r"(?:代码|股票)[:：]?\s?(\d{6})(?!\d)|(?<![\d.])(\d{6})(?=\s?(?:股|这只|这票|大跌|跌停|涨停))")
_EXCHANGE_TICKER = re.compile(
    r"[(（]\s*(?:NASDAQ|NASDAQGS|NYSE|NYSEARCA|AMEX|OTC|OTCMKTS|纳斯达克|纽交所|美股)\s*[:：]\s*"
    r"([A-Za-z]{1,5}(?:[.\-][A-Za-z]{1,2})?)\s*[)）]",
    re.IGNORECASE,
)
_WIRE_TICKER = re.compile(r"[(（]\s*([A-Z]{1,5})\.(?:N|O|OQ|US)\s*[)）]")  # as Chinese newswires write it: (AMD.O)
_PAIR = re.compile(r"(?<![A-Za-z])([A-Z]{3})\s?/\s?([A-Z]{3})(?![A-Za-z])")
_BARE_TICKER = re.compile(
    r"(?<![A-Za-z0-9_\u00c0-\u024f$@.&'-])#?([A-Z]{3,6})(\.[A-Z](?![A-Za-z0-9_]))?(?![A-Za-z0-9_\u00c0-\u024f&-])"
)
# What must be there before a longer pattern is worth a search.
_FOUR_DIGITS, _FIVE_DIGITS, _SIX_DIGITS = re.compile(r"\d{4}"), re.compile(r"\d{5}"), re.compile(r"\d{6}")
_THREE_CAPITALS = re.compile(r"[A-Z]{3}")
_SENTENCE_START = re.compile(r"(?:^|[.!?:\n\"“”(|]|\s[-–—])\s*$")
# "12 BP" and "5 siemens" are units, "3.2 billion yuan" and 20亿日元 are amounts.
_COUNT = re.compile(r"(?<![A-Za-z0-9_.,])\d{1,3}(?:\.\d+)?\s?$")
_HAN_COUNT = re.compile(r"(?<![A-Za-z0-9_.,])\d(?:\.\d+)?$")
_AMOUNT = re.compile(r"(?:[\d万亿千百十几多两]|[bmt]n|[bm]illion|trillion|thousand|hundred)\s?$", re.IGNORECASE)
# What companies do and words, prices and fruit do not: it tells where a capital cannot, at the start of a sentence.
_MOVES = r"(?:by |about |nearly |almost |over |more than |as much as )?\d"
_ACTS = re.compile(
    r"\s(?:(?:says|names|warns|sues|hires|fires|appoints|unveils|acquires|agrees to|apologi[sz]es|recalls)\b"
    r"|(?:cuts|trims|slashes|raises|lifts) (?:its|jobs|staff|outlook|guidance|profit|forecast|dividend|\d))",
    re.IGNORECASE,
)
_ACTS_OR_MOVES = re.compile(
    _ACTS.pattern
    + r"|\s(?:posts|reports|beats|misses|signs|wins|loses|owes|faces|settles|expects|halts|buys|sells|plans to"
    r"|to (?:cut|buy|sell|close|shut|hire|invest|spend|lay off|acquire|pay|recall|build|spin off))\b"
    rf"|\s(?:falls|rises|jumps|slides|drops|gains|sinks|surges|tumbles|climbs|slips|plunges|soars|rallies|loses) {_MOVES}",
    re.IGNORECASE,
)
_LATIN_WORD = re.compile(r"[A-Za-z][A-Za-z'&-]*")


class _Found:
    """First position of each subject, in the order of the rules."""

    def __init__(self) -> None:
        self.spans: dict[str, tuple[int, int]] = {}
        self.codes: set[int] = set()  # where codes start: the HKEX of "HKEX: 9866" is no name

    def add(self, subject: str | None, start: int, end: int) -> None:
        if subject is None:
            return
        known = self.spans.get(subject)
        if known is None or known[0] < 0 or start < known[0]:
            self.spans[subject] = (start, end)


def load_for(settings: Settings) -> Catalogue:
    """The built-in catalogue with what files and packs of the settings add; raises BrokenCatalogue, BrokenPack, UnknownPack."""
    packs = packs_of(settings)
    return load([FOLDER, *map(Path, settings.catalogues)], [file for pack in packs for file in pack.catalogue_files])


def link(catalogue: Catalogue, text: str, symbols: Sequence[str] = ()) -> list[Mention]:
    """At most 20 distinct subjects of a *normalised* text, by place of their first mention, in code points.

    A subject that only the feed's `symbols` name has no place (start = end = -1) and comes after those that have one.
    Unknown cashtags and symbols are ignored here; `unknown_symbols` lists them. What tests the installation is about nothing else.
    """
    if test := next((symbol for symbol in symbols if is_test(symbol)), None):
        return [Mention(test)]
    text = text[:_LONGEST]
    found = _Found()
    if "$" in text:
        _cashtags(catalogue, text, found)
    _codes(catalogue, text, found)
    flagged = _names(catalogue, text, found)
    _bare_tickers(catalogue, text, found)
    named = {subject for symbol in symbols if (subject := catalogue.resolve(symbol)) is not None}
    if flagged:
        _judge(catalogue, text, flagged, found, named)
    mentions = sorted((start, end, subject) for subject, (start, end) in found.spans.items())
    linked = [Mention(subject, start, end) for start, end, subject in mentions]
    linked += [Mention(subject) for subject in sorted(named - found.spans.keys())]
    return linked[:MAX_SUBJECTS]


def unknown_symbols(catalogue: Catalogue, text: str, symbols: Sequence[str] = ()) -> list[str]:
    """The distinct cashtags and feed symbols that no subject answers to, for the caller's count."""
    tags = (match[1] for match in _CASHTAG.finditer(text[:_LONGEST])) if "$" in text else ()
    unknown = [symbol for symbol in (*symbols, *tags) if catalogue.resolve(symbol) is None]
    return list(dict.fromkeys(unknown))


def _cashtags(catalogue: Catalogue, text: str, found: _Found) -> None:
    for match in _CASHTAG.finditer(text):
        tag = match[1]
        if not tag.isupper() and (len(tag) == 1 or (len(tag) == 2 and tag.upper() in catalogue.stop_tickers)):
            continue  # "$c" and "$so" are slips and slang, not Citigroup and Southern
        found.add(catalogue.resolve(tag) or catalogue.resolve(re.split(r"[.\-_]", tag)[0]), match.start(), match.end())


def _codes(catalogue: Catalogue, text: str, found: _Found) -> None:
    bracket = "(" in text or "（" in text
    if _FOUR_DIGITS.search(text):
        six = _SIX_DIGITS.search(text) is not None
        if six:
            for match in _MAINLAND_CODE.finditer(text):
                code = match["a"] or match["b"]
                market = (match["front"] or match["back"]).upper()
                mic = "XSHE" if market in {"SZ", "SZSE", "XSHE"} else "XSHG"
                found.codes.add(match.start())
                found.add(catalogue.by_code.get(f"{mic}:{code}"), match.start(), match.end())
        if "hk" in text.lower():  # in every one of its forms
            for match in _HONG_KONG_CODE.finditer(text):
                code = (match["a"] or match["b"]).zfill(5)
                found.codes.add(match.start())
                found.add(catalogue.by_code.get(f"XHKG:{code}"), match.start(), match.end())
        for worth, pattern in (
            (bracket and _FIVE_DIGITS.search(text), _IN_BRACKETS), (six and not text.isascii(), _BARE_CODE),
        ):  # fmt: skip
            for match in pattern.finditer(text) if worth else ():
                group = match.lastindex or 1
                found.add(catalogue.by_digits.get(match[group]), match.start(group), match.end(group))
    if bracket:
        for pattern in (_EXCHANGE_TICKER, _WIRE_TICKER):
            for match in pattern.finditer(text):
                found.add(catalogue.resolve(match[1]), match.start(1), match.end(1))
    if "/" in text:
        for match in _PAIR.finditer(text):
            found.add(catalogue.by_symbol.get(match[1] + match[2]), match.start(), match.end())


def _names(catalogue: Catalogue, text: str, found: _Found) -> list[tuple[Name, int, int]]:
    """Adds the unambiguous names; returns the others. Stop phrases win over what they hold: 中国平安夜."""
    folded = matchable(text)
    names = catalogue.ascii_names if folded.isascii() else catalogue.names
    hits = [
        (start, end, name)
        for last, name in names.iter(folded)
        if _is_word(folded, start := last + 1 - name.length, end := last + 1, name)
        and _case_fits(text, start, end, name)
    ]
    # A name that a stop phrase crosses or covers is part of another word: 平安 in 平安夜, 中国平安 in 中国平安夜.
    crossed = {place for start, end, name in hits if name.strength is Strength.STOP for place in range(start + 1, end)}
    named = [hit for hit in hits if hit[2].strength is not Strength.STOP]
    if crossed:
        named = [hit for hit in named if hit[0] not in crossed and hit[1] not in crossed]
    # Boundaries are judged before the longest is chosen (iter_long would do the opposite and lose the shorter one).
    named.sort(key=lambda hit: (hit[0], -hit[1]))
    flagged = []
    reached = 0
    for start, end, name in named:
        if start < reached:
            continue
        reached = end
        if start in found.codes or _is_counted(text, start, end, name):
            continue
        if name.strength is Strength.SURE:
            found.add(name.subject, start, end)
        else:
            flagged.append((name, start, end))
    return flagged


def _is_word(folded: str, start: int, end: int, name: Name) -> bool:
    if not name.latin:
        return True
    before = folded[start - 1] if start else " "
    after = folded[end] if end < len(folded) else " "
    if name.opens_with_digit and before in "$€£¥.,":
        return False
    return not (_joins(before) and name.opens_latin) and not (_joins(after) and name.closes_latin)


def _joins(char: str) -> bool:
    # A Han character beside a Latin name is no part of it: 特斯拉Tesla股价.
    return char == "_" or (char.isalnum() and char < "\u2e80")


def _case_fits(text: str, start: int, end: int, name: Name) -> bool:
    if name.latin and name.upper_only:
        return text[start:end].isupper()
    return True


def _is_counted(text: str, start: int, end: int, name: Name) -> bool:
    before = text[max(0, start - 10) : start]
    if name.currency:
        return _AMOUNT.search(before) is not None
    if not name.latin:
        return _HAN_COUNT.search(before) is not None
    return (name.upper_only or text[start:end].islower()) and _COUNT.search(before) is not None


def _bare_tickers(catalogue: Catalogue, text: str, found: _Found) -> None:
    matches = list(_BARE_TICKER.finditer(text)) if _THREE_CAPITALS.search(text) else []
    if not matches or _shouts(text):
        return
    for match in matches:
        known = catalogue.by_symbol.get(match[1] + match[2]) if match[2] else None
        if known is not None:
            found.add(known, match.start(1), match.end())
        elif match[1] not in catalogue.stop_tickers:
            found.add(catalogue.by_symbol.get(match[1]), match.start(1), match.end(1))


def _shouts(text: str) -> bool:
    words = [word for word in _LATIN_WORD.findall(text) if len(word) > 1]
    lower = sum(not word.isupper() for word in words)
    return len(words) >= 4 and lower * 4 < len(words)


def _judge(
    catalogue: Catalogue, text: str, flagged: Iterable[tuple[Name, int, int]], found: _Found, named: set[str]
) -> None:
    """An ambiguous name links with: itself linked otherwise, a context word, a second subject, a telling capital, or a
    verb that companies go with (Citi to cut). Words of its other meaning (orchards, 丰收) leave it its own context only.

    A weak name (Target, Gap, 长城) is a common word even in market news: only its own context words and a few verbs help.
    """
    sure = frozenset(named | found.spans.keys())
    lowered = text.lower()
    # Each question is asked once a text, or once a subject: a text may repeat a name ten thousand times.
    all_lower = lowered == text
    headline = _title_case(text)
    general = catalogue.has_finance_context(lowered)
    helped: dict[str, bool] = {}
    denied: dict[str, bool] = {}
    for name, start, end in flagged:
        subject = name.subject
        if subject in found.spans and found.spans[subject][0] <= start:
            continue
        if name.latin and not name.common and not all_lower and lowered[start:end] == text[start:end]:
            continue  # "target", "gap" and "meta" are words wherever other words have capitals
        if subject not in helped:
            helped[subject] = subject in sure or catalogue.has_context(subject, lowered)
            denied[subject] = not helped[subject] and catalogue.has_other_meaning(subject, lowered)
        if denied[subject]:
            continue
        # A capital tells nothing in a headline, where every word has one, nor at the start of a sentence.
        telling = (
            name.latin
            and not name.common
            and not name.upper_only
            and not headline
            and not all_lower
            and not _SENTENCE_START.search(text[max(0, start - 8) : start])
        )
        flagged_name = name.strength is Strength.FLAGGED
        acts = name.latin and not name.currency and (_ACTS_OR_MOVES if flagged_name else _ACTS).match(text, end)
        if helped[subject] or acts or (flagged_name and (general or telling or bool(sure))):
            found.add(subject, start, end)


def _title_case(text: str) -> bool:
    words: list[str] = [word for word in _LATIN_WORD.findall(text) if len(word) > 3]
    return sum(word[0].isupper() for word in words) * 2 > len(words)
