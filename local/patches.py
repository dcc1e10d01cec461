"""Faults of Flink that are cured when it is installed: a few of its methods answer with ours, in a jar before its own.

So are those of Beam, which comes in one of Flink's jars. No source of theirs is copied: a compiled class is changed,
and only the one class file that a patch was made for. Flink puts `lib/*.jar` on its class path sorted by name, and the
first class of a name counts.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from local.connector_jar import (
    JAVA_FOLDER,
    built_from,
    compile_java,
    files_below,
    fingerprint,
    joined,
    write_jar,
)
from replay.errors import ConfigError

JAR_NAME = "00-flink-patches.jar"
"""Sorts before every jar of Flink's."""
OURS = JAVA_FOLDER / "src" / "patches"
"""What Flink's methods answer with."""
PATCHER = JAVA_FOLDER / "src" / "patcher"
"""The program that changes a class: needed to build the jar, not in it."""


@dataclass(frozen=True)
class Replacement:
    """One thing in a class that a static method of ours takes the place of."""

    kind: Literal["method", "calls"]
    """'method': a static method of the class; 'calls': the class's calls of another class's static method."""
    target: str
    """`name(JJ)J` for a method, `its/Owner.name(I)V` for calls: with Java's type descriptors."""
    by: str
    """`our/Owner.name`; its descriptor is the target's."""


@dataclass(frozen=True)
class Patch:
    """What is changed in one class."""

    type: str
    """The class, as in the jar."""
    artifact: str
    """Of the jar that has it."""
    release: str
    """Of Flink, that it was made for."""
    sha256: str
    """Of the class file in that release."""
    issues: tuple[str, ...]
    """Upstream's; none that is known: empty."""
    faults: str
    """What goes wrong without it."""
    replacements: tuple[Replacement, ...]


_NETTY = "org/apache/beam/vendor/grpc/v1p60p1/io/grpc/netty/NettyServerBuilder"

PATCHES = (
    Patch(
        type="org/apache/flink/table/runtime/util/TimeWindowUtil",
        artifact="flink-table-runtime",
        release="2.1.3",
        sha256="744a7b469cf5c2673198baed2aa3ffe9a541728a8cbb6945c64e78be798dfaf8",
        issues=("FLINK-38075", "FLINK-36664"),
        faults="Windows fire without the rows that are still buffered: in zones without daylight saving time, and with "
        "an offset. Without an issue: a window ends before the second time of a wall-clock hour that passed "
        "twice, where daylight saving time was given up or clocks were set back by more than an hour; "
        "window_time is in the next window where clocks were set forward within one.",
        replacements=(
            Replacement(
                "method",
                "getNextTriggerWatermark(JJLjava/time/ZoneId;Z)J",
                "kappa/flink/WindowTriggers.nextTriggerWatermark",
            ),
            Replacement(
                "method",
                "toEpochMillsForTimer(JLjava/time/ZoneId;)J",
                "kappa/flink/WindowTriggers.lastInstant",
            ),
            Replacement(
                "method",
                "toEpochMills(JLjava/time/ZoneId;)J",
                "kappa/flink/WindowTriggers.lastInstant",
            ),
        ),
    ),
    Patch(
        type="org/apache/beam/sdk/fn/server/ServerFactory$InetSocketAddressServerFactory",
        artifact="flink-python",
        release="2.1.3",
        sha256="c1118447c1a3ca918c1a766c1319a42789455667f0ad312689ffabed3849cfe9",
        issues=(),
        faults="A TaskManager's servers for its Python workers listen on every address of the machine, without "
        "authentication: a program that reaches one can take a worker's place.",
        replacements=(
            Replacement(
                "calls", f"{_NETTY}.forPort(I)L{_NETTY};", "kappa/flink/LoopbackServers.forPort"
            ),
        ),
    ),
)


def build_patches_jar(java: Path, ecj: Path, asm: Path, flink: Sequence[Path], out: Path) -> Path:
    """The patched classes and ours in one jar, unless `out` was already made from the same.

    ConfigError when a class is not the one that its patch was made for: another release may have cured the fault, or
    changed what the patch relies on.
    """
    originals = {patch: original(patch, flink) for patch in PATCHES}
    wanted = hashlib.sha256(
        "\0".join(
            (fingerprint(OURS, ecj, [asm]), fingerprint(PATCHER, ecj, [asm]), repr(PATCHES))
        ).encode()
    ).hexdigest()
    if built_from(out) == wanted:
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".patches-", dir=out.parent) as scratch:
        ours, patcher = Path(scratch) / "ours", Path(scratch) / "patcher"
        compile_java(java, ecj, flink, [OURS / "java"], ours)
        compile_java(java, ecj, [asm], [PATCHER / "java"], patcher)
        patched = [
            (f"{patch.type}.class", _patched(patch, content, java, [patcher, asm], Path(scratch)))
            for patch, content in originals.items()
        ]
        jar = Path(scratch) / out.name
        write_jar(jar, wanted, (*files_below(ours), *patched))
        os.replace(jar, out)
    return out


def digests() -> str:
    """The classes that are patched, one on a line: name and SHA-256 of the class file that the patch was made for."""
    return "\n".join(f"{patch.type} {patch.sha256}" for patch in PATCHES)


def original(patch: Patch, flink: Sequence[Path]) -> bytes:
    """The class file that a patch changes; ConfigError when it is another one."""
    jar = next(
        (jar for jar in flink if jar.name.startswith(f"{patch.artifact}-{patch.release[0]}")), None
    )
    if jar is None:
        raise _unexpected(patch, f"no {patch.artifact}-*.jar in Flink's lib")
    with zipfile.ZipFile(jar) as archive:
        try:
            content = archive.read(f"{patch.type}.class")
        except KeyError:
            raise _unexpected(patch, f"no such class in {jar.name}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != patch.sha256:
        raise _unexpected(patch, f"SHA-256 {found} in {jar.name}")
    return content


def _unexpected(patch: Patch, found: str) -> ConfigError:
    return ConfigError(
        f"Flink's class {patch.type} is not the one that its patch was made for",
        expected=f"SHA-256 {patch.sha256}, as in {patch.artifact}-{patch.release}.jar",
        found=found,
        next=f"install the pinned apache-flink again; for another release of Flink, see whether it cures "
        f"{', '.join(patch.issues) or 'this'}, then adapt or remove the patch in local/patches.py",
    )


def _patched(
    patch: Patch, content: bytes, java: Path, classpath: Sequence[Path], scratch: Path
) -> bytes:
    before, after = scratch / "before.class", scratch / "after.class"
    before.write_bytes(content)
    changes = [text for r in patch.replacements for text in (r.kind, r.target, r.by)]
    run = subprocess.run(
        [java, "-cp", joined(classpath), "kappa.patcher.ClassPatcher", before, after, *changes],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if run.returncode != 0:
        raise ConfigError(
            f"{patch.type} cannot be patched",
            expected="the methods that local/patches.py names",
            found=run.stderr.strip(),
            next="fix local/patches.py, then: kappa up",
        )
    return after.read_bytes()
