"""The form on Kubernetes, as far as it can be judged without a cluster: the manifests, and that they fit together."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from local import image
from replay.flink import kubernetes_clusters
from replay.settings import load_settings
from tests.unit import manifests
from tests.unit.kubernetes_schemas import problems
from tests.unit.manifests import FOLDER, NAMESPACE, pod_of

ROOT = Path(__file__).parents[2]
ITEMS = manifests.load()
WORKLOADS = [item for item in ITEMS if pod_of(item)]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = {
    "controller": "controller",
    "client": "kappa",
    "jobmanager": "jobmanager",
    "taskmanager": "taskmanager",
}
"""Workload → what docker-compose.yml calls it."""


def _id(item: dict[str, Any]) -> str:
    return f"{item['kind']}-{item['metadata']['name']}"


def _names(kind: str) -> set[str]:
    return {item["metadata"]["name"] for item in ITEMS if item["kind"] == kind}


def _labels(item: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = item["spec"]["template"]["metadata"]["labels"]
    return found


def _container(item: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod_of(item)["containers"]
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("item", ITEMS, ids=_id)
def test_an_object_has_the_form_that_kubernetes_publishes(item: dict[str, Any]) -> None:
    assert problems(item) == []


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kustomize_puts_together_the_same() -> None:
    built = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=True
    ).stdout
    assert {_id(item): item for item in yaml.safe_load_all(built)} == {
        _id(item): item for item in ITEMS
    }


@pytest.mark.parametrize("item", WORKLOADS, ids=_id)
def test_a_pod_has_no_privileges_and_a_limit_of_memory(item: dict[str, Any]) -> None:
    pod, container = pod_of(item), _container(item)
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "runAsGroup": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    service = COMPOSE["services"][SERVICES[item["metadata"]["name"]]]
    limit = service["deploy"]["resources"]["limits"]["memory"]
    mebibytes = re.sub(r"\$\{\w+:-(\w+)\}", r"\1", limit).upper() + "i"
    assert container["resources"]["limits"]["memory"] == mebibytes
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert container.get("args") == service.get("command", [None])[:1] or container["command"] == [
        "sleep",
        "infinity",
    ]


@pytest.mark.parametrize("item", WORKLOADS, ids=_id)
def test_what_a_pod_refers_to_is_there(item: dict[str, Any]) -> None:
    pod, container = pod_of(item), _container(item)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes.keys()
    assert {v["configMap"]["name"] for v in volumes.values() if "configMap" in v} <= _names(
        "ConfigMap"
    )
    assert {
        v["persistentVolumeClaim"]["claimName"]
        for v in volumes.values()
        if "persistentVolumeClaim" in v
    } <= _names("PersistentVolumeClaim")
    assert {v["secret"]["secretName"] for v in volumes.values() if "secret" in v} == {"kappa"}
    assert {pod[key] for key in ("serviceAccountName",) if key in pod} <= _names("ServiceAccount")
    assert {pod[key] for key in ("priorityClassName",) if key in pod} <= _names("PriorityClass")
    ports = {port["name"] for port in container.get("ports", ())}
    probes = [container[key] for key in container if key.endswith("Probe")]
    assert {(probe.get("httpGet") or probe["tcpSocket"])["port"] for probe in probes} <= ports
    assert item["spec"].get("serviceName", "jobmanager") in _names("Service")
    assert item["spec"]["selector"]["matchLabels"].items() <= _labels(item).items()
    written = {
        mount["mountPath"]
        for mount in container["volumeMounts"]
        if "emptyDir" in volumes[mount["name"]]
    }
    assert {"/tmp", str(image.SCRATCH)} <= written


def test_selectors_find_what_they_are_for() -> None:
    (service,) = [item for item in ITEMS if item["kind"] == "Service"]
    (found,) = [
        item for item in WORKLOADS if service["spec"]["selector"].items() <= _labels(item).items()
    ]
    container = _container(found)
    assert container["name"] == "jobmanager"
    assert {port["port"] for port in service["spec"]["ports"]} < {
        p["containerPort"] for p in container["ports"]
    }
    budget = next(item for item in ITEMS if item["kind"] == "PodDisruptionBudget")
    (found,) = [
        w
        for w in WORKLOADS
        if budget["spec"]["selector"]["matchLabels"].items() <= _labels(w).items()
    ]
    assert found["metadata"]["name"] == "controller"
    assert found["spec"]["replicas"] > budget["spec"]["minAvailable"]


def test_the_role_is_of_the_account_and_has_no_wildcard() -> None:
    binding, role = manifests.named("RoleBinding", "kappa"), manifests.named("Role", "kappa")
    assert binding["roleRef"] == {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "Role",
        "name": "kappa",
    }
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "kappa", "namespace": NAMESPACE}
    ]
    assert "*" not in {word for rule in role["rules"] for words in rule.values() for word in words}
    told = {
        item["metadata"]["name"]
        for item in WORKLOADS
        if pod_of(item)["automountServiceAccountToken"]
    }
    assert told == {"controller", "client"}


def test_the_settings_are_those_of_compose_but_for_addresses_and_clusters(tmp_path: Path) -> None:
    text = (FOLDER / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(text)
    settings = load_settings(tmp_path)
    assert settings.flink.clusters == ("python", "-m", kubernetes_clusters.__name__, NAMESPACE)
    own = yaml.safe_load(text.replace(".example.org", "").replace("/run/kappa/", "/run/secrets/"))
    del own["flink"]["clusters"]
    assert own == yaml.safe_load((ROOT / "deploy" / "compose" / "config.yaml").read_text())
    assert settings.flink.rest == "http://jobmanager:8081"
    files = set(re.findall(r"\$\{file:/run/kappa/([^}]+)\}", text))
    assert files == {"postgres_kappa", "s3_access_key", "s3_secret_key"}
    docs = (ROOT / "docs" / "kubernetes.md").read_text()
    assert [file for file in files if f"--from-file={file}=" not in docs] == []


def _allowed(direction: str, item: dict[str, Any]) -> set[int]:
    """The ports that the policies open for a pod."""
    found: set[int] = set()
    for policy in (item for item in ITEMS if item["kind"] == "NetworkPolicy"):
        selector = policy["spec"]["podSelector"]
        labels = _labels(item)
        if selector.get("matchLabels", {}).items() <= labels.items() and all(
            labels[e["key"]] in e["values"] for e in selector.get("matchExpressions", ())
        ):
            for rule in policy["spec"].get(direction, ()):
                for port in rule["ports"]:
                    found |= set(range(port["port"], port.get("endPort", port["port"]) + 1))
    return found


OUTSIDE = {9092, 8080, 5432, 8333, 53}
FLINK = {6121, 6122, 6123, 6124, 6125}


@pytest.mark.parametrize(
    ("name", "reached", "reaches"),
    [
        ("controller", {19094}, {443, 6443, 8081, *OUTSIDE}),
        ("client", set(), {443, 6443, 8081, *OUTSIDE}),
        ("jobmanager", {8081, *FLINK}, FLINK | OUTSIDE),
        ("taskmanager", FLINK, FLINK | OUTSIDE),
    ],
)
def test_policies_open_what_is_needed_and_no_more(
    name: str, reached: set[int], reaches: set[int]
) -> None:
    (item,) = [item for item in WORKLOADS if item["metadata"]["name"] == name]
    assert (_allowed("ingress", item), _allowed("egress", item)) == (reached, reaches)
    assert {port["containerPort"] for port in _container(item).get("ports", ())} <= reached
    text = (FOLDER / "config.yaml").read_text()
    assert {int(port) for port in re.findall(r"\.example\.org:(\d+)", text)} == OUTSIDE - {53}
    denied = manifests.named("NetworkPolicy", "default-deny")["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_flink_listens_where_the_policies_and_the_service_say() -> None:
    options = yaml.safe_load(manifests.named("ConfigMap", "flink")["data"]["config.yaml"])
    found = {**image.NETWORK, **options}
    ports = {value for key, value in found.items() if key.endswith("port") and "bind" not in key}
    assert ports == FLINK | {8081}
    assert found["jobmanager.rpc.address"] == found["rest.address"] == "jobmanager"
    mounts = {
        mount["mountPath"]
        for mount in _container(manifests.named("StatefulSet", "taskmanager"))["volumeMounts"]
    }
    assert str(image.OPTIONS.parent) in mounts
    (variable,) = _container(manifests.named("StatefulSet", "taskmanager"))["env"]
    assert variable["name"] == image.HOST
