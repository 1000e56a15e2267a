"""Text that no Chinese markdown robot can read as markup: every character that could begin any stands in its full-width form.

DingTalk and WeCom document no escape; `<@name>` inside a text rings there. A full-width sign looks the same to a reader.
"""

_SIGNS = "@[]()!<>#*_`~|\\&{}$"
_WIDE = str.maketrans({sign: chr(ord(sign) + 0xFEE0) for sign in _SIGNS})


def inert(text: str) -> str:
    """The same text, one character for one."""
    return text.translate(_WIDE)
