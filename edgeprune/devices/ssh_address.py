"""Addresses of boards, `ssh://user@host[:port]`, without anything that ssh would take for an option."""

import ipaddress
import re
from dataclasses import dataclass

from edgeprune.errors import EdgepruneError

_ADDRESS = re.compile(
    r"ssh://(?P<user>[A-Za-z0-9_.][A-Za-z0-9_.+-]*)@"
    r"(?:(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)|\[(?P<ipv6>[A-Za-z0-9:.%_-]+)\])(?::(?P<port>[1-9][0-9]{0,4}))?"
)


@dataclass(frozen=True)
class Address:
    """The user and host of a board; `port` None leaves it to ssh."""

    user: str
    host: str
    port: int | None


def parse(device: str) -> Address:
    """The address in `ssh://user@host[:port]`; an IPv6 address stands in brackets."""
    shown, passwords = re.subn(r"^([^:]*://[^:/@]*):.*@", r"\1:***@", device, flags=re.DOTALL)
    shown = shown if shown.isprintable() else repr(shown)
    if passwords:
        raise EdgepruneError(f"device {shown}: passwords are not taken; use a key and ssh-agent.")
    match = _ADDRESS.fullmatch(device)
    try:
        if match and ipaddress.IPv6Address(match["ipv6"] or "::1") and int(match["port"] or 22) <= 65535:
            return Address(match["user"], match["name"] or match["ipv6"], int(match["port"]) if match["port"] else None)
    except ValueError:
        pass
    raise EdgepruneError(f"device {shown}: is no address of a board; give ssh://user@host or ssh://user@host:port.")
