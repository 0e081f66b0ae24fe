"""scoped_routes in the listener: the key of a request's headers chooses the route configuration."""
from cases.engine import LISTENERS, exchange, host, request, route, says


def table(name):
    return {"name": name, "virtual_hosts": [host(name, route("/only", **says("only " + name)), route({"path": "/a"}, **says(name)))]}


def scope(name, *fragments):
    return {"name": name, "route_configuration": table(name), "key": {"fragments": [{"string_key": f} for f in fragments]}}


def by(header, **more):
    return {"header_value_extractor": dict({"name": header}, **more)}


def scoped(keys, *scopes):
    return lambda side: {"scoped_routes": {"name": "scopes", "scope_key_builder": {"fragments": keys},
                                           "scoped_route_configurations_list": {"scoped_route_configurations": list(scopes)}}}


LISTENERS.update({
    "scoped": scoped([by("x-scope", index=0)], scope("one", "one"), scope("two", "two"), scope("three", "three=x")),
    "scopedhost": scoped([by("Host", index=0)], scope("one", "one.test"), scope("two", "two.test:80")),
    "scopedlist": scoped([by("x-scope", element_separator=",", index=1)], scope("one", "one"), scope("two", " two")),
    "scopedpair": scoped([by("x-scope", element_separator=";", element={"key": "to", "separator": "="}), by("x-more", index=0)],
                         scope("one", "one", "m"), scope("two", "two", "m"), scope("blank", "", "m")),
})


def fill():
    for headers in ("", "x-scope: one", "x-scope: two", "X-SCOPE: one", "x-scope: One", "x-scope: three=x", "x-scope: four", "x-scope:", "x-scope: one & x-scope: two", "x-scope: one,two"):
        exchange("scopes", headers or "no key", request("/a", headers=headers), listener="scoped")
    exchange("scopes", "no route in the scope", request("/none", headers="x-scope: one"), listener="scoped")
    for name in ("one.test", "two.test:80", "ONE.test", "two.test"):
        exchange("scopes", "host " + name, request("/a", host=name), listener="scopedhost")
    for headers in ("x-scope: a,one", "x-scope: one", "x-scope: a, two", "x-scope: a,one,b", "x-scope: a,,one"):
        exchange("scopes", "list " + headers, request("/a", headers=headers), listener="scopedlist")
    for headers in ("x-scope: to=one", "x-scope: a=b;to=two", "x-scope: to=one;to=two", "x-scope: to", "x-scope: to=", "x-scope: one", "x-scope: to=one=x", "x-scope: a;to=two"):
        exchange("scopes", "pair " + headers, request("/a", headers=headers + " & x-more: m"), listener="scopedpair")
    exchange("scopes", "pair without the other", request("/a", headers="x-scope: to=one"), listener="scopedpair")
