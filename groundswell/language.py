"""Which of the two served languages a text is in, by script and a few hundred function words; `text.py` comes before.

Small and own-written on purpose: a feed is mostly Chinese or English, and what matters is not to send the rest to a
model that cannot read it. Short Latin texts count as English, since that is what tickers and slang look like.
"""

import re
from typing import Literal

Language = Literal["zh", "en", "other"]

_NOT_PROSE = re.compile(r"https?://\S+|[$@#][A-Za-z0-9_.]+")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa\uff66-\uff9d]")
_HANGUL = re.compile("[\u1100-\u11ff\uac00-\ud7a3]")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f\u1e00-\u1eff]")
_OTHER_SCRIPT = re.compile("[\u0370-\u05ff\u0600-\u10ff\u1200-\u17ff]")
# Forms that only Japanese writes: a headline may have no kana at all.
_JAPANESE_HAN = re.compile("[経続込売円気対済価発総変関験検応駅広読沢圧拡継権働]")
_CHINESE_MARKS = re.compile("[。，！？；：、]")
_VIETNAMESE = re.compile("[ăđơưạảấầẩẫậắằẳẵặẹẻẽếềểễệỉịọỏốồổỗộớờởỡợụủứừửữựỳỵỷỹ]")
_DIACRITIC = re.compile("[à-öø-ÿāčćęěğıłńňőřśšşťůűźżž¿¡]")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_SMALL_ASCII_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")  # the same in what is ASCII and lower case, in half the time

_ENGLISH_WORDS = (
    "the of and to in is are was were be been has have had will would can could should may might not no "
    "this that these those it its it's they their them we our you your he she his her who what when why "
    "how which there here with from for by at on as or but if than then after before over under into out "
    "up down about against between more most some any all just so very still again now today says said "
    "say new first last don't can't won't i'm i'll isn't didn't doesn't that's a an my me am do does did "
    "get got going gonna one two year years month week day shares stock market company price buy sell"
)
_ENGLISH = frozenset(_ENGLISH_WORDS.split())
# Words that English text hardly holds in number; spellings both use often ("die", "on", "no") are in no list.
_OTHERS = {
    "fr": (
        "le la les des du une dans est sont pour par sur avec qui que pas plus cette ses aux mais ont été "
        "après selon entre depuis leur nous vous très comme être fait aussi sans ce un et il elle au de en sa"
    ),
    "de": (
        "der das und ist nicht mit für auf von den dem des ein eine einen einem einer sich auch nach bei aus "
        "wie noch nur über durch oder werden wird wurde sind haben vor zum zur im mehr als aber gegen unter "
        "zu seit ich wir sie es um doch schon kein keine"
    ),
    "es": (
        "el la los las una del que por con para como más pero sus este esta fue ha han sobre entre cuando muy "
        "sin también desde hasta según ser está son año años y un en su se al lo de hoy tras"
    ),
    "pt": (
        "o os uma dos das em para com não que mais como mas foi ao pela pelo sua seu são está também já após "
        "entre sobre ser ainda até ano anos e um na nas nos da de por se à"
    ),
    "it": (
        "il lo gli che della delle dei degli nel nella per con non una sono più come anche dopo alla dal "
        "questo questa ha hanno stato tra fra essere di un e la le del al si è"
    ),
    "nl": (
        "het een van niet met voor op aan zijn dat deze naar ook bij uit wordt heeft maar nog meer tegen "
        "omdat werd de en te ik wij dan"
    ),
    "id": (
        "yang dan di dari untuk dengan pada ini itu tidak akan dalam karena oleh juga sudah telah kepada para "
        "saham harga lebih setelah naik turun tahun bisa ada atau saat lagi"
    ),
    "tr": ("ve bir bu için ile olarak daha çok gibi ama değil kadar sonra olan şirket hisse yeni var ise de da"),
    "pl": ("i w na z się nie do że jest od przez po za dla jak oraz są był będzie ale które który o to już"),
    "sv": ("och att det som på är av för med den har inte ett om var till från men efter också kan en vi nya"),
    "vi": ("và của là không được cho trong với các một những này đã sẽ khi từ đến cổ phiếu giá tăng giảm"),
}
# word -> the lists that hold it, by number; 0 is English. One look a word instead of one for each list.
_LISTS: dict[str, list[int]] = {}
for _number, _words in enumerate((_ENGLISH_WORDS, *_OTHERS.values())):
    for _word in frozenset(_words.split()):
        _LISTS.setdefault(_word, []).append(_number)


def language(text: str) -> Language:
    """``zh``, ``en`` or ``other`` for a normalised text; traditional Chinese is ``zh``, an empty text is ``en``."""
    prose = text if text.isascii() and "$" not in text and "@" not in text else _NOT_PROSE.sub(" ", text)
    if not prose.isascii():
        by_script = _by_script(prose)
        if by_script is not None:
            return by_script
    return _by_words(prose.lower())


def _by_script(prose: str) -> Language | None:
    han = len(_HAN.findall(prose))
    latin = len(_LATIN.findall(prose))
    kana = _KANA.findall(prose)
    hangul = len(_HANGUL.findall(prose))
    other = len(_OTHER_SCRIPT.findall(prose))
    # One の is fashionable in Chinese; grammar in kana is not.
    kana_weight = len(kana) if set(kana) - {"の", "ノ"} else 0
    if kana_weight >= 2 and kana_weight * 10 >= han and (kana_weight + han) * 3 >= latin:
        return "other"
    if hangul >= 2 and hangul * 3 >= latin and hangul * 2 >= han:
        return "other"
    if other > 2 and other * 2 >= latin:
        return "other"
    if han and (han * 3 >= latin or _chinese_around_names(prose, han, latin)):
        return "other" if _JAPANESE_HAN.search(prose) or kana_weight >= 2 else "zh"
    if not (han or latin or other) and _CHINESE_MARKS.search(prose):
        return "zh"
    return None


def _chinese_around_names(prose: str, han: int, latin: int) -> bool:
    # A Han character carries about as much as three letters, but a list of foreign names makes no English sentence.
    return han >= 6 and han * 8 >= latin and sum(word in _ENGLISH for word in _WORD.findall(prose.lower())) < 3


def _by_words(prose: str) -> Language:
    words = (_SMALL_ASCII_WORD if prose.isascii() else _WORD).findall(prose[:2000])
    held = [0] * (len(_OTHERS) + 1)
    for known in filter(None, map(_LISTS.get, words)):
        for number in known:
            held[number] += 1
    english, foreign = held[0], max(held[1:])
    if prose.isascii():
        return "other" if foreign >= 3 and foreign > 2 * english else _short_foreign(foreign, english, len(words))
    if len(_VIETNAMESE.findall(prose)) >= 2:
        return "other"
    marks = len(_DIACRITIC.findall(prose))
    return "other" if foreign + min(marks, 3) >= 2 and foreign + min(marks, 2) > english else "en"


def _short_foreign(foreign: int, english: int, words: int) -> Language:
    return "other" if foreign >= 2 and english == 0 and words >= 4 else "en"
