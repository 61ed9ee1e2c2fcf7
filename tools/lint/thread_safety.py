"""Checks the lock annotations of all C++ with clang, which reads them; g++ does not.

Each .cc that includes common/sync, directly or not, is parsed once with -Wthread-safety. Its result
is remembered by a hash of the file, of all our headers that it includes, and of the flags: what has
not changed is not parsed again.
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
    for name in sorted(set(listed.split("\0")) - {""}):
        path = pathlib.Path(name)
        if not path.is_file() or path.parts[0] == "third_party":
            continue
        closure = sources.closure(path)
        if not any(p.parts[:2] == ("common", "sync") for p in closure):
            continue
        digest = hashlib.sha256(repr((name, FLAGS, includes)).encode())
        for part in closure:
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
