"""Whose turn it is among those who want something delivered: no tenant and no host takes all senders.

Knows what this process is sending just now. Not safe to share between threads without a lock.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

MOST_SERVED: Final = 1000  # tenants remembered


@dataclass(slots=True)
class Turns:
    """Deliveries under way, by tenant and host, and the tenants that had their turn (the latest last)."""

    per_tenant: int
    per_host: int
    _tenants: Counter[str] = field(default_factory=Counter)
    _hosts: Counter[str] = field(default_factory=Counter)
    _served: dict[str, None] = field(default_factory=dict)

    @property
    def full_tenants(self) -> list[str]:
        """Those with as many under way as they may have."""
        return [tenant_id for tenant_id, num in self._tenants.items() if num >= self.per_tenant]

    @property
    def full_hosts(self) -> list[str]:
        """Likewise."""
        return [host for host, num in self._hosts.items() if num >= self.per_host]

    @property
    def served(self) -> list[str]:
        """The tenants that had their turn, the latest last."""
        return list(self._served)

    def begin(self, tenant_id: str, host: str) -> None:
        """One more is under way."""
        self._tenants[tenant_id] += 1
        self._hosts[host] += 1
        self._served.pop(tenant_id, None)
        self._served[tenant_id] = None
        if len(self._served) > MOST_SERVED:
            del self._served[next(iter(self._served))]

    def end(self, tenant_id: str, host: str) -> None:
        """It is over."""
        self._tenants -= Counter([tenant_id])
        self._hosts -= Counter([host])
