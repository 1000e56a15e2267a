"""Texts and links of others as a page may show them. Pure, and light: the searching processes load it too."""

import re

_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def visible(text: str) -> str:
    """The text with what a reader cannot see, or what would turn letters around, spelled out."""
    return _HIDDEN.sub(lambda hidden: f"⟨U+{ord(hidden[0]):04X}⟩", text)


def link(url: str) -> str:
    """The address if it is one that a page may link to, else "": only http and https."""
    cleaned = url.strip()
    return cleaned if cleaned.lower().startswith(("http://", "https://")) and len(cleaned) <= 2_000 else ""
