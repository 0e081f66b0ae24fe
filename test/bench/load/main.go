// Command load is what the bench needs beside wrk and h2load; it uses Go's own library alone.
//
//	load rate          HTTP/1.1 requests at a fixed rate, latency from when each was due, see rate.go
//	load tls           HTTP/1.1 over TLS: kept connections, or one a request, with or without resumption, with a client certificate, see tls.go
//	load grpc          gRPC streams that stay open, a message each way in turn, see grpc.go
//	load grpc-backend  echoes every gRPC message, unary and streaming
//	load idle          opens connections, gives each one request, holds them, see idle.go
//	load backends      HTTP/1.1 servers that answer with their name
//
// Each tells what happened in JSON objects, one a line. All addresses are of 127.0.0.0/8.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"time"
)

func tell(event any) {
	line, err := json.Marshal(event)
	if err != nil {
		panic(err)
	}
	os.Stdout.Write(append(line, '\n'))
}

// percentile is the smallest value that `part` of all values do not exceed (nearest rank); 0 of none.
func percentile(sorted []time.Duration, part float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(part * float64(len(sorted)))
	if float64(rank) < part*float64(len(sorted)) {
		rank++
	}
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// figures are what every kind of load says of latencies, in microseconds.
func figures(took []time.Duration) map[string]any {
	slices.Sort(took)
	us := func(part float64) float64 { return float64(percentile(took, part).Nanoseconds()) / 1000 }
	return map[string]any{"requests": len(took), "p50_us": us(0.5), "p99_us": us(0.99), "p999_us": us(0.999), "most_us": us(1)}
}

// backends tells the ports of -count servers; the n-th answers everything with its name, "<prefix>n".
func backends(arguments []string) error {
	flags := flag.NewFlagSet("backends", flag.ExitOnError)
	count := flags.Int("count", 4, "how many")
	prefix := flags.String("prefix", "b", "of the names")
	flags.Parse(arguments)
	var ports []int
	for i := range *count {
		listening, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		ports = append(ports, listening.Addr().(*net.TCPAddr).Port)
		name := fmt.Appendf(nil, "%s%d", *prefix, i)
		go http.Serve(listening, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(name) }))
	}
	tell(map[string]any{"event": "backends", "ports": ports})
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func main() {
	kinds := map[string]func([]string) error{
		"rate": rate, "tls": overTLS, "grpc": grpcLoad, "grpc-backend": grpcBackend, "idle": idle, "backends": backends,
	}
	err := fmt.Errorf("usage: load rate|tls|grpc|grpc-backend|idle|backends ...")
	if len(os.Args) > 1 && kinds[os.Args[1]] != nil {
		err = kinds[os.Args[1]](os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
