"""What a program of the stack answers when it is asked by HTTP."""

from __future__ import annotations

import httpx

from replay import tls

_SECONDS = 2.0


def get(url: str) -> httpx.Response | None:
    """None where it does not answer. Proxies of the environment are not between us and a program of this machine."""
    try:
        return httpx.get(url, timeout=_SECONDS, trust_env=False, verify=tls.nobody())
    except httpx.HTTPError:
        return None
