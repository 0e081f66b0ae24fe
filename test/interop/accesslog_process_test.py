#!/usr/bin/env python3
"""Access logs end to end: Envoy's default format byte for byte, text and JSON formats with every operator that has data, filters,
loggers, files that are renamed, full, or stalled. Runs against Outrider, or with --proxy envoy against the reference: the expectations
are what Envoy writes."""
import json
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import h1
import harness
from accesslog_peers import Echo, PREFIX, UUID, ask_many, echoed, request, routes
from bench import Bench, Script
from harness import check, wait_for

DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
PEER = r"127\.0\.0\.1:\d{4,5}"


def json_log(path, operators, **more):
    config = {"@type": harness.FILE_LOG, "path": path,
              "log_format": dict({"json_format": {name: "%" + name + "%" for name in operators}}, **more)}
    return {"name": "log", "typed_config": config}


# What each operator prints in JSON for the requests of formats(): a text is a regular expression, None is null.
HTTP = {
    "REQ(:METHOD)": "POST", "REQ(:PATH)": r"/ok\?x=1&y=a%20b", "REQ(:AUTHORITY)": r"log\.test", "REQ(:SCHEME)": "http", "REQ(X-A)": "alpha",
    "REQ(X-NONE)": None, "REQ(X-NONE?X-A)": "alpha", "REQ(X-A):3": "alp", "REQ(X-TWICE)": "1", "RESP(X-SERVED-BY)": "up",
    "RESP(:STATUS)": "200", "RESP(X-NONE)": None, "RESP(CONTENT-LENGTH)": "2", "TRAILER(X-TRAILER)": None,
    "REQUEST_HEADER(X-A)": "alpha", "RESPONSE_HEADER(X-SERVED-BY)": "up", "RESPONSE_TRAILER(X-TRAILER)": None,
    "PATH": r"/ok\?x=1&y=a%20b", "PATH(NQ)": "/ok", "PATH(WQ:PATH)": r"/ok\?x=1&y=a%20b", "QUERY_PARAM(x)": "1", "QUERY_PARAM(none)": None,
    "START_TIME": DATE, "START_TIME(%Y/%m/%d)": r"\d{4}/\d\d/\d\d", "START_TIME(%s)": r"\d{10}", "START_TIME(%s.%3f)": r"\d{10}\.\d{3}",
    "START_TIME(%f)": r"\d{9}", "START_TIME(%6f)": r"\d{6}", "START_TIME_LOCAL": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[-+]\d{4}",
    "EMIT_TIME": DATE, "PROTOCOL": r"HTTP/1\.1", "UPSTREAM_PROTOCOL": r"HTTP/1\.1", "RESPONSE_CODE": 200,
    "RESPONSE_CODE_DETAILS": "via_upstream", "RESPONSE_FLAGS": "-", "RESPONSE_FLAGS_LONG": "-", "BYTES_RECEIVED": 5, "BYTES_SENT": 2,
    "REQUEST_HEADERS_BYTES": 203, "RESPONSE_HEADERS_BYTES": range(112, 116), "RESPONSE_TRAILERS_BYTES": 0, "UPSTREAM_WIRE_BYTES_SENT": 225,
    "UPSTREAM_WIRE_BYTES_RECEIVED": 57, "DURATION": int, "COMMON_DURATION(DS_RX_BEG:DS_TX_END:ms)": int,
    "COMMON_DURATION(US_TX_BEG:US_RX_END:us)": int, "REQUEST_DURATION": int, "REQUEST_TX_DURATION": int, "RESPONSE_DURATION": int,
    "RESPONSE_TX_DURATION": int, "UPSTREAM_CONNECTION_POOL_READY_DURATION": int, "UPSTREAM_REQUEST_ATTEMPT_COUNT": 1,
    "ROUTE_NAME": "the-route", "UPSTREAM_CLUSTER": "alt", "UPSTREAM_CLUSTER_RAW": "up", "UPSTREAM_HOST": PEER,
    "UPSTREAM_HOST_NAME": r"up\.test", "UPSTREAM_REMOTE_ADDRESS": PEER, "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": r"127\.0\.0\.1",
    "UPSTREAM_REMOTE_PORT": int, "UPSTREAM_LOCAL_ADDRESS": PEER, "UPSTREAM_LOCAL_PORT": int, "UPSTREAM_CONNECTION_ID": int,
    "UPSTREAM_TRANSPORT_FAILURE_REASON": None, "DOWNSTREAM_LOCAL_ADDRESS": PEER, "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT": r"127\.0\.0\.1",
    "DOWNSTREAM_LOCAL_PORT": int, "DOWNSTREAM_REMOTE_ADDRESS": PEER, "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT": r"127\.0\.0\.1",
    "DOWNSTREAM_REMOTE_PORT": int, "DOWNSTREAM_DIRECT_REMOTE_ADDRESS": PEER, "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT": r"127\.0\.0\.1",
    "DOWNSTREAM_DIRECT_REMOTE_PORT": int, "DOWNSTREAM_DIRECT_LOCAL_ADDRESS": PEER, "DOWNSTREAM_DIRECT_LOCAL_PORT": int,
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON": None, "CONNECTION_ID": int, "CONNECTION_TERMINATION_DETAILS": None,
    "REQUESTED_SERVER_NAME": None, "FILTER_CHAIN_NAME": "the-chain", "STREAM_ID": UUID, "UNIQUE_ID": UUID, "HOSTNAME": ".+",
    "ENVIRONMENT(NO_SUCH_THING)": "-", "GRPC_STATUS": None, "GRPC_STATUS_NUMBER": None, "ACCESS_LOG_TYPE": "DownstreamEnd",
    "DOWNSTREAM_TLS_VERSION": None, "DOWNSTREAM_PEER_SUBJECT": None,
}
GRPC = {"GRPC_STATUS": "Unavailable", "GRPC_STATUS(SNAKE_STRING)": "UNAVAILABLE", "GRPC_STATUS(CAMEL_STRING)": "Unavailable",
        "GRPC_STATUS(NUMBER)": 14, "GRPC_STATUS_NUMBER": 14}
REFUSED = {"RESPONSE_CODE": 503, "RESPONSE_FLAGS": "UF", "RESPONSE_FLAGS_LONG": "UpstreamConnectionFailure", "UPSTREAM_HOST": PEER,
           "UPSTREAM_REMOTE_ADDRESS": None, "UPSTREAM_LOCAL_ADDRESS": None, "UPSTREAM_PROTOCOL": None, "ROUTE_NAME": None,
           "RESPONSE_CODE_DETAILS": r"upstream_reset_before_response_started\{remote_connection_failure\|delayed_connect_error:_Connection_refused\}",
           "UPSTREAM_TRANSPORT_FAILURE_REASON": "delayed_connect_error:_Connection_refused", "UPSTREAM_CLUSTER": "refused",
           "UPSTREAM_REQUEST_ATTEMPT_COUNT": 1, "UPSTREAM_WIRE_BYTES_SENT": 0}
DIRECT = {"RESPONSE_CODE": 403, "RESPONSE_FLAGS": "-", "RESPONSE_CODE_DETAILS": "direct_response", "UPSTREAM_HOST": None,
          "UPSTREAM_CLUSTER": None, "ROUTE_NAME": "direct", "BYTES_SENT": 2, "UPSTREAM_REQUEST_ATTEMPT_COUNT": 0}
TLS = {"DOWNSTREAM_PEER_URI_SAN": "spiffe://test/client", "DOWNSTREAM_PEER_DNS_SAN": None, "DOWNSTREAM_PEER_SUBJECT": "CN=client",
       "DOWNSTREAM_PEER_ISSUER": "CN=Test CA", "DOWNSTREAM_PEER_SERIAL": r"[0-9a-f]{30,40}", "DOWNSTREAM_PEER_FINGERPRINT_256": r"[0-9a-f]{64}",
       "DOWNSTREAM_PEER_FINGERPRINT_1": r"[0-9a-f]{40}", "DOWNSTREAM_PEER_CERT": r"-----BEGIN%20CERTIFICATE-----%0A.*",
       "DOWNSTREAM_PEER_CERT_V_START": DATE, "DOWNSTREAM_PEER_CERT_V_END": DATE, "DOWNSTREAM_PEER_CERT_V_END(%Y)": r"\d{4}",
       "DOWNSTREAM_LOCAL_DNS_SAN": "localhost,h", "DOWNSTREAM_LOCAL_URI_SAN": None, "DOWNSTREAM_LOCAL_SUBJECT": "CN=localhost",
       "DOWNSTREAM_TLS_VERSION": "TLSv1.3", "DOWNSTREAM_TLS_CIPHER": "TLS_AES_(128_GCM_SHA256|256_GCM_SHA384)",
       "REQUESTED_SERVER_NAME": "localhost", "UPSTREAM_TLS_VERSION": None}
TCP = {"PROTOCOL": None, "RESPONSE_CODE": 0, "RESPONSE_FLAGS": "-", "BYTES_RECEIVED": 5, "BYTES_SENT": 5, "DURATION": int, "UPSTREAM_HOST": PEER,
       "UPSTREAM_CLUSTER": "echo", "UPSTREAM_LOCAL_ADDRESS": PEER, "DOWNSTREAM_REMOTE_ADDRESS": PEER, "DOWNSTREAM_LOCAL_ADDRESS": PEER,
       "ACCESS_LOG_TYPE": "TcpConnectionEnd", "REQ(:PATH)": None, "UPSTREAM_WIRE_BYTES_SENT": 5, "UPSTREAM_WIRE_BYTES_RECEIVED": 5,
       "CONNECTION_ID": int, "UPSTREAM_REQUEST_ATTEMPT_COUNT": 1, "START_TIME": DATE, "RESPONSE_CODE_DETAILS": None}
DEFAULT_HTTP = (r'\[' + DATE + r'\] "GET /ok HTTP/1\.1" 200 - 0 2 \d+ \d+ "-" "agent 1" "' + UUID + r'" "log\.test" "' + PEER + r'"' + "\n")
DEFAULT_DIRECT = r'\[' + DATE + r'\] "GET /direct HTTP/1\.1" 403 - 0 2 \d+ - "-" "-" "' + UUID + r'" "log\.test" "-"' + "\n"
DEFAULT_REWRITTEN = r'\[' + DATE + r'\] "GET /rewritten HTTP/1\.1" 200 - 0 2 \d+ \d+ "-" "-" "' + UUID + r'" "log\.test" "' + PEER + r'"' + "\n"
DEFAULT_TCP = r'\[' + DATE + r'\] "- - -" 0 - 5 5 \d+ - "-" "-" "-" "-" "' + PEER + r'"' + "\n"


def compare(got, want, what):
    wrong = []
    for name, expected in want.items():
        value = got.get(name, "(absent)")
        if isinstance(expected, range):           # a header holds a time
            good = value in expected
        elif expected is int:
            good = isinstance(value, int)
        elif isinstance(expected, str):
            good = isinstance(value, str) and re.fullmatch(expected, value, re.S)
        else:
            good = value == expected and type(value) is type(expected)
        if not good:
            wrong.append("%s: %r, wanted %r" % (name, value, expected))
    check(not wrong, "%s: %s" % (what, "; ".join(wrong)))


def formats(script):
    upstream, echo = h1.Upstream("up"), Echo()
    work = script.folder("formats")
    certificates = harness.make_certificates(work)
    at = lambda name: os.path.join(work, name)
    everything = set()
    for table in (HTTP, GRPC, REFUSED, DIRECT, TLS, TCP):
        everything |= set(table)
    nested = {"code": "%RESPONSE_CODE%", "text": "%REQ(:METHOD)% took %DURATION%ms", "fixed": "a\"b\\c\nd", "number": 7, "yes": True,
              "list": ["%PROTOCOL%", {"none": "%REQ(X-NONE)%"}], "inner": {"ua": "%REQ(USER-AGENT)%", "none": "%REQ(X-NONE)%"}}
    http_port, tls_port, tcp_port, tcp_plain, early_port = (harness.free_port() for _ in range(5))
    logs = [json_log(at("json"), everything), harness.file_log(at("default"), None),
            {"name": "old", "typed_config": {"@type": harness.FILE_LOG, "path": at("format"), "format": "%REQ(X-A)%|%REQ(X-NONE)%|100%%\n"}},
            {"name": "omit", "typed_config": {"@type": harness.FILE_LOG, "path": at("omit"), "log_format": {
                "text_format_source": {"inline_string": "%REQ(X-A)%|%REQ(X-NONE)%|\n"}, "omit_empty_values": True}}},
            {"name": "nested", "typed_config": {"@type": harness.FILE_LOG, "path": at("nested"), "log_format": {"json_format": nested}}},
            {"name": "sparse", "typed_config": {"@type": harness.FILE_LOG, "path": at("sparse"), "log_format": {
                "json_format": nested, "omit_empty_values": True}}}]
    chain = {"name": "the-chain", "filters": [harness.hcm("in", routes(), logs)]}
    plain = dict(harness.listener("in", http_port), filter_chains=[chain])
    secure = harness.listener("tls", tls_port, harness.hcm("tls", routes(), [json_log(at("tls"), TLS)]),
                              transport_socket=harness.downstream_tls(certificates, True),
                              listener_filters=[{"name": "tls_inspector", "typed_config": {"@type": harness.TLS_INSPECTOR}}])

    def tcp_proxy(log, **more):
        return {"name": "tcp", "typed_config": dict({"@type": harness.TCP_PROXY, "stat_prefix": "tcp", "cluster": "echo", "access_log": [log]}, **more)}
    up = harness.cluster("up", upstream.port, alt_stat_name="alt")
    up["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["hostname"] = "up.test"
    bench = Bench(script, "formats-proxy", [plain, secure, harness.listener("tcp", tcp_port, tcp_proxy(json_log(at("tcp"), TCP))),
                                    harness.listener("tcpd", tcp_plain, tcp_proxy(harness.file_log(at("tcpdefault"), None))),
                                    harness.listener("early", early_port, tcp_proxy(json_log(at("early"), ["ACCESS_LOG_TYPE", "DURATION"]),
                                                     access_log_options={"flush_access_log_on_connected": True}))],
                  [up, harness.cluster("refused", harness.free_port()), harness.cluster("echo", echo.port)])
    reader = {name: harness.LogFile(at(name)) for name in ("json", "default", "format", "omit", "nested", "sparse", "tls", "tcp", "tcpdefault", "early")}

    def raw(name):
        line = reader[name].take(1)[0]
        return line + "\n"

    asked = [0]

    def skip():
        """Past the lines of all requests so far, which each file's thread writes in its own time; one more will be made."""
        for name in ("json", "default", "format", "omit", "nested", "sparse"):
            wait_for(lambda: os.path.exists(at(name)) and open(at(name), "rb").read().count(b"\n") >= asked[0], 5, "lines of %s" % name)
            reader[name].skip()
        asked[0] += 1

    def ask(*arguments, **more):
        skip()
        return request(http_port, *arguments, **more)

    def default_format():
        for path, headers, want in (("/ok", [("user-agent", "agent 1")], DEFAULT_HTTP), ("/direct", (), DEFAULT_DIRECT),
                                    ("/rewritten", (), DEFAULT_REWRITTEN)):
            ask(path, headers=headers)
            line = raw("default")
            check(re.fullmatch(want, line), "%s printed %r" % (path, line))
        echoed(tcp_plain)
        line = raw("tcpdefault")
        check(re.fullmatch(DEFAULT_TCP, line), "TCP printed %r" % line)

    def http_operators():
        ask("/ok?x=1&y=a%20b", "POST", [("x-a", "alpha"), ("x-twice", "1"), ("x-twice", "2")], b"body5")
        compare(json.loads(raw("json")), HTTP, "request")

    def errors():
        ask("/status/503", headers=[("content-type", "application/grpc")])
        compare(json.loads(raw("json")), GRPC, "gRPC request")
        ask("/refused")
        compare(json.loads(raw("json")), REFUSED, "refused")
        ask("/direct")
        compare(json.loads(raw("json")), DIRECT, "direct")
        ask("/slow")
        compare(json.loads(raw("json")), {"RESPONSE_CODE": 504, "RESPONSE_FLAGS": "UT",
                                          "RESPONSE_CODE_DETAILS": "(upstream_)?response_timeout"}, "timeout")

    def tls_operators():
        context = ssl.create_default_context(cafile=certificates["ca"])
        context.load_cert_chain(certificates["client"], certificates["client_key"])
        request(tls_port, tls=context, server_name="localhost")
        compare(json.loads(raw("tls")), TLS, "TLS")

    def tcp_connected():
        with socket.create_connection(("127.0.0.1", early_port), 5) as s:
            s.sendall(b"x")
            check(s.recv(1) == b"x", "no echo")
            first = json.loads(raw("early"))
        last = json.loads(raw("early"))
        check((first["ACCESS_LOG_TYPE"], last["ACCESS_LOG_TYPE"]) == ("TcpUpstreamConnected", "TcpConnectionEnd"), "%s %s" % (first, last))
        check(last["DURATION"] is not None, "%s" % last)

    def tcp_operators():
        echoed(tcp_port)
        compare(json.loads(raw("tcp")), TCP, "TCP")

    def text_forms():
        ask(headers=[("x-a", "v")])
        check(raw("format") == "v|-|100%\n", "format")
        check(raw("omit") == "v||\n", "omit_empty_values")

    def json_forms():
        ask(headers=[("user-agent", 'quote " back \\ tab')])
        line = raw("nested")
        got = json.loads(line)
        took = got.pop("text")
        check(re.fullmatch(r"GET took \d+ms", took), took)
        check(got == {"code": 200, "fixed": "a\"b\\c\nd", "number": 7, "yes": True, "list": ["HTTP/1.1", {"none": None}],
                      "inner": {"ua": 'quote " back \\ tab', "none": None}}, "nested: %s" % line)
        check(list(json.loads(line)) == sorted(json.loads(line)), "keys are not sorted: %s" % line)
        line = raw("sparse")
        got = json.loads(line)
        check("none" not in got["inner"] and got["list"] in (["HTTP/1.1"], ["HTTP/1.1", {}]), "sparse: %s" % line)

    def strange_bytes():
        # What a client sends cannot break a line or a JSON text.
        with h1.Client(http_port) as client:
            skip()
            client.send(b"GET /ok HTTP/1.1\r\nhost: log.test\r\nx-a: \xe9\xff \"q\" \\ \xc3\xa9\r\nuser-agent: t\ta\r\n\r\n")
            check(client.response().status == 200, "status")
        line = reader["json"].take(1)[0]
        value = json.loads(line)["REQ(X-A)"]
        check('"q" \\' in value and "\xe9" in value, "logged %r" % value)

    script.stories(
        ("the default format, byte for byte (HTTP and TCP)", default_format), ("%d operators of an HTTP request" % len(HTTP), http_operators),
        ("operators of gRPC, refused, direct and late answers", errors), ("operators of TLS", tls_operators),
        ("operators of TCP", tcp_operators), ("TCP: an entry when the upstream is connected", tcp_connected), ("text formats and omit_empty_values", text_forms),
        ("JSON: nested, lists, numbers, empty values", json_forms), ("bytes that are no text break no line", strange_bytes))
    bench.stop()


def filters(script):
    upstream = h1.Upstream("up")
    work = script.folder("filters")
    port = harness.free_port()

    def compared(op, value):
        return {"comparison": {"op": op, "value": {"default_value": value, "runtime_key": "none"}}}
    kinds = {
        "status": {"status_code_filter": compared("GE", 500)}, "equal": {"status_code_filter": compared("EQ", 403)},
        "least": {"status_code_filter": compared("LE", 299)}, "slow": {"duration_filter": compared("GE", 100)},
        "fast": {"duration_filter": compared("LE", 99)},
        "header": {"header_filter": {"header": {"name": "x-log", "string_match": {"exact": "yes"}}}},
        "anyflag": {"response_flag_filter": {}}, "flags": {"response_flag_filter": {"flags": ["UF", "UH"]}},
        "and": {"and_filter": {"filters": [{"status_code_filter": compared("GE", 400)}, {"header_filter": {"header": {
            "name": "x-log", "present_match": True}}}]}},
        "or": {"or_filter": {"filters": [{"status_code_filter": compared("EQ", 403)}, {"response_flag_filter": {"flags": ["UF"]}}]}},
        "never": {"runtime_filter": {"runtime_key": "none", "percent_sampled": {"numerator": 0}}},
        "always": {"runtime_filter": {"runtime_key": "none", "percent_sampled": {"numerator": 100}}},
        "half": {"runtime_filter": {"runtime_key": "none", "percent_sampled": {"numerator": 50}, "use_independent_randomness": True}},
        "grpc": {"grpc_status_filter": {"statuses": ["UNAVAILABLE", "OK"]}},
        "type": {"log_type_filter": {"types": ["DownstreamEnd"]}}, "othertype": {"log_type_filter": {"types": ["TcpConnectionEnd"]}},
        "health": {"not_health_check_filter": {}},
    }
    logs = []
    for name, kind in kinds.items():
        log = harness.file_log(os.path.join(work, name), "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%\n")
        log["filter"] = kind
        logs.append(log)
    bench = Bench(script, "filters-proxy", [harness.listener("in", port, harness.hcm("in", routes(), logs))],
                  [harness.cluster("up", upstream.port), harness.cluster("refused", harness.free_port())])
    asked = [("/ok", ()), ("/direct", ()), ("/refused", ()), ("/slow", ()), ("/ok/yes", [("x-log", "yes")]), ("/direct/yes", [("x-log", "no")])]
    want = {
        "status": {"/refused", "/slow"}, "equal": {"/direct", "/direct/yes"}, "least": {"/ok", "/ok/yes"}, "slow": {"/slow"},
        "fast": {"/ok", "/ok/yes", "/direct", "/direct/yes", "/refused"}, "header": {"/ok/yes"}, "anyflag": {"/refused", "/slow"},
        "flags": {"/refused"}, "and": {"/direct/yes"}, "or": {"/direct", "/direct/yes", "/refused"}, "never": set(),
        "always": {p for p, _ in asked}, "grpc": {"/refused", "/slow"}, "type": {p for p, _ in asked}, "othertype": set(),
        "health": {p for p, _ in asked},
    }

    for path, headers in asked:
        request(port, path, headers=headers)
    ask_many(port, 200)
    harness.LogFile(os.path.join(work, "always")).take(200 + len(asked), 10)
    bench.stop()                      # every file has all its lines then, and those that must have none will get none

    def each():
        wrong = {}
        for name, paths in want.items():
            with open(os.path.join(work, name)) as f:
                got = {line for line in f.read().split() if not re.match("/ok/[0-9]", line)}
            if got != paths:
                wrong[name] = (sorted(got), "wanted", sorted(paths))
        check(not wrong, "%s" % wrong)

    def half():
        got = sum(1 for line in harness.LogFile(os.path.join(work, "half")).fresh() if re.match(rb"/ok/[0-9]", line))
        check(60 <= got <= 140, "%d of 200 were sampled at 50 %%" % got)
    script.tally.run("each filter lets through what it says", each)
    script.tally.run("runtime_filter samples", half)


def files(script):
    upstream = h1.Upstream("up")
    work = script.folder("files")
    path = os.path.join(work, "renamed")
    fifo = os.path.join(work, "fifo")
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    port, full, fifo_port, std_port = (harness.free_port() for _ in range(4))
    text = "%REQ(:PATH)%\n"

    def one(name, at, log):
        return harness.listener(name, at, harness.hcm(name, harness.everything_to("up"), [log]))
    std = [{"name": "out", "typed_config": {"@type": PREFIX + "stream.v3.StdoutAccessLog", "log_format": {
               "text_format_source": {"inline_string": "to stdout %REQ(:PATH)%\n"}}}},
           {"name": "err", "typed_config": {"@type": PREFIX + "stream.v3.StderrAccessLog", "log_format": {
               "text_format_source": {"inline_string": "to stderr %REQ(:PATH)%\n"}}}}]
    # A line of a kilobyte, so that a pipe without a reader is full after a few.
    wide = "%REQ(:PATH)% " + "w" * 1000 + "\n"
    listeners = [one("in", port, harness.file_log(path, text)), one("full", full, harness.file_log("/dev/full", text)),
                 one("fifo", fifo_port, harness.file_log(fifo, wide)),
                 harness.listener("std", std_port, harness.hcm("std", harness.everything_to("up"), std))]
    bench = Bench(script, "files-proxy", listeners, [harness.cluster("up", upstream.port)], concurrency=2)

    def renamed():
        seen, stop, answered = [], threading.Event(), []

        def traffic():
            number = 0
            while not stop.is_set():
                ask_many(port, 20, number, answered)
                number += 20
        worker = threading.Thread(target=traffic)
        worker.start()
        names = [path]
        for i in range(3):
            had = len(answered)
            wait_for(lambda: len(answered) >= had + 30, 10, "traffic between the renames")
            old = "%s.%d" % (path, i)
            os.rename(path, old)
            names.append(old)
            bench.proxy.child.send_signal(signal.SIGUSR1)
            wait_for(lambda: os.path.exists(path), 5, "the file to be there again")
        had = len(answered)
        wait_for(lambda: len(answered) >= had + 30, 10, "traffic after the last one")
        stop.set()
        worker.join()

        def all_there():
            seen[:] = []
            for name in names:
                with open(name) as f:
                    seen.extend(f.read().split())
            return len(seen) >= len(answered)
        wait_for(all_there, 5, lambda: "%d lines, %d there" % (len(answered), len(seen)))
        check(sorted(seen) == sorted("/ok/%d" % i for i in answered), "lines were lost, cut or doubled")

    def disk_full():
        before = harness.Counters(bench.proxy, "^filesystem[.]")
        ask_many(full, 50)
        wait_for(lambda: before.now().get("filesystem.write_failed", 0) > 0, 5, lambda: "write_failed to count: %s" % before.now())
        ask_many(full, 10)
        check(bench.proxy.alive(), "the proxy ended")

    def stalled():
        # Nobody reads: 3 MB of lines into a pipe of 64 KiB. Requests go on, and what is dropped is counted.
        took = time.monotonic()
        threads = [threading.Thread(target=ask_many, args=(fifo_port, 1000)) for _ in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(40)
        took = time.monotonic() - took
        check(not any(t.is_alive() for t in threads) and took < 40, "4000 requests took %.1f s" % took)
        ask_many(port, 5, 100000)
        wait_for(lambda: any("/ok/100004" in l for l in open(path)), 3, "another file's line while one file is stalled")
        # The reader comes back: whole lines come out.
        os.set_blocking(reading, False)
        data = b""
        while data.count(b"\n") < 3000 and h1.readable(reading, 5):
            data += os.read(reading, 1 << 20)
        lines = data.split(b"\n")[:-1]
        check(len(lines) >= 3000, "%d lines came out" % len(lines))
        check(all(re.fullmatch(rb"/ok/\d+ w{1000}", l) for l in lines), "a line is cut: %r" % next(
            (l[:60] for l in lines if not re.fullmatch(rb"/ok/\d+ w{1000}", l)), b""))

    def streams():
        request(std_port, "/seen")
        wait_for(lambda: "to stdout /seen\n" in bench.proxy.said() and "to stderr /seen\n" in bench.proxy.said(), 3,
                 lambda: "lines on stdout and stderr: %s" % bench.proxy.said()[-300:])

    def at_the_end():
        ask_many(port, 3, 200000)
        bench.stop()
        with open(path) as f:
            check("/ok/200002" in f.read(), "the last lines are lost at the end")
    script.stories(
        ("SIGUSR1 after a rename loses nothing", renamed), ("a full disk counts and goes on", disk_full),
        ("stdout and stderr", streams), ("a pipe that nobody reads holds up nobody", stalled),
        ("the last lines are written at the end", at_the_end))
    bench.stop()

    slow = script.folder("flush")
    flush_port = harness.free_port()
    late = Bench(script, "flush-proxy", [one("in", flush_port, harness.file_log(os.path.join(slow, "log"), text))],
                 [harness.cluster("up", upstream.port)], flush_ms=600)

    def interval():
        reader = harness.LogFile(os.path.join(slow, "log"))
        wait_for(lambda: os.path.exists(reader.path), 2, "the file")
        ask_many(flush_port, 2)
        check(not reader.fresh() or not script.outrider, "a line was written before the interval")
        reader.take(2, 3)
    script.tally.run("--file-flush-interval-msec", interval)
    late.stop()


def listener_logs(script):
    upstream, echo = h1.Upstream("up"), Echo()
    work = script.folder("listeners")
    certificates = harness.make_certificates(work)
    text = ("%RESPONSE_CODE%|%RESPONSE_FLAGS%|%BYTES_RECEIVED%|%BYTES_SENT%|%ACCESS_LOG_TYPE%|%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%|"
            "%RESPONSE_CODE_DETAILS%|%DOWNSTREAM_TLS_VERSION%|%DOWNSTREAM_TRANSPORT_FAILURE_REASON%\n")
    http_port, tcp_port, tls_port, none_port = (harness.free_port() for _ in range(4))

    def logged(name):
        return [harness.file_log(os.path.join(work, name), text)]
    nobody = harness.listener("none", none_port, harness.hcm("none", harness.everything_to("up")), access_log=logged("none"))
    nobody["filter_chains"][0]["filter_chain_match"] = {"source_prefix_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}
    flagged = logged("flagged")
    flagged[0]["filter"] = {"response_flag_filter": {"flags": ["NR"]}}
    nobody["access_log"] += flagged
    http = harness.listener("http", http_port, harness.hcm("in", harness.everything_to("up")), access_log=logged("http") + [
        dict(logged("httpflagged")[0], filter={"response_flag_filter": {"flags": ["NR"]}})])
    bench = Bench(script, "listeners-proxy", [
        http, harness.listener("tcp", tcp_port, {"name": "tcp", "typed_config": {"@type": harness.TCP_PROXY, "stat_prefix": "t", "cluster": "echo"}},
                               access_log=logged("tcp")),
        harness.listener("tls", tls_port, harness.hcm("tls", harness.everything_to("up")), transport_socket=harness.downstream_tls(certificates),
                         access_log=logged("tls")), nobody],
        [harness.cluster("up", upstream.port), harness.cluster("echo", echo.port)])
    reader = {name: harness.LogFile(os.path.join(work, name)) for name in ("http", "tcp", "tls", "none", "flagged", "httpflagged")}
    for each in reader.values():
        each.skip()

    def one_a_connection():
        with h1.Client(http_port) as client:
            for _ in range(3):
                client.send(b"GET /ok HTTP/1.1\r\nhost: h\r\n\r\n")
                client.response()
        # The connection that waited for the port to open may come first.
        wait_for(lambda: any(l.startswith(b"0|-|87|") for l in reader["http"].fresh()), 3, lambda: "a line: %r" % reader["http"].fresh())
        line = next(l for l in reader["http"].fresh() if l.startswith(b"0|-|87|"))
        check(re.fullmatch(rb"0\|-\|87\|\d{3}\|NotSet\|127\.0\.0\.1\|-\|-\|-\n", line), "%r" % line)
        check(sum(1 for l in reader["http"].fresh() if l.startswith(b"0|-|87|")) == 1, "%r" % reader["http"].fresh())
        check(not reader["httpflagged"].fresh(), "a filter let everything through")

    def tcp():
        echoed(tcp_port)
        check(reader["tcp"].take(1)[0] == "0|-|5|5|NotSet|127.0.0.1|-|-|-", "%r" % reader["tcp"].fresh())

    def tls():
        context = ssl.create_default_context(cafile=certificates["ca"])
        request(tls_port, tls=context, server_name="localhost")
        line = reader["tls"].take(1)[0]
        check(re.fullmatch(r"0\|-\|\d+\|\d+\|NotSet\|127\.0\.0\.1\|-\|TLSv1\.3\|-", line), line)
        with socket.create_connection(("127.0.0.1", tls_port), 5) as s:
            s.sendall(b"GET / HTTP/1.1\r\n\r\n")
            try:
                s.recv(100)
            except ConnectionResetError:
                pass
        line = reader["tls"].take(1)[0]
        check(re.match(r"0\|-\|\d+\|\d+\|NotSet\|127\.0\.0\.1\|-\|", line) and "TLS_error" in line, line)

    def no_chain():
        with socket.create_connection(("127.0.0.1", none_port), 5) as s:
            try:
                s.recv(10)
            except ConnectionResetError:
                pass
        check(reader["none"].take(1)[0] == "0|NR|0|0|NotSet|127.0.0.1|filter_chain_not_found|-|-", "%r" % reader["none"].fresh())
        reader["flagged"].take(1)
    script.stories(
        ("listener log: one line a connection", one_a_connection), ("listener log: TCP", tcp),
        ("listener log: TLS, and a handshake that fails", tls), ("listener log: no filter chain", no_chain))
    bench.stop()


def main():
    return Script("access logs", __doc__).run(formats=formats, filters=filters, files=files, listeners=listener_logs)


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
