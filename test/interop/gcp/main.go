// Command gcp is a control plane made of go-control-plane's own server and caches, driven line by line. "gcp load" and "gcp
// backends" are the two ends of the traffic that flows meanwhile, see load.go and backends.go.
//
// It serves every xDS service that go-control-plane has (ADS and the single types, state of the world and delta) from a snapshot
// cache, or with -linear from one linear cache a type, where an update names what changed and costs no more.
// One JSON object a line comes on standard input:
//
//	{"version": "2", "resources": [{"@type": ..., ...}, ...]}   a snapshot: all there is (-linear: of the types that are named)
//	{"update": [{"@type": ...}, ...]}                           with -linear: these are new or changed, the others stay
//	{"clusters": 10000, "port": 9}                              with -linear: so many EDS clusters c0, c1, ... with one endpoint each
//	{"clusters": 10000, "endpoints": 10, "port": 9}             with -linear: the same with ten endpoints each, no address twice
//	{"endpoint": 7, "port": 10}                                 with -linear: c7's endpoint has this port from now on
//	{"endpoint": 7, "endpoints": 10, "port": 10}                 with -linear: the last of c7's ten is another one from now on
//	{"table": "all", "clusters": 10000, "each": 3, "first": "c1"}  with -linear: the route table of that name, one virtual host; each
//	                                                            cluster has so many prefix routes, /c0/0/, /c0/1/, ...; /c0/0/ leads to "first"
//
// and one goes to standard output for each event: {"event": "listening", "port": N}, then "open", "closed", "request", "response", and
// {"event": "applied", "at_ns": T} for each command, T being the wall clock's time at which the cache got what the command had made.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/tls_inspector/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	clusterservice "github.com/envoyproxy/go-control-plane/envoy/service/cluster/v3"
	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	endpointservice "github.com/envoyproxy/go-control-plane/envoy/service/endpoint/v3"
	listenerservice "github.com/envoyproxy/go-control-plane/envoy/service/listener/v3"
	routeservice "github.com/envoyproxy/go-control-plane/envoy/service/route/v3"
	runtimeservice "github.com/envoyproxy/go-control-plane/envoy/service/runtime/v3"
	secretservice "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	"github.com/envoyproxy/go-control-plane/pkg/server/v3"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
)

var (
	ads    = flag.Bool("ads", false, "the snapshot cache answers as it does for ADS: a named request only when it lists all names")
	linear = flag.Bool("linear", false, "one linear cache a type")
	port   = flag.Int("port", 0, "of 127.0.0.1")
	quiet  = flag.Bool("quiet", false, "no line for a response, and no names in requests")
)

var allTypes = []string{resource.ClusterType, resource.EndpointType, resource.ListenerType, resource.RouteType,
	resource.ScopedRouteType, resource.SecretType, resource.RuntimeType}

// everyNode gives all proxies the same resources.
type everyNode struct{}

func (everyNode) ID(*corev3.Node) string { return "all" }

var printing sync.Mutex

func tell(event map[string]any) {
	line, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	printing.Lock()
	defer printing.Unlock()
	os.Stdout.Write(append(line, '\n'))
}

func callbacks() server.CallbackFuncs {
	type place struct {
		stream int64
		delta  bool
	}
	var mutex sync.Mutex
	nodes := map[place]int{}
	withNode := func(stream int64, delta bool, node *corev3.Node) int {
		mutex.Lock()
		defer mutex.Unlock()
		if node.GetId() != "" || node.GetUserAgentName() != "" {
			nodes[place{stream, delta}]++
		}
		return nodes[place{stream, delta}]
	}
	return server.CallbackFuncs{
		StreamOpenFunc: func(_ context.Context, id int64, url string) error {
			tell(map[string]any{"event": "open", "stream": id, "delta": false, "type": url})
			return nil
		},
		DeltaStreamOpenFunc: func(_ context.Context, id int64, url string) error {
			tell(map[string]any{"event": "open", "stream": id, "delta": true, "type": url})
			return nil
		},
		StreamClosedFunc: func(id int64, _ *corev3.Node) {
			tell(map[string]any{"event": "closed", "stream": id, "delta": false})
		},
		DeltaStreamClosedFunc: func(id int64, _ *corev3.Node) {
			tell(map[string]any{"event": "closed", "stream": id, "delta": true})
		},
		StreamRequestFunc: func(id int64, r *discovery.DiscoveryRequest) error {
			event := map[string]any{"event": "request", "stream": id, "delta": false, "type": r.TypeUrl, "version": r.VersionInfo,
				"nonce": r.ResponseNonce, "error": r.ErrorDetail.GetMessage(), "nodes": withNode(id, false, r.Node),
				"agent": r.Node.GetUserAgentName()}
			if !*quiet {
				event["names"] = r.ResourceNames
			}
			tell(event)
			return nil
		},
		StreamDeltaRequestFunc: func(id int64, r *discovery.DeltaDiscoveryRequest) error {
			event := map[string]any{"event": "request", "stream": id, "delta": true, "type": r.TypeUrl, "nonce": r.ResponseNonce,
				"error": r.ErrorDetail.GetMessage(), "nodes": withNode(id, true, r.Node), "agent": r.Node.GetUserAgentName()}
			if !*quiet {
				event["names"], event["unsubscribed"], event["held"] = r.ResourceNamesSubscribe, r.ResourceNamesUnsubscribe, r.InitialResourceVersions
			}
			tell(event)
			return nil
		},
		StreamResponseFunc: func(_ context.Context, id int64, _ *discovery.DiscoveryRequest, r *discovery.DiscoveryResponse) {
			if !*quiet {
				tell(map[string]any{"event": "response", "stream": id, "delta": false, "type": r.TypeUrl, "version": r.VersionInfo,
					"nonce": r.Nonce, "count": len(r.Resources)})
			}
		},
		StreamDeltaResponseFunc: func(id int64, _ *discovery.DeltaDiscoveryRequest, r *discovery.DeltaDiscoveryResponse) {
			if !*quiet {
				tell(map[string]any{"event": "response", "stream": id, "delta": true, "type": r.TypeUrl, "version": r.SystemVersionInfo,
					"nonce": r.Nonce, "count": len(r.Resources), "removed": r.RemovedResources})
			}
		},
	}
}

// command is one line of standard input.
type command struct {
	Version   string            `json:"version"`
	Resources []json.RawMessage `json:"resources"`
	Update    []json.RawMessage `json:"update"`
	Clusters  int               `json:"clusters"`
	Endpoints int               `json:"endpoints"`
	Table     string            `json:"table"`
	Each      int               `json:"each"`
	First     string            `json:"first"`
	Endpoint  *int              `json:"endpoint"`
	Port      uint32            `json:"port"`
}

func read(raw []json.RawMessage) (map[string][]types.Resource, error) {
	all := map[string][]types.Resource{}
	for _, each := range raw {
		var packed anypb.Any
		if err := protojson.Unmarshal(each, &packed); err != nil {
			return nil, fmt.Errorf("%w in %s", err, each)
		}
		message, err := packed.UnmarshalNew()
		if err != nil {
			return nil, err
		}
		all[packed.TypeUrl] = append(all[packed.TypeUrl], message)
	}
	return all, nil
}

func named(list []types.Resource) map[string]types.Resource {
	out := map[string]types.Resource{}
	for _, each := range list {
		out[cache.GetResourceName(each)] = each
	}
	return out
}

func endpoints(i int, port uint32) types.Resource {
	return &endpointv3.ClusterLoadAssignment{ClusterName: fmt.Sprintf("c%d", i), Endpoints: []*endpointv3.LocalityLbEndpoints{{
		LbEndpoints: []*endpointv3.LbEndpoint{endpoint("127.0.0.1", port)}}}}
}

func endpoint(address string, port uint32) *endpointv3.LbEndpoint {
	return &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
		Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
			Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port}}}}}}}
}

// manyEndpoints gives the i-th cluster `count` endpoints, each at an address that no other one has (of 127.1.0.0 and above).
func manyEndpoints(i, count int, port uint32) types.Resource {
	list := make([]*endpointv3.LbEndpoint, count)
	for k := range list {
		n := i*count + k
		list[k] = endpoint(fmt.Sprintf("127.%d.%d.%d", 1+n/62500, n/250%250, 1+n%250), port)
	}
	return &endpointv3.ClusterLoadAssignment{ClusterName: fmt.Sprintf("c%d", i), Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: list}}}
}

func routeTable(name string, clusters, each int, first string) types.Resource {
	routes := make([]*routev3.Route, 0, clusters*each)
	for i := range clusters {
		for k := range each {
			target := fmt.Sprintf("c%d", i)
			if i == 0 && k == 0 && first != "" {
				target = first
			}
			routes = append(routes, &routev3.Route{
				Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: fmt.Sprintf("/c%d/%d/", i, k)}},
				Action: &routev3.Route_Route{Route: &routev3.RouteAction{ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: target}}}})
		}
	}
	return &routev3.RouteConfiguration{Name: name, VirtualHosts: []*routev3.VirtualHost{{Name: "all", Domains: []string{"*"}, Routes: routes}}}
}

func cluster(i int) types.Resource {
	return &clusterv3.Cluster{Name: fmt.Sprintf("c%d", i), ConnectTimeout: durationpb.New(1e9),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{EdsConfig: &corev3.ConfigSource{ResourceApiVersion: corev3.ApiVersion_V3,
			ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}}}}}
}

// apply calls made() once all messages are built, just before a cache gets them.
func apply(c command, snapshots cache.SnapshotCache, linears map[string]*cache.LinearCache, made func()) error {
	switch {
	case c.Table != "":
		table := routeTable(c.Table, c.Clusters, c.Each, c.First)
		made()
		return linears[resource.RouteType].UpdateResource(c.Table, table)
	case c.Endpoint != nil && c.Endpoints > 0:
		changed := manyEndpoints(*c.Endpoint, c.Endpoints, 9).(*endpointv3.ClusterLoadAssignment)
		changed.Endpoints[0].LbEndpoints[c.Endpoints-1] = endpoint("127.0.0.1", c.Port)
		made()
		return linears[resource.EndpointType].UpdateResource(changed.ClusterName, changed)
	case c.Endpoint != nil:
		return linears[resource.EndpointType].UpdateResource(fmt.Sprintf("c%d", *c.Endpoint), endpoints(*c.Endpoint, c.Port))
	case c.Clusters > 0:
		clusters, assignments := map[string]types.Resource{}, map[string]types.Resource{}
		for i := 0; i < c.Clusters; i++ {
			name := fmt.Sprintf("c%d", i)
			clusters[name], assignments[name] = cluster(i), endpoints(i, c.Port)
			if c.Endpoints > 0 {
				assignments[name] = manyEndpoints(i, c.Endpoints, c.Port)
			}
		}
		made()
		linears[resource.EndpointType].SetResources(assignments)
		linears[resource.ClusterType].SetResources(clusters)
		return nil
	case len(c.Update) > 0:
		all, err := read(c.Update)
		if err != nil {
			return err
		}
		made()
		for url, list := range all {
			if err := linears[url].UpdateResources(named(list), nil); err != nil {
				return err
			}
		}
		return nil
	}
	all, err := read(c.Resources)
	if err != nil {
		return err
	}
	if *linear {
		for url, list := range all {
			linears[url].SetResources(named(list))
		}
		return nil
	}
	snapshot, err := cache.NewSnapshot(c.Version, all)
	if err != nil {
		return err
	}
	return snapshots.SetSnapshot(context.Background(), "all", snapshot)
}

func controlPlane() error {
	snapshots := cache.NewSnapshotCache(*ads, everyNode{}, nil)
	linears := map[string]*cache.LinearCache{}
	var source cache.Cache = snapshots
	if *linear {
		caches := map[string]cache.Cache{}
		for _, url := range allTypes {
			linears[url] = cache.NewLinearCache(url)
			caches[url] = linears[url]
		}
		source = &cache.MuxCache{Classify: func(r *cache.Request) string { return r.TypeUrl },
			ClassifyDelta: func(r *cache.DeltaRequest) string { return r.TypeUrl }, Caches: caches}
	}
	listening, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		return err
	}
	xds := server.NewServer(context.Background(), source, callbacks())
	transport := grpc.NewServer(grpc.MaxConcurrentStreams(1000), grpc.MaxRecvMsgSize(256<<20))
	discovery.RegisterAggregatedDiscoveryServiceServer(transport, xds)
	clusterservice.RegisterClusterDiscoveryServiceServer(transport, xds)
	endpointservice.RegisterEndpointDiscoveryServiceServer(transport, xds)
	listenerservice.RegisterListenerDiscoveryServiceServer(transport, xds)
	routeservice.RegisterRouteDiscoveryServiceServer(transport, xds)
	routeservice.RegisterScopedRoutesDiscoveryServiceServer(transport, xds)
	secretservice.RegisterSecretDiscoveryServiceServer(transport, xds)
	runtimeservice.RegisterRuntimeDiscoveryServiceServer(transport, xds)
	tell(map[string]any{"event": "listening", "port": listening.Addr().(*net.TCPAddr).Port})
	go func() {
		lines := bufio.NewReaderSize(os.Stdin, 1<<20)
		for {
			line, err := lines.ReadBytes('\n')
			if err != nil {
				os.Exit(0) // whoever drives this is gone
			}
			var c command
			at := time.Now()
			if err = json.Unmarshal(line, &c); err == nil {
				err = apply(c, snapshots, linears, func() { at = time.Now() })
			}
			if err != nil {
				tell(map[string]any{"event": "error", "why": err.Error()})
			} else {
				tell(map[string]any{"event": "applied", "at_ns": at.UnixNano()})
			}
		}
	}()
	return transport.Serve(listening)
}

func main() {
	var err error
	switch {
	case len(os.Args) > 1 && os.Args[1] == "load":
		err = load(os.Args[2:])
	case len(os.Args) > 1 && os.Args[1] == "backends":
		err = backends(os.Args[2:])
	default:
		flag.Parse()
		err = controlPlane()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
