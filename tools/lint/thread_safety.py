"""Checks the lock annotations of all C++ with clang, which reads them; g++ does not.

Parsed with -Wthread-safety: each .cc that has to do with locks, and for each such header one .cc that
includes it. The result is remembered by a hash of the file, of all our headers that it includes, and
of the flags: what has not changed is not parsed again.
"""

import argparse
import concurrent.futures
import hashlib
import pathlib
import re
import subprocess
import sys
from typing import Dict, List, Optional, Set

INCLUDE = re.compile(rb'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)
# What an annotated field, a function that takes a lock, or a use of a lock looks like.
LOCKS = re.compile(rb"\bABSL_\w*(GUARDED|LOCK)|\bMutexLock\b|\bMutex\b")
FLAGS = (
    "-std=c++17",
    "-fsyntax-only",
    "-Wno-everything",
    "-Wthread-safety",
    "-Werror=thread-safety",
    "-DSPDLOG_FMT_EXTERNAL",
    "-DFMT_HEADER_ONLY",
)


class Sources:
    """Our files and what they include of ours, read once."""

    def __init__(self, folders: List[pathlib.Path]) -> None:
        self.folders = folders
        self._found: Dict[str, Optional[pathlib.Path]] = {}
        self._content: Dict[pathlib.Path, bytes] = {}

    def content(self, path: pathlib.Path) -> bytes:
        if path not in self._content:
            self._content[path] = path.read_bytes()
        return self._content[path]

    def find(self, header: str) -> Optional[pathlib.Path]:
        if header not in self._found:
            candidates = (folder / header for folder in self.folders)
            self._found[header] = next((c for c in candidates if c.is_file()), None)
        return self._found[header]

    def closure(self, path: pathlib.Path) -> List[pathlib.Path]:
        """The file and everything of ours that it includes."""
        seen: Set[pathlib.Path] = set()
        pending = [path]
        while pending:
            current = pending.pop()
            if current in seen:
                continue
            seen.add(current)
            for name in INCLUDE.findall(self.content(current)):
                header = self.find(name.decode())
                if header is not None:
                    pending.append(header)
        return sorted(seen)


def worth_parsing(sources: Sources, paths: List[pathlib.Path]) -> List[pathlib.Path]:
    """Enough of the .cc files for every place that has to do with locks to be seen once."""
    closures = {path: sources.closure(path) for path in paths}
    chosen = {path for path in paths if LOCKS.search(sources.content(path))}
    seen: Set[pathlib.Path] = {part for path in chosen for part in closures[path]}
    # Small ones first: they are the cheapest to see a header with.
    for path in sorted(paths, key=lambda p: (len(closures[p]), p)):
        unseen = [part for part in closures[path] if part not in seen]
        if any(LOCKS.search(sources.content(part)) for part in unseen):
            chosen.add(path)
            seen.update(closures[path])
    return sorted(chosen)


def check(path: pathlib.Path, includes: List[str]) -> str:
    """What clang has to say; empty if nothing."""
    run = subprocess.run(
        ["clang++", *FLAGS, *includes, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if run.returncode == 0:
        return ""
    return run.stdout.decode(errors="replace") or f"{path}: clang++ failed\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generated", type=pathlib.Path, required=True, help="Bazel's output folder")
    parser.add_argument("--stamps", type=pathlib.Path, required=True, help="where results are kept")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()

    folders = [pathlib.Path("."), arguments.generated / "protos", arguments.generated]
    includes = [f"-I{folder}" for folder in folders]
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", "*.cc"],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout.decode()
    sources = Sources(folders)
    arguments.stamps.mkdir(parents=True, exist_ok=True)

    pending: Dict[pathlib.Path, pathlib.Path] = {}
    valid: Set[str] = set()
    paths = [pathlib.Path(name) for name in sorted(set(listed.split("\0")) - {""})]
    ours = [p for p in paths if p.is_file() and p.parts[0] != "third_party"]
    for path in worth_parsing(sources, ours):
        digest = hashlib.sha256(repr((str(path), FLAGS, includes)).encode())
        for part in sources.closure(path):
            digest.update(hashlib.sha256(sources.content(part)).digest())
        stamp = arguments.stamps / digest.hexdigest()
        valid.add(stamp.name)
        if not stamp.exists():
            pending[path] = stamp

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        for path, output in zip(pending, pool.map(lambda p: check(p, includes), pending)):
            if output:
                failed += 1
                print(output, end="")
            else:
                pending[path].touch()
    for old in arguments.stamps.iterdir():
        if old.name not in valid:
            old.unlink()
    print(f"thread safety: {len(valid)} files, {len(pending)} checked now, {failed} with problems")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
