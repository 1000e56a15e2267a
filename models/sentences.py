"""Splits Chinese and English text into sentences, as spans of code points; heads.py picks the deciding one."""

import re

# A full stop ends a sentence only before a blank, so 3.5 and U.S.-listed stay whole; Chinese marks always do. Closing
# quotes and brackets belong to the sentence they close. A semicolon separates clauses that may differ in polarity.
END = re.compile(r"(?:[。！？!?；;…]+|\.+(?=\s|$|[”’\"')\]]))[”’」』\"')）\]】]*|\n+")

# Words before a full stop that does not end a sentence.
ABBREVIATIONS = frozenset(
    {
        *("mr", "mrs", "ms", "dr", "prof", "st", "vs", "no", "inc", "corp", "co", "ltd", "plc", "bros", "dept", "est"),
        *("jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec"),
        *("approx", "fig", "u.s", "u.k", "e.g", "i.e", "a.m", "p.m"),
    }
)
LAST_WORD = re.compile(r"[A-Za-z][A-Za-z.]*$")


def split(text: str) -> list[tuple[int, int]]:
    """Spans `(start, end)` of the sentences, in order, without blanks at the ends; every other character is in one."""
    spans, start = [], 0
    for mark in END.finditer(text):
        if mark.group() == "." and is_abbreviation(text[start : mark.start()]):
            continue
        spans.append((start, mark.end()))
        start = mark.end()
    spans.append((start, len(text)))
    return [trimmed for span in spans if (trimmed := trim(text, *span))]


def is_abbreviation(before: str) -> bool:
    found = LAST_WORD.search(before[-12:])
    if not found:
        return False
    word = found.group()
    return word.lower() in ABBREVIATIONS or (len(word) == 1 and word.isupper())


def trim(text: str, start: int, end: int) -> tuple[int, int] | None:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else None
