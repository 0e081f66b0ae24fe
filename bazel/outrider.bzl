"""Rules of the house: cc_library, cc_test and cc_binary with the project's compiler options."""

# Optimisation alone; for generated code too. Empty where Bazel's own mode already says it.
OPTIMIZE = select({
    "@outrider//bazel:opt": ["-fno-plt", "-fno-semantic-interposition"],
    "@outrider//bazel:dbg": [],
    "//conditions:default": ["-O1"],
})

_WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wno-missing-field-initializers",  # designated initializers name what differs
    "-Wno-deprecated-declarations",  # control planes still send fields that the API calls deprecated
    "-Werror",
    "-Wnon-virtual-dtor",
    "-Woverloaded-virtual",
    "-Wvla",
    "-Wcast-qual",
    "-Wformat=2",
    "-Wimplicit-fallthrough",
    "-Wunused",
    "-Wundef",
    "-Wswitch",
    "-Wdate-time",
]

_HARDENING = [
    "-fstack-protector-strong",
    "-fno-omit-frame-pointer",
]

# What the release binary is linked with: everything but glibc from archives, unused sections dropped, addresses random,
# relocations read-only. The C++ runtime comes before the toolchain's own -lstdc++, which --as-needed then drops.
_RELEASE_LINK = [
    "-pie",
    "-Wl,-z,relro,-z,now",
    "-Wl,-z,noexecstack",
    "-Wl,--gc-sections",
    "-Wl,--as-needed",
    "-Wl,--icf=safe",
    "-s",
    "-static-libgcc",
    "-l:libstdc++.a",
]

def outrider_library(name, copts = [], visibility = ["//visibility:public"], exceptions = False, **kwargs):
    """A library of source/. `exceptions = True` is for the one file that wraps a library which throws."""
    native.cc_library(
        name = name,
        copts = OPTIMIZE + _WARNINGS + _HARDENING + ([] if exceptions else ["-fno-exceptions"]) + copts,
        visibility = visibility,
        **kwargs
    )

def outrider_test(name, deps = [], copts = [], size = "small", **kwargs):
    """A test with GoogleTest's main()."""
    native.cc_test(
        name = name,
        size = size,
        copts = OPTIMIZE + _WARNINGS + copts,
        deps = deps + ["@system//:gtest_main"],
        **kwargs
    )

def outrider_binary(name, copts = [], linkopts = [], visibility = ["//visibility:public"], **kwargs):
    """A program. With -c opt it needs nothing but glibc at run time."""
    native.cc_binary(
        name = name,
        copts = OPTIMIZE + _WARNINGS + _HARDENING + ["-fno-exceptions"] + copts,
        linkopts = select({
            "@outrider//bazel:opt": _RELEASE_LINK,
            "//conditions:default": [],
        }) + linkopts,
        visibility = visibility,
        **kwargs
    )

def outrider_fuzz(name, srcs, deps = [], data = [], copts = [], corpus = [], **kwargs):
    """A fuzz target: `<name>` with libFuzzer under --config=fuzz; in any other build `<name>` replays the files it is given.

    `<name>_test` runs it over `corpus` as an ordinary test."""
    native.cc_binary(
        name = name,
        srcs = srcs,
        copts = OPTIMIZE + _WARNINGS + copts,
        linkopts = select({
            "@outrider//bazel:fuzz": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        deps = deps + select({
            "@outrider//bazel:fuzz": [],
            "//conditions:default": ["@outrider//test/fuzz:replay_main"],
        }),
        data = data,
        testonly = True,
        **kwargs
    )
    if corpus:
        native.sh_test(
            name = name + "_test",
            size = "small",
            srcs = ["@outrider//test/fuzz:replay.sh"],
            args = ["$(rootpath :%s)" % name] + ["$(rootpaths %s)" % c for c in corpus],
            data = [":" + name] + corpus,
        )
