"""What is particular to a container: Flink's home in its image, and what its processes become.

build                                          make /opt/flink, once the jars are in the cache
run jobmanager|taskmanager [-D key=value]…     Flink's process, in the foreground
run ARGUMENTS                                  kappa ARGUMENTS
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import yaml

from local import flink, jars, objects
from local.flink import Cluster
from local.layout import Layout
from local.stack import own_jars, write_secret
from replay.settings import Settings, load_settings
from replay.storage import properties

LAYOUT = Layout(Path("/opt"))
"""FLINK_HOME is /opt/flink."""
SCRATCH = Path("/scratch")
"""A volume: what a process of Flink spills and unpacks. All else of a container can be read-only but /tmp."""
FLINK_PROGRAMS = ("jobmanager", "taskmanager")
NETWORK: Mapping[str, object] = {
    "jobmanager.rpc.address": "jobmanager",
    "jobmanager.rpc.port": 6123,
    "jobmanager.bind-host": "0.0.0.0",
    "blob.server.port": 6124,
    "rest.address": "jobmanager",
    "rest.bind-address": "0.0.0.0",
    "rest.port": 8081,
    "rest.bind-port": 8081,
    "taskmanager.bind-host": "0.0.0.0",
    "taskmanager.rpc.port": 6122,
    "taskmanager.data.port": 6121,
    "taskmanager.data.bind-port": 6121,
    "env.log.dir": "/tmp/flink-logs",  # of clients; the processes of the cluster write to the container's log
}
"""Settings of processes on hosts of their own, which the host `jobmanager` leads."""
OWN_CONF = Path("/tmp/flink-conf")
OPTIONS = Path("/etc/flink/config.yaml")
"""Settings of a cluster's own, over those of the image; it need not be there."""
HOST = "KAPPA_HOST"
"""Variable with the name or address at which others reach this container; by default its host name."""
_ELSEWHERE = (
    "taskmanager.host",
    "taskmanager.resource-id",
    "web.access-control-allow-origin",
    "execution.checkpointing.dir",
    "execution.checkpointing.savepoint-dir",
)
"""Settings of the embedded stack that each container, job or deployment says by itself."""


def cluster() -> Cluster:
    """The session cluster, as far as it does not differ from the embedded one."""
    return replace(flink.session(LAYOUT), tmp=SCRATCH, pids=Path("/tmp"))


def build() -> None:
    """Make FLINK_HOME. The jars are those of the cache, fetched before."""
    stored = jars.paths(objects.PART)
    plugins = [jar for jar in stored if jar.name.startswith(objects.PLUGIN)]
    libraries = [jar for jar in stored if jar not in plugins]
    flink.write(LAYOUT, [*libraries, *own_jars(LAYOUT, jars.cache_folder())])
    folder = LAYOUT.flink / "plugins" / objects.PART
    folder.mkdir()
    for jar in plugins:
        (folder / jar.name).symlink_to(jar)
    flink.write_conf(LAYOUT, cluster())
    file = cluster().conf / "config.yaml"
    file.write_text(_dump(on_a_network(yaml.safe_load(file.read_text()))))
    # it has no secrets yet, and is read by another user than the one who makes the image
    file.chmod(0o644)


def _dump(settings: Mapping[str, object]) -> str:
    return yaml.safe_dump(dict(settings), sort_keys=False, width=10_000)


def on_a_network(embedded: Mapping[str, object]) -> dict[str, object]:
    """The configuration of Flink in an image, of that of the embedded stack."""
    return {**{key: value for key, value in embedded.items() if key not in _ELSEWHERE}, **NETWORK}


def with_storage(flink_settings: Mapping[str, object], settings: Settings) -> dict[str, object]:
    """With where checkpoints are, and how Flink's file system reaches the object store of config.yaml."""
    return {
        **flink_settings,
        "execution.checkpointing.dir": settings.flink.checkpoints,
        **objects.flink_options(properties(settings)),
    }


def with_options(flink_settings: Mapping[str, object], file: Path) -> dict[str, object]:
    """With the settings of a file, if there is one."""
    return {**flink_settings, **(yaml.safe_load(file.read_text()) if file.exists() else {})}


def configure() -> None:
    """Write the configuration of this container's process, for its owner alone: a secret is no argument, which all of
    the machine could read, and in no image."""
    shutil.copytree(cluster().conf, OWN_CONF, dirs_exist_ok=True)
    file = OWN_CONF / "config.yaml"
    file.unlink()
    of_image = yaml.safe_load((cluster().conf / "config.yaml").read_text())
    text = _dump(with_options(with_storage(of_image, load_settings()), OPTIONS))
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(text)


def command(arguments: Sequence[str], host: str) -> list[str]:
    """What a container becomes."""
    if arguments[:1] and arguments[0] in FLINK_PROGRAMS:
        program, *options = arguments
        # A TaskManager tells the JobManager by which name it is reached, and is known by it.
        own = ["-D", f"taskmanager.host={host}", "-D", f"taskmanager.resource-id={host}"]
        return [
            *flink.command(LAYOUT, program),
            *(own if program == "taskmanager" else ()),
            *options,
        ]
    return [str(Path(sys.executable).with_name("kappa")), *arguments]


def host() -> str:
    """By which others reach this container."""
    return os.environ.get(HOST) or socket.gethostname()


def run(arguments: Sequence[str]) -> None:
    """Become the process that the arguments name."""
    own: dict[str, str] = {}
    if arguments[:1] and arguments[0] in FLINK_PROGRAMS:
        empty(SCRATCH)
        configure()
        own = {"FLINK_CONF_DIR": str(OWN_CONF)}
    elif arguments[:1] == ["controller"]:
        write_secret(Path(os.environ["KAPPA_SECRETS"]) / "pseudonym.key")
    wanted = command(arguments, host())
    os.execve(wanted[0], wanted, {**flink.environment(LAYOUT, cluster()), **os.environ, **own})


def empty(folder: Path) -> None:
    """Remove what a process that was killed has left."""
    for left in folder.iterdir():
        if left.is_dir() and not left.is_symlink():
            shutil.rmtree(left)
        else:
            left.unlink()


def main() -> None:
    """`build` or `run`."""
    match sys.argv[1:]:
        case ["build"]:
            build()
        case ["run", *arguments]:
            run(arguments)
        case _:
            sys.exit("usage: python -m local.image build, or run ARGUMENTS")


if __name__ == "__main__":
    main()
