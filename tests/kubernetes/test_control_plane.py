"""Flink clusters on Kubernetes' own API server, controllers and scheduler, without nodes: see control-plane."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from replay.flink.clusters import CommandClusters

NAME = "flights-r2-a1"
LABEL = f"app.kubernetes.io/instance={NAME}"


def _kubectl(*arguments: str) -> str:
    return subprocess.run(
        ["kubectl", "-n", "kappa", *arguments], capture_output=True, text=True, check=True
    ).stdout


def _wait_until(condition: Callable[[], Any], message: str, seconds: float = 40) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, message
        time.sleep(0.5)


def _items(kinds: str, label: str = LABEL) -> dict[str, Any]:
    found = json.loads(_kubectl("get", kinds, "-l", label, "-o", "json"))["items"]
    return {f"{item['kind']} {item['metadata']['name']}": item for item in found}


def _taskmanager() -> dict[str, Any]:
    return next((item for name, item in _items("pods").items() if "taskmanager" in name), {})


def _cpu() -> str:
    return str(_taskmanager()["spec"]["containers"][0]["resources"]["requests"]["cpu"])


@pytest.fixture
def program() -> Iterator[CommandClusters]:
    """The program, permitted what its ServiceAccount is."""
    if "KAPPA_KUBECONFIG" not in os.environ:
        pytest.skip("run by tests/kubernetes/control-plane")
    account = f"KUBECONFIG={os.environ['KAPPA_KUBECONFIG']}"
    found = CommandClusters(
        ["env", account, sys.executable, "-m", "replay.flink.kubernetes_clusters", "kappa"]
    )
    yield found
    found.stop(NAME)


def test_what_the_manifests_ask_for_is_permitted_by_pod_security(program: CommandClusters) -> None:
    _wait_until(
        lambda: len(_items("pods", "app.kubernetes.io/name in (kappa, flink)")) == 5,
        "pods of all workloads",
    )
    assert "violate" not in _kubectl("get", "events", "-o", "json")


def test_pods_are_made_with_a_low_priority_and_wait_for_a_node(program: CommandClusters) -> None:
    program.start(NAME)
    _wait_until(_taskmanager, "no TaskManager")
    assert (_taskmanager()["spec"]["priority"], _taskmanager()["spec"]["priorityClassName"]) == (
        -1000,
        "kappa-replay",
    )
    _wait_until(lambda: program.why(NAME), "no reason")
    assert "taskmanager-0: Unschedulable: no nodes available to schedule pods" in program.why(NAME)


def test_live_changes_the_next_pod(program: CommandClusters) -> None:
    program.start(NAME)
    _wait_until(_taskmanager, "no TaskManager")
    first = _taskmanager()["metadata"]["uid"]
    assert _cpu() == "100m"
    program.live(NAME)
    assert _taskmanager()["metadata"]["uid"] == first
    assert _cpu() == "1", "resized"
    _kubectl("delete", "pod", f"{NAME}-taskmanager-0")
    _wait_until(
        lambda: _taskmanager().get("metadata", {}).get("uid") not in (first, None), "no other pod"
    )
    assert _taskmanager()["spec"]["priorityClassName"] == "kappa-live"
    assert _cpu() == "1"


def test_whoever_deletes_its_configmap_deletes_all(program: CommandClusters) -> None:
    program.start(NAME)
    _wait_until(_taskmanager, "no TaskManager")
    _kubectl("delete", "configmap", NAME, "--wait=false")
    _wait_until(lambda: not _items("all,configmaps"), "something is left")
    assert program.names() == frozenset()


def test_a_stop_leaves_neither_objects_nor_pods(program: CommandClusters) -> None:
    program.start(NAME)
    _wait_until(_taskmanager, "no TaskManager")
    program.stop(NAME)
    assert _items("all,configmaps") == {}


def test_what_the_account_is_not_permitted(program: CommandClusters) -> None:
    account = "--as=system:serviceaccount:kappa:kappa"
    for request in (
        "get secrets",
        "create pods",
        "delete pods",
        "create roles",
        "patch deployments",
    ):
        found = subprocess.run(
            ["kubectl", "-n", "kappa", "auth", "can-i", *request.split(), account],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (request, found.stdout.strip()) == (request, "no")
