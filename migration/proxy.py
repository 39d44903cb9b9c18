"""Refuses a proxy in the environment that cannot be meant, before a library prints what it cannot parse."""

from __future__ import annotations

from urllib.parse import urlsplit
from urllib.request import getproxies

from migration.errors import InvalidInput


def check_proxies() -> None:
    """Raise `InvalidInput` if what HTTPS_PROXY or ALL_PROXY says is not the URL of a proxy.

    Mostly it is a password with a character that means something in a URL: requests then takes half of
    it for a port, and shows that half in its exception. Nothing of the value is repeated here.
    """
    found = getproxies()
    for scheme in ("https", "all"):
        value = found.get(scheme, "")
        parts = urlsplit(value if "://" in value else f"http://{value}")
        try:
            is_whole = bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port that is no number
            is_whole = False
        if value and (not is_whole or parts.path.strip("/") or parts.query or parts.fragment):
            raise InvalidInput(
                f"what {scheme.upper()}_PROXY says is not the URL of a proxy",
                "http://name:password@host:port, with %2F for / and %23 for # and %3F for ? in the password",
            )
