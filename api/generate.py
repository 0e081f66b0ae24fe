#!/usr/bin/env python3
"""Makes C++ from the Python package that carries the descriptors of Envoy's whole v3 API.

usage: generate.py WHEEL ROOTS OUT

Each generated Python file of the package holds its descriptor as one bytes literal. Gathered, they are a
FileDescriptorSet (OUT/api.fds), from which protoc makes the files that ROOTS names and all that those import.
Writes OUT/gen/**, OUT/files.bzl (the lists for the BUILD file) and OUT/api.fds. Standard library only.

Most of the time of a compiler in one of these files goes into protobuf's headers, so several are compiled as one
(OUT/gen/unit_N.cc): all of them take 2.6 minutes of CPU, one by one it was twice that.
"""
import ast
import fnmatch
import os
import re
import subprocess
import sys
import zipfile


def literals(wheel):
    """Yields the serialized FileDescriptorProto of each module of the package."""
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith("_pb2.py"):
                continue
            for node in ast.walk(ast.parse(archive.read(name))):
                if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "AddSerializedFile":
                    yield ast.literal_eval(node.args[0])


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def fields(data):
    """Yields (number, value) of the length-delimited fields of a message, skipping the others."""
    at = 0

    def number():
        nonlocal at
        shift = value = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = number()
        kind = tag & 7
        if kind == 0:
            number()
        elif kind == 1:
            at += 8
        elif kind == 5:
            at += 4
        elif kind == 2:
            size = number()
            yield tag >> 3, data[at:at + size]
            at += size
        else:
            raise ValueError("unexpected wire type in a descriptor")


def describe(descriptor):
    """(file name, imports, has services) of a serialized FileDescriptorProto."""
    name, imports, services = "", [], False
    for number, value in fields(descriptor):
        if number == 1:
            name = value.decode()
        elif number == 3:
            imports.append(value.decode())
        elif number == 6:
            services = True
    return name, imports, services


def closure(files, patterns):
    """Names of the files that match, and of all that they import; well-known types are protobuf's own."""
    wanted = []
    for pattern in patterns:
        found = [name for name in files if fnmatch.fnmatchcase(name, pattern + ".proto")]
        if not found:
            sys.exit("api/roots.txt: nothing matches " + pattern)
        wanted += found
    done = set()
    while wanted:
        name = wanted.pop()
        if name in done or name.startswith("google/protobuf/"):
            continue
        done.add(name)
        wanted += files[name][0]
    return sorted(done)


def join_units(gen, names, most=20000):
    """Writes gen/unit_N.cc, each of which holds some of the generated sources; returns their names without ".cc".

    `most` is in lines: the largest sources stand alone, so that no unit takes long or needs much memory."""
    units, lines = [], most
    for name in names:
        with open(os.path.join(gen, name + ".pb.cc")) as source:
            text = source.read()
        # Two names that protoc gives to every file; all others carry the file's name.
        text = re.sub(r"\b(schemas|file_default_instances)(\[\] |, | = nullptr)", r"\1_%s\2" % re.sub(r"\W", "_", name), text)
        size = text.count("\n")
        if lines + size > most:
            units.append([])
            lines = 0
        units[-1].append(text)
        lines += size
    for number, texts in enumerate(units):
        with open(os.path.join(gen, "unit_%d.cc" % number), "w") as target:
            target.write("\n".join(texts))
    return ["unit_%d" % number for number in range(len(units))]


def main():
    wheel, roots, out = sys.argv[1:]
    with open(roots) as lines:
        patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    files, descriptors = {}, []
    for descriptor in literals(wheel):
        name, imports, services = describe(descriptor)
        files[name] = (imports, services)
        descriptors.append(descriptor)

    known = ["any", "duration", "empty", "struct", "timestamp", "wrappers", "descriptor"]
    for imports, _ in files.values():
        known += [i[len("google/protobuf/"):-len(".proto")] for i in imports if i.startswith("google/protobuf/")]
    well_known = os.path.join(out, "well_known.fds")
    subprocess.check_call(["protoc", "--include_imports", "-I/usr/include", "-o", well_known] +
                          ["/usr/include/google/protobuf/%s.proto" % name for name in sorted(set(known))])
    api = os.path.join(out, "api.fds")
    with open(api, "wb") as target:
        for descriptor in descriptors:
            target.write(b"\x0a" + varint(len(descriptor)) + descriptor)

    generated = closure(files, patterns)
    services = [name for name in generated if files[name][1]]
    gen = os.path.join(out, "gen")
    os.makedirs(gen, exist_ok=True)
    sets = "--descriptor_set_in=%s:%s" % (well_known, api)
    subprocess.check_call(["protoc", sets, "--cpp_out=" + gen] + generated)
    plugin = "/usr/bin/grpc_cpp_plugin"
    subprocess.check_call(["protoc", sets, "--plugin=protoc-gen-grpc=" + plugin, "--grpc_out=" + gen] + services)

    units = join_units(gen, [name[:-len(".proto")] for name in generated])

    # Descriptors for run time: the well-known types first, so that the set is complete by itself.
    with open(os.path.join(out, "all.fds"), "wb") as target:
        for part in (well_known, api):
            with open(part, "rb") as source:
                target.write(source.read())
    with open(os.path.join(out, "files.bzl"), "w") as target:
        target.write("GENERATED = %r\nSERVICES = %r\nUNITS = %r\n" %
                     ([name[:-len(".proto")] for name in generated], [name[:-len(".proto")] for name in services], units))


main()
