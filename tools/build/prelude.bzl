"""A precompiled header of what nearly every file includes.

Reading Debian's headers is more than half of what compiling costs here. A prelude holds those of
the standard library, Abseil, protobuf (and GoogleTest): files include what they use all the same,
and `--define=prelude=off` builds without it, as a compiler other than clang must.
"""

load("@bazel_tools//tools/build_defs/cc:action_names.bzl", "CPP_COMPILE_ACTION_NAME")
load("@bazel_tools//tools/cpp:toolchain_utils.bzl", "find_cpp_toolchain")

def _prelude_impl(ctx):
    toolchain = find_cpp_toolchain(ctx)
    features = cc_common.configure_features(
        ctx = ctx,
        cc_toolchain = toolchain,
        requested_features = ctx.features,
        unsupported_features = ctx.disabled_features,
    )

    # Flags like those of the files that use it: clang refuses one that was made with others.
    variables = cc_common.create_compile_variables(
        cc_toolchain = toolchain,
        feature_configuration = features,
        user_compile_flags = ctx.fragments.cpp.copts + ctx.fragments.cpp.cxxopts + ctx.attr.copts,
        use_pic = True,
    )
    flags = cc_common.get_memory_inefficient_command_line(
        action_name = CPP_COMPILE_ACTION_NAME,
        feature_configuration = features,
        variables = variables,
    )
    output = ctx.actions.declare_file(ctx.label.name + ".pch")

    # The main file is one that says next to nothing. One of ours would be looked for, at the place
    # where it was when this ran, whenever the prelude is used.
    source = ["-x", "c++-header", "/usr/include/stdc-predef.h", "-o", output.path]
    includes = []
    for header in ctx.attr.headers:
        includes += ["-include", header]
    ctx.actions.run(
        executable = cc_common.get_tool_for_action(
            action_name = CPP_COMPILE_ACTION_NAME,
            feature_configuration = features,
        ),
        arguments = flags + ["-Wno-pragma-once-outside-header"] + includes + source,
        env = cc_common.get_environment_variables(
            action_name = CPP_COMPILE_ACTION_NAME,
            feature_configuration = features,
            variables = variables,
        ),
        inputs = toolchain.all_files,
        mnemonic = "Prelude",
        outputs = [output],
        progress_message = "Precompiling %s" % ctx.label,
    )
    return [DefaultInfo(files = depset([output]))]

prelude = rule(
    implementation = _prelude_impl,
    attrs = {
        "copts": attr.string_list(doc = "Those of the targets that use it."),
        "headers": attr.string_list(doc = "As they stand in #include."),
        "_cc_toolchain": attr.label(default = "@bazel_tools//tools/cpp:current_cc_toolchain"),
    },
    doc = "NAME.pch: the headers, precompiled with this configuration's flags.",
    fragments = ["cpp"],
    toolchains = ["@bazel_tools//tools/cpp:toolchain_type"],
)
