"""Text from the world before it goes into a message: nothing hidden in it, one line, cut where readers see a character end.

`outside` also keeps clients from making links of it. Read notice.py for where it goes; each channel escapes its own markup.
"""

import re

from groundswell.text import safe, unmasked

_JOINER = "\u2060"  # shows nothing; a client that looks for addresses stops at it
_ADDRESS = re.compile(
    r"(?<=[\w-])\.(?=[^\W\d_]{2})|(?<=www)\."  # evil.com
    r"|(?<=[A-Za-z0-9-])[\u3002\uff61](?=[A-Za-z]{2})"  # evil。com, which some browsers take for the same
    r"|(?<=\d)\.(?=\d{1,3}\.\d{1,3}\.\d)"  # 203.0.113.7
    r"|:(?=[/\\]{2})"  # https://
    r"|(?<=\bmailto):|(?<=\btel):|(?<=\bsms):|(?<=\btg):|(?<=\bdata):|(?<=\bfile):|(?<=\bjavascript):|(?<=\bvbscript):",
    re.IGNORECASE,
)
_LONGEST = 16  # times the limit: what a text may hide before it; the rest is not even looked at


def clean(text: str, limit: int) -> str:
    """One line of at most `limit` code points: no controls, no bidi or zero-width characters, no towers of accents.

    A joiner stays between two emoji. A longer text ends in an ellipsis. Not yet escaped for any markup.
    """
    return safe(unmasked(text[: _LONGEST * limit + 64]), limit)


def outside(text: str, limit: int) -> str:
    """`clean`, and no client makes a link of it: an invisible joiner stands in what looks like an address."""
    return _ADDRESS.sub(lambda found: found[0] + _JOINER, clean(text, limit))
