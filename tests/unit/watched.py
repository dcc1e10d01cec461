"""A controller over the simulated platform whose metrics are scraped."""

from __future__ import annotations

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from replay.controller.loop import Loop
from replay.controller.metrics import Metrics
from replay.controller.service import serve
from tests.unit.control_platform import Clock, FakePlatform

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
"""Name and labels → value."""


class Watched:
    """A controller, its platform, and what Prometheus reads of it."""

    def __init__(self, loop: Loop, platform: FakePlatform, clock: Clock) -> None:
        self.loop, self.platform, self.clock = loop, platform, clock
        self.metrics = Metrics(clock, lambda: loop.holding)
        loop.watcher = self.metrics

    def rounds(self, number: int) -> None:
        """Rounds of the service, a second apart, with a checkpoint of every job at every third."""
        for i in range(number):
            self.clock.time += 1
            if i % 3 == 2:
                self.platform.complete_checkpoint()
            serve(self.loop, lambda: True, round_seconds=None)

    def samples(self) -> Samples:
        text = generate_latest(self.metrics.registry).decode()
        return {
            (s.name, tuple(sorted(s.labels.items()))): s.value
            for family in text_string_to_metric_families(text)
            for s in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples().get((name, tuple(sorted(labels.items()))))

    def labelled(self, name: str) -> list[dict[str, str]]:
        return [dict(labels) for found, labels in self.samples() if found == name]
