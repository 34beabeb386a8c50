"""Checks addresses that a server names, before a request with anything secret follows."""

import ipaddress
from urllib.parse import urlsplit

_PORTS = {"https": 443, "http": 80}


def origin_of(url: str) -> str:
    """Returns scheme, host and port of a URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{parts.port or _PORTS.get(parts.scheme)}"


def address_fault(url: str, *, known: str, insecure: bool) -> str:
    """Returns what is wrong with an address that a registry named: of a token, an upload or a redirect.

    Args:
        url: The address.
        known: An address of the registry; its host is always allowed.
        insecure: The registry is asked without TLS, so others may be, too.

    Returns:
        Empty for an http or https URL of ASCII without a user that is no address in a private network.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "the registry names an address that is not a URL"
    odd = "@" in parts.netloc or not (url.isascii() and url.isprintable()) or " " in url
    if parts.scheme not in _PORTS or not host or odd:
        return "the registry names an address that is not an http or https URL"
    if parts.scheme == "http" and not insecure:
        return f"the registry names an address without TLS: {parts.netloc}"
    if parts.netloc == urlsplit(known).netloc:
        return ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return ""
    return "" if address.is_global else f"the registry names an address in a private network: {parts.netloc}"


def is_link_local(address: str) -> bool:
    """Returns whether an IP address is one that only this machine's network sees: a cloud's own services."""
    found = ipaddress.ip_address(address.partition("%")[0])
    return (getattr(found, "ipv4_mapped", None) or found).is_link_local
