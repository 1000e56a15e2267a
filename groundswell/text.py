"""How a text from the world becomes the one string that is stored, linked, counted and scored; read `language.py` next.

Ingest, training and serving share `normalise`; a change of its output is a new `NORMALISER_VERSION`, because spans
index the normalised text and models learn from it.
"""

import html
import re
import unicodedata

NORMALISER_VERSION = 1

_SURROGATE = re.compile("[\ud800-\udfff]")
_EMOJI = "\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
_INVISIBLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # C0 and C1 controls that are not line ends or blanks
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi controls: they make text read other than it is stored
    "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200c\u2060-\u2065\u206a-\u206f\u3164\ufeff\uffa0"
    "\ufff0-\ufffb\ufffe\uffff\ufe00-\ufe0e\U000e0000-\U000e0fff"
)
_JUNK = re.compile(
    f"[{_INVISIBLE}]+"
    f"|(?<![{_EMOJI}])\ufe0f(?!\u20e3)"  # the emoji style mark is kept on emoji and keycaps only
    f"|(?<![{_EMOJI}\ufe0f])\u200d|\u200d(?![{_EMOJI}])"  # a joiner is kept between two emoji only
)
_INVISIBLE_RUN = re.compile(f"[{_INVISIBLE}]+")
# NFKC where it is safe: letters and digits in disguise. Chinese punctuation stays, people read it.
_DISGUISED = re.compile(
    "[\uff03-\uff06\uff0b\uff0d-\uff19\uff1c-\uff1e\uff20-\uff3b\uff3d\uff3f\uff41-\uff5a\uff5c\uffe5\uffe1"
    "\ufb00-\ufb06\U0001d400-\U0001d7ff]+"
)
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20df\u20e1-\u20ff\ufe20-\ufe2f"
_STACKED_MARKS = re.compile(f"([{_MARKS}]{{2}})[{_MARKS}]+")
_ENTITY = re.compile(r"&(?:(?:amp|#38|#[xX]26);)*(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
# A URL ends at a blank, a quote, Chinese text or an emoji: Chinese goes on without a blank after it.
_URL_BODY = '[^\\s<>"“”‘’\u2e80-\U0010ffff]'
_SHORTENERS = "t\\.co|t\\.cn|pic\\.twitter\\.com|bit\\.ly|ow\\.ly|stks\\.co|goo\\.gl|fb\\.me|youtu\\.be|tinyurl\\.com"
_URL = re.compile(
    f"(?:(?:https?|ftp)://{_URL_BODY}*|(?<![\\w.@])www\\.{_URL_BODY}+|(?<![\\w.@])(?:{_SHORTENERS})/{_URL_BODY}*)",
    re.IGNORECASE,
)
_URL_HINT = re.compile(r"://|www\.|\.(?:co|cn|com|ly|gl|me|be)/", re.IGNORECASE)
_TAG = re.compile(
    r"</?(?:p|br|b|i|u|em|strong|a|div|span|ul|ol|li|img|h[1-6]|table|tr|td|th|blockquote|font)(?:\s[^<>]{0,500})?/?>",
    re.IGNORECASE,
)
# Written by a user these would become the tokenizer's own marks; a blank inside keeps them ordinary text.
_SPECIAL = re.compile(r"([\[<])(/?(?:mask|sep|cls|pad|unk|bos|eos|s)|\|[a-z0-9_]{1,32}\|)([\]>])", re.IGNORECASE)
_MAX_ROUNDS = 6


def normalise(text: str) -> str:
    """The text that everything downstream sees. Idempotent, never raises, never longer than a few blanks more.

    Kept: cashtags, emoji (with their joiners), Chinese punctuation, letter case, one ``\\n`` where lines broke.
    Gone: URLs, HTML tags and entities, controls, bidi and zero-width characters, runs of blanks.
    Broken by a blank: typed special tokens such as ``[MASK]``. Lone surrogates become U+FFFD.
    """
    for _ in range(_MAX_ROUNDS):
        once = _normalise_once(text)
        if once == text:
            return once
        text = once
    # Only hostile nesting (entities within entities) needs more rounds: without the ampersand there is nothing to nest.
    return _normalise_once(_normalise_once(text.replace("&", " ")))


def _normalise_once(text: str) -> str:
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(f"&{match[1]};"), text)
    text = _INVISIBLE_RUN.sub("", text) if text.isascii() else unmasked(text)
    if _URL_HINT.search(text):
        text = _URL.sub(_without_url, text)
    if "<" in text:
        text = _TAG.sub(" ", text)
    if "<" in text or "[" in text:
        text = _SPECIAL.sub(r"\1 \2 \3", text)
    lines = text.splitlines()
    if len(lines) <= 1:
        return " ".join(text.split())
    return "\n".join(filter(None, (" ".join(line.split()) for line in lines)))


def unmasked(text: str) -> str:
    """The text without what hides: invisible and bidi characters, letters in disguise, stacked marks, lone surrogates."""
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    text = _JUNK.sub("", text)
    text = _DISGUISED.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    if not unicodedata.is_normalized("NFC", text):
        text = unicodedata.normalize("NFC", text)
    return _STACKED_MARKS.sub(r"\1", text)


def _without_url(match: re.Match[str]) -> str:
    url = match[0]
    return " " + url[len(url.rstrip(".,;:!?)]}'")) :]


_RETWEET = re.compile(
    r"^\s*(?:(?:rt|mt|via)\s+@\w{1,30}\s*[:：]?\s*|(?:转发微博|转发|回复\s*@[\w-]{1,30})[:：]?\s*)+", re.IGNORECASE
)
_HANDLE = re.compile(r"@[A-Za-z0-9_]{1,20}|@[\w-]{1,15}(?=[\s:：])")
_NOT_WORD = re.compile(r"[\W_]+")
_QUOTE_IN_WORD = re.compile(r"(?<=\w)['’](?=\w)")
_PUBLISHER_TAIL = re.compile(r"\s+[-–—|]\s*([^-–—|\d%$]{2,32})$|[_|]([\u4e00-\u9fff]{2,10})$")
_HAN_GAP = re.compile("(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])")


def fold(text: str) -> str:
    """The text as near copies share it: NFKC, case folded, words only, blanks between them (none between Han).

    URLs, ``@names``, a retweet prefix, ``#``, ``$``, punctuation and a trailing ``- Publisher`` are dropped
    (the measured recipe for folding copies). Idempotent enough to hash: equal stories give equal folds.
    """
    if _URL_HINT.search(text):
        text = _URL.sub(" ", text)
    text = _RETWEET.sub("", text)
    if "@" in text:
        text = _HANDLE.sub(" ", text)
    tail = _PUBLISHER_TAIL.search(text)
    if tail is not None and tail.start() >= 8 and _is_publisher(tail[1] or tail[2]):
        text = text[: tail.start()]
    text = _QUOTE_IN_WORD.sub("", text).casefold()
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).casefold()
        return _HAN_GAP.sub("", _NOT_WORD.sub(" ", text).strip())
    return _NOT_WORD.sub(" ", text).strip()


def _is_publisher(tail: str) -> bool:
    words = tail.split()
    return 0 < len(words) <= 4 and all(
        word[0].isupper() or word in {"of", "the"} or not word.isascii() for word in words
    )


_CONTROLS = re.compile(f"[\x00-\x1f\x7f-\x9f\u2028\u2029]+|[{_INVISIBLE}]+")
_ELLIPSIS = "…"


def safe(text: str, limit: int = 200) -> str:
    """The text on one line for a log or a terminal: no controls, no bidi tricks, at most ``limit`` code points.

    A longer text is cut between characters as readers see them and ends in an ellipsis.
    """
    # Characters beyond a few times the limit can never show: cleaning them would be work for an attacker's profit.
    head = text[: 4 * limit + 64]
    if _SURROGATE.search(head):
        head = head.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    head = " ".join(_CONTROLS.sub(lambda match: " " if match[0].isspace() else "", head).split())
    if len(head) <= limit and len(text) <= 4 * limit + 64:
        return head
    end = max(0, min(limit, len(head) + 1) - 1)
    while 0 < end < len(head) and (_extends(head[end]) or head[end - 1] == "\u200d" or _splits_flag(head, end)):
        end -= 1
    return head[:end].rstrip() + _ELLIPSIS if limit > 0 else ""


def _extends(char: str) -> bool:
    return char in "\u200d\ufe0f\u20e3" or "\U0001f3fb" <= char <= "\U0001f3ff" or unicodedata.combining(char) != 0


def _splits_flag(text: str, end: int) -> bool:
    # A flag is two regional indicators: an odd run of them before the cut leaves one alone.
    run = end
    while run > 0 and "\U0001f1e6" <= text[run - 1] <= "\U0001f1ff":
        run -= 1
    return (end - run) % 2 == 1 and "\U0001f1e6" <= text[end] <= "\U0001f1ff"
