"""The JUnit tests of the table format and the connector, compiled and run on the Java runtime that the stack uses."""

from __future__ import annotations

from pathlib import Path

from local import flink, jars, patches
from local.connector_jar import TEST, build_connector_jar, run_connector_tests
from local.layout import java


def test_the_java_code_passes_its_tests(tmp_path: Path) -> None:
    cache = jars.cache_folder()
    needed = [jar for part in ("build", "flink", "test") for jar in jars.read_lock(part)]
    jars.ensure(needed, cache, lambda message: None)
    ecj = jars.path_of("ecj", cache)
    asm, flinks = jars.path_of("asm", cache), flink.lib_jars()
    patched = patches.build_patches_jar(java(), ecj, asm, flinks, tmp_path / patches.JAR_NAME)
    libraries = [patched, *flinks, asm]
    connector_jar = build_connector_jar(java(), ecj, libraries, tmp_path / "kappa-connector.jar")
    junit = jars.path_of("junit-platform-console-standalone", cache)
    report = run_connector_tests(
        java(),
        ecj,
        junit,
        connector_jar,
        libraries,
        [TEST / "java", patches.PATCHER / "java"],
        {"kappa.patched": patches.digests()},
    )
    assert "0 tests failed" in report
    assert "noInstantOfAWindowComesAfterItsEnd(String)" in report
    assert "aFlinkWithoutThePatchesIsRefused" in report
    assert "callsOfAnotherClassBecomeCallsOfOurs" in report
    assert "serversForPythonWorkersListenOnLoopback" in report
    assert "aTombstoneIsEmittedWithNothingInIt" in report
    assert "kafkasClientsReadTheSameFiles" in report
    assert "aRestoredPartitionBeginsWithTheWatermarkOfItsLastRecordAndWithNoRow" in report
    assert "fieldsInsideOfArraysAndMapsAreFoundByNameToo" in report
    assert "everyInternalThatTheConnectorReliesOnIsListed" in report
    assert all(patch.type in report for patch in patches.PATCHES)
