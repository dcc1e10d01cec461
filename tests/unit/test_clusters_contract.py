"""What every program for Flink clusters does alike, asked as the controller asks: the embedded one and Kubernetes'."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from local import clusters as embedded
from local import preflight
from local.layout import Layout
from replay.errors import RefusedError
from replay.flink import kubernetes_clusters
from replay.flink.clusters import Clusters, CommandClusters
from tests.unit import kubernetes_api, manifests
from tests.unit.test_local_clusters import FakeSupervisor

NAME, OTHER, LONG = "flights-r2-a1", "flights-r10-a1", f"{'very_' * 20}long-r1-a1"


def _in_this_process(
    main: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    command: Sequence[str],
    **_: object,
) -> subprocess.CompletedProcess[str]:
    """What `subprocess.run` would say of a program."""
    code = 0
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", list(command))
        try:
            main()
        except SystemExit as e:
            code = 1 if isinstance(e.code, str) else int(e.code or 0)
    said = capsys.readouterr()
    return subprocess.CompletedProcess(list(command), code, said.out, said.err)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The argument of the embedded stack's program."""
    layout = Layout(tmp_path)
    layout.logs.mkdir()
    monkeypatch.setattr(preflight, "port_free", lambda port: True)
    monkeypatch.setattr(
        embedded,
        "LocalClusters",
        partial(
            embedded.LocalClusters, supervisor=FakeSupervisor(layout), available_mb=lambda: None
        ),
    )
    return str(tmp_path)


@pytest.fixture
def namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """That of Kubernetes' program: on a real one where KAPPA_KUBECONFIG says how to reach it."""
    if real := os.environ.get("KAPPA_KUBECONFIG"):
        kubernetes_api.use(Path(real), monkeypatch)
        yield manifests.NAMESPACE
        clusters = kubernetes_clusters.KubernetesClusters(
            manifests.NAMESPACE, kubernetes_clusters.connect()
        )
        for name in clusters.names():
            clusters.stop(name)
        return
    with kubernetes_api.serving(tmp_path / "kubeconfig", monkeypatch):
        yield manifests.NAMESPACE


@pytest.fixture(params=["home", "namespace"], ids=["embedded", "kubernetes"])
def program(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Clusters:
    module = embedded if request.param == "home" else kubernetes_clusters
    where = request.getfixturevalue(request.param)
    monkeypatch.setattr(
        "replay.flink.clusters.subprocess.run", partial(_in_this_process, module.main, capsys)
    )
    return CommandClusters([module.__name__, where])


def test_a_second_start_is_the_same(program: Clusters) -> None:
    first = program.start(NAME)
    assert first.rest.startswith("http://")
    assert program.start(NAME) == first
    assert program.names() == {NAME}


def test_clusters_have_addresses_of_their_own(program: Clusters) -> None:
    assert len({program.start(name).rest for name in (NAME, OTHER, LONG)}) == 3
    assert program.names() == {NAME, OTHER, LONG}


def test_a_stop_leaves_nothing_of_it_and_the_others_alone(program: Clusters) -> None:
    program.start(NAME)
    program.start(OTHER)
    program.stop(NAME)
    program.stop(NAME)
    assert program.names() == {OTHER}


def test_what_is_not_known_is_stopped_and_has_no_reason(program: Clusters) -> None:
    assert program.names() == frozenset()
    program.stop(NAME)
    assert program.why(NAME) == ""
    assert program.names() == frozenset()


def test_a_cluster_can_be_started_again(program: Clusters) -> None:
    program.start(NAME)
    program.stop(NAME)
    program.start(NAME)
    assert program.names() == {NAME}


def test_live_may_be_repeated(program: Clusters) -> None:
    program.start(NAME)
    program.live(NAME)
    program.live(NAME)
    program.start(NAME)
    assert program.names() == {NAME}


def test_only_a_cluster_that_was_started_goes_live(program: Clusters) -> None:
    with pytest.raises(RefusedError) as e:
        program.live(NAME)
    assert str(e.value) == (
        f"there is no cluster {NAME}\n  expected: one that was started\n  found:    none\n"
        "  next:     kappa status"
    )


@pytest.mark.parametrize(
    "name", ["kafka", "../flights-r1", "flights-r1-a1/..", "Flights-r1", "flights r1-a1", "-", ""]
)
@pytest.mark.parametrize("verb", ["start", "stop", "live", "why"])
def test_only_names_of_attempts_are_taken(program: Clusters, verb: str, name: str) -> None:
    with pytest.raises(RefusedError, match="this cannot be the name of a cluster"):
        getattr(program, verb)(name)


def test_anything_else_is_told_how_to_ask(program: CommandClusters) -> None:
    with pytest.raises(RefusedError, match="the program for Flink clusters failed"):
        program._run("restart", NAME)
