"""What `kappa acls` does, apart from its arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from replay.errors import ConfigError
from replay.home import kappa_home
from replay.kafka.acls import Acl, Role, commands, of_product
from replay.output import Output, View, show
from replay.releases.folders import read_product
from replay.releases.release import find_folder
from replay.secret import shown
from replay.settings import load_settings


def acls(name: str, source: Path | None, principals: dict[Role, str], output: Output) -> None:
    """Print what each principal needs; nothing is asked and nothing changed."""
    product = read_product(find_folder(name, source))
    written = (output.topic for output in product.settings.outputs.values() if output.topic)
    found = of_product(product.name, product.topics, written)
    for who, principal in principals.items():
        if not principal.partition(":")[2]:
            raise ConfigError(
                f"--{who} is no principal",
                expected=f"a kind and a name, such as User:kappa-{who}",
                found=repr(principal),
                next="see kafka-acls --help",
            )
    data = [
        {
            "principal": principals[acl.who],
            **asdict(acl),
            "host": "*",
            "permission_type": "ALLOW",
        }
        for acl in found
    ]
    show(View(data, list(_lines(found, principals))), output)


def _lines(found: Sequence[Acl], principals: Mapping[Role, str]) -> Iterator[str]:
    for who in Role:
        mine = [acl for acl in found if acl.who is who]
        yield f"# {who}: {'; '.join(dict.fromkeys(acl.why for acl in mine))}"
        yield from commands(mine, principals, _bootstrap())


def _bootstrap() -> str:
    """Of the settings, if there are some."""
    if not (kappa_home() / "config.yaml").exists():
        return "localhost:9092"
    return shown(load_settings().kafka).get("bootstrap.servers", "localhost:9092")
