"""Checks of the sources that no compiler makes: layers, forbidden patterns, length of files.

What has to break a rule says so, and why, in a comment on its line or right before the statement:
`LINT-ALLOW(rule): reason`.
"""

import argparse
import pathlib
import re
import subprocess
import sys
from typing import Callable, Dict, Iterator, List, NamedTuple, Pattern, Sequence, Tuple

MAX_LINES = 700
REQUIRED_FILES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md")

# An arrow points only to a lower rank, or stays inside its folder.
RANKS = {
    "protos": 0,
    "common": 1,
    "kmip": 2,
    "controller": 3,
    "hostagent": 3,
    "services": 4,
    "tools": 5,
    "tests": 6,
}


class Problem(NamedTuple):
    """One broken rule."""

    path: str
    line: int
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: [{self.rule}] {self.message}"


class Rule(NamedTuple):
    """A pattern that is forbidden in C++ outside certain folders."""

    name: str
    pattern: Pattern[str]
    allowed: Callable[[str], bool]
    message: str


def below(*folders: str) -> Callable[[str], bool]:
    return lambda path: path.startswith(tuple(folder + "/" for folder in folders))


def is_domain(path: str) -> bool:
    """Domain folders know neither gRPC nor threads: all but the adapters and the programs."""
    if re.search(r"(^|/)((api|rpc)/|grpc(_test)?\.(h|cc)$)", path):
        return False
    parts = path.split("/")
    if parts[0] in ("controller", "hostagent"):
        # Directly below: main.cc and its wiring.
        return len(parts) > 2
    return parts[0] in ("common", "kmip")


RULES: Tuple[Rule, ...] = (
    Rule(
        "time",
        re.compile(
            r"\babsl::(Now|GetCurrentTimeNanos|SleepFor)\b|_clock::now\b|\bsleep_(for|until)\b"
            r"|(?<![\w.>])(sleep|usleep|nanosleep|clock_nanosleep|gettimeofday)\s*\("
            r"|(?<![\w.>])clock_gettime\s*\((?!\s*CLOCK_(THREAD|PROCESS)_CPUTIME_ID)"
            r"|(?<![\w.>])time\s*\(\s*(nullptr|NULL|0)\s*\)|\bgpr_(now|sleep_until)\b"
        ),
        # A benchmark measures real time: that is what it is for.
        lambda path: below("common/clock")(path) or path.endswith("_bench.cc"),
        "only common/clock reads the time or sleeps",
    ),
    Rule(
        "print",
        re.compile(
            r"\b(Short|Utf8|UnredactedShort)?DebugString\s*\(|\bTextFormat::Print|\boperator<<\s*\("
        ),
        below("common/status"),
        "only common/status prints messages: it redacts secrets",
    ),
    Rule(
        "mutex",
        re.compile(
            r"\bstd::((recursive_|shared_|timed_|recursive_timed_|shared_timed_)?mutex"
            r"|condition_variable(_any)?|lock_guard|unique_lock|scoped_lock|shared_lock)\b"
            r"|\babsl::(Mutex|MutexLock|ReaderMutexLock|WriterMutexLock|CondVar)\b"
        ),
        below("common/sync"),
        "use keysphere::sync::Mutex (common/sync): clang and TSan understand it",
    ),
    Rule(
        "thread",
        re.compile(r"\bstd::(thread|async|jthread)\b|\bpthread_create\b"),
        lambda path: not is_domain(path)
        or path.endswith("_test.cc")
        or below("common/executor", "common/store", "common/clock", "common/log", "kmip/net")(path),
        "the domain starts no thread: post to an executor",
    ),
    Rule(
        "weak-hash",
        re.compile(
            r"\bEVP_(sha1|md5|md4|rc2\w*|rc4\w*|des\w*)\b|\b(SHA1|MD5)(_Init|_Update|_Final)?\s*\("
            r"|\bNID_(sha1|md5|pbe_WithSHA1\w*)\b|\bTPM2_ALG_(SHA1|MD5)\b"
            r'|"(SHA-?1|MD5|sha-?1|md5)"'
        ),
        lambda path: False,
        "no SHA-1, MD5, RC2, RC4 or DES (S37)",
    ),
)

INCLUDE = re.compile(r'^\s*#\s*include\s*(<([^>]+)>|"([^"]+)")')
LABEL = re.compile(r'"//([a-z_]+)[^"]*"')
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX)\b|\bDISABLED_\w")
ALLOW = re.compile(r"LINT-ALLOW\(([a-z-]+)\):\s*\S")
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")


def without_comments(text: str) -> str:
    """C++ without comments, every line in its place. String literals stay."""
    token = re.compile(
        r'//[^\n]*|/\*.*?\*/|R"([^\s()\\]{0,16})\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
        re.DOTALL,
    )

    def replace(match: "re.Match[str]") -> str:
        found = match.group(0)
        return "\n" * found.count("\n") if found.startswith("/") else found

    return token.sub(replace, text)


def allowed_lines(text: str) -> Dict[int, str]:
    """Line number -> rule that this line may break. Lines count from 1."""
    allowed: Dict[int, str] = {}
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        match = ALLOW.search(line)
        if not match:
            continue
        allowed[number] = match.group(1)
        if line.lstrip().startswith(("//", "#")):
            # A comment of its own: it speaks for the statement that follows.
            for following in range(number + 1, min(number + 8, len(lines)) + 1):
                allowed[following] = match.group(1)
                if lines[following - 1].rstrip().endswith((";", "{", "}")):
                    break
    return allowed


def check_arrow(path: str, target: str) -> str:
    """What is wrong with a dependency of `path` on the top folder `target`; empty if nothing."""
    source = path.split("/")[0]
    if source not in RANKS or target not in RANKS or source == target:
        return ""
    if RANKS[target] < RANKS[source]:
        return ""
    return f"{source} may not depend on {target}: arrows point downward only"


def check_includes(path: str, text: str) -> Iterator[Problem]:
    for number, line in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        header = match.group(2) or match.group(3)
        if match.group(3):
            wrong = check_arrow(path, header.split("/")[0])
            if wrong:
                yield Problem(path, number, "layer", wrong)
            if header.startswith("."):
                yield Problem(path, number, "layer", "include by the path from the root")
        is_grpc = re.match(r"grpc(pp|\+\+)?/", header) or header.endswith(".grpc.pb.h")
        if is_grpc and is_domain(path):
            yield Problem(path, number, "grpc", "the domain knows no gRPC: adapters are in api/")
        if re.match(r"(spdlog|fmt)/", header) and not path.startswith("common/log/"):
            yield Problem(path, number, "log", "only common/log knows spdlog and fmt")


def check_guard(path: str, text: str) -> Iterator[Problem]:
    guard = "KEYSPHERE_" + re.sub(r"[^A-Z0-9]", "_", path.upper()) + "_"
    if f"#ifndef {guard}\n#define {guard}\n" not in text:
        yield Problem(path, 1, "guard", f"the include guard is {guard}")


def check_cpp(path: str, text: str) -> Iterator[Problem]:
    code = without_comments(text)
    yield from check_includes(path, code)
    if path.endswith(".h"):
        yield from check_guard(path, text)
    for number, line in enumerate(code.splitlines(), 1):
        for rule in RULES:
            if not rule.allowed(path) and rule.pattern.search(line):
                yield Problem(path, number, rule.name, rule.message)


def check_build(path: str, text: str) -> Iterator[Problem]:
    """Dependencies between Bazel packages keep to the layers, too."""
    for number, line in enumerate(text.splitlines(), 1):
        code = line.split("#")[0]
        if "visibility" in code or "__pkg__" in code or "__subpackages__" in code:
            continue
        for match in LABEL.finditer(code):
            if match.group(0).startswith('"//tools/build'):
                continue
            wrong = check_arrow(path, match.group(1))
            if wrong:
                yield Problem(path, number, "layer", wrong)


def check_markdown(root: pathlib.Path, path: str, text: str) -> Iterator[Problem]:
    for number, line in enumerate(text.splitlines(), 1):
        for match in LINK.finditer(line):
            target = match.group(1)
            if "://" in target or target.startswith("mailto:"):
                continue
            if not (root / path).parent.joinpath(target).exists():
                yield Problem(path, number, "link", f"{target} does not exist")


def check_any(path: str, text: str) -> Iterator[Problem]:
    lines = text.splitlines()
    if len(lines) > MAX_LINES and not path.endswith(".md"):
        yield Problem(path, len(lines), "length", f"more than {MAX_LINES} lines: split it by subject")
    if path.startswith("tools/lint/"):
        return
    for number, line in enumerate(lines, 1):
        if UNFINISHED.search(line):
            yield Problem(path, number, "unfinished", "finish it, or say in the docs what is not there")


def check_file(root: pathlib.Path, path: str, text: str) -> List[Problem]:
    """All problems of one file, given by its path from the root."""
    problems = list(check_any(path, text))
    name = path.rsplit("/", 1)[-1]
    if path.endswith((".cc", ".h")):
        problems += check_cpp(path, text)
    elif name in ("BUILD", "BUILD.bazel") or name.endswith(".bzl"):
        problems += check_build(path, text)
    elif path.endswith(".md"):
        problems += check_markdown(root, path, text)
    allowed = allowed_lines(text)
    return [p for p in problems if allowed.get(p.line) != p.rule]


def files(root: pathlib.Path) -> List[str]:
    """Tracked files and new ones, as paths from the root."""
    output = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout.decode()
    return sorted({p for p in output.split("\0") if p and (root / p).is_file()})


def language(root: pathlib.Path, path: str) -> str:
    """"shell", "python" or "", by the name or the first line."""
    if path.endswith(".py"):
        return "python"
    if path.endswith(".sh"):
        return "shell"
    if "." in path.rsplit("/", 1)[-1]:
        return ""
    with (root / path).open("rb") as file:
        first = file.readline(100)
    if first.startswith(b"#!"):
        if b"python" in first:
            return "python"
        if re.search(rb"\b(ba|da)?sh\b", first):
            return "shell"
    return ""


def check_tree(root: pathlib.Path, paths: Sequence[str]) -> List[Problem]:
    problems = [
        Problem(name, 1, "missing", "the project has this file")
        for name in REQUIRED_FILES
        if name not in paths
    ]
    for path in paths:
        if path.startswith("third_party/") and not path.endswith(("BUILD", ".bzl")):
            continue
        try:
            text = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # Test data.
        problems += check_file(root, path, text)
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", choices=("shell", "python"), help="only list files of a language")
    arguments = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parents[2]
    paths = files(root)
    if arguments.list:
        for path in paths:
            if language(root, path) == arguments.list:
                print(path)
        return 0
    problems = check_tree(root, paths)
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
