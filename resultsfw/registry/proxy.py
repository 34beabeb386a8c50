"""Connect to servers through the proxy that the environment names (``HTTPS_PROXY``, ``NO_PROXY``)."""

import base64
import http.client
import ipaddress
import socket
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

__all__ = ["connect_through", "proxy_for"]


def proxy_for(host: str, port: int) -> str:
    """Return the URL of the proxy for a server with TLS; "" for none. Loopback addresses have none."""
    proxy = getproxies().get("https", "")
    if not proxy or host == "localhost" or proxy_bypass(f"{host}:{port}"):
        return ""
    try:
        return "" if ipaddress.ip_address(host).is_loopback else proxy
    except ValueError:
        return proxy


def connect_through(proxy: str, host: str, port: int, timeout: float) -> socket.socket:
    """Return a connection to a server, made by an HTTP proxy (RFC 9110, CONNECT).

    Raises:
        OSError: The proxy cannot be reached, refuses, or is of another kind.
    """
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme != "http" or not parts.hostname:
        raise OSError(0, "the proxy that the environment names is not an HTTP proxy")
    headers = {}
    if parts.username:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=timeout)
    connection.set_tunnel(host, port, headers)
    try:
        connection.connect()
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise OSError(0, f"the proxy that the environment names does not connect: {error}") from error
    return connection.sock
