"""What a process knows of products without reading it again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from replay.core.model import ProductState
from replay.store.leases import GIVEN_BACK, Lease


@dataclass(frozen=True)
class _Known:
    token: int
    state: ProductState


class KnownStates:
    """States of products, each as of the token of a lease.

    A state stays valid until a higher token is taken, because every write is fenced and so needs a token, except for
    the writes of the token's holder. So it is kept only for a lease that was given back, or that is held through this
    store.
    """

    def __init__(self) -> None:
        self._mine: dict[str, int] = {}
        """Product → token that was last taken through this store."""
        self._known: dict[str, _Known] = {}

    def of(self, product: str, token: int) -> ProductState | None:
        """The state as of this token."""
        known = self._known.get(product)
        return known.state if known and known.token == token else None

    def taken(self, lease: Lease, before: int) -> None:
        """A lease was taken after the token `before`: what was known as of that token is still valid."""
        self._mine[lease.product] = lease.token
        known = self._known.pop(lease.product, None)
        if known and known.token == before:
            self._known[lease.product] = replace(known, token=lease.token)

    def loaded(self, product: str, token: int, expires: float, state: ProductState) -> None:
        """A state was read under a lease with this token."""
        if expires == GIVEN_BACK or token == self._mine.get(product):
            self._known[product] = _Known(token, state)

    def changed(self, lease: Lease, change: Callable[[ProductState], ProductState]) -> None:
        """The holder has written."""
        if state := self.of(lease.product, lease.token):
            self._known[lease.product] = _Known(lease.token, change(state))

    def forget(self, product: str) -> None:
        """It has to be read again."""
        self._known.pop(product, None)

    def removed(self, product: str) -> None:
        """The product is gone."""
        self._mine.pop(product, None)
        self.forget(product)
