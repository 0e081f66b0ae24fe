#!/usr/bin/env python3
"""Every field of a connection manager is acted on, reported as without effect, or refused by its path."""
import json
import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import harness

from bench import Script, parallel
from harness import check

DETECT = "type.googleapis.com/envoy.extensions.http.original_ip_detection."
PRESERVE = "type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig"
UUID = "type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig"


def detect(kind, **fields):
    return {"original_ip_detection_extensions": [{"name": "x", "typed_config": dict({"@type": DETECT + kind}, **fields)}]}


def names(**fields):
    return {"http_protocol_options": {"header_key_format": {"stateful_formatter": {"name": "x", "typed_config": dict({"@type": PRESERVE}, **fields)}}}}


def request_id(**fields):
    return {"request_id_extension": {"typed_config": dict({"@type": UUID}, **fields)}}


def replies(**mapper):
    made = {"filter": {"not_health_check_filter": {}}}
    made.update(mapper)
    return {"local_reply_config": {"mappers": [made]}}


def body_format(**fields):
    return {"local_reply_config": {"body_format": fields}}


ACTED_ON = {
    "codec_type": {"codec_type": "HTTP1"}, "server_name": {"server_name": "x"}, "via": {"via": "x"}, "request_timeout": {"request_timeout": "1s"},
    "scheme_header_transformation.scheme_to_overwrite": {"scheme_header_transformation": {"scheme_to_overwrite": "https"}},
    "add_user_agent: false": {"add_user_agent": False}, "append_x_forwarded_port": {"append_x_forwarded_port": True},
    "xff": detect("xff.v3.XffConfig", xff_num_trusted_hops=1, skip_xff_append=False),
    "xff_trusted_cidrs": detect("xff.v3.XffConfig", xff_trusted_cidrs={"cidrs": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}),
    "custom_header": detect("custom_header.v3.CustomHeaderConfig", header_name="x-client", allow_extension_to_set_address_as_trusted=True,
                            reject_with_status={"code": 401}),
    "proper_case_words": {"http_protocol_options": {"header_key_format": {"proper_case_words": {}}}},
    "preserve_case": names(formatter_type_on_envoy_headers="PROPER_CASE"), "request_id_extension": request_id(),
    "mappers.status_code": replies(status_code=500), "mappers.body": replies(body={"inline_string": "x"}),
    "mappers.headers_to_add": replies(headers_to_add=[{"header": {"key": "x", "value": "%RESPONSE_CODE%"}, "append_action": "ADD_IF_ABSENT"}]),
    "mappers.body_format_override": replies(body_format_override={"text_format_source": {"inline_string": "x"}}),
    "body_format.json_format": body_format(json_format={"a": "%OUTRIDER_REASON%"}, content_type="x/y", omit_empty_values=True),
}

REPORTED = {
    "tracing": {"tracing": {}}, "http3_protocol_options": {"http3_protocol_options": {}}, "proxy_status_config": {"proxy_status_config": {}},
    "http1_safe_max_connection_duration": {"http1_safe_max_connection_duration": True}, "stream_flush_timeout": {"stream_flush_timeout": "1s"},
    "access_log_options": {"access_log_options": {"flush_access_log_on_new_request": True}},
    "access_log_flush_interval": {"access_log_flush_interval": "1s"}, "flush_access_log_on_new_request": {"flush_access_log_on_new_request": True},
    "append_local_overload": {"append_local_overload": True}, "add_proxy_protocol_connection_state": {"add_proxy_protocol_connection_state": False},
    "represent_ipv4_remote_address_as_ipv4_mapped_ipv6": {"represent_ipv4_remote_address_as_ipv4_mapped_ipv6": True},
    "add_user_agent": {"add_user_agent": True}, "typed_header_validation_config": {"typed_header_validation_config": {
        "name": "x", "typed_config": {"@type": "type.googleapis.com/google.protobuf.Struct"}}},
    "common_http_protocol_options.max_response_headers_kb": {"common_http_protocol_options": {"max_response_headers_kb": 100}},
    "http_protocol_options.override_stream_error_on_invalid_http_message": {"http_protocol_options": {"override_stream_error_on_invalid_http_message": True}},
    "http_protocol_options.use_balsa_parser": {"http_protocol_options": {"use_balsa_parser": True}},
    "http_protocol_options.send_fully_qualified_url": {"http_protocol_options": {"send_fully_qualified_url": True}},
    "http_protocol_options.ignore_http_11_upgrade": {"http_protocol_options": {"ignore_http_11_upgrade": [{"exact": "x"}]}},
    "http2_protocol_options.allow_metadata": {"http2_protocol_options": {"allow_metadata": True}},
    "http2_protocol_options.max_metadata_size": {"http2_protocol_options": {"max_metadata_size": 100}},
    "http2_protocol_options.use_oghttp2_codec": {"http2_protocol_options": {"use_oghttp2_codec": True}},
    "http2_protocol_options.stream_error_on_invalid_http_messaging": {"http2_protocol_options": {"stream_error_on_invalid_http_messaging": True}},
    "http2_protocol_options.custom_settings_parameters": {"http2_protocol_options": {"custom_settings_parameters": [{"identifier": 99, "value": 1}]}},
    "http2_protocol_options.connection_keepalive.connection_idle_interval": {"http2_protocol_options": {"connection_keepalive": {
        "timeout": "1s", "interval": "5s", "connection_idle_interval": "1s"}}},
    "request_id_extension.typed_config.pack_trace_reason": request_id(pack_trace_reason=False),
    "request_id_extension.typed_config.use_request_id_for_trace_sampling": request_id(use_request_id_for_trace_sampling=False),
    "scheme_header_transformation.match_upstream": {"scheme_header_transformation": {"match_upstream": True}},
    "http_protocol_options.header_key_format.stateful_formatter.typed_config.forward_reason_phrase": names(forward_reason_phrase=True),
    "local_reply_config.body_format.text_format_source.CEL": body_format(text_format_source={"inline_string": "%CEL(x)%"}),
}

REFUSED = {
    "forward_client_cert_matcher": {"forward_client_cert_matcher": {"on_no_match": {"action": {"name": "x", "typed_config": {
        "@type": "type.googleapis.com/google.protobuf.StringValue", "value": "x"}}}}},
    "path_normalization_options": {"path_normalization_options": {"forwarding_transformation": {}}},
    "upgrade_configs[0].upgrade_type": {"upgrade_configs": [{"upgrade_type": "connect-udp"}]},
    "upgrade_configs[0].filters": {"upgrade_configs": [{"upgrade_type": "websocket", "filters": [{"name": "router", "typed_config": {"@type": harness.ROUTER}}]}]},
    "route_config.virtual_hosts[0].routes[0].route.upgrade_configs[0].upgrade_type": {"route_config": {"virtual_hosts": [{"name": "x", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "route": {"cluster": "c", "upgrade_configs": [{"upgrade_type": "CONNECT-UDP"}]}}]}]}},
    "original_ip_detection_extensions[0].typed_config.@type": detect("unknown.v3.Unknown"), "use_remote_address": dict(detect("xff.v3.XffConfig"), use_remote_address=True),
    "xff_num_trusted_hops": dict(detect("xff.v3.XffConfig"), xff_num_trusted_hops=1),
    "original_ip_detection_extensions[0].typed_config.xff_num_trusted_hops": detect("xff.v3.XffConfig", xff_num_trusted_hops=1, xff_trusted_cidrs={"cidrs": []}),
    "original_ip_detection_extensions[0].typed_config.header_name": detect("custom_header.v3.CustomHeaderConfig"),
    "http_protocol_options.header_key_format.stateful_formatter.typed_config": {"http_protocol_options": {"header_key_format": {"stateful_formatter": {
        "name": "x", "typed_config": {"@type": "type.googleapis.com/google.protobuf.Struct"}}}}},
    "early_header_mutation_extensions": {"early_header_mutation_extensions": [{"name": "x", "typed_config": {"@type": "type.googleapis.com/google.protobuf.Struct"}}]},
    "request_id_extension.typed_config": {"request_id_extension": {"typed_config": {"@type": "type.googleapis.com/google.protobuf.Struct"}}},
    "local_reply_config.mappers[0].filter": {"local_reply_config": {"mappers": [{}]}},
    "local_reply_config.mappers[0].status_code": replies(status_code=100), "local_reply_config.mappers[0].headers_to_add[0].header.value": replies(
        headers_to_add=[{"header": {"key": "x", "value": "%BOGUS%"}}]),
    "local_reply_config.body_format.text_format_source": body_format(text_format_source={"inline_string": "%BOGUS%"}),
    "local_reply_config.body_format.json_format": body_format(json_format={"a": "%BOGUS%"}),
}


def fields(script):
    if not script.outrider:
        return
    folder = script.folder("fields")

    def validate(number, more):
        made = harness.listener("l", 0, harness.hcm("h", harness.everything_to("c"), **more))
        path = os.path.join(folder, "%d.json" % number)
        with open(path, "w") as out:
            json.dump({"static_resources": {"listeners": [made], "clusters": [harness.cluster("c", 8080)]}}, out)
        done = subprocess.run([script.options.binary, "--mode", "validate", "-c", path, "-l", "warning"], timeout=20,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout.decode("utf-8", "replace")

    def table(title, rows, verdict):
        def story():
            wrong = []
            results = []
            for start in range(0, len(rows), 4):
                part = list(rows.items())[start:start + 4]
                results += zip([p for p, _ in part], parallel([lambda n=start + i, m=m: validate(n, m) for i, (_, m) in enumerate(part)]))
            for path, (code, said) in results:
                got = "refused" if code else "reported" if "is set but has no effect" in said else "acted on"
                if got != verdict or (got != "acted on" and not re.search(r"\.typed_config\." + re.escape(path) + r"(?![\w.])", said)):
                    wrong.append("%s is %s: %s" % (path, got, said.strip()[-300:]))
            check(not wrong, "; ".join(wrong))
        script.tally.run(title % len(rows), story)
    table("%d fields of a connection manager are acted on", ACTED_ON, "acted on")
    table("%d fields of a connection manager are reported as without effect", REPORTED, "reported")
    table("%d fields of a connection manager are refused by name", REFUSED, "refused")


def main():
    return Script("fields of the connection manager", __doc__).run(fields=fields)


if __name__ == "__main__":
    sys.exit(harness.guarded(main))
