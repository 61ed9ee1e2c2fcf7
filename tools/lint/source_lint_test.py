"""Plants a violation of each rule and looks for it; what is right passes."""

import os
import pathlib
import sys
from typing import List

import pytest

from tools.lint import source_lint

ROOT = pathlib.Path("/nonexistent")


def rules(path: str, text: str) -> List[str]:
    return [problem.rule for problem in source_lint.check_file(ROOT, path, text)]


@pytest.mark.parametrize(
    "path, line, rule",
    [
        ("controller/api/a.cc", "auto t = absl::Now();", "time"),
        ("tests/a_test.cc", "std::this_thread::sleep_for(ms);", "time"),
        ("hostagent/vm/a.cc", "auto t = std::chrono::steady_clock::now();", "time"),
        ("services/kms/a.cc", "usleep(10);", "time"),
        ("services/kms/a.cc", "clock_gettime(CLOCK_MONOTONIC, &now);", "time"),
        ("controller/api/a.cc", "LOG(request.ShortDebugString());", "print"),
        ("common/crypto/a.cc", "std::ostream& operator<<(std::ostream& o, const Key& k);", "print"),
        ("common/rpc/a.cc", "std::lock_guard lock(mutex_);", "mutex"),
        ("kmip/a.cc", "absl::Mutex mutex_;", "mutex"),
        ("controller/providers/a.cc", "std::thread worker;", "thread"),
        ("common/crypto/a.cc", "EVP_sha1();", "weak-hash"),
        ("common/crypto/a.cc", 'Fetch("SHA1");', "weak-hash"),
        ("controller/providers/a.cc", "#include <grpcpp/grpcpp.h>", "grpc"),
        ("hostagent/vm/a.cc", '#include "keysphere/v1/vms.grpc.pb.h"', "grpc"),
        ("common/rpc/a.cc", "#include <spdlog/spdlog.h>", "log"),
        ("controller/providers/a.cc", '#include "hostagent/vm/vm.h"', "layer"),
        ("hostagent/vm/a.cc", '#include "controller/providers/p.h"', "layer"),
        ("common/crypto/a.cc", '#include "kmip/codec.h"', "layer"),
        ("services/kms/a.cc", '#include "tools/bench/b.h"', "layer"),
        ("common/crypto/a.cc", '#include "../clock/clock.h"', "layer"),
        ("common/crypto/BUILD", 'deps = ["//controller/providers"],', "layer"),
        ("hostagent/vm/BUILD", '"//controller/providers:store",', "layer"),
        ("common/crypto/a.h", "#pragma once", "guard"),
        ("common/crypto/a.cc", "// TODO: later", "unfinished"),
        ("tests/a_test.cc", "TEST(Foo, DISABLED_Bar) {}", "unfinished"),
        ("docs/a.md", "see [there](gone.md)", "link"),
        ("common/crypto/a.cc", "\n" * (source_lint.MAX_LINES + 1), "length"),
    ],
)
def test_a_violation_is_found(path: str, line: str, rule: str) -> None:
    assert rules(path, line + "\n") == [rule]


@pytest.mark.parametrize(
    "path, line",
    [
        ("common/clock/a.cc", "auto t = absl::Now();"),
        ("common/a/a_bench.cc", "clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);"),
        ("controller/api/a.cc", "// not absl::Now(): virtual time"),
        ("controller/api/a.cc", "/* std::mutex\n std::mutex */"),
        ("controller/api/a.cc", "clock->sleep(1); message.time(0);"),
        ("common/status/a.cc", "message.DebugString();"),
        ("common/sync/a.cc", "std::mutex mutex_;"),
        ("common/log/a.cc", "#include <spdlog/spdlog.h>"),
        ("common/rpc/a.cc", "#include <grpcpp/grpcpp.h>"),
        ("controller/api/a.cc", "#include <grpcpp/grpcpp.h>"),
        ("common/status/grpc.cc", "#include <grpcpp/grpcpp.h>"),
        ("controller/main.cc", "#include <grpcpp/grpcpp.h>"),
        ("controller/providers/a.cc", '#include "common/clock/clock.h"'),
        ("controller/providers/a.cc", '#include "controller/inventory/vm.h"'),
        ("tests/a_test.cc", '#include "services/simulator/supervisor.h"'),
        ("common/crypto/BUILD", 'load("//tools/build:defs.bzl", "keysphere_test")'),
        ("common/crypto/BUILD", 'visibility = ["//controller:__subpackages__"],'),
        ("common/crypto/a.cc", "EVP_sha1();  // LINT-ALLOW(weak-hash): a bundle to be refused"),
        ("common/crypto/a.cc", "// LINT-ALLOW(weak-hash): a bundle to be refused\nEVP_sha1();"),
        ("kmip/a.cc", "// LINT-ALLOW(weak-hash): refused\nbool ok = F(1) &&\n    G(EVP_sha1());"),
        ("docs/a.md", "see [there](https://example.org/)"),
    ],
)
def test_what_is_right_passes(path: str, line: str) -> None:
    assert not rules(path, line + "\n")


def test_an_exception_needs_a_reason_and_its_own_rule() -> None:
    assert rules("kmip/a.cc", "EVP_sha1();  // LINT-ALLOW(weak-hash):\n") == ["weak-hash"]
    assert rules("kmip/a.cc", "EVP_sha1();  // LINT-ALLOW(time): why\n") == ["weak-hash"]


def test_an_exception_ends_with_its_statement() -> None:
    text = "// LINT-ALLOW(weak-hash): refused\nEVP_sha1();\nEVP_sha1();\n"
    assert rules("kmip/a.cc", text) == ["weak-hash"]


def test_the_right_guard_passes() -> None:
    text = "#ifndef KEYSPHERE_COMMON_A_B_H_\n#define KEYSPHERE_COMMON_A_B_H_\n#endif\n"
    assert not rules("common/a/b.h", text)


def test_required_files(tmp_path: pathlib.Path) -> None:
    (tmp_path / "README.md").write_text("hello\n")
    problems = source_lint.check_tree(tmp_path, ["README.md"])
    assert {p.path for p in problems} == {"CHANGELOG.md", "CONTRIBUTING.md"}


def test_language_by_first_line(tmp_path: pathlib.Path) -> None:
    (tmp_path / "run").write_text("#!/usr/bin/env bash\n")
    (tmp_path / "show").write_text("#!/usr/bin/python3\n")
    (tmp_path / "BUILD").write_text("package()\n")
    found = [source_lint.language(tmp_path, name) for name in ("run", "show", "BUILD", "a.py")]
    assert found == ["shell", "python", "", "python"]


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider",
                          "--junitxml=" + os.environ.get("XML_OUTPUT_FILE", os.devnull)]))
