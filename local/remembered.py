"""What a home remembers of the last start, in stack.yaml: ports, the remote tier, the number of TaskManagers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from local.layout import DEFAULT_PORT_BASE, Layout, Ports
from replay.errors import ConfigError, ConflictError


def layout_of(
    home: Path,
    port_base: int | None = None,
    *,
    tiered: bool = False,
    taskmanagers: int | None = None,
) -> Layout:
    """The home's layout: ports and TaskManagers as asked for, else as remembered, else the default.

    A remote tier, once asked for, is always remembered: Kafka refuses to start without it where a topic uses it.
    """
    remembered = _remembered(home) or _NOTHING
    base = port_base or remembered.port_base or DEFAULT_PORT_BASE
    if not 1024 <= base <= 65_000:
        raise ConfigError(
            "this port base is out of range",
            expected="1024 to 65000",
            found=str(base),
            next=f"kappa up --port-base {DEFAULT_PORT_BASE}",
        )
    return Layout(
        home,
        Ports(base),
        tiered or remembered.tiered,
        taskmanagers or remembered.taskmanagers,
    )


def remembered_port_base(home: Path) -> int | None:
    """The port base of the last start."""
    return (_remembered(home) or _NOTHING).port_base


@dataclass(frozen=True)
class _Memory:
    """What stack.yaml remembers of the last start."""

    port_base: int | None = None
    tiered: bool = False
    taskmanagers: int = 1


_NOTHING = _Memory()


def _remembered(home: Path) -> _Memory | None:
    """What `kappa up` wrote; None of a home in which nothing was started yet."""
    try:
        found = yaml.safe_load((home / "stack.yaml").read_text())
        return _Memory(
            int(found["port_base"]),
            bool(found.get("tiered", False)),
            int(found.get("taskmanagers", 1)),
        )
    except FileNotFoundError:
        return None
    except (TypeError, KeyError, ValueError, yaml.YAMLError) as e:
        raise ConfigError(
            f"{home / 'stack.yaml'} cannot be read",
            expected="port_base: a number",
            found=repr(e),
            next=f"delete {home / 'stack.yaml'}, then: kappa up --port-base {DEFAULT_PORT_BASE}",
        ) from e


def remember(layout: Layout) -> None:
    """Have the next start be as this one."""
    found = {
        "port_base": layout.ports.base,
        **({"tiered": True} if layout.tiered else {}),
        **({"taskmanagers": layout.taskmanagers} if layout.taskmanagers > 1 else {}),
    }
    layout.stack_file.write_text(yaml.safe_dump(found))


def refuse_other_ports(layout: Layout) -> None:
    """ConflictError for other ports than those of a running stack."""
    running = remembered_port_base(layout.home)
    if running is not None and running != layout.ports.base:
        raise ConflictError(
            "the stack of this home runs on other ports",
            expected=f"port base {layout.ports.base}",
            found=f"port base {running}",
            next=f"kappa down, then: kappa up --port-base {layout.ports.base}",
        )


def refuse_other_form(layout: Layout) -> None:
    """ConflictError for what a running stack would have to be started again for."""
    running = _remembered(layout.home) or _NOTHING
    if layout.tiered and not running.tiered:
        raise ConflictError(
            "the stack of this home runs without a remote tier",
            expected="a broker that was started with one",
            found="remote.log.storage.system.enable=false",
            next="kappa down, then: kappa up --tiered",
        )
    if layout.taskmanagers != running.taskmanagers:
        raise ConflictError(
            "the stack of this home runs with other TaskManagers",
            expected=str(layout.taskmanagers),
            found=str(running.taskmanagers),
            next=f"kappa down, then: kappa up --taskmanagers {layout.taskmanagers}",
        )
