"""The native C++ rules under the names that rules_cc gives them.

Debian's bazel-rules-cc does not load in Bazel 4.2.3, and nothing is downloaded.
"""

cc_binary = native.cc_binary
cc_import = native.cc_import
cc_library = native.cc_library
cc_test = native.cc_test
cc_toolchain = native.cc_toolchain
cc_toolchain_suite = native.cc_toolchain_suite
