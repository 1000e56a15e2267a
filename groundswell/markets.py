"""The markets that are subjects of their own: all talk, and that about the listings of New York, of mainland China, of Hong Kong.

A document that names companies of a market counts once for it. Which market a subject belongs to shows in its id, so that tag, which
counts, and deliver, which judges a company by its excess over its market, need no catalogue to know.
"""

MARKET = "market"
MARKETS = {
    "XNYS": {"en": "US stocks", "zh": "美股"},
    "XSHG": {"en": "Mainland China stocks", "zh": "A 股"},
    "XHKG": {"en": "Hong Kong stocks", "zh": "港股"},
}
"""Names by calendar group (`stream.detection.season.GROUPS`); what trades around the clock has no market of its own."""

_LISTINGS = {"XNYS": "XNYS", "XNAS": "XNYS", "OTC": "XNYS", "XSHG": "XSHG", "XSHE": "XSHG", "XHKG": "XHKG"}
_INDICES = {
    "XNYS": ("SPX", "DJI", "IXIC", "NDX", "RUT", "VIX", "SOX"),
    "XSHG": ("SSEC", "SZCOMP", "CHINEXT", "STAR50", "CSI300", "CSI500", "CSI1000", "BSE50"),
    "XHKG": ("HSI", "HSTECH", "HSCEI"),
}
_GROUPS = {f"INDEX:{code}": group for group, codes in _INDICES.items() for code in codes}


def market_of(subject: str) -> str:
    """The market that a company or index is part of: XNAS:AAPL and XNAS:AAPL|topic:fraud are of market:XNYS. Empty where there is none."""
    name = subject.partition("|")[0]
    group = _GROUPS.get(name) or _LISTINGS.get(name.partition(":")[0])
    return f"{MARKET}:{group}" if group else ""


def is_market(subject: str) -> bool:
    """All talk, or a market's."""
    return subject == MARKET or subject.startswith(f"{MARKET}:")
