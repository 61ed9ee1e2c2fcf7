"""Counting: nothing that failed may look as if it had passed, or be forgotten."""

import os
import pathlib
import sys
from typing import Any, Dict, List

import pytest

from tools.ci import bazel_results

XML = """<testsuites><testsuite name="s">
<testcase classname="A" name="one" status="run"/>
<testcase classname="A" name="two" status="run">{two}</testcase>
</testsuite></testsuites>"""


def result(label: str, xml: pathlib.Path, attempt: int = 1, shard: int = 1) -> Dict[str, Any]:
    return {
        "id": {"testResult": {"label": label, "run": 1, "shard": shard, "attempt": attempt}},
        "testResult": {"testActionOutput": [{"name": "test.xml", "uri": xml.as_uri()}]},
    }


def summary(label: str, status: str) -> Dict[str, Any]:
    return {"id": {"testSummary": {"label": label}}, "testSummary": {"overallStatus": status}}


def completed(label: str, success: bool) -> Dict[str, Any]:
    event: Dict[str, Any] = {"id": {"targetCompleted": {"label": label}}}
    if success:
        event["completed"] = {"success": True}
    return event


@pytest.fixture(name="xml")
def xml_fixture(tmp_path: pathlib.Path) -> pathlib.Path:
    path = tmp_path / "test xml.xml"  # The uri is escaped.
    path.write_text(XML.format(two=""))
    return path


def counts(events: List[Dict[str, Any]], exit_code: int) -> "tuple[int, int]":
    report = bazel_results.count(events, exit_code)
    return report.passed, len(report.failures)


def test_cases_are_counted(xml: pathlib.Path) -> None:
    assert counts([result("//a:t", xml), summary("//a:t", "PASSED")], 0) == (2, 0)


def test_shards_add_up_and_only_the_last_attempt_counts(xml: pathlib.Path) -> None:
    events = [
        result("//a:t", xml, attempt=1),
        result("//a:t", xml, attempt=2),
        result("//a:t", xml, shard=2),
        summary("//a:t", "FLAKY"),
    ]
    assert counts(events, 0) == (4, 0)


@pytest.mark.parametrize("element", ["<failure/>", "<error/>"])
def test_a_failed_case(tmp_path: pathlib.Path, element: str) -> None:
    path = tmp_path / "t.xml"
    path.write_text(XML.format(two=element))
    assert counts([result("//a:t", path), summary("//a:t", "FAILED")], 3) == (1, 1)


def test_a_skipped_case_is_neither(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "t.xml"
    path.write_text(XML.format(two="<skipped/>"))
    assert counts([result("//a:t", path), summary("//a:t", "PASSED")], 0) == (1, 0)


def test_a_test_that_dies_after_its_cases_failed(xml: pathlib.Path) -> None:
    assert counts([result("//a:t", xml), summary("//a:t", "FAILED")], 3) == (2, 1)


def test_a_timeout_without_xml(tmp_path: pathlib.Path) -> None:
    missing = tmp_path / "none.xml"
    assert counts([result("//a:t", missing), summary("//a:t", "TIMEOUT")], 3) == (0, 1)


def test_no_case_at_all_is_a_failure(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "t.xml"
    path.write_text("<testsuites/>")
    assert counts([result("//a:t", path), summary("//a:t", "PASSED")], 0) == (0, 1)


def test_what_did_not_build_is_a_failure(xml: pathlib.Path) -> None:
    events = [
        completed("//a:t", True),
        completed("//a:lib", False),
        result("//a:t", xml),
        summary("//a:t", "PASSED"),
        summary("//a:u", "NO_STATUS"),
        {"id": {"configuredLabel": {"label": "//b:x"}}, "aborted": {"reason": "ANALYSIS_FAILURE"}},
    ]
    assert counts(events, 1) == (2, 3)


def test_an_exit_code_without_a_trace_is_a_failure(xml: pathlib.Path) -> None:
    assert counts([result("//a:t", xml), summary("//a:t", "PASSED")], 1) == (2, 1)


def test_a_cut_event_file_is_read_as_far_as_it_goes(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "events"
    path.write_text('{"id": {"started": {}}}\n{"id": {"testSum')
    assert len(bazel_results.read_events(path)) == 1


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider",
                          "--junitxml=" + os.environ.get("XML_OUTPUT_FILE", os.devnull)]))
