"""The job of a release, handed to a cluster by the warm planner: what `flink run -py jobs/run.py` does, without the
seconds in which a JVM and Flink's classes are loaded.

Only for a release whose code is the code that this process has loaded. Whoever asks has compared them.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from py4j.protocol import Py4JJavaError
from pyflink.java_gateway import get_gateway
from pyflink.table import TableEnvironment
from pyflink.util.exceptions import JavaException

from jobs import run, wiring
from jobs.bindings import read_bindings

_REMOTE = {"execution.target": "remote", "execution.attached": "false"}


def submit(release: Path, bindings: Path, options: Mapping[str, str]) -> dict[str, Any]:
    """{"code", "text"}: the exit code that `flink run` would have, and what it would print.

    `options` are those of Flink's configuration that `flink run` has as arguments.
    """
    sys.path.insert(0, str(release))  # its functions are imported from there
    try:
        product, compiled = run.archived(release / "product")
        env = wiring.environment(product)
        _configure(env, {**_REMOTE, **options})
        run.execute(env, product, compiled, read_bindings(bindings))
    except (Py4JJavaError, JavaException) as e:
        return {"code": 1, "text": str(e)}
    except (Exception, SystemExit) as e:  # noqa: BLE001 - whatever it is, it is the answer
        return {"code": 1, "text": "".join(traceback.format_exception_only(e))}
    return {"code": 0, "text": ""}


def _configure(env: TableEnvironment, options: Mapping[str, str]) -> None:
    """Have the cluster's own configuration below what the product sets, as a client of Flink has it, and these options
    above it."""
    config = env.get_config()
    loaded = (
        get_gateway().jvm.org.apache.flink.configuration.GlobalConfiguration.loadConfiguration()
    )
    own = config.get_configuration().to_dict()
    for key, value in {**loaded.toMap(), **own, **options}.items():
        config.set(key, value)
