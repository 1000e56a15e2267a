"""Which IP addresses a webhook may never reach. Own tables: `ipaddress.is_global` is true for multicast, 6to4, others.

Pure; guard.py asks it for names, literals and each connection about to be made. Source: IANA's special-purpose
registries.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

CLOSED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
OPEN_V6 = IPv6Network("2000::/3")
CLOSED_V6 = tuple(
    IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "2620:4f:8000::/48")
)
# An IPv4 address inside an IPv6 one is judged as itself; behind DNS64 every receiver is 64:ff9b::.
WRAPPED_V4 = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))
ISATAP = frozenset({0x0000_5EFE, 0x0200_5EFE})
# Cloud metadata: never reachable, whatever the operator allows.
METADATA = (
    IPv4Network("169.254.0.0/16"), IPv4Network("100.100.100.200/32"), IPv4Network("168.63.129.16/32"),
    IPv4Network("192.0.0.192/32"), IPv6Network("fd00:ec2::254/128"), IPv6Network("fe80::/10"),
)  # fmt: skip


def parse(text: str) -> Address:
    """An address as sockets give it, a zone (%eth0) dropped. Raises ValueError."""
    return ip_address(text.partition("%")[0])


def bare(address: Address) -> Address:
    """The IPv4 address that an IPv6 one wraps, else the address itself."""
    if isinstance(address, IPv6Address) and any(address in network for network in WRAPPED_V4):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_metadata(address: Address) -> bool:
    """Belongs to a cloud's metadata service."""
    inner = bare(address)
    return any(inner in network for network in METADATA)


def is_public(address: Address) -> bool:
    """On the internet: not private, loopback, link-local, multicast, reserved or a tunnel to one of these."""
    inner = bare(address)
    if isinstance(inner, IPv4Address):
        return not any(inner in network for network in CLOSED_V4)
    if inner not in OPEN_V6 or any(inner in network for network in CLOSED_V6):
        return False
    return (int(inner) >> 32) & 0xFFFF_FFFF not in ISATAP
