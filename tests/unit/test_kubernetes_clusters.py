"""A Flink cluster of an attempt on Kubernetes: what it is made of, what becomes of it, and when the API says no."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from replay.errors import ConfigError, ConflictError, KappaError, RefusedError, RetryableError
from replay.flink import kubernetes_clusters
from replay.flink.clusters import CommandClusters, Started
from replay.flink.kubernetes_clusters import ATTEMPT, STOP_SECONDS, KubernetesClusters, object_name
from tests.unit import kubernetes_api, manifests
from tests.unit.kubernetes_api import FakeKubernetes

NAME = "flights-r2-a1"
OF_A_CLUSTER = {
    ("configmaps", NAME),
    ("services", f"{NAME}-jobmanager"),
    ("deployments", f"{NAME}-jobmanager"),
    ("statefulsets", f"{NAME}-taskmanager"),
}
PODS = {("pods", f"{NAME}-jobmanager-0"), ("pods", f"{NAME}-taskmanager-0")}


class Clock:
    """Time that passes while somebody sleeps, on a slow machine."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += 20 * seconds


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKubernetes]:
    with kubernetes_api.serving(tmp_path / "kubeconfig", monkeypatch) as found:
        yield found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def clusters(api: FakeKubernetes, clock: Clock) -> KubernetesClusters:
    return KubernetesClusters(
        manifests.NAMESPACE, kubernetes_clusters.connect(), clock.now, clock.sleep
    )


@pytest.fixture
def before(api: FakeKubernetes) -> set[tuple[str, str]]:
    """What there was before any cluster of an attempt."""
    return set(api.objects)


def _pod(api: FakeKubernetes, workload: str) -> dict[str, Any]:
    found = api.objects[
        workload, f"{NAME}-{'taskmanager' if workload == 'statefulsets' else 'jobmanager'}"
    ]
    return manifests.pod_of(found)


def test_a_cluster_is_a_copy_of_the_session_cluster(
    api: FakeKubernetes, clusters: KubernetesClusters, before: set[tuple[str, str]]
) -> None:
    assert clusters.start(NAME) == f"http://{NAME}-jobmanager.kappa:8081"
    assert api.objects.keys() - before == OF_A_CLUSTER | PODS
    assert _pod(api, "deployments") == _expected(
        manifests.pod_of(manifests.named("Deployment", "jobmanager"))
    )
    taskmanager = _expected(manifests.pod_of(manifests.named("StatefulSet", "taskmanager")))
    taskmanager["containers"][0]["resources"]["requests"]["cpu"] = "100m"
    assert _pod(api, "statefulsets") == {**taskmanager, "priorityClassName": "kappa-replay"}
    assert (
        api.objects["services", f"{NAME}-jobmanager"]["spec"]["ports"]
        == manifests.named("Service", "jobmanager")["spec"]["ports"]
    )
    settings = yaml.safe_load(api.objects["configmaps", NAME]["data"]["config.yaml"])
    assert settings == {
        **yaml.safe_load(manifests.named("ConfigMap", "flink")["data"]["config.yaml"]),
        "jobmanager.rpc.address": f"{NAME}-jobmanager",
        "rest.address": f"{NAME}-jobmanager",
    }


def _expected(pod: dict[str, Any]) -> dict[str, Any]:
    for volume in pod["volumes"]:
        if volume["name"] == "flink":
            volume["configMap"]["name"] = NAME
    return pod


def test_a_service_finds_the_jobmanager_of_its_cluster_alone(
    api: FakeKubernetes, clusters: KubernetesClusters
) -> None:
    clusters.start(NAME)
    clusters.start("flights-r3-a1")
    for service, pod in (
        (f"{NAME}-jobmanager", f"{NAME}-jobmanager-0"),
        ("jobmanager", "jobmanager-0"),
    ):
        selector = api.objects["services", service]["spec"]["selector"]
        assert [
            name
            for (kind, name), item in api.objects.items()
            if kind == "pods" and selector.items() <= item["metadata"]["labels"].items()
        ] == [pod]


def test_whoever_deletes_its_configmap_deletes_all(
    api: FakeKubernetes, clusters: KubernetesClusters, before: set[tuple[str, str]]
) -> None:
    clusters.start(NAME)
    del api.objects["configmaps", NAME]
    api.collect()
    assert set(api.objects) == before


def test_the_role_permits_what_is_asked_and_no_more(
    api: FakeKubernetes, clusters: KubernetesClusters
) -> None:
    clusters.start(NAME)
    clusters.start(NAME)
    clusters.live(NAME)
    clusters.why(NAME)
    clusters.names()
    clusters.stop(NAME)
    permitted = {
        (verb, resource)
        for rule in api.role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
    }
    assert set(api.asked) == permitted


def test_what_is_not_permitted_is_told(api: FakeKubernetes, clusters: KubernetesClusters) -> None:
    api.role = {"rules": []}
    with pytest.raises(RefusedError) as e:
        clusters.start(NAME)
    assert str(e.value) == (
        "Kubernetes' API did not do what it was asked for\n  expected: read config_map flink\n"
        "  found:    403: cannot get resource configmaps\n  next:     fix the problem and retry"
    )


@pytest.mark.parametrize("resource", ["configmaps", "services", "deployments", "statefulsets"])
@pytest.mark.parametrize(
    "status", [pytest.param(500, id="failed"), pytest.param(0, id="answer lost")]
)
def test_a_start_that_was_cut_short_is_finished(
    api: FakeKubernetes,
    clusters: KubernetesClusters,
    resource: str,
    status: int,
    before: set[tuple[str, str]],
) -> None:
    api.failures = [("create", resource, status)]
    with pytest.raises(RetryableError):
        clusters.start(NAME)
    assert (NAME in clusters.names()) == (resource != "configmaps" or status == 0), (
        "what is left is listed"
    )
    clusters.start(NAME)
    assert api.objects.keys() - before == OF_A_CLUSTER | PODS


@pytest.mark.parametrize("resource", ["configmaps", "services", "deployments", "statefulsets"])
def test_a_stop_that_was_cut_short_is_finished(
    api: FakeKubernetes, clusters: KubernetesClusters, resource: str, before: set[tuple[str, str]]
) -> None:
    clusters.start(NAME)
    api.failures = [("delete", resource, 503)]
    with pytest.raises(RetryableError):
        clusters.stop(NAME)
    clusters.stop(NAME)
    assert set(api.objects) == before


def test_what_lost_its_owner_but_is_still_there_is_listed_and_stopped(
    api: FakeKubernetes, clusters: KubernetesClusters, before: set[tuple[str, str]]
) -> None:
    clusters.start(NAME)
    api.collects = False
    del api.objects["configmaps", NAME]
    assert clusters.names() == {NAME}
    api.collects = True
    clusters.stop(NAME)
    assert set(api.objects) == before


def test_a_stop_waits_for_processes_and_says_which_do_not_end(
    api: FakeKubernetes, clusters: KubernetesClusters, clock: Clock
) -> None:
    clusters.start(NAME)
    api.collects = False
    with pytest.raises(RetryableError) as e:
        clusters.stop(NAME)
    assert clock.seconds >= STOP_SECONDS
    assert str(e.value) == (
        f"the cluster {NAME} is still being removed\n  expected: nothing left of it\n"
        f"  found:    config_map {NAME}, deployment {NAME}-jobmanager, stateful_set {NAME}-taskmanager, "
        f"pod {NAME}-jobmanager-0, pod {NAME}-taskmanager-0\n"
        f"  next:     kubectl -n kappa describe pods -l app.kubernetes.io/instance={NAME}"
    )


@pytest.mark.parametrize("going", [True, False], ids=["it is going", "it is of a cluster before"])
def test_what_is_being_removed_is_no_cluster(
    api: FakeKubernetes, clusters: KubernetesClusters, going: bool
) -> None:
    clusters.start(NAME)
    api.collects = False
    if going:
        api.objects["configmaps", NAME]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    else:
        del api.objects["configmaps", NAME]
    with pytest.raises(RetryableError, match="is still being removed"):
        clusters.start(NAME)


def test_live_gives_a_taskmanager_its_cpu_now_and_its_priority_when_it_is_next_started(
    api: FakeKubernetes, clusters: KubernetesClusters
) -> None:
    clusters.start(NAME)
    before = api.objects["pods", f"{NAME}-taskmanager-0"]["metadata"]["uid"]
    assert clusters.live(NAME)
    assert api.objects["statefulsets", f"{NAME}-taskmanager"]["spec"]["updateStrategy"] == {
        "type": "OnDelete"
    }
    pattern, pod = _pod(api, "statefulsets"), api.objects["pods", f"{NAME}-taskmanager-0"]
    assert pattern == _expected(manifests.pod_of(manifests.named("StatefulSet", "taskmanager")))
    assert pod["metadata"]["uid"] == before
    assert pod["spec"]["containers"] == pattern["containers"]
    assert pod["spec"]["priorityClassName"] == "kappa-replay"


@pytest.mark.parametrize("status", [403, 404, 422])
def test_live_says_when_a_pod_cannot_be_resized(
    api: FakeKubernetes, clusters: KubernetesClusters, status: int
) -> None:
    clusters.start(NAME)
    api.resizes = status
    assert not clusters.live(NAME)
    assert _pod(api, "statefulsets")["priorityClassName"] == "kappa-live"


ENDED = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-11-28T01:02:03Z"}
CONTAINER = {
    "name": "taskmanager",
    "image": "kappa",
    "imageID": "",
    "ready": False,
    "restartCount": 1,
}


@pytest.mark.parametrize(
    ("status", "why"),
    [
        pytest.param(
            {
                "phase": "Pending",
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/3 nodes are available: 3 Insufficient memory.",
                    }
                ],
            },
            "Unschedulable: 0/3 nodes are available: 3 Insufficient memory.",
            id="no node",
        ),
        pytest.param(
            {
                "containerStatuses": [
                    {
                        **CONTAINER,
                        "state": {
                            "waiting": {
                                "reason": "ImagePullBackOff",
                                "message": 'Back-off pulling image "kappa:1"',
                            }
                        },
                    }
                ]
            },
            'ImagePullBackOff: Back-off pulling image "kappa:1"',
            id="no image",
        ),
        pytest.param(
            {
                "containerStatuses": [
                    {**CONTAINER, "state": {"running": {}}, "lastState": {"terminated": ENDED}}
                ]
            },
            "OOMKilled (exit code 137, 2026-11-28T01:02:03Z)",
            id="out of memory, and started again",
        ),
        pytest.param(
            {
                "containerStatuses": [
                    {
                        **CONTAINER,
                        "state": {
                            "waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}
                        },
                        "lastState": {
                            "terminated": {
                                "exitCode": 3,
                                "reason": "Error",
                                "finishedAt": "2026-11-28T01:02:03Z",
                                "message": "INFO a\nTerminating due to java.lang.OutOfMemoryError\n",
                            }
                        },
                    }
                ]
            },
            "CrashLoopBackOff: back-off 5m0s; "
            "flights-r2-a1-taskmanager-0: Error: Terminating due to java.lang.OutOfMemoryError "
            "(exit code 3, 2026-11-28T01:02:03Z)",
            id="again and again",
        ),
        pytest.param(
            {
                "phase": "Failed",
                "reason": "Evicted",
                "message": "The node was low on resource: memory.",
            },
            "Evicted: The node was low on resource: memory.",
            id="evicted",
        ),
        pytest.param(
            {
                "containerStatuses": [
                    {**CONTAINER, "state": {"waiting": {"reason": "ContainerCreating"}}}
                ],
                "conditions": [{"type": "PodScheduled", "status": "True"}],
            },
            "",
            id="starting",
        ),
        pytest.param(
            {"containerStatuses": [{**CONTAINER, "state": {"running": {}}}]}, "", id="running"
        ),
    ],
)
def test_why_is_what_kubernetes_says_of_pods(
    api: FakeKubernetes, clusters: KubernetesClusters, status: dict[str, Any], why: str
) -> None:
    clusters.start(NAME)
    api.say(f"{NAME}-taskmanager-0", status)
    api.say("taskmanager-0", {"phase": "Failed", "reason": "Evicted"})
    assert clusters.why(NAME) == (why and f"{NAME}-taskmanager-0: {why}")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RefusedError),
        (401, RefusedError),
        (422, RefusedError),
        (409, ConflictError),
        (429, RetryableError),
        (503, RetryableError),
    ],
)
def test_what_the_api_says_no_to(
    api: FakeKubernetes, clusters: KubernetesClusters, status: int, kind: type[KappaError]
) -> None:
    api.failures = [("list", "deployments", status)]
    with pytest.raises(kind) as e:
        clusters.names()
    assert (e.value.expected, e.value.found) == ("list deployment", f"{status}: as told")


def test_without_a_session_cluster_there_is_nothing_to_copy(
    api: FakeKubernetes, clusters: KubernetesClusters, before: set[tuple[str, str]]
) -> None:
    del api.objects["statefulsets", "taskmanager"]
    with pytest.raises(ConfigError) as e:
        clusters.start(NAME)
    assert str(e.value) == (
        "there is no session cluster to copy\n"
        "  expected: stateful_set taskmanager in the namespace kappa\n  found:    none\n"
        "  next:     kubectl apply -k deploy/kubernetes"
    )
    assert api.objects.keys() < before


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("flights-r2-a1", "flights-r2-a1"),
        ("gross_sales-r1-a1", "gross-sales-r1-a1-f3b96925"),
        (f"{'a' * 60}-r1-a1", f"{'a' * 31}-aed0a659"),
    ],
)
def test_names_are_such_as_kubernetes_takes(name: str, expected: str) -> None:
    assert object_name(name) == expected
    assert len(f"{object_name(name)}-taskmanager") <= 52


def test_names_with_other_letters_are_listed_as_they_are(
    api: FakeKubernetes, clusters: KubernetesClusters
) -> None:
    clusters.start("gross_sales-r1-a1")
    clusters.start("gross-sales-r1-a1")
    assert clusters.names() == {"gross_sales-r1-a1", "gross-sales-r1-a1"}
    assert (
        api.objects["configmaps", "gross-sales-r1-a1"]["metadata"]["annotations"][ATTEMPT]
        == "gross-sales-r1-a1"
    )


def test_the_program_runs_on_its_own(api: FakeKubernetes) -> None:
    program = CommandClusters(
        [sys.executable, "-m", "replay.flink.kubernetes_clusters", manifests.NAMESPACE]
    )
    assert program.start(NAME, Path("/lib")) == Started(
        f"http://{NAME}-jobmanager.kappa:8081", own_jars=False
    )


def test_an_api_that_is_away_is_tried_again(
    api: FakeKubernetes, clusters: KubernetesClusters
) -> None:
    api.close()
    with pytest.raises(RetryableError, match="does not answer"):
        clusters.names()


def test_without_an_address_of_the_api_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(
        "kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none")
    )
    with pytest.raises(ConfigError, match="the address of Kubernetes' API is not known"):
        kubernetes_clusters.connect()
    assert os.listdir(tmp_path) == []
