"""Counts what a `bazel test` did, from its build events, and says `N passed, N failed` at the end.

Counted are test cases, where a test reports them (its test.xml), else test targets. A target that
does not load, analyse or build counts as one failure; so does a test that dies, times out or runs
no test case at all. Skipped cases are named and count as neither.

The exit code is 0 only if something passed and nothing failed.
"""

import argparse
import collections
import json
import pathlib
import sys
import urllib.parse
import xml.etree.ElementTree as ElementTree
from typing import Any, Dict, List, NamedTuple, Set, Tuple

Event = Dict[str, Any]


class Cases(NamedTuple):
    """The test cases of one test.xml."""

    passed: List[str]
    failed: List[str]
    skipped: List[str]


class Report:
    """What happened, target by target."""

    def __init__(self) -> None:
        self.passed = 0
        self.failures: List[str] = []
        self.skipped: List[str] = []

    def fail(self, what: str) -> None:
        self.failures.append(what)


def read_cases(path: pathlib.Path) -> Cases:
    """The cases of a JUnit XML file; none, if there is no readable file."""
    cases = Cases([], [], [])
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return cases
    for case in root.iter("testcase"):
        name = f"{case.get('classname', '')}.{case.get('name', '')}".strip(".")
        if case.find("failure") is not None or case.find("error") is not None:
            cases.failed.append(name)
        elif case.find("skipped") is not None or case.get("status") == "notrun":
            cases.skipped.append(name)
        else:
            cases.passed.append(name)
    return cases


def read_events(path: pathlib.Path) -> List[Event]:
    """One event a line; a line that Bazel did not finish (it was killed) is left out."""
    events: List[Event] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            events.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return events


def xml_path(result: Event) -> pathlib.Path:
    for output in result.get("testActionOutput", []):
        if output.get("name") == "test.xml":
            return pathlib.Path(urllib.parse.unquote(urllib.parse.urlparse(output["uri"]).path))
    return pathlib.Path("/nonexistent")


def count(events: List[Event], exit_code: int) -> Report:
    """Turns Bazel's build events into a report."""
    report = Report()
    statuses: Dict[str, str] = {}
    # The last attempt of each (run, shard) of a test counts.
    results: Dict[str, Dict[Tuple[int, int], Tuple[int, Event]]] = collections.defaultdict(dict)
    broken: Set[str] = set()

    for event in events:
        identity = event.get("id", {})
        if "testSummary" in identity and "testSummary" in event:
            label = identity["testSummary"]["label"]
            statuses[label] = event["testSummary"].get("overallStatus", "NO_STATUS")
        elif "testResult" in identity and "testResult" in event:
            run = identity["testResult"]
            key = (int(run.get("run", 1)), int(run.get("shard", 1)))
            attempt = int(run.get("attempt", 1))
            known = results[run["label"]].get(key)
            if known is None or known[0] <= attempt:
                results[run["label"]][key] = (attempt, event["testResult"])
        elif "targetCompleted" in identity:
            if not event.get("completed", {}).get("success", False):
                broken.add(identity["targetCompleted"]["label"])
        elif "aborted" in event:
            for kind in ("unconfiguredLabel", "configuredLabel", "targetConfigured"):
                if kind in identity:
                    broken.add(identity[kind]["label"])

    for label in sorted(statuses):
        count_test(label, statuses[label], [r for _, r in results[label].values()], report)
    for label in sorted(broken - set(statuses)):
        report.fail(f"{label} (not built)")
    # Exit code 4: no test was found. Any other failure that left no trace above, such as a
    # package that does not load, still is one.
    if exit_code not in (0, 4) and not report.failures:
        report.fail(f"bazel ended with exit code {exit_code}")
    return report


def count_test(label: str, status: str, results: List[Event], report: Report) -> None:
    if status == "NO_STATUS" or not results:
        report.fail(f"{label} (not built or not run)")
        return
    succeeded = status in ("PASSED", "FLAKY")
    failures_before = len(report.failures)
    cases_seen = 0
    for result in results:
        cases = read_cases(xml_path(result))
        cases_seen += sum(map(len, cases))
        report.passed += len(cases.passed)
        report.skipped += [f"{label} {name}" for name in cases.skipped]
        for name in cases.failed:
            report.fail(f"{label} {name}")
    if not succeeded and len(report.failures) == failures_before:
        report.fail(f"{label} ({status})")
    if succeeded and cases_seen == 0:
        report.fail(f"{label} (passed, but ran no test case)")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=pathlib.Path, required=True)
    parser.add_argument("--exit-code", type=int, required=True)
    arguments = parser.parse_args()
    report = count(read_events(arguments.events), arguments.exit_code)
    for name in report.skipped:
        print(f"SKIPPED: {name}")
    for name in report.failures:
        print(f"FAILED: {name}")
    if not report.passed and not report.failures:
        print("nothing was tested")
    print(f"{report.passed} passed, {len(report.failures)} failed", flush=True)
    return 0 if report.passed and not report.failures else 1


if __name__ == "__main__":
    sys.exit(main())
