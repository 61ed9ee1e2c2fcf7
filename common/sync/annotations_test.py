"""A lock annotation that is broken does not compile with this workspace's flags."""

import os
import pathlib
import re
import subprocess
import sys
from typing import List

import pytest

COUNTER = """
#include "common/sync/mutex.h"
class Counter {
 public:
  int Get() {
    %s
  }
 private:
  keysphere::sync::Mutex mutex_;
  int count_ ABSL_GUARDED_BY(mutex_) = 0;
};
int Use(Counter* counter) { return counter->Get(); }
"""


def flags() -> List[str]:
    """What .bazelrc gives to every compilation."""
    text = pathlib.Path(".bazelrc").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("build ")]
    return re.findall(r"--c(?:xx)?opt=(\S+)", "\n".join(lines))


def compile_errors(folder: pathlib.Path, body: str) -> str:
    path = folder / "counter.cc"
    path.write_text(COUNTER % body, encoding="utf-8")
    run = subprocess.run(
        ["clang++", *flags(), "-fsyntax-only", "-I.", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert (run.returncode == 0) == (run.stdout == b"")
    return run.stdout.decode()


def test_an_unguarded_read_does_not_compile(tmp_path: pathlib.Path) -> None:
    assert "requires holding mutex 'mutex_'" in compile_errors(tmp_path, "return count_;")


def test_a_guarded_read_compiles(tmp_path: pathlib.Path) -> None:
    body = "keysphere::sync::MutexLock lock(&mutex_); return count_;"
    assert compile_errors(tmp_path, body) == ""


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider",
                          "--junitxml=" + os.environ.get("XML_OUTPUT_FILE", os.devnull)]))
