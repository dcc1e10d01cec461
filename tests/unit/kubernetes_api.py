"""Kubernetes' API as far as Flink clusters need it, in this process: it checks what it is sent by Kubernetes' schemas,
keeps it, refuses what a Role does not permit, makes pods of workloads, and deletes what lost its owner."""

from __future__ import annotations

import json
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from kubernetes.config import kube_config

from tests.unit import manifests
from tests.unit.kubernetes_schemas import problems

Object = dict[str, Any]

_PATH = re.compile(
    r"/(?:api|apis/(?P<group>[a-z.]+))/v1/namespaces/(?P<namespace>[a-z-]+)/(?P<resource>[a-z]+)"
    r"(?:/(?P<name>[a-z0-9.-]+))?(?:/(?P<part>[a-z]+))?"
)
_KINDS = {
    "configmaps": "ConfigMap",
    "services": "Service",
    "pods": "Pod",
    "deployments": "Deployment",
    "statefulsets": "StatefulSet",
}
_VERBS = {"POST": "create", "DELETE": "delete", "PATCH": "patch"}


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


def check(item: Object) -> Object:
    """An object that has the form of its kind."""
    if found := problems(item):
        raise Refused(422, "; ".join(found))
    return item


class FakeKubernetes:
    """One namespace. Requests are answered one after the other."""

    def __init__(self, namespace: str, role: Object) -> None:
        self.namespace, self.role = namespace, role
        self.objects: dict[tuple[str, str], Object] = {}
        """(resource, name) → object"""
        self.asked: list[tuple[str, str]] = []
        """Every verb and resource, as a Role names them."""
        self.failures: list[tuple[str, str, int]] = []
        """Verb, resource and status of requests that fail, each once. Status 0: done, and the answer is lost."""
        self.collects = True
        """Whether it deletes what lost its owner, and pods end."""
        self.resizes = 200
        """Status of what is asked of pods/resize."""
        self._lock = threading.Lock()
        server = self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def kubeconfig(self, file: Path) -> None:
        context = {"cluster": "fake", "user": "fake", "namespace": self.namespace}
        file.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "fake",
                    "contexts": [{"name": "fake", "context": context}],
                    "users": [{"name": "fake", "user": {}}],
                    "clusters": [
                        {
                            "name": "fake",
                            "cluster": {"server": f"http://127.0.0.1:{self._server.server_port}"},
                        }
                    ],
                }
            )
        )

    def add(self, item: Object) -> Object:
        """Make an object as a POST does, whoever is permitted to."""
        resource = next(resource for resource, kind in _KINDS.items() if kind == item["kind"])
        check(item)
        name = item["metadata"]["name"]
        if (resource, name) in self.objects:
            raise Refused(409, f'{resource} "{name}" already exists')
        made = deepcopy(item)
        made["metadata"] |= {
            "uid": str(uuid.uuid4()),
            "namespace": self.namespace,
            "resourceVersion": "1",
        }
        if resource == "services":
            made["spec"] |= {"clusterIP": f"10.0.0.{len(self.objects)}", "type": "ClusterIP"}
        if template := made.get("spec", {}).get("template"):
            labels = template["metadata"]["labels"]
            if not made["spec"]["selector"]["matchLabels"].items() <= labels.items():
                raise Refused(422, "`selector` does not match template `labels`")
            self._add_pod(made, template)
        self.objects[resource, name] = made
        return made

    def _add_pod(self, workload: Object, template: Object) -> None:
        name = f"{workload['metadata']['name']}-0"
        owner = {
            "apiVersion": "apps/v1",
            "kind": workload["kind"],
            "name": workload["metadata"]["name"],
            "uid": workload["metadata"]["uid"],
            "blockOwnerDeletion": True,
        }
        self.objects["pods", name] = check(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "spec": deepcopy(template["spec"]),
                "status": {},
                "metadata": {
                    "name": name,
                    "uid": str(uuid.uuid4()),
                    "labels": template["metadata"]["labels"],
                    "ownerReferences": [owner],
                },
            }
        )

    def say(self, pod: str, status: Object) -> None:
        """Give a pod a status."""
        self.objects["pods", pod]["status"] = status
        check(self.objects["pods", pod])

    def answer(self, method: str, url: str, body: Any) -> Object | None:
        """What a request is answered; None: the connection is closed."""
        with self._lock:
            address = urlsplit(url)
            match = _PATH.fullmatch(address.path)
            if match is None or match["namespace"] != self.namespace:
                raise Refused(404, f"the server could not find {url}")
            resource, name = match["resource"], match["name"]
            named = f"{resource}/{match['part']}" if match["part"] else resource
            verb = _VERBS.get(method) or ("get" if name else "list")
            self.asked.append((verb, named))
            if not self._permitted(verb, match["group"] or "", named):
                raise Refused(403, f"cannot {verb} resource {named}")
            failure = next((f for f in self.failures if f[:2] == (verb, named)), None)
            if failure:
                self.failures.remove(failure)
                if failure[2]:
                    raise Refused(failure[2], "as told")
            query = {key: values[0] for key, values in parse_qs(address.query).items()}
            answer = self._do(verb, named, resource, name, query, body)
            if self.collects:
                self.collect()
            return None if failure else deepcopy(answer)

    def _do(
        self, verb: str, named: str, resource: str, name: str, query: dict[str, str], body: Any
    ) -> Object:
        if verb == "list":
            labels = dict(pair.split("=") for pair in query["labelSelector"].split(","))
            found = [
                item
                for (of, _), item in sorted(self.objects.items())
                if of == resource and labels.items() <= item["metadata"].get("labels", {}).items()
            ]
            return {"kind": f"{_KINDS[resource]}List", "apiVersion": "v1", "items": found}
        if verb == "create":
            return self.add(body)
        if (resource, name) not in self.objects:
            raise Refused(404, f'{resource} "{name}" not found')
        item = self.objects[resource, name]
        if verb == "patch":
            if named == "pods/resize" and self.resizes != 200:
                raise Refused(self.resizes, "cannot be resized")
            _merge(item, body)
            check(item)
        if verb == "delete":
            self._delete(
                resource, name, query.get("propagationPolicy", "Background") == "Foreground"
            )
        return item

    def _delete(self, resource: str, name: str, foreground: bool) -> None:
        item = self.objects[resource, name]
        if foreground and any(True for _ in self._dependents(item)):
            item["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        else:
            del self.objects[resource, name]

    def _dependents(self, item: Object) -> Iterator[tuple[str, str]]:
        for key, other in self.objects.items():
            if item["metadata"]["uid"] in [
                owner["uid"] for owner in other["metadata"].get("ownerReferences", ())
            ]:
                yield key

    def collect(self) -> None:
        """Delete what lost its owner, and what waits for its dependents together with these."""
        while True:
            uids = {
                item["metadata"]["uid"]
                for item in self.objects.values()
                if "deletionTimestamp" not in item["metadata"]
            }
            lost = [
                key
                for key, item in self.objects.items()
                if "deletionTimestamp" in item["metadata"]
                or {owner["uid"] for owner in item["metadata"].get("ownerReferences", ())} - uids
            ]
            if not lost:
                return
            for key in lost:
                del self.objects[key]

    def _permitted(self, verb: str, group: str, resource: str) -> bool:
        return any(
            verb in rule["verbs"] and group in rule["apiGroups"] and resource in rule["resources"]
            for rule in self.role["rules"]
        )


def use(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have programs ask the API of a kubeconfig."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    # read when it is imported
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))


@contextmanager
def serving(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKubernetes]:
    """The API with the session cluster and the Role of deploy/kubernetes, where programs look for it."""
    api = FakeKubernetes(manifests.NAMESPACE, manifests.named("Role", "kappa"))
    for item in manifests.load():
        if (
            item["metadata"]["name"] in ("flink", "jobmanager", "taskmanager")
            and item["kind"] in _KINDS.values()
        ):
            api.add(item)
    api.kubeconfig(kubeconfig)
    use(kubeconfig, monkeypatch)
    try:
        yield api
    finally:
        api.close()


def _merge(item: Any, patch: Any) -> None:
    """A strategic merge: containers are merged by name, and null removes."""
    for key, value in patch.items():
        if value is None:
            item.pop(key, None)
        elif key == "containers":
            for container in value:
                _merge(next(c for c in item[key] if c["name"] == container["name"]), container)
        elif isinstance(value, dict):
            _merge(item.setdefault(key, {}), value)
        else:
            item[key] = value


def _handler(api: FakeKubernetes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, answer = (
                    200,
                    api.answer(self.command, self.path, json.loads(body or "null")),
                )
            except Refused as e:
                status, answer = (
                    e.status,
                    {"kind": "Status", "apiVersion": "v1", "message": e.message},
                )
            if answer is None:
                self.close_connection = True
                return
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_one

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    return Handler
