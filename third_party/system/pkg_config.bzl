"""Debian's libraries as Bazel targets, as pkg-config describes them."""

def _words(text):
    return [w for w in text.replace("\n", " ").split(" ") if w]

def _pkg_config(ctx, args):
    result = ctx.execute(["pkg-config"] + args)
    if result.return_code != 0:
        fail("pkg-config %s: %s\nRun tools/dev setup: it installs what is missing." %
             (" ".join(args), result.stderr))
    return _words(result.stdout)

def _unique(words):
    # A library named twice is named for the order of a single-pass linker; lld needs no order.
    seen = {}
    for w in words:
        seen[w] = True
    return list(seen.keys())

def _quoted(words):
    return "[" + ", ".join(["\"%s\"" % w for w in words]) + "]"

def _impl(ctx):
    build = ["package(default_visibility = [\"//visibility:public\"])"]
    for name, packages in ctx.attr.packages.items():
        packages = _words(packages)
        cflags = [f for f in _pkg_config(ctx, ["--cflags"] + packages) if not f.startswith("-std=")]
        libs = _unique([
            w
            for w in _pkg_config(ctx, ["--libs"] + packages)
            if not w.startswith("-Wl,--p") and w != "-Wl,--as-needed"
        ])
        build.append("cc_library(name = \"%s\", defines = %s, linkopts = %s)" % (
            name,
            _quoted([f[2:] for f in cflags if f.startswith("-D")]),
            _quoted(libs),
        ))
    archives = []
    wanted = _pkg_config(ctx, ["--libs", "--static"] + _words(ctx.attr.static_archives))
    wanted = [w[2:] for w in wanted if w.startswith("-l")] + ctx.attr.extra_archives
    for lib in _unique(wanted):
        for folder in ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"]:
            archive = ctx.path("%s/lib%s.a" % (folder, lib))
            # glibc's stay shared: getaddrinfo and the loader need it so.
            if archive.exists and lib not in ["c", "m", "dl", "pthread", "rt", "atomic"]:
                ctx.symlink(archive, "static/lib%s.a" % lib)
                archives.append("static/lib%s.a" % lib)
                break
    build.append("filegroup(name = \"static_archives\", srcs = %s)" % _quoted(archives))
    ctx.file("BUILD", "\n".join(build) + "\n")

pkg_config_libraries = repository_rule(
    implementation = _impl,
    attrs = {
        "extra_archives": attr.string_list(doc = "Archives that pkg-config does not know."),
        "packages": attr.string_dict(doc = "Target name to the pkg-config packages behind it."),
        "static_archives": attr.string(doc = "Packages whose archives daemons link."),
    },
    local = True,
    doc = "A repository with a cc_library for each entry of packages.",
)
