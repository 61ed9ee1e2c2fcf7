"""An include that only a prelude makes good is found."""

import os
import pathlib
import sys
from typing import List

import pytest

from tools.lint import include_lint


def check(folder: pathlib.Path, text: str) -> List[str]:
    (folder / "a.cc").write_text(text)
    return list(include_lint.check(folder, ["a.cc"]))


def test_a_missing_include_is_found(tmp_path: pathlib.Path) -> None:
    problems = check(tmp_path, "\nstd::vector<int> v;  // std::map\n")
    assert problems == ["a.cc:2: [include] std::vector needs #include of vector"]


def test_its_own_and_ours_count(tmp_path: pathlib.Path) -> None:
    (tmp_path / "b.h").write_text('#include "c.h"\n')
    (tmp_path / "c.h").write_text("#include <map>\n")
    text = '#include "b.h"\n#include "gone.pb.h"\n#include <vector>\n'
    assert check(tmp_path, text + "std::map<std::vector<int>, int> m;\n") == []


def test_what_others_include_does_not_count(tmp_path: pathlib.Path) -> None:
    assert check(tmp_path, "#include <memory>\nstd::string s;\n") != []


def test_every_header_of_a_prelude_has_names() -> None:
    text = '_HEADERS = [\n "map",\n "google/protobuf/map.h",\n "deque",\n]\nx = _HEADERS + ["gtest/gtest.h"]'
    assert include_lint.unnamed(text) == ["deque"]


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider",
                          "--junitxml=" + os.environ.get("XML_OUTPUT_FILE", os.devnull)]))
