"""The kinds of targets that this workspace is made of."""

# Test code is compiled without optimising: that takes much less time, and what is tested is
# optimised as ever.
TEST_COPTS = [
    "-DGTEST_HAS_PTHREAD=1",
    "-O0",
    "-U_FORTIFY_SOURCE",
]

def _prelude(name):
    return struct(
        copts = select({
            "//tools/build:without_prelude": [],
            "//conditions:default": [
                "-include-pch",
                "$(BINDIR)/tools/build/%s.pch" % name,
                # Its headers are the system's, which Bazel does not watch either.
                "-Xclang",
                "-fno-validate-pch",
            ],
        }),
        deps = select({
            "//tools/build:without_prelude": [],
            "//conditions:default": ["//tools/build:%s_files" % name],
        }),
    )

def keysphere_library(name, srcs = [], deps = [], copts = [], **kwargs):
    """A cc_library of this workspace."""
    prelude = _prelude("prelude")
    if not [s for s in srcs if s.endswith(".cc")]:
        native.cc_library(name = name, srcs = srcs, deps = deps, **kwargs)
        return
    native.cc_library(
        name = name,
        srcs = srcs,
        copts = copts + prelude.copts,
        deps = deps + prelude.deps,
        **kwargs
    )

def keysphere_test(name, deps = [], tags = [], size = "small", **kwargs):
    """A GoogleTest test: beside its code (unit) or in //tests (several parts).

    Domain and codec tests that run under sanitizers carry the tag "sanitize" and depend on no
    gRPC target. The few that cannot run under TSan carry "no-tsan" too, and say why.
    """
    prelude = _prelude("test_prelude")
    native.cc_test(
        name = name,
        size = size,
        copts = TEST_COPTS + prelude.copts,
        tags = tags + ["block-network"],
        deps = deps + ["//third_party:gtest_main"] + prelude.deps,
        **kwargs
    )

def keysphere_daemon(name, deps = [], linkopts = [], **kwargs):
    """A program that is started often: gRPC, protobuf, Abseil and OpenSSL are linked as archives."""
    prelude = _prelude("prelude")
    native.cc_binary(
        name = name,
        copts = prelude.copts,
        deps = deps + prelude.deps,
        # The folder holds archives only, so that -lgrpc++ finds no shared object in it. Looking up
        # the C++ library's symbols would take a fifth of the loader's time.
        linkopts = [
            "-Lexternal/system/static",
            "-Wl,--as-needed",
            "-l:libstdc++.a",
        ] + linkopts,
        additional_linker_inputs = ["@system//:static_archives"],
        **kwargs
    )

def keysphere_proto_library(name, srcs, deps_protos, services = [], deps = []):
    """C++ for the .proto files in srcs: `name` (messages) and, with services, `name`_grpc.

    Args:
      name: the messages' cc_library.
      srcs: the .proto files of this target, all below the package's folder.
      deps_protos: filegroups of .proto files that these import.
      services: those of srcs that define services.
      deps: cc_libraries of the imported messages.
    """
    package = native.package_name()
    stems = [s[:-len(".proto")] for s in srcs]
    native.filegroup(
        name = name + "_srcs",
        srcs = srcs,
        visibility = ["//visibility:public"],
    )
    native.genrule(
        name = name + "_gen",
        srcs = srcs + deps_protos,
        outs = [s + e for s in stems for e in [".pb.h", ".pb.cc"]],
        cmd = "/usr/bin/protoc -I%s -Iprotos -I/usr/include --cpp_out=$(RULEDIR) %s" % (
            package,
            " ".join(["%s/%s" % (package, s) for s in srcs]),
        ),
    )
    keysphere_library(
        name = name,
        srcs = [s + ".pb.cc" for s in stems],
        hdrs = [s + ".pb.h" for s in stems],
        copts = ["-w"],
        includes = ["."],
        visibility = ["//visibility:public"],
        deps = deps + ["@system//:protobuf"],
    )
    if not services:
        return
    service_stems = [s[:-len(".proto")] for s in services]
    native.genrule(
        name = name + "_grpc_gen",
        srcs = srcs + deps_protos,
        outs = [s + e for s in service_stems for e in [".grpc.pb.h", ".grpc.pb.cc"]],
        cmd = ("/usr/bin/protoc -I%s -Iprotos -I/usr/include --plugin=protoc-gen-grpc=/usr/bin/grpc_cpp_plugin " +
               "--grpc_out=$(RULEDIR) %s") % (
            package,
            " ".join(["%s/%s" % (package, s) for s in services]),
        ),
    )
    keysphere_library(
        name = name + "_grpc",
        srcs = [s + ".grpc.pb.cc" for s in service_stems],
        hdrs = [s + ".grpc.pb.h" for s in service_stems],
        copts = ["-w"],
        includes = ["."],
        visibility = ["//visibility:public"],
        deps = [
            ":" + name,
            "@system//:grpc",
        ],
    )

def keysphere_internal_proto(name, src, deps_protos = [], deps = []):
    """C++ for one .proto file that is no part of the public contract: what a store or a file keeps.

    It may import public protos ("keysphere/v1/…"). C++ includes it by its path in the workspace.

    Args:
      name: the cc_library.
      src: the .proto file, in this package.
      deps_protos: filegroups of the .proto files that it imports.
      deps: cc_libraries of the imported messages.
    """
    stem = src[:-len(".proto")]
    native.genrule(
        name = name + "_gen",
        srcs = [src] + deps_protos,
        outs = [stem + ".pb.h", stem + ".pb.cc"],
        cmd = "/usr/bin/protoc -I. -Iprotos -I/usr/include --cpp_out=$(GENDIR) $(location %s)" % src,
    )
    keysphere_library(
        name = name,
        srcs = [stem + ".pb.cc"],
        hdrs = [stem + ".pb.h"],
        copts = ["-w"],
        visibility = ["//visibility:public"],
        deps = deps + ["@system//:protobuf"],
    )
