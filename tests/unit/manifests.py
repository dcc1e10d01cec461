"""The manifests of deploy/kubernetes, as Kustomize puts them together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
NAMESPACE: str = KUSTOMIZATION["namespace"]
CLUSTER_WIDE = {"Namespace", "PriorityClass"}


def load() -> list[dict[str, Any]]:
    """Every object, with its namespace and its image."""
    found = [
        item
        for file in KUSTOMIZATION["resources"]
        for item in yaml.safe_load_all((FOLDER / file).read_text())
    ]
    for made in KUSTOMIZATION["configMapGenerator"]:
        data = {file: (FOLDER / file).read_text() for file in made["files"]}
        found.append(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": made["name"]},
                "data": data,
            }
        )
    images = {
        image["name"]: f"{image['newName']}:{image['newTag']}" for image in KUSTOMIZATION["images"]
    }
    for item in found:
        if item["kind"] not in CLUSTER_WIDE:
            item["metadata"]["namespace"] = NAMESPACE
        for container in pod_of(item).get("containers", ()):
            container["image"] = images[container["image"]]
    return found


def pod_of(item: dict[str, Any]) -> dict[str, Any]:
    """The pattern of a workload's pods; empty for what is none."""
    found: dict[str, Any] = item.get("spec", {}).get("template", {}).get("spec", {})
    return found


def named(kind: str, name: str) -> dict[str, Any]:
    """One object."""
    (found,) = [item for item in load() if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found
