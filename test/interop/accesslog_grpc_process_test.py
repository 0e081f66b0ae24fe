#!/usr/bin/env python3
"""The gRPC access log service: entries of HTTP and TCP, streams and batches, a collector that is away, dies, or stops reading. Runs against
Outrider, or with --proxy envoy against the reference: the expectations are what Envoy writes."""
import os
import re
import socket
import ssl
import struct
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

harness.enter_venv("hpack", "grpc")
import collector
import h1
import h2
from accesslog_peers import Echo, PREFIX, UUID, ask_many, echoed, request, routes
from bench import Bench, Script
from harness import check, wait_for


def grpc_log(kind, log_name, cluster="collector", common=None, **more):
    made = {"log_name": log_name, "transport_api_version": "V3", "buffer_flush_interval": "0.05s",
            "grpc_service": {"envoy_grpc": {"cluster_name": cluster}}}
    made.update(common or {})
    return {"name": log_name, "typed_config": dict({"@type": PREFIX + "grpc.v3.%sGrpcAccessLogConfig" % kind, "common_config": made}, **more)}


class Narrow:
    """An HTTP/2 server that opens no window until it is told to. `bytes`: of DATA frames."""

    def __init__(self):
        self.bytes, self.socket = 0, None
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            self.socket, _ = self.listening.accept()
            self.socket.sendall(h2.frame(h2.SETTINGS))
            receiver, ahead = h2.Receiver(), b""       # ahead: of the preface
            while True:
                try:
                    data = self.socket.recv(65536)
                except OSError:
                    break
                if not data:
                    break
                if ahead is not None:
                    ahead += data
                    if len(ahead) < len(h2.PREFACE):
                        continue
                    data, ahead = ahead[len(h2.PREFACE):], None
                for f in receiver.feed(data):
                    if f.kind == h2.DATA:
                        self.bytes += len(f.payload)
                    elif f.kind == h2.SETTINGS and not f.flags & h2.ACK:
                        self.socket.sendall(h2.frame(h2.SETTINGS, h2.ACK))

    def open_window(self):
        step = struct.pack(">I", 1 << 24)
        self.socket.sendall(h2.frame(h2.WINDOW_UPDATE, 0, 0, step) + h2.frame(h2.WINDOW_UPDATE, 0, 1, step))


def collected(script):
    upstream, echo = h1.Upstream("up"), Echo()
    work = script.folder("collected")
    certificates = harness.make_certificates(work)
    main_collector = collector.Collector()
    lost_port = harness.free_port()
    slow = Narrow()
    ports = [harness.free_port() for _ in range(6)]
    http_port, tls_port, tcp_port, batch_port, lost_at, slow_at = ports
    http_log = grpc_log("Http", "mine", additional_request_headers_to_log=["x-a", "x-none"],
                        additional_response_headers_to_log=["x-served-by"], common={"custom_tags": [
                            {"tag": "fixed", "literal": {"value": "v"}}, {"tag": "head", "request_header": {"name": "x-a"}},
                            {"tag": "absent", "request_header": {"name": "x-none", "default_value": "d"}}],
                            "grpc_service": {"envoy_grpc": {"cluster_name": "collector", "authority": "logs.test"},
                                             "initial_metadata": [{"key": "x-meta", "value": "m"}]}})
    tcp_log = grpc_log("Tcp", "streams")
    batch = grpc_log("Http", "batch", common={"buffer_flush_interval": "30s", "buffer_size_bytes": 4096})
    lost = grpc_log("Http", "lost", "lost", common={"buffer_size_bytes": 2048})
    slow_log = grpc_log("Http", "slow", "slow", common={"buffer_size_bytes": 4096})
    slow_log["typed_config"]["additional_request_headers_to_log"] = ["x-big"]

    def inner(name, port, log, **more):
        return harness.listener(name, port, harness.hcm(name, routes(), [log]), **more)
    tcp = {"name": "tcp", "typed_config": {"@type": harness.TCP_PROXY, "stat_prefix": "tcp", "cluster": "echo", "access_log": [tcp_log]}}
    h2_cluster = harness.http2_options()
    bench = Bench(script, "collected-proxy", [
        inner("in", http_port, http_log),
        inner("tls", tls_port, http_log, transport_socket=harness.downstream_tls(certificates, True),
              listener_filters=[{"name": "tls_inspector", "typed_config": {"@type": harness.TLS_INSPECTOR}}]),
        harness.listener("tcp", tcp_port, tcp), inner("batch", batch_port, batch), inner("lost", lost_at, lost), inner("slow", slow_at, slow_log)],
        [harness.cluster("up", upstream.port), harness.cluster("refused", harness.free_port()), harness.cluster("echo", echo.port),
         harness.cluster("collector", main_collector.port, **h2_cluster), harness.cluster("lost", lost_port, **h2_cluster),
         harness.cluster("slow", slow.port, **h2_cluster)])
    wait = lambda count, kind="http_logs", where=main_collector: wait_for(
        lambda: len(where.entries(kind)) >= count and where.entries(kind), 10, lambda: "%d entries, have %d" % (count, len(where.entries(kind))))

    def stats():
        return {k.rpartition(".")[2]: v for k, v in bench.proxy.stats("^access_logs[.]grpc_access_log").items()}

    def times(common, names):
        for name in names:
            check(name in common, "%s is not there" % name)

    def http_entry():
        request(http_port, "/rewritten", "POST", [("x-a", "alpha"), ("user-agent", "agent"), ("referer", "there")], b"body5")
        entry = wait(1)[0]
        common, asked, said = entry["common"], entry["request"], entry["response"]
        check(entry["protocol_version"] == 2, "protocol_version %s" % entry["protocol_version"])
        check({k: asked.get(k) for k in ("request_method", "scheme", "authority", "path", "original_path", "user_agent", "referer", "request_body_bytes",
                                         "request_headers", "request_headers_bytes")} ==
              {"request_method": 3, "scheme": "http", "authority": "log.test", "path": "/ok", "original_path": "/rewritten", "user_agent": "agent",
               "referer": "there", "request_body_bytes": 5, "request_headers": {"x-a": "alpha"}, "request_headers_bytes": 233}, "request %s" % asked)
        check(re.fullmatch(UUID, asked["request_id"]) and common["stream_id"] == asked["request_id"], "request id %s" % asked)
        check({k: said.get(k) for k in ("response_code", "response_body_bytes", "response_headers", "response_code_details")} ==
              {"response_code": {"value": 200}, "response_body_bytes": 2, "response_headers": {"x-served-by": "up"},
               "response_code_details": "via_upstream"}, "response %s" % said)
        check(said.get("response_headers_bytes") in range(112, 116), "response %s" % said)
        check(common["upstream_cluster"] == "up" and common["upstream_request_attempt_count"] == 1 and common["access_log_type"] == 6,
              "common %s" % common)
        check(common["custom_tags"] == {"fixed": "v", "head": "alpha", "absent": "d"}, "tags %s" % common["custom_tags"])
        check(common["upstream_remote_address"]["socket_address"] == {"address": "127.0.0.1", "port_value": upstream.port}, "%s" % common)
        check(common["downstream_local_address"]["socket_address"] == {"address": "127.0.0.1", "port_value": http_port}, "%s" % common)
        check(common["upstream_wire_bytes_sent"] > 200 and common["upstream_wire_bytes_received"] == 57, "wire bytes %s" % common)
        times(common, ("start_time", "duration", "time_to_last_rx_byte", "time_to_first_upstream_tx_byte", "time_to_last_upstream_tx_byte",
                       "time_to_first_upstream_rx_byte", "time_to_last_upstream_rx_byte", "time_to_first_downstream_tx_byte",
                       "time_to_last_downstream_tx_byte", "upstream_local_address", "downstream_remote_address", "downstream_direct_remote_address"))
        check("response_flags" not in common and "tls_properties" not in common, "common %s" % common)

    def errors():
        before = len(main_collector.entries())
        request(http_port, "/refused")
        request(http_port, "/direct")
        refused, direct = wait(before + 2)[before:before + 2]
        check(refused["common"]["response_flags"] == {"6": 1}, "flags %s" % refused["common"].get("response_flags"))
        check(refused["common"]["upstream_transport_failure_reason"] == "delayed connect error: Connection refused",
              refused["common"].get("upstream_transport_failure_reason"))
        check(refused["response"]["response_code"] == {"value": 503}, "%s" % refused["response"])
        check(direct["common"]["route_name"] == "direct" and direct["response"]["response_code_details"] == "direct_response" and
              "upstream_remote_address" not in direct["common"], "%s" % direct)

    def tls_entry():
        before = len(main_collector.entries())
        context = ssl.create_default_context(cafile=certificates["ca"])
        context.load_cert_chain(certificates["client"], certificates["client_key"])
        request(tls_port, tls=context, server_name="localhost")
        tls = wait(before + 1)[before]["common"]["tls_properties"]
        check(tls["tls_version"] == 4 and tls["tls_sni_hostname"] == "localhost" and tls["tls_cipher_suite"]["value"] in (0x1301, 0x1302), "%s" % tls)
        check(tls["peer_certificate_properties"] == {"subject_alt_name": [{"uri": "spiffe://test/client"}], "subject": "CN=client",
                                                     "issuer": "CN=Test CA"}, "%s" % tls)
        check(tls["local_certificate_properties"] == {"subject": "CN=localhost"}, "%s" % tls)

    def tcp_entry():
        echoed(tcp_port)
        entry = wait(1, "tcp_logs")[0]
        check(entry["connection"] == {"received_bytes": 5, "sent_bytes": 5}, "%s" % entry["connection"])
        common = entry["common"]
        check(common["upstream_cluster"] == "echo" and common["access_log_type"] == 3 and common["upstream_wire_bytes_sent"] == 5, "%s" % common)

    def identified():
        firsts = {}
        for number, message in main_collector.messages:
            if number not in firsts:
                firsts[number] = message
                check("identifier" in message, "a stream's first message has no identifier")
            else:
                check("identifier" not in message, "a later message has an identifier")
        names = sorted(m["identifier"]["log_name"] for m in firsts.values())
        check(names == ["mine", "streams"], "streams of %s" % names)
        node = next(iter(firsts.values()))["identifier"]["node"]
        check(node["id"] == "process-test" and node["cluster"] == "tests", "node %s" % node)
        check(any(m.get("x-meta") == "m" for m in main_collector.metadata), "initial_metadata did not come: %s" % main_collector.metadata)

    def batches():
        before = len(main_collector.messages)
        ask_many(batch_port, 30)
        entries = lambda: [len(m["http_logs"]["log_entry"]) for _, m in main_collector.messages[before:]]
        wait_for(lambda: sum(entries()) >= 16, 3, "a full buffer to be sent, far before the interval")
        check(all(n >= 5 for n in entries()), "entries a message: %s" % entries())

    def counted():
        now = stats()
        check(now["logs_written"] >= 34 and now["logs_dropped"] == 0, "%s" % now)

    def nobody_there():
        before = stats()
        for _ in range(3):
            failed = bench.stat("cluster.lost.upstream_cx_connect_fail")
            ask_many(lost_at, 40)
            bench.reaches("cluster.lost.upstream_cx_connect_fail", failed + 1)
        if script.outrider:           # the reference forgets them without a word

            def gone():
                now = stats()
                return sum(now[k] - before[k] for k in ("logs_dropped", "grpc_entries_flush_failed"))
            wait_for(lambda: gone() >= 60, 3, lambda: "lost entries to count: %d of 120" % gone())
        late = collector.Collector(lost_port)
        try:
            wait_for(lambda: request(lost_at, "/ok") and late.entries(), 10, "an entry after the collector came up", pause=0.05)
            check("identifier" in late.messages[0][1], "the new stream does not say who it is")
        finally:
            late.stop()

    def comes_back():
        nonlocal main_collector
        port = main_collector.port
        failed = bench.stat("cluster.collector.upstream_cx_connect_fail")
        main_collector.stop()
        wait_for(lambda: request(http_port, "/ok") and bench.stat("cluster.collector.upstream_cx_connect_fail") > failed, 10,
                 "a stream to be tried in vain", pause=0.05)
        main_collector = collector.Collector(port)
        wait_for(lambda: request(http_port, "/ok") and main_collector.entries(), 10, "an entry after the collector came back", pause=0.05)
        check("identifier" in main_collector.messages[0][1], "the new stream does not say who it is")

    def slow_collector():
        if not script.outrider:
            return                # it keeps what cannot go out
        # The collector opens no more window than HTTP/2's first 64 KiB: the stream stops, the buffer fills, entries are dropped.
        before = stats()
        memory = bench.proxy.memory_kib()
        big = b"b" * 8000
        with h1.Client(slow_at) as client:
            for _ in range(600):
                client.send(b"GET /ok HTTP/1.1\r\nhost: h\r\nx-big: " + big + b"\r\n\r\n")
                check(client.response(timeout=5).status == 200, "a request suffered")
        now = stats()
        check(now["logs_dropped"] > before["logs_dropped"], "nothing was dropped: %s" % now)
        check(slow.bytes <= 70000, "%d bytes were sent into a window of 65535" % slow.bytes)
        grown = bench.proxy.memory_kib() - memory
        check(grown < 6 * 1024, "memory grew by %d KiB" % grown)
        had = slow.bytes
        slow.open_window()
        wait_for(lambda: request(slow_at, "/ok") and slow.bytes >= had + 20000, 10, "bytes after the window opened", pause=0.02)
    script.stories(
        ("gRPC: an HTTP entry", http_entry), ("gRPC: entries of errors", errors), ("gRPC: TLS properties", tls_entry),
        ("gRPC: a TCP entry", tcp_entry), ("gRPC: node, log name and metadata begin each stream", identified),
        ("gRPC: buffered by size", batches), ("gRPC: counters", counted), ("gRPC: no collector, then one", nobody_there),
        ("gRPC: the collector dies and comes back", comes_back), ("gRPC: a collector that stops reading", slow_collector))
    bench.stop()
    main_collector.stop()


def main():
    return Script("gRPC access logs", __doc__).run(grpc=collected)


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
