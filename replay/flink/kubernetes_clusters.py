"""A Flink cluster for one attempt on Kubernetes.

    python -m replay.flink.kubernetes_clusters NAMESPACE start|stop|live|why NAME
    python -m replay.flink.kubernetes_clusters NAMESPACE list

It is a copy of the session cluster (deploy/kubernetes/flink.yaml) under other names: image, mounts, security and what
an overlay changes there hold for it too. Its ConfigMap owns the rest: deleting it deletes all. While an attempt
catches up, its TaskManager has a lower PriorityClass and requests a tenth of the CPU. The JobManager does not: it
costs little, and one that is late with its heartbeats restarts the job.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import partial
from typing import Any

import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from urllib3.exceptions import HTTPError

from replay.errors import ConfigError, ConflictError, KappaError, RefusedError, RetryableError
from replay.flink.clusters import refuse_other_names

Object = dict[str, Any]

REPLAY_PRIORITY = "kappa-replay"
"""PriorityClass of a TaskManager that no reader waits for."""
REPLAY_CPU = "100m"
"""What it requests: a tenth of the session cluster's, as a nice value of 10 gives in the embedded stack."""
SESSION = {
    "config_map": "flink",
    "service": "jobmanager",
    "deployment": "jobmanager",
    "stateful_set": "taskmanager",
}
"""The objects of the session cluster."""
OWNER = "config_map"
"""Of the others; it is made first, so that no process starts without its settings."""
ATTEMPT = "kappa/attempt"
"""Annotation with the name of a cluster, which may have characters that names of objects must not have."""
INSTANCE, COMPONENT = "app.kubernetes.io/instance", "app.kubernetes.io/component"
OURS = {"app.kubernetes.io/managed-by": "kappa"}
"""Label of what this program made."""
STOP_SECONDS = 75.0
"""How long `stop` waits; the controller waits for this program for 90 s (replay/flink/clusters.py)."""
REQUEST_SECONDS = (5, 20)
"""To connect, and for an answer."""
_LONGEST = 40
"""Characters of a name in Kubernetes: with `-taskmanager` it is a StatefulSet's, whose label takes 11 of 63 more."""


def object_name(name: str) -> str:
    """A cluster's name in Kubernetes, where there is no _ and no name is long: with a digest where it was changed."""
    plain = name.replace("_", "-")
    if plain == name and len(name) <= _LONGEST:
        return name
    return f"{plain[: _LONGEST - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


class KubernetesClusters:
    """The clusters of a namespace. What the API says no to is a RefusedError; where it does not answer, or is busy, a
    RetryableError."""

    def __init__(
        self,
        namespace: str,
        api: client.ApiClient,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._namespace, self._now, self._sleep = namespace, now, sleep
        self._core, self._apps = client.CoreV1Api(api), client.AppsV1Api(api)

    def names(self) -> frozenset[str]:
        """All of which something is left."""
        found = [
            item["metadata"].get("annotations", {})
            for kind in SESSION
            for item in self._list(kind, OURS)
        ]
        return frozenset(annotations[ATTEMPT] for annotations in found if ATTEMPT in annotations)

    def start(self, name: str) -> str:
        """Have a cluster run, and return its REST address. What exists already is not changed."""
        refuse_other_names(name)
        session = {kind: self._session(kind) for kind in SESSION}
        owner = self._ensure(OWNER, copy(OWNER, session.pop(OWNER), name))
        for kind, found in session.items():
            self._ensure(kind, copy(kind, found, name), owner)
        return f"http://{_copied('service', name)}.{self._namespace}:8081"

    def stop(self, name: str) -> None:
        """Leave nothing of a cluster: its processes have ended when this returns."""
        refuse_other_names(name)
        until = self._now() + STOP_SECONDS
        for kind in SESSION:
            self._ask("delete", kind, name=_copied(kind, name), propagation_policy="Foreground")
        while left := self._left(name):
            if self._now() >= until:
                raise RetryableError(
                    f"the cluster {name} is still being removed",
                    expected="nothing left of it",
                    found=", ".join(left),
                    next=f"kubectl -n {self._namespace} describe pods "
                    f"-l {INSTANCE}={object_name(name)}",
                )
            self._sleep(1)

    def live(self, name: str) -> bool:
        """Give a cluster's TaskManager the CPU and the priority of the session cluster's; False if only when it is next
        started. A pod keeps its priority, and to replace it would stop the job: the next one has the new priority."""
        refuse_other_names(name)
        pattern = self._session("stateful_set")["spec"]["template"]["spec"]
        container = pattern["containers"][0]
        cpu = container.get("resources", {}).get("requests", {}).get("cpu")
        spec = {
            "containers": [{"name": container["name"], "resources": {"requests": {"cpu": cpu}}}]
        }
        later = {
            "spec": {
                "template": {
                    "spec": {**spec, "priorityClassName": pattern.get("priorityClassName")}
                }
            }
        }
        if (
            self._ask("patch", "stateful_set", name=_copied("stateful_set", name), body=later)
            is None
        ):
            raise RefusedError(
                f"there is no cluster {name}",
                expected="one that was started",
                found="none",
                next="kappa status",
            )
        pods = [
            pod["metadata"]["name"]
            for pod in self._list("pod", {**_of(name), COMPONENT: "taskmanager"})
        ]
        try:
            resized = [
                self._ask("patch", "pod_resize", name=pod, body={"spec": spec}) for pod in pods
            ]
        except RefusedError:  # it would leave its class of quality of service, or its node cannot
            return False
        return None not in resized  # Kubernetes before 1.33 does not know the request

    def why(self, name: str) -> str:
        """What Kubernetes says of pods that were evicted, find no node, ended or do not start."""
        refuse_other_names(name)
        found = [
            (pod, reason)
            for pod in self._list("pod", _of(name))
            for reason in reasons(pod["status"])
        ]
        return "; ".join(f"{pod['metadata']['name']}: {reason}" for pod, reason in found)

    def _session(self, kind: str) -> Object:
        if found := self._ask("read", kind, name=SESSION[kind]):
            return found
        raise ConfigError(
            "there is no session cluster to copy",
            found="none",
            expected=f"{kind} {SESSION[kind]} in the namespace {self._namespace}",
            next="kubectl apply -k deploy/kubernetes",
        )

    def _ensure(self, kind: str, wanted: Object, owner: Object | None = None) -> Object:
        """The object, made now or before. One that is going, or is of a cluster before this one, is neither."""
        name = wanted["metadata"]["name"]
        if owner:
            wanted["metadata"]["ownerReferences"] = [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "name": owner["metadata"]["name"],
                    "uid": owner["metadata"]["uid"],
                    "blockOwnerDeletion": True,
                }
            ]
        try:
            found = self._ask("create", kind, body=wanted)
        except ConflictError:
            found = self._ask("read", kind, name=name)
        if (
            found
            and not found["metadata"].get("deletionTimestamp")
            and _owners(found) == _owners(wanted)
        ):
            return found
        raise RetryableError(
            f"{kind} {name} is still being removed",
            expected="nothing of an earlier cluster",
            found="what is left of it",
            next="kappa status",
        )

    def _left(self, name: str) -> list[str]:
        kinds = (*SESSION, "pod")
        return [
            f"{kind} {item['metadata']['name']}"
            for kind in kinds
            for item in self._list(kind, _of(name))
        ]

    def _list(self, kind: str, labels: Mapping[str, str]) -> list[Object]:
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        found = self._ask("list", kind, label_selector=selector)
        return list(found["items"]) if found else []

    def _ask(self, verb: str, kind: str, **arguments: Any) -> Object | None:
        """What the API answers, whole: the library's objects lose fields that it does not know. None: not found."""
        api = self._apps if kind in ("deployment", "stateful_set") else self._core
        call = partial(getattr(api, f"{verb}_namespaced_{kind}"), namespace=self._namespace)
        try:
            answer = call(_preload_content=False, _request_timeout=REQUEST_SECONDS, **arguments)
            found: Object = json.loads(answer.data)
        except ApiException as e:
            if e.status == 404:
                return None
            raise _error(f"{verb} {kind} {arguments.get('name', '')}".strip(), e) from e
        except (HTTPError, ValueError) as e:
            raise RetryableError(
                "Kubernetes' API does not answer",
                expected="an answer",
                found=str(e)[:300],
                next="kubectl get --raw /readyz",
            ) from e
        return found


def _error(request: str, e: ApiException) -> KappaError:
    try:
        found = f"{e.status}: {json.loads(e.body)['message']}"
    except (TypeError, ValueError, KeyError):
        found = f"{e.status}: {e.reason}"
    kind = (
        ConflictError
        if e.status == 409
        else RetryableError
        if e.status == 429 or e.status >= 500
        else RefusedError
    )
    return kind(
        "Kubernetes' API did not do what it was asked for",
        expected=request,
        found=found,
        next="fix the problem and retry" if kind is RefusedError else "kappa status",
    )


def _of(name: str) -> dict[str, str]:
    """Labels of all that is of a cluster."""
    return {**OURS, INSTANCE: object_name(name)}


def _owners(item: Object) -> list[str]:
    return [owner["uid"] for owner in item["metadata"].get("ownerReferences", ())]


def copy(kind: str, session: Object, name: str) -> Object:
    """An object of an attempt's cluster, made of that of the session cluster."""
    base, labels = object_name(name), _of(name)
    made: Object = {
        "apiVersion": session["apiVersion"],
        "kind": session["kind"],
        "metadata": {
            "name": _copied(kind, name),
            "annotations": {ATTEMPT: name},
            "labels": {**session["metadata"].get("labels", {}), **labels},
        },
    }
    if kind == "config_map":
        settings = yaml.safe_load(session["data"]["config.yaml"])
        settings |= dict.fromkeys(
            ("jobmanager.rpc.address", "rest.address"), _copied("service", name)
        )
        return {**made, "data": {**session["data"], "config.yaml": yaml.safe_dump(settings)}}
    spec = deepcopy(session["spec"])
    if kind == "service":
        kept = {key: spec[key] for key in ("ports", "publishNotReadyAddresses") if key in spec}
        return {**made, "spec": {**kept, "selector": {**spec["selector"], **labels}}}
    template = spec["template"]
    spec["selector"]["matchLabels"] |= labels
    template["metadata"]["labels"] |= labels
    for volume in template["spec"]["volumes"]:
        if volume.get("configMap", {}).get("name") == SESSION[OWNER]:
            volume["configMap"]["name"] = base
    if kind == "stateful_set":
        spec["serviceName"] = _copied("service", name)
        # `live` changes the pattern of a pod that goes on
        spec["updateStrategy"] = {"type": "OnDelete"}
        template["spec"]["priorityClassName"] = REPLAY_PRIORITY
        resources = template["spec"]["containers"][0].setdefault("resources", {})
        resources["requests"] = {**resources.get("requests", {}), "cpu": REPLAY_CPU}
    return {**made, "spec": spec}


def _copied(kind: str, name: str) -> str:
    return object_name(name) if kind == OWNER else f"{object_name(name)}-{SESSION[kind]}"


def reasons(status: Mapping[str, Any]) -> Iterator[str]:
    """Of the status of a pod: why it was evicted or finds no node, and why its containers ended or do not start."""
    if status.get("reason"):
        yield _said(status)
    for condition in status.get("conditions", ()):
        if (condition["type"], condition["status"]) == ("PodScheduled", "False"):
            yield _said(condition)
    for container in status.get("containerStatuses", ()):
        state, last = container.get("state", {}), container.get("lastState", {})
        waiting = state.get("waiting", {})
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            yield _said(waiting)
        if ended := state.get("terminated") or last.get("terminated"):
            yield f"{_said(ended)} (exit code {ended['exitCode']}, {ended.get('finishedAt', 'when is not known')})"


def _said(status: Mapping[str, Any]) -> str:
    """A reason with the last line of its message: of a process that ended, the last one that it wrote."""
    lines = str(status.get("message") or "").strip().splitlines()
    return ": ".join([status.get("reason") or "no reason given", *lines[-1:]])


def connect() -> client.ApiClient:
    """As the pod's ServiceAccount; outside of Kubernetes, as the current context of kubeconfig."""
    found = client.Configuration()
    found.retries = 1
    try:
        config.load_incluster_config(client_configuration=found)
    except ConfigException:
        try:
            config.load_kube_config(client_configuration=found)
        except ConfigException as e:
            raise ConfigError(
                "the address of Kubernetes' API is not known",
                expected="the ServiceAccount of a pod, or a kubeconfig",
                found=str(e),
                next="kubectl config view",
            ) from e
    return client.ApiClient(found)


def main() -> None:
    """One JSON line and exit code 0, or a KappaError as JSON and exit code 1."""
    try:
        answer = _answer(sys.argv[1:])
    except KappaError as e:
        sys.stdout.write(json.dumps(e.as_dict()) + "\n")
        sys.exit(1)
    sys.stdout.write(json.dumps(answer) + "\n")


def _answer(arguments: list[str]) -> object:
    match arguments:
        case [namespace, "list"]:
            return sorted(KubernetesClusters(namespace, connect()).names())
        case [namespace, "start", name]:
            return {"name": name, "rest": KubernetesClusters(namespace, connect()).start(name)}
        case [namespace, "stop", name]:
            KubernetesClusters(namespace, connect()).stop(name)
            return {"name": name}
        case [namespace, "live", name]:
            raised = KubernetesClusters(namespace, connect()).live(name)
            return {
                "name": name,
                "priority": "full" if raised else "low until it is restarted: not permitted",
            }
        case [namespace, "why", name]:
            return {"name": name, "why": KubernetesClusters(namespace, connect()).why(name)}
        case _:
            sys.exit(
                "usage: -m replay.flink.kubernetes_clusters NAMESPACE start|stop|live|why NAME, or NAMESPACE list"
            )


if __name__ == "__main__":
    main()
