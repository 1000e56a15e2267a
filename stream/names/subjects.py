"""Loads the catalogue of subjects from its JSON files into one automaton of names; `entities.py` searches with it.

A file holds `{"entries": [...]}`, or is a list of entries, or is `stop_phrases.json` (phrases, tickers, context).
An entry's `needs_context` names are ambiguous, its `weak` ones are common words; `context` words speak for both and
`against` words for the other meaning, as `entities.py` explains.
"""

import re
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import ahocorasick
import msgspec

from groundswell.errors import BrokenCatalogue

FOLDER = Path(__file__).parent / "catalogue"

# Traditional forms of the characters in the catalogue's names and in the packs' phrases, one to one, so that places in
# the text stay the same.
_TRADITIONAL = (
    "騰腾訊讯貴贵蘋苹華华國国銀银電电聯联東东寶宝馬马豐丰滙汇匯汇豐丰壽寿險险證证業业廣广發发長长軟软體体車车龍龙飛飞興兴亞亚遜逊"
    "實实閱阅網网騎骑億亿產产樂乐視视創创芯芯際际鐵铁鋼钢藥药爾尔門门點点團团萬万達达韓韩歐欧紐纽約约納纳絡络腦脑見见記记設设計计"
    "碼码試试話话誠诚語语課课請请諾诺變变讓让買买賣卖費费貸贷質质財财資资賽赛輝辉輪轮運运過过進进還还遠远適适邁迈鄉乡醫医釋释鋰锂"
    "錢钱錦锦鏈链鐘钟閃闪開开間间關关隆隆陽阳雙双難难雲云電电靈灵項项順顺預预領领頭头題题顧顾風风飲饮養养驗验魚鱼鴻鸿鵬鹏麥麦齊齐"
    "動动務务勝胜區区協协單单參参啟启員员問问喬乔單单圖图圍围場场塊块壓压奧奥媽妈學学寧宁導导專专將将層层島岛幣币帶带幫帮幾几庫库"
    "應应慶庆戰战戲戏擔担據据撥拨擴扩敗败數数斷断時时書书會会條条樓楼標标樣样機机權权氣气決决沒没涼凉測测湯汤溝沟漲涨濟济灣湾無无"
    "爭争獎奖獲获現现環环瑪玛當当療疗盤盘監监矽硅碩硕禮礼種种稅税積积競竞節节範范籌筹級级終终組组結结絕绝給给統统經经維维總总績绩"
    "織织續续羅罗義义習习聞闻聽听脈脉膠胶舉举艦舰蘭兰號号虧亏處处衛卫裝装補补規规覽览觀观訂订託托訴诉註注詢询認认談谈論论識识護护"
    "負负貨货購购貿贸賬账賺赚賴赖蹤踪軍军較较輸输轉转農农違违選选郵邮鑒鉴針针鑽钻鎳镍闊阔陸陆陳陈隨随險险離离雖虽霧雾響响頁页須须"
    "擠挤兌兑儲储戶户壞坏備备餘余額额減减淨净縮缩銷销爛烂駕驾駛驶輔辅滿满熱热殼壳燒烧後后異异樁桩換换虛虚礦矿鹽盐鈉钠態态極极價价優优貼贴舊旧賠赔歸归"
)
_FOLDS = str.maketrans(
    {_TRADITIONAL[i]: _TRADITIONAL[i + 1] for i in range(0, len(_TRADITIONAL), 2)}
    | {"’": "'", "‘": "'", "‐": "-", "‑": "-", "–": "-", "＋": "+", "İ": "i"}
)
_FOLDABLE = re.compile("[" + re.escape("".join(chr(point) for point in _FOLDS)) + "]")
_STATUS = re.compile(r"^(?:\*?ST|XD|XR|DR)(?=[\u4e00-\u9fff])|-(?:U|W|SW|UW|B|S|R)$")
_MARKETS = {"SH": "XSHG", "SS": "XSHG", "SZ": "XSHE", "HK": "XHKG"}
_FRONT_CODE = re.compile(r"^(SH|SS|SZ|HK)(\d{4,6})$")
_BACK_CODE = re.compile(r"^(\d{4,6})\.(SH|SS|SZ|HK)$")

Kind = Literal["company", "index", "currency", "coin"]
Calendar = Literal["XNYS", "XSHG", "XHKG", "ALWAYS"]
Words = dict[Literal["en", "zh"], list[str]]


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One subject: its names, what else it answers to, and the exchange whose hours and days it keeps."""

    id: str
    kind: Kind
    names: dict[Literal["en", "zh"], str]
    aliases: Words = {}
    cashtags: list[str] = []
    codes: list[str] = []
    needs_context: list[str] = []
    weak: list[str] = []
    context: Words = {}
    against: Words = {}
    same_as: list[str] = []
    calendar: Calendar = "ALWAYS"
    zone: str = "UTC"
    enabled: bool = True


class _Stops(msgspec.Struct, forbid_unknown_fields=True):
    phrases: Words = {}
    tickers: list[str] = []
    families: list[str] = []
    context: Words = {}


class _Entries(msgspec.Struct):
    entries: list[Entry]


class Strength(Enum):
    """What a name is worth by itself."""

    SURE = "sure"
    FLAGGED = "flagged"
    WEAK = "weak"
    STOP = "stop"


class Name(NamedTuple):
    """What the automaton returns for a hit."""

    subject: str
    strength: Strength
    length: int
    latin: bool
    opens_latin: bool
    closes_latin: bool
    opens_with_digit: bool
    upper_only: bool
    common: bool
    currency: bool


class Catalogue:
    """The loaded subjects. `len()` is the number of enabled ones, `subjects` gives the entry of an id."""

    def __init__(self, entries: Sequence[Entry], stops: Sequence[_Stops]) -> None:
        self.subjects: dict[str, Entry] = {entry.id: entry for entry in entries if entry.enabled}
        self.by_symbol: dict[str, str] = {}
        self.by_code: dict[str, str] = {}
        self.by_digits: dict[str, str] = {}
        self.stop_tickers = frozenset(ticker for stop in stops for ticker in stop.tickers)
        self.families = frozenset(family for stop in stops for family in stop.families)
        self.names: Any = ahocorasick.Automaton()
        self.ascii_names: Any = ahocorasick.Automaton()  # all that ASCII text can hold: a third of the search
        self._context = {entry.id: _context(entry.context) for entry in self.subjects.values() if entry.context}
        self._against = {entry.id: _context(entry.against) for entry in self.subjects.values() if entry.against}
        general: Words = {"en": [], "zh": []}
        for stop in stops:
            for lang, words in stop.context.items():
                general[lang] += words
        self._finance = _context(general)
        for entry in self.subjects.values():
            self._add_symbols(entry)
        for entry in self.subjects.values():
            self._add_names(entry)
        for stop in stops:
            for phrase in (*stop.phrases.get("zh", ()), *stop.phrases.get("en", ())):
                self._add(phrase, "", Strength.STOP)
        if not len(self.ascii_names):
            self._add("\x00", "", Strength.STOP)  # an automaton without words cannot be searched
        self.names.make_automaton()
        self.ascii_names.make_automaton()

    def __len__(self) -> int:
        return len(self.subjects)

    def resolve(self, symbol: str) -> str | None:
        """The subject that a feed's symbol, cashtag, code or id names: AAPL, $AAPL, SH600519, 0700.HK, XNAS:AAPL."""
        key = symbol.strip().lstrip("$#").upper()
        known = self.by_symbol.get(key) or self.by_code.get(key)
        if known is not None:
            return known
        if key.isdigit():
            return self.by_digits.get(key)
        if match := _FRONT_CODE.match(key):
            return self._by_market(match[1], match[2])
        if match := _BACK_CODE.match(key):
            return self._by_market(match[2], match[1])
        return self.by_symbol.get(key.replace("/", ""))

    def has_context(self, subject: str, lowered: str) -> bool:
        """Whether a word that goes with this subject stands in the lower-case text."""
        pattern = self._context.get(subject)
        return pattern is not None and pattern.search(lowered) is not None

    def has_other_meaning(self, subject: str, lowered: str) -> bool:
        """Whether a word that goes with what this subject's name means besides (orchards, 丰收) stands in the text."""
        pattern = self._against.get(subject)
        return pattern is not None and pattern.search(lowered) is not None

    def has_finance_context(self, lowered: str) -> bool:
        """Whether a word of market news stands in the lower-case text."""
        return self._finance is not None and self._finance.search(lowered) is not None

    def _by_market(self, market: str, digits: str) -> str | None:
        mic = _MARKETS[market]
        return self.by_code.get(f"{mic}:{digits.zfill(5) if mic == 'XHKG' else digits}")

    def _add_symbols(self, entry: Entry) -> None:
        for code in (entry.id, *entry.same_as, *entry.codes):
            self._claim(self.by_code, code.upper(), entry.id)
            digits = code.partition(":")[2]
            if digits.isdigit() and code.startswith(("XSHG:", "XSHE:", "XHKG:")):
                self._claim(self.by_digits, digits, entry.id)
        for tag in entry.cashtags:
            self._claim(self.by_symbol, tag.upper(), entry.id)

    def _claim(self, table: dict[str, str], key: str, subject: str) -> None:
        if table.setdefault(key, subject) != subject:
            raise BrokenCatalogue(f"{key} is claimed by {table[key]} and by {subject}.")

    def _add_names(self, entry: Entry) -> None:
        held = dict.fromkeys(entry.needs_context, Strength.FLAGGED) | dict.fromkeys(entry.weak, Strength.WEAK)
        full = [*entry.names.values(), *entry.aliases.get("en", ()), *entry.aliases.get("zh", ()), *held]
        for name in dict.fromkeys(full):
            strength = held.get(name, Strength.SURE)
            for form in dict.fromkeys((name, _STATUS.sub("", name))):
                self._add(form, entry.id, strength)

    def _add(self, surface: str, subject: str, strength: Strength) -> None:
        key = matchable(surface)
        if not key.strip():
            raise BrokenCatalogue(f"{subject or 'a stop phrase'} has an empty name.")
        known = self.names.get(key, None)
        if known is not None and strength is not Strength.STOP:
            if known.subject == subject:
                return
            raise BrokenCatalogue(f'The name "{surface}" is claimed by {known.subject} and by {subject}.')
        if known is not None and known.subject:
            raise BrokenCatalogue(f'The stop phrase "{surface}" is a name of {known.subject}.')
        opens, closes = _is_latin(key[0]), _is_latin(key[-1])
        # "UPS", "VIX" and "BP" are names in capitals only: the same letters in lower case are words.
        upper = surface.isascii() and surface.isalpha() and surface.isupper() and len(surface) <= 3
        latin = opens or closes
        # "yen" and "ether" are written small wherever they stand; "Target" written small is a word.
        common = latin and surface.islower()
        currency = bool(subject) and self.subjects[subject].kind == "currency"
        name = Name(subject, strength, len(key), latin, opens, closes, key[0].isdigit(), upper, common, currency)
        self.names.add_word(key, name)
        if key.isascii():
            self.ascii_names.add_word(key, name)


def matchable(text: str) -> str:
    """The text as names are compared: lower case, simplified Han, plain quotes and dashes; as long as it was."""
    lowered = text.lower()
    if len(lowered) != len(text):
        lowered = "".join(low if len(low := char.lower()) == 1 else char for char in text)
    return lowered if lowered.isascii() or not _FOLDABLE.search(lowered) else lowered.translate(_FOLDS)


def load(paths: Sequence[Path] = (FOLDER,), packs: Sequence[Path] = ()) -> Catalogue:
    """The catalogue of all JSON files in these folders and of these files. An entry of a file in `packs` may have the id
    of one before: it then adds its names, codes and context words to that one. Its names are no stop phrases any more.

    Raises BrokenCatalogue, naming the file, when one is missing, is not JSON of the right shape, repeats an id, or
    claims a name or code of another subject.
    """
    entries: dict[str, Entry] = {}
    stops: list[_Stops] = []
    spared: set[str] = set()
    for file in (*_files(paths), *packs):
        try:
            raw = file.read_bytes()
        except OSError as error:
            raise BrokenCatalogue(f"{file}: {error.strerror or error}.") from error
        try:
            if file.name == "stop_phrases.json":
                stops.append(msgspec.json.decode(raw, type=_Stops))
                continue
            decoded = msgspec.json.decode(raw, type=_Entries | list[Entry])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BrokenCatalogue(f"{file}: {error}.") from error
        for entry in decoded if isinstance(decoded, list) else decoded.entries:
            _check(file, entry)
            known = entries.get(entry.id)
            if known and file not in packs:
                raise BrokenCatalogue(f"{file}: {entry.id} is there twice.")
            entries[entry.id] = _grown(known, entry) if known else entry
            if file in packs:
                spared.update(matchable(name) for name in names_of(entry))
    return Catalogue(list(entries.values()), [_without(stop, spared) for stop in stops] if spared else stops)


def names_of(entry: Entry) -> list[str]:
    """All that it is called, also what needs its context."""
    lists = (entry.names.values(), *entry.aliases.values(), entry.needs_context, entry.weak)
    return [name for names in lists for name in names]


def _without(stops: _Stops, spared: set[str]) -> _Stops:
    kept: Words = {
        lang: [word for word in words if matchable(word) not in spared] for lang, words in stops.phrases.items()
    }
    return msgspec.structs.replace(stops, phrases=kept)


def _grown(known: Entry, more: Entry) -> Entry:
    """`known`, which also answers to the names of `more`."""

    def joined(mine: Words, others: Words) -> Words:
        return {lang: [*mine.get(lang, ()), *others.get(lang, ())] for lang in mine.keys() | others.keys()}

    return msgspec.structs.replace(
        known,
        aliases=joined(known.aliases, joined({lang: [name] for lang, name in more.names.items()}, more.aliases)),
        context=joined(known.context, more.context),
        against=joined(known.against, more.against),
        cashtags=[*known.cashtags, *more.cashtags],
        codes=[*known.codes, *more.codes],
        same_as=[*known.same_as, *more.same_as],
        needs_context=[*known.needs_context, *more.needs_context],
        weak=[*known.weak, *more.weak],
    )


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(path.glob("*.json"))
            if not found:
                raise BrokenCatalogue(f"{path}: no JSON file in this folder.")
            files += found
        else:
            files.append(path)
    return files


def _check(file: Path, entry: Entry) -> None:
    if not re.fullmatch(r"[A-Z0-9]+:[A-Z0-9.\-]+", entry.id):
        raise BrokenCatalogue(f"{file}: the id {entry.id!r} is not of the form MARKET:CODE.")
    if not entry.names:
        raise BrokenCatalogue(f"{file}: {entry.id} has no name.")
    try:
        ZoneInfo(entry.zone)
    except (KeyError, ValueError, OSError) as error:
        raise BrokenCatalogue(f"{file}: {entry.id} has an unknown zone {entry.zone!r}.") from error


def _is_latin(char: str) -> bool:
    return char.isalnum() and char < "\u2e80"


def _context(words: Words) -> re.Pattern[str] | None:
    latin = "|".join(re.escape(word.lower()) for word in words.get("en", ()))
    han = "|".join(re.escape(word.lower()) for word in words.get("zh", ()))
    parts = [part for part in (rf"(?<![a-z0-9])(?:{latin})(?![a-z0-9])" if latin else "", han) if part]
    return re.compile("|".join(parts)) if parts else None
