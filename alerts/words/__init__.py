"""What messages say, in each language: whole sentences with named places. en.py and zh.py hold the same keys."""

from alerts.words.en import EN
from alerts.words.zh import ZH

WORDS: dict[str, dict[str, str]] = {"en": EN, "zh": ZH}


def words_of(lang: str) -> dict[str, str]:
    """The texts of a language; English for one there is none of."""
    return WORDS.get(lang, EN)
