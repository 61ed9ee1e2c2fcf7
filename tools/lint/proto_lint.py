"""Checks the style of protos/keysphere: the public contract. (What others define is theirs.)

Packages are folders and versioned (keysphere.v1 in keysphere/v1); only files that do nothing but
extend descriptor options lie in an unversioned package. Names are as protobuf's style guide has
them; enum values bear the enum's name, and zero is _UNSPECIFIED. Every service, method, message and
enum has a comment. What protoc warns of (an unused import) is an error here.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile
from typing import Any, Dict, Iterator, List, NamedTuple, Sequence, Tuple

from google.protobuf import descriptor_pb2

PASCAL = re.compile(r"[A-Z][A-Za-z0-9]*\Z")
SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*\Z")
UPPER_SNAKE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*\Z")
VERSION = re.compile(r"v[1-9][0-9]*((alpha|beta)[1-9][0-9]*)?\Z")

# Numbers of the fields that a path in SourceCodeInfo is made of.
FILE_MESSAGE, FILE_ENUM, FILE_SERVICE, FILE_EXTENSION = 4, 5, 6, 7
MESSAGE_FIELD, MESSAGE_NESTED, MESSAGE_ENUM, MESSAGE_ONEOF = 2, 3, 4, 8
ENUM_VALUE = 2
SERVICE_METHOD = 2

Path = Tuple[int, ...]


class Problem(NamedTuple):
    """One broken rule."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: [proto] {self.message}"


def upper_snake(name: str) -> str:
    """CryptoState -> CRYPTO_STATE, VMState -> VM_STATE."""
    name = re.sub(r"([A-Z]+)([A-Z][a-z])", r"\1_\2", name)
    return re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).upper()


class FileLint:
    """The checks of one file."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.locations: Dict[Path, Any] = {
            tuple(location.path): location for location in file.source_code_info.location
        }
        self.problems: List[Problem] = []

    def fail(self, path: Path, message: str) -> None:
        location = self.locations.get(path)
        line = location.span[0] + 1 if location is not None else 1
        self.problems.append(Problem(f"protos/{self.file.name}", line, message))

    def need_comment(self, path: Path, what: str) -> None:
        location = self.locations.get(path)
        if location is None or not (location.leading_comments + location.trailing_comments).strip():
            self.fail(path, f"{what} has no comment")

    def need_name(self, path: Path, what: str, name: str, style: "re.Pattern[str]") -> None:
        if not style.match(name):
            styles = {PASCAL: "PascalCase", SNAKE: "snake_case", UPPER_SNAKE: "UPPER_SNAKE_CASE"}
            self.fail(path, f"{what} {name} is not in {styles[style]}")

    def run(self) -> List[Problem]:
        self.check_file()
        for index, message in enumerate(self.file.message_type):
            self.check_message((FILE_MESSAGE, index), message)
        for index, enum in enumerate(self.file.enum_type):
            self.check_enum((FILE_ENUM, index), enum)
        for index, extension in enumerate(self.file.extension):
            path = (FILE_EXTENSION, index)
            self.need_name(path, "extension", extension.name, SNAKE)
            self.need_comment(path, f"extension {extension.name}")
        for index, service in enumerate(self.file.service):
            self.check_service((FILE_SERVICE, index), service)
        return self.problems

    def check_file(self) -> None:
        folder, _, name = self.file.name.rpartition("/")
        if self.file.syntax != "proto3":
            self.fail((), "the syntax is not proto3")
        if self.file.package != folder.replace("/", "."):
            self.fail((), f"package {self.file.package} does not match the folder {folder}")
        defines = self.file.message_type or self.file.enum_type or self.file.service
        if defines and not VERSION.match(self.file.package.rsplit(".", 1)[-1]):
            self.fail((), f"package {self.file.package} has no version")
        if not SNAKE.match(name[: -len(".proto")]):
            self.fail((), f"file name {name} is not in snake_case")

    def check_message(self, path: Path, message: Any) -> None:
        if message.options.map_entry:
            return
        self.need_name(path, "message", message.name, PASCAL)
        self.need_comment(path, f"message {message.name}")
        for index, field in enumerate(message.field):
            self.need_name(path + (MESSAGE_FIELD, index), "field", field.name, SNAKE)
        for index, oneof in enumerate(message.oneof_decl):
            if not oneof.name.startswith("_"):  # proto3 optional makes those.
                self.need_name(path + (MESSAGE_ONEOF, index), "oneof", oneof.name, SNAKE)
        for index, nested in enumerate(message.nested_type):
            self.check_message(path + (MESSAGE_NESTED, index), nested)
        for index, enum in enumerate(message.enum_type):
            self.check_enum(path + (MESSAGE_ENUM, index), enum)

    def check_enum(self, path: Path, enum: Any) -> None:
        self.need_name(path, "enum", enum.name, PASCAL)
        self.need_comment(path, f"enum {enum.name}")
        prefix = upper_snake(enum.name) + "_"
        for index, value in enumerate(enum.value):
            value_path = path + (ENUM_VALUE, index)
            self.need_name(value_path, "enum value", value.name, UPPER_SNAKE)
            if not value.name.startswith(prefix):
                self.fail(value_path, f"enum value {value.name} does not begin with {prefix}")
            if value.number == 0 and value.name != prefix + "UNSPECIFIED":
                self.fail(value_path, f"zero of {enum.name} is not {prefix}UNSPECIFIED")

    def check_service(self, path: Path, service: Any) -> None:
        self.need_name(path, "service", service.name, PASCAL)
        self.need_comment(path, f"service {service.name}")
        for index, method in enumerate(service.method):
            method_path = path + (SERVICE_METHOD, index)
            self.need_name(method_path, "method", method.name, PASCAL)
            self.need_comment(method_path, f"method {service.name}.{method.name}")


def lint(root: pathlib.Path, names: Sequence[str]) -> Iterator[str]:
    """Problems of the files, given by their paths from `root`."""
    if not names:
        return
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder) / "descriptors"
        run = subprocess.run(
            ["protoc", f"-I{root}", "-I/usr/include", "--include_source_info", "-o", str(output)]
            + list(names),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        for line in run.stdout.decode(errors="replace").splitlines():
            yield f"protos/{line}"
        if run.returncode != 0:
            return
        descriptors: Any = descriptor_pb2.FileDescriptorSet()
        descriptors.ParseFromString(output.read_bytes())
    for file in descriptors.file:
        for problem in FileLint(file).run():
            yield str(problem)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", type=pathlib.Path, help="the folder of the protos")
    arguments = parser.parse_args()
    root = arguments.root or pathlib.Path(__file__).resolve().parents[2] / "protos"
    names = sorted(str(path.relative_to(root)) for path in root.glob("keysphere/**/*.proto"))
    problems = list(lint(root, names))
    for problem in problems:
        print(problem)
    return 1 if problems or not names else 0


if __name__ == "__main__":
    sys.exit(main())
