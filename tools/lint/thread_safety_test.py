"""clang finds a planted violation, and a file that includes a lock is found to include it."""

import os
import pathlib
import sys

import pytest

from tools.lint import thread_safety

LOCK = """
class __attribute__((capability("mutex"))) Mutex {
 public:
  void Lock() __attribute__((acquire_capability()));
  void Unlock() __attribute__((release_capability()));
};
class Counter {
 public:
  int Get() {
    %s
  }
 private:
  Mutex mutex_;
  int count_ __attribute__((guarded_by(mutex_))) = 0;
};
"""


def check(folder: pathlib.Path, body: str) -> str:
    path = folder / "counter.cc"
    path.write_text(LOCK % body)
    return thread_safety.check(path, [])


def test_an_unguarded_read_is_found(tmp_path: pathlib.Path) -> None:
    assert "requires holding mutex 'mutex_'" in check(tmp_path, "return count_;")


def test_a_guarded_read_passes(tmp_path: pathlib.Path) -> None:
    body = "mutex_.Lock(); int count = count_; mutex_.Unlock(); return count; int unused;"
    assert check(tmp_path, body) == ""


def test_what_does_not_parse_is_found(tmp_path: pathlib.Path) -> None:
    assert "error" in check(tmp_path, "return")


def test_includes_are_followed(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.cc").write_text('#include "b.h"\n')
    (tmp_path / "b.h").write_text('  # include "c.h"\n#include <vector>\n')
    (tmp_path / "c.h").write_text('#include "b.h"\n#include "gone.h"\n')
    sources = thread_safety.Sources([tmp_path])
    names = [path.name for path in sources.closure(tmp_path / "a.cc")]
    assert names == ["a.cc", "b.h", "c.h"]


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider",
                          "--junitxml=" + os.environ.get("XML_OUTPUT_FILE", os.devnull)]))
