"""Checks that C++ includes what it uses of the headers that a prelude brings anyway.

A precompiled header (tools/build/prelude.bzl) hides an include that is missing. Here a file that
names something of such a header must include it, itself or by what it includes of ours.
"""

import pathlib
import re
import sys
from typing import Dict, Iterator, List, Pattern, Set

from tools.lint import source_lint

HEADERS = re.compile(r"_HEADERS = \[(.*?)\]", re.DOTALL)
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^">]+)[">]', re.MULTILINE)

_ALGORITHMS = (
    "all_of|any_of|clamp|copy|count|count_if|equal|fill|find|find_if|lower_bound|max|max_element|min"
    "|min_element|none_of|remove_if|reverse|sort|stable_sort|transform|upper_bound"
)
# What stands for a header. Of protobuf's the generated headers include what they need.
NAMES: Dict[str, Pattern[str]] = {
    header: re.compile(pattern)
    for header, pattern in {
        "algorithm": rf"\bstd::({_ALGORITHMS})\b",
        "atomic": r"\bstd::atomic\b",
        "cstdint": r"\bu?int(8|16|32|64)_t\b",
        "functional": r"\bstd::function\b",
        "map": r"\bstd::(multi)?map\b",
        "memory": r"\bstd::(make_shared|make_unique|shared_ptr|unique_ptr|weak_ptr)\b",
        "set": r"\bstd::(multi)?set\b",
        "string": r"\bstd::(getline|stoi|stoll|string|to_string)\b",
        "utility": r"\bstd::(exchange|forward|move|pair|swap)\b",
        "vector": r"\bstd::vector\b",
        "absl/container/flat_hash_map.h": r"\babsl::flat_hash_map\b",
        "absl/functional/any_invocable.h": r"\babsl::AnyInvocable\b",
        "absl/status/status.h": r"\babsl::(OkStatus|Status)\b",
        "absl/status/statusor.h": r"\babsl::StatusOr\b",
        "absl/strings/str_cat.h": r"\babsl::Str(Append|Cat)\b",
        "absl/strings/string_view.h": r"\babsl::string_view\b",
        "absl/time/time.h": r"\babsl::(Duration|Minutes|Seconds|Time)\b",
        "absl/types/optional.h": r"\babsl::(nullopt|optional)\b",
        "absl/types/span.h": r"\babsl::(MakeConstSpan|MakeSpan|Span)\b",
        "gmock/gmock.h": r"\b(ElementsAre|HasSubstr|IsEmpty|SizeIs|UnorderedElementsAre)\(",
        "gtest/gtest.h": r"\b(EXPECT|ASSERT)_(EQ|FALSE|NE|TRUE)\b|\bTEST(_F|_P)?\(",
    }.items()
}


class Sources:
    """Our files and what they include, read once."""

    def __init__(self, root: pathlib.Path) -> None:
        self._root = root
        self._includes: Dict[str, List[str]] = {}

    def includes(self, path: str) -> List[str]:
        if path not in self._includes:
            text = (self._root / path).read_text(encoding="utf-8")
            self._includes[path] = INCLUDE.findall(text)
        return self._includes[path]

    def foreign(self, path: str) -> Set[str]:
        """What the file includes, itself or by ours, that is not ours."""
        seen: Set[str] = set()
        found: Set[str] = set()
        pending = [path]
        while pending:
            for header in self.includes(pending.pop()):
                if header in seen:
                    continue
                seen.add(header)
                if (self._root / header).is_file():
                    pending.append(header)
                else:
                    found.add(header)
        return found


def check(root: pathlib.Path, paths: List[str]) -> Iterator[str]:
    sources = Sources(root)
    for path in paths:
        code = source_lint.without_comments((root / path).read_text(encoding="utf-8"))
        foreign = sources.foreign(path)
        for header, name in NAMES.items():
            match = name.search(code)
            if match and header not in foreign:
                line = code.count("\n", 0, match.start()) + 1
                yield f"{path}:{line}: [include] {match.group(0)} needs #include of {header}"


def unnamed(build: str) -> List[str]:
    """Headers of the preludes that this check knows nothing of; protobuf's apart."""
    listed = re.findall(r'"([^"]+)"', " ".join(HEADERS.findall(build)))
    return [h for h in listed if h not in NAMES and not h.startswith("google/protobuf/")]


def main() -> int:
    root = pathlib.Path(__file__).resolve().parents[2]
    paths = [p for p in source_lint.files(root) if p.endswith((".cc", ".h"))]
    problems = list(check(root, paths))
    for header in unnamed((root / "tools/build/BUILD").read_text(encoding="utf-8")):
        problems.append(f"tools/build/BUILD: tools/lint/include_lint.py lacks names of {header}")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
