"""Whether an object has the form that Kubernetes' API asks for, by the schemas that Kubernetes publishes.

`python tests/unit/kubernetes_schemas.py VERSION FOLDER` rewrites what is kept of them, of api/openapi-spec/v3 in a
copy of Kubernetes' repository.
"""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

KEPT = Path(__file__).parents[1] / "vectors" / "kubernetes.json"
FILES = (
    "api__v1",
    "apis__apps__v1",
    "apis__networking.k8s.io__v1",
    "apis__policy__v1",
    "apis__rbac.authorization.k8s.io__v1",
    "apis__scheduling.k8s.io__v1",
)
KINDS = (
    "ConfigMap",
    "Deployment",
    "Namespace",
    "NetworkPolicy",
    "PersistentVolumeClaim",
    "Pod",
    "PodDisruptionBudget",
    "PriorityClass",
    "Role",
    "RoleBinding",
    "Service",
    "ServiceAccount",
    "StatefulSet",
)
_REFERENCE = re.compile(r'"#/components/schemas/([^"]+)"')


def problems(item: dict[str, Any]) -> list[str]:
    """What is wrong with an object: unknown fields too, which the API ignores unless it is asked to be strict."""
    kind = f"{item.get('apiVersion')} {item.get('kind')}"
    if kind not in _kinds():
        return [f"no schema of {kind}"]
    validator = Draft7Validator(
        {
            "allOf": [{"$ref": f"#/components/schemas/{_kinds()[kind]}"}],
            "components": {"schemas": _schemas()},
        }
    )
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(item)]


@cache
def _schemas() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(KEPT.read_text())["schemas"]
    return {
        name: {**schema, "additionalProperties": False} if "properties" in schema else schema
        for name, schema in found.items()
    }


@cache
def _kinds() -> dict[str, str]:
    return {
        f"{of['group']}/{of['version']} {of['kind']}".lstrip("/"): name
        for name, schema in _schemas().items()
        for of in schema.get("x-kubernetes-group-version-kind", ())
    }


def write(version: str, folder: Path) -> None:
    """Keep the schemas of the kinds above and what these refer to, each on a line."""
    published: dict[str, Any] = {}
    for file in FILES:
        published |= json.loads((folder / f"{file}_openapi.json").read_text())["components"][
            "schemas"
        ]
    wanted = [
        name
        for name in published
        if name.rpartition(".v1.")[2] in KINDS and name.startswith("io.k8s.api.")
    ]
    kept: dict[str, str] = {}
    while wanted:
        if (name := wanted.pop()) not in kept:
            kept[name] = json.dumps(_without_descriptions(published[name]))
            wanted += _REFERENCE.findall(kept[name])
    head = {
        "source": f"github.com/kubernetes/kubernetes v{version}, api/openapi-spec/v3",
        "licence": "Apache-2.0",
        "changes": "some of the schemas, without their descriptions",
    }
    lines = ",\n".join(f"{json.dumps(name)}: {kept[name]}" for name in sorted(kept))
    KEPT.write_text(f'{json.dumps(head)[:-1]}, "schemas": {{\n{lines}\n}}}}\n')


def _without_descriptions(part: Any) -> Any:
    if isinstance(part, dict):
        return {
            key: _without_descriptions(value)
            for key, value in part.items()
            if not (key == "description" and isinstance(value, str))
        }
    return [_without_descriptions(value) for value in part] if isinstance(part, list) else part


if __name__ == "__main__":
    write(sys.argv[1], Path(sys.argv[2]))
