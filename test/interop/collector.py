"""A gRPC access log collector (envoy.service.accesslog.v3) on 127.0.0.1, with a reader of protobuf's wire form that knows the few
messages it needs: no generated code. Needs the module grpc (call harness.enter_venv first)."""
import struct
import threading
from concurrent import futures

import grpc


def fields(data):
    """The fields of a message: {number: [value, ...]}; bytes for length-delimited ones, integers for the others."""
    out, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
    while at < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            value = varint()
        elif kind == 1:
            value, at = struct.unpack_from("<Q", data, at)[0], at + 8
        elif kind == 5:
            value, at = struct.unpack_from("<I", data, at)[0], at + 4
        elif kind == 2:
            size = varint()
            value, at = data[at:at + size], at + size
            if len(value) != size:
                raise ValueError("a field ends early")
        else:
            raise ValueError("wire type %d" % kind)
        out.setdefault(key >> 3, []).append(value)
    return out


# message -> {number: (name, kind)}; a kind that names a message here is one, "map" is a map of strings.
TEXT, NUMBER = "text", "number"
MESSAGES = {
    "Message": {1: ("identifier", "Identifier"), 2: ("http_logs", "HttpEntries"), 3: ("tcp_logs", "TcpEntries")},
    "Identifier": {1: ("node", "Node"), 2: ("log_name", TEXT)},
    "Node": {1: ("id", TEXT), 2: ("cluster", TEXT), 6: ("user_agent_name", TEXT)},
    "HttpEntries": {1: ("log_entry", "HttpEntry*")},
    "TcpEntries": {1: ("log_entry", "TcpEntry*")},
    "HttpEntry": {1: ("common", "Common"), 2: ("protocol_version", NUMBER), 3: ("request", "Request"), 4: ("response", "Response")},
    "TcpEntry": {1: ("common", "Common"), 2: ("connection", "Connection")},
    "Connection": {1: ("received_bytes", NUMBER), 2: ("sent_bytes", NUMBER)},
    "Common": {
        1: ("sample_rate", NUMBER), 2: ("downstream_remote_address", "Address"), 3: ("downstream_local_address", "Address"),
        4: ("tls_properties", "Tls"), 5: ("start_time", "Time"), 6: ("time_to_last_rx_byte", "Time"),
        7: ("time_to_first_upstream_tx_byte", "Time"), 8: ("time_to_last_upstream_tx_byte", "Time"),
        9: ("time_to_first_upstream_rx_byte", "Time"), 10: ("time_to_last_upstream_rx_byte", "Time"),
        11: ("time_to_first_downstream_tx_byte", "Time"), 12: ("time_to_last_downstream_tx_byte", "Time"),
        13: ("upstream_remote_address", "Address"), 14: ("upstream_local_address", "Address"), 15: ("upstream_cluster", TEXT),
        16: ("response_flags", "Flags"), 17: ("metadata", "Any"), 18: ("upstream_transport_failure_reason", TEXT),
        19: ("route_name", TEXT), 20: ("downstream_direct_remote_address", "Address"), 21: ("filter_state_objects", "Any"),
        22: ("custom_tags", "map"), 23: ("duration", "Time"), 24: ("upstream_request_attempt_count", NUMBER),
        25: ("connection_termination_details", TEXT), 26: ("stream_id", TEXT), 27: ("intermediate_log_entry", NUMBER),
        28: ("downstream_transport_failure_reason", TEXT), 29: ("downstream_wire_bytes_sent", NUMBER),
        30: ("downstream_wire_bytes_received", NUMBER), 31: ("upstream_wire_bytes_sent", NUMBER),
        32: ("upstream_wire_bytes_received", NUMBER), 33: ("access_log_type", NUMBER)},
    "Address": {1: ("socket_address", "Socket"), 2: ("pipe", "Any")},
    "Socket": {2: ("address", TEXT), 3: ("port_value", NUMBER)},
    "Time": {1: ("seconds", NUMBER), 2: ("nanos", NUMBER)},
    "Flags": {i: (str(i), NUMBER) for i in range(1, 29)},
    "Tls": {1: ("tls_version", NUMBER), 2: ("tls_cipher_suite", "Wrapped"), 3: ("tls_sni_hostname", TEXT),
            4: ("local_certificate_properties", "Certificate"), 5: ("peer_certificate_properties", "Certificate"),
            6: ("tls_session_id", TEXT), 7: ("ja3_fingerprint", TEXT)},
    "Certificate": {1: ("subject_alt_name", "San*"), 2: ("subject", TEXT), 3: ("issuer", TEXT)},
    "San": {1: ("uri", TEXT), 2: ("dns", TEXT)},
    "Wrapped": {1: ("value", NUMBER)},
    "Request": {1: ("request_method", NUMBER), 2: ("scheme", TEXT), 3: ("authority", TEXT), 4: ("port", "Wrapped"), 5: ("path", TEXT),
                6: ("user_agent", TEXT), 7: ("referer", TEXT), 8: ("forwarded_for", TEXT), 9: ("request_id", TEXT),
                10: ("original_path", TEXT), 11: ("request_headers_bytes", NUMBER), 12: ("request_body_bytes", NUMBER),
                13: ("request_headers", "map"), 14: ("upstream_header_bytes_sent", NUMBER),
                15: ("downstream_header_bytes_received", NUMBER)},
    "Response": {1: ("response_code", "Wrapped"), 2: ("response_headers_bytes", NUMBER), 3: ("response_body_bytes", NUMBER),
                 4: ("response_headers", "map"), 5: ("response_trailers", "map"), 6: ("response_code_details", TEXT),
                 7: ("upstream_header_bytes_received", NUMBER), 8: ("downstream_header_bytes_sent", NUMBER)},
}


def read(message, data):
    """A message as a dictionary; fields that are not known here stand under their numbers."""
    known, out = MESSAGES.get(message), {}
    if known is None:
        return data
    for number, values in fields(data).items():
        name, kind = known.get(number, (number, None))
        if kind == "map":
            pairs = [fields(v) for v in values]
            out[name] = {p.get(1, [b""])[0].decode(): p.get(2, [b""])[0].decode() for p in pairs}
        elif kind == TEXT:
            out[name] = values[-1].decode("utf-8", "backslashreplace")
        elif kind == NUMBER or kind is None:
            out[name] = values[-1]
        elif kind.endswith("*"):
            out[name] = [read(kind[:-1], v) for v in values]
        else:
            out[name] = read(kind, values[-1])
    return out


class Collector:
    """`messages` holds what came: (stream number, message as a dictionary). A stream that is told to stall reads no further."""

    def __init__(self, port=0):
        self.lock = threading.Lock()
        self.messages, self.streams = [], 0
        self.stalled = threading.Event()
        self.go_on = threading.Event()
        self.metadata = []
        self.server = grpc.server(futures.ThreadPoolExecutor(16))
        self.server.add_generic_rpc_handlers((self,))
        self.port = self.server.add_insecure_port("127.0.0.1:%d" % port)
        self.server.start()

    def service(self, details):
        if details.method != "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs":
            return None
        return grpc.stream_unary_rpc_method_handler(self._stream, None, None)

    def _stream(self, requests, context):
        with self.lock:
            self.streams += 1
            number = self.streams
            self.metadata.append(dict(context.invocation_metadata()))
        for data in requests:
            with self.lock:
                self.messages.append((number, read("Message", data)))
            if self.stalled.is_set():
                self.go_on.wait(60)
        return b""

    def entries(self, kind="http_logs"):
        with self.lock:
            return [e for _, m in self.messages for e in m.get(kind, {}).get("log_entry", [])]

    def stop(self):
        self.go_on.set()
        self.server.stop(0).wait()
