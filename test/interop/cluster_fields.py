"""Fields of a cluster, each with a value, and what becomes of one that is set: acted on, reported as without effect, or refused.
A field that is none of these would be ignored silently."""

OUR_HTTP = "typed_extension_protocol_options"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def http(**fields):
    made = {"@type": "type.googleapis.com/" + OPTIONS, "explicit_http_config": {"http_protocol_options": {}}}
    made.update(fields)
    return {OUR_HTTP: {OPTIONS: made}}


def check(**fields):
    """A health check with these fields beside what it needs."""
    made = {"timeout": "1s", "interval": "1s", "unhealthy_threshold": 2, "healthy_threshold": 2}
    if not any(k.endswith("_health_check") for k in fields):
        made["http_health_check"] = {"path": "/"}
    made.update(fields)
    return {"health_checks": [made]}


def http_check(**fields):
    return check(http_health_check=dict({"path": "/"}, **fields))


def breaker(**fields):
    return {"circuit_breakers": {"thresholds": [fields]}}


def assignment(policy=None, locality=None, lb=None, endpoint=None):
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 8080}}
    lb_endpoint = dict({"endpoint": dict({"address": address}, **(endpoint or {}))}, **(lb or {}))
    made = {"cluster_name": "c", "endpoints": [dict({"lb_endpoints": [lb_endpoint]}, **(locality or {}))]}
    if policy:
        made["policy"] = policy
    return {"load_assignment": made}


DNS = {"type": "STRICT_DNS"}
SOCKET = {"address": "127.0.0.1", "port_value": 0}
ACTED_ON = {
    "alt_stat_name": {"alt_stat_name": "x"}, "connect_timeout": {"connect_timeout": "3s"},
    "per_connection_buffer_limit_bytes": {"per_connection_buffer_limit_bytes": 100}, "lb_policy": {"lb_policy": "RANDOM"},
    "max_requests_per_connection": {"max_requests_per_connection": 5},
    "common_http_protocol_options.idle_timeout": {"common_http_protocol_options": {"idle_timeout": "3s"}},
    "common_http_protocol_options.max_headers_count": {"common_http_protocol_options": {"max_headers_count": 5}},
    "common_http_protocol_options.max_requests_per_connection": {"common_http_protocol_options": {"max_requests_per_connection": 5}},
    "http_protocol_options.header_key_format": {"http_protocol_options": {"header_key_format": {"proper_case_words": {}}}},
    "http_protocol_options.enable_trailers": {"http_protocol_options": {"enable_trailers": True}},
    "http2_protocol_options.max_concurrent_streams": {"http2_protocol_options": {"max_concurrent_streams": 5}},
    "http2_protocol_options.initial_stream_window_size": {"http2_protocol_options": {"initial_stream_window_size": 70000}},
    "http2_protocol_options.initial_connection_window_size": {"http2_protocol_options": {"initial_connection_window_size": 70000}},
    "http2_protocol_options.hpack_table_size": {"http2_protocol_options": {"hpack_table_size": 100}},
    "http2_protocol_options.connection_keepalive": {"http2_protocol_options": {"connection_keepalive": {"timeout": "1s", "interval": "5s"}}},
    "dns_refresh_rate": dict(DNS, dns_refresh_rate="3s"), "dns_jitter": dict(DNS, dns_jitter="1s"),
    "dns_failure_refresh_rate": dict(DNS, dns_failure_refresh_rate={"base_interval": "1s", "max_interval": "5s"}),
    "respect_dns_ttl": dict(DNS, respect_dns_ttl=True), "dns_lookup_family": dict(DNS, dns_lookup_family="ALL"),
    "use_tcp_for_dns_lookups": dict(DNS, use_tcp_for_dns_lookups=True), "wait_for_warm_on_init": {"wait_for_warm_on_init": False},
    "upstream_bind_config.source_address": {"upstream_bind_config": {"source_address": SOCKET}},
    "least_request_lb_config.choice_count": {"lb_policy": "LEAST_REQUEST", "least_request_lb_config": {"choice_count": 3}},
    "ring_hash_lb_config": {"lb_policy": "RING_HASH", "ring_hash_lb_config": {"minimum_ring_size": 3}},
    "maglev_lb_config": {"lb_policy": "MAGLEV", "maglev_lb_config": {"table_size": 65537}},
    "common_lb_config.consistent_hashing_lb_config": {"common_lb_config": {"consistent_hashing_lb_config": {"hash_balance_factor": 150}}},
    "circuit_breakers.thresholds[0].retry_budget": breaker(retry_budget={"budget_percent": {"value": 3}}),
    "transport_socket_matches": {"transport_socket_matches": [{"name": "x", "match": {"a": "b"}, "transport_socket": {
        "name": "raw", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}}}]},
    "load_assignment.endpoints[0].metadata": assignment(locality={"metadata": {"filter_metadata": {"a": {}}}}),
    "common_lb_config.healthy_panic_threshold": {"common_lb_config": {"healthy_panic_threshold": {"value": 3}}},
    "common_lb_config.locality_weighted_lb_config": {"common_lb_config": {"locality_weighted_lb_config": {}}},
    "common_lb_config.ignore_new_hosts_until_first_hc": {"common_lb_config": {"ignore_new_hosts_until_first_hc": True}},
    "common_lb_config.close_connections_on_host_set_change": {"common_lb_config": {"close_connections_on_host_set_change": True}},
    "metadata": {"metadata": {"filter_metadata": {"a": {"b": "c"}}}}, "protocol_selection": {"protocol_selection": "USE_DOWNSTREAM_PROTOCOL"},
    "upstream_connection_options.tcp_keepalive": {"upstream_connection_options": {"tcp_keepalive": {"keepalive_time": 3}}},
    "close_connections_on_host_health_failure": {"close_connections_on_host_health_failure": True},
    "ignore_health_on_host_removal": {"ignore_health_on_host_removal": True},
    "circuit_breakers.thresholds[0].max_connections": breaker(max_connections=3),
    "circuit_breakers.thresholds[0].max_pending_requests": breaker(max_pending_requests=3),
    "circuit_breakers.thresholds[0].max_requests": breaker(max_requests=3), "circuit_breakers.thresholds[0].max_retries": breaker(max_retries=3),
    "circuit_breakers.thresholds[0].track_remaining": breaker(track_remaining=True),
    "load_assignment.policy.overprovisioning_factor": assignment({"overprovisioning_factor": 200}),
    "load_assignment.policy.weighted_priority_health": assignment({"weighted_priority_health": True}),
    "load_assignment.endpoints[0].load_balancing_weight": assignment(locality={"load_balancing_weight": 3}),
    "load_assignment.endpoints[0].lb_endpoints[0].health_status": assignment(lb={"health_status": "DRAINING"}),
    "load_assignment.endpoints[0].lb_endpoints[0].load_balancing_weight": assignment(lb={"load_balancing_weight": 3}),
    "load_assignment.endpoints[0].lb_endpoints[0].metadata": assignment(lb={"metadata": {"filter_metadata": {"a": {}}}}),
    "load_assignment.endpoints[0].lb_endpoints[0].endpoint.hostname": assignment(endpoint={"hostname": "h"}),
    "load_assignment.endpoints[0].lb_endpoints[0].endpoint.health_check_config.port_value": assignment(
        endpoint={"health_check_config": {"port_value": 3}}),
    "health_checks[0].interval_jitter": check(interval_jitter="1s"), "health_checks[0].initial_jitter": check(initial_jitter="1s"),
    "health_checks[0].unhealthy_interval": check(unhealthy_interval="1s"), "health_checks[0].reuse_connection": check(reuse_connection=False),
    "health_checks[0].no_traffic_healthy_interval": check(no_traffic_healthy_interval="1s"),
    "health_checks[0].http_health_check.host": http_check(host="h"),
    "health_checks[0].http_health_check.retriable_statuses": http_check(retriable_statuses=[{"start": 500, "end": 503}]),
    "health_checks[0].http_health_check.request_headers_to_remove": http_check(request_headers_to_remove=["user-agent"]),
    "health_checks[0].tcp_health_check": check(tcp_health_check={"send": {"text": "00"}}),
    "typed_extension_protocol_options": http(common_http_protocol_options={"idle_timeout": "3s"}),
}
REPORTED = {
    "common_http_protocol_options.max_connection_duration": {"common_http_protocol_options": {"max_connection_duration": "3s"}},
    "common_http_protocol_options.max_stream_duration": {"common_http_protocol_options": {"max_stream_duration": "3s"}},
    "common_http_protocol_options.headers_with_underscores_action": {
        "common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"}},
    "http_protocol_options.allow_chunked_length": {"http_protocol_options": {"allow_chunked_length": True}},
    "http_protocol_options.accept_http_10": {"http_protocol_options": {"accept_http_10": True}},
    "http2_protocol_options.allow_connect": {"http2_protocol_options": {"allow_connect": True}},
    "http2_protocol_options.max_outbound_frames": {"http2_protocol_options": {"max_outbound_frames": 5}},
    "outlier_detection": {"outlier_detection": {"consecutive_5xx": 3}},
    "upstream_bind_config.socket_options": {"upstream_bind_config": {"source_address": SOCKET, "socket_options": [
        {"level": 1, "name": 9, "int_value": 1}]}},
    "least_request_lb_config.active_request_bias": {"least_request_lb_config": {"active_request_bias": {"default_value": 1, "runtime_key": "x"}}},
    "round_robin_lb_config": {"round_robin_lb_config": {"slow_start_config": {"slow_start_window": "3s"}}},
    "common_lb_config.zone_aware_lb_config": {"common_lb_config": {"zone_aware_lb_config": {"min_cluster_size": 3}}},
    "common_lb_config.update_merge_window": {"common_lb_config": {"update_merge_window": "3s"}},
    "upstream_connection_options.happy_eyeballs_config": {"upstream_connection_options": {"happy_eyeballs_config": {}}},
    "track_cluster_stats": {"track_cluster_stats": {"timeout_budgets": True}},
    "preconnect_policy": {"preconnect_policy": {"per_upstream_preconnect_ratio": 2.0}},
    "load_assignment.policy.endpoint_stale_after": assignment({"endpoint_stale_after": "5s"}),
    "load_assignment.endpoints[0].proximity": assignment(locality={"proximity": 3}),
    "load_assignment.endpoints[0].lb_endpoints[0].endpoint.additional_addresses": assignment(endpoint={"additional_addresses": [
        {"address": {"socket_address": {"address": "127.0.0.2", "port_value": 8080}}}]}),
    "health_checks[0].event_log_path": check(event_log_path="/dev/null"),
    "health_checks[0].always_log_health_check_failures": check(always_log_health_check_failures=True),
    "health_checks[0].tls_options": check(tls_options={"alpn_protocols": ["h2"]}),
    "typed_extension_protocol_options.*.common_http_protocol_options.max_stream_duration": http(
        common_http_protocol_options={"max_stream_duration": "3s"}),
}
REFUSED = {
    "lb_policy": {"lb_policy": "CLUSTER_PROVIDED"},
    "lb_subset_config": {"lb_subset_config": {"subset_selectors": [{"keys": ["a"]}]}}, "filters": {"filters": [{"name": "x"}]},
    "upstream_config": {"upstream_config": {"name": "x", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.upstreams.http.generic.v3.GenericConnectionPoolProto"}}},
    "connection_pool_per_downstream_connection": {"connection_pool_per_downstream_connection": True},
    "circuit_breakers.per_host_thresholds": {"circuit_breakers": {"per_host_thresholds": [{"max_connections": 2}]}},
    "circuit_breakers.thresholds[0].max_connection_pools": breaker(max_connection_pools=3),
    "load_assignment.policy.drop_overloads": assignment({"drop_overloads": [{"category": "x", "drop_percentage": {"numerator": 5}}]}),
    "load_assignment.endpoints[0].lb_endpoints[0].endpoint.health_check_config.address": assignment(endpoint={"health_check_config": {
        "address": {"socket_address": {"address": "127.0.0.2", "port_value": 8080}}}}),
    "health_checks[0].alt_port": check(alt_port=8080), "health_checks[0].grpc_health_check": check(grpc_health_check={}),
    "health_checks[0].http_health_check.service_name_matcher": http_check(service_name_matcher={"prefix": "a"}),
    "health_checks[0].http_health_check.receive": http_check(receive=[{"text": "00"}]),
    "upstream_http_protocol_options.auto_sni": {"upstream_http_protocol_options": {"auto_sni": True}},
    "upstream_http_protocol_options.auto_san_validation": {"upstream_http_protocol_options": {"auto_san_validation": True, "auto_sni": False}},
}
