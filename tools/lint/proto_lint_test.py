"""Plants what the style of the protos forbids, and looks for it."""

import os
import pathlib
import sys
from typing import List

import pytest

from tools.lint import proto_lint

GOOD = """syntax = "proto3";
package keysphere.v1;
// How a host stands to encryption.
enum CryptoState {
  CRYPTO_STATE_UNSPECIFIED = 0;
  CRYPTO_STATE_SAFE = 1;
}
// A host.
message Host {
  string display_name = 1;
  optional CryptoState crypto_state = 2;
  map<string, string> labels = 3;
  oneof tpm_kind { bool none = 4; }
}
// Hosts.
service Hosts {
  // Gives one. Errors: NOT_FOUND.
  rpc Get(Host) returns (Host);
}
"""


def lint(folder: pathlib.Path, text: str, name: str = "keysphere/v1/hosts.proto") -> List[str]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return list(proto_lint.lint(folder, [name]))


def test_good_passes(tmp_path: pathlib.Path) -> None:
    assert not lint(tmp_path, GOOD)


@pytest.mark.parametrize(
    "old, new, expected",
    [
        ("// A host.\n", "", "message Host has no comment"),
        ("// Hosts.\n", "", "service Hosts has no comment"),
        ("// Gives one. Errors: NOT_FOUND.\n", "", "method Hosts.Get has no comment"),
        ("// How a host stands to encryption.\n", "", "enum CryptoState has no comment"),
        ("CRYPTO_STATE_SAFE", "SAFE", "does not begin with CRYPTO_STATE_"),
        ("CRYPTO_STATE_UNSPECIFIED", "CRYPTO_STATE_NONE", "is not CRYPTO_STATE_UNSPECIFIED"),
        ("display_name", "displayName", "is not in snake_case"),
        ("tpm_kind", "TpmKind", "is not in snake_case"),
        ("rpc Get", "rpc get", "is not in PascalCase"),
        ("package keysphere.v1", "package keysphere.v2", "does not match the folder"),
        ('syntax = "proto3"', 'syntax = "proto2"', "hosts.proto"),
        ("// A host.\n", "// A host.\n}\n", "hosts.proto"),
        (
            "package keysphere.v1;",
            'package keysphere.v1;\nimport "google/protobuf/empty.proto";',
            "unused",
        ),
    ],
)
def test_bad_is_found(tmp_path: pathlib.Path, old: str, new: str, expected: str) -> None:
    assert old in GOOD
    problems = lint(tmp_path, GOOD.replace(old, new))
    assert any(expected in problem for problem in problems), problems


def test_only_options_need_no_version(tmp_path: pathlib.Path) -> None:
    assert lint(tmp_path, GOOD.replace("keysphere.v1", "keysphere"), "keysphere/hosts.proto")
    options = """syntax = "proto3";
package keysphere;
import "google/protobuf/descriptor.proto";
extend google.protobuf.FieldOptions {
  // Never printed.
  bool secret = 50001;
}
"""
    assert not lint(tmp_path, options, "keysphere/options.proto")


def test_upper_snake() -> None:
    assert proto_lint.upper_snake("VMState") == "VM_STATE"
    assert proto_lint.upper_snake("TpmMode2Kind") == "TPM_MODE2_KIND"


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q", "-p", "no:cacheprovider",
                          "--junitxml=" + os.environ.get("XML_OUTPUT_FILE", os.devnull)]))
