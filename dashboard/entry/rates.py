"""How often one person may ask: a bucket of tokens for each kind of request and each asker. Pure but for the clock it is given.

A bucket holds a minute's worth, so a page that opens with thirty requests is no offence. At most BUCKETS are kept: the one that was
asked longest ago is forgotten first, and with it that somebody asked too often.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Literal

Kind = Literal["read", "write", "push", "export", "login"]

A_MINUTE: Mapping[Kind, int] = {
    "read": 600,
    "write": 60,
    "push": 6_000,  # requests, of up to 500 documents each
    "export": 10,
    "login": 10,  # an address: who it is is not known yet
}
BUCKETS = 10_000


class Rates:
    """`now_s` is seconds that never go back. A kind that `a_minute` does not name has no limit."""

    def __init__(self, now_s: Callable[[], float], a_minute: Mapping[Kind, int] = A_MINUTE) -> None:
        self._now_s, self._a_minute = now_s, a_minute
        self._buckets: OrderedDict[tuple[Kind, str], tuple[float, float]] = OrderedDict()  # left, looked at

    def wait_s(self, kind: Kind, asker: str) -> float:
        """0 where it may be done now, and then it counts; else the seconds until it may."""
        limit = self._a_minute.get(kind)
        if limit is None:
            return 0.0
        now, key = self._now_s(), (kind, asker)
        left, looked_s = self._buckets.pop(key, (float(limit), now))
        left = min(float(limit), left + (now - looked_s) * limit / 60)
        may = left >= 1
        self._buckets[key] = (left - 1 if may else left, now)
        if len(self._buckets) > BUCKETS:
            self._buckets.popitem(last=False)
        return 0.0 if may else (1 - left) * 60 / limit

    def __len__(self) -> int:
        return len(self._buckets)


def asker_of(address: str) -> str:
    """Whom an address's limit is for: of IPv6 the /64, since whoever has one address there has them all."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    mapped = found.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network(f"{address}/64", strict=False))
