package main

import (
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/http2"
)

// backends serves -count HTTP/1.1 servers, HTTP/2 servers (prior knowledge) and TCP echoes, all on ports of their own, and tells
// the ports in one line. It ends with its standard input.
func backends(arguments []string) error {
	flags := flag.NewFlagSet("backends", flag.ExitOnError)
	count := flags.Int("count", 4, "of each kind")
	flags.Parse(arguments)
	ports := map[string][]int{}
	listen := func(kind string) (net.Listener, error) {
		listening, err := net.Listen("tcp", "127.0.0.1:0")
		if err == nil {
			ports[kind] = append(ports[kind], listening.Addr().(*net.TCPAddr).Port)
		}
		return listening, err
	}
	for i := 0; i < *count; i++ {
		one, err := listen("http1")
		if err != nil {
			return err
		}
		two, err := listen("http2")
		if err != nil {
			return err
		}
		echo, err := listen("echo")
		if err != nil {
			return err
		}
		go http.Serve(one, mirror(fmt.Sprintf("one%d", i)))
		go serve(two, func(c net.Conn) {
			(&http2.Server{}).ServeConn(c, &http2.ServeConnOpts{Handler: mirror(fmt.Sprintf("two%d", i))})
		})
		go serve(echo, func(c net.Conn) {
			io.Copy(c, c)
			c.(*net.TCPConn).CloseWrite()
		})
	}
	tell(map[string]any{"event": "backends", "http1": ports["http1"], "http2": ports["http2"], "echo": ports["echo"]})
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func serve(listening net.Listener, each func(net.Conn)) {
	for {
		connection, err := listening.Accept()
		if err != nil {
			time.Sleep(time.Millisecond) // out of descriptors, say
			continue
		}
		go func() {
			defer connection.Close()
			each(connection)
		}()
	}
}

// mirror answers with the body that came, or with the path when none did.
func mirror(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		if len(body) == 0 {
			body = []byte(r.URL.Path)
		}
		w.Header().Set("x-backend", name)
		w.Write(body)
	})
}
