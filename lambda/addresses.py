"""Which addresses are hosts of the public internet.

Python's own `ipaddress` answers differently from version to version (3.11 takes 192.0.0.9 for public, 3.12 fec0::1), so
the ranges are written out: IANA's special-purpose registries (RFC 6890 and what was added until 2025), multicast, and
the one address outside of them where a cloud answers its own machines. Some of these ranges can be
reached from everywhere (AS112, AMT); no pictures are served there.
"""

from __future__ import annotations

import ipaddress

NOT_PUBLIC = tuple(
    ipaddress.ip_network(each)
    for each in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12",
        "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
        "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
        "168.63.129.16/32",  # Azure's wire server
        # Teredo, ORCHID, benchmarking and the other protocols of 2001::/23; documentation; 6to4, which holds an IPv4
        # address that a relay would reach; AS112; documentation again (RFC 9637)
        "2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20",
    )
)  # fmt: skip
# All that IANA has given out for hosts. What lies outside of it is loopback, NAT64, link-local, site-local, unique
# local (AWS's metadata service at fd00:ec2::254 too), segment routing, multicast, or nobody's.
GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet's hosts. Raises ValueError for what is no address."""
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    if ip.version == 6 and ip.ipv4_mapped is not None:
        return is_public(str(ip.ipv4_mapped))
    if ip.version == 6 and ip not in GLOBAL_UNICAST:
        return False
    return not any(ip in network for network in NOT_PUBLIC)
