package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// overTLS keeps -connections clients busy, each with one request at a time: on a connection that it keeps, or with -fresh on a new
// one each. Kept ones are opened and used once before the time begins, and {"event": "ready"} says so. With -resume every handshake but a client's first resumes that client's last session; one that does not is counted.
func overTLS(arguments []string) error {
	flags := flag.NewFlagSet("tls", flag.ExitOnError)
	port := flags.Int("port", 0, "of 127.0.0.1")
	connections := flags.Int("connections", 64, "clients")
	seconds := flags.Float64("seconds", 3, "how long")
	path := flags.String("path", "/", "what is asked for")
	size := flags.Int("size", 1024, "bytes that each body must have")
	fresh := flags.Bool("fresh", false, "a connection for each request")
	resume := flags.Bool("resume", false, "resume sessions")
	ca := flags.String("ca", "", "PEM file: who signs the server's certificate")
	cert := flags.String("cert", "", "PEM file: the client's certificate")
	key := flags.String("key", "", "PEM file: its key")
	flags.Parse(arguments)
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(*ca)
	if err != nil {
		return err
	}
	if !roots.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s holds no certificate", *ca)
	}
	base := &tls.Config{RootCAs: roots, ServerName: "localhost", NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519}} // as OpenSSL's clients and servers prefer it
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			return err
		}
		base.Certificates = []tls.Certificate{pair}
	}
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\n\r\n", *path)
	if *fresh {
		request = fmt.Sprintf("GET %s HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\nConnection: close\r\n\r\n", *path)
	}
	var all sync.WaitGroup
	clients := make([]*tlsClient, *connections)
	for i := range clients {
		config := base.Clone()
		if *resume {
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		}
		c := &tlsClient{address: fmt.Sprintf("127.0.0.1:%d", *port), config: config, request: []byte(request), size: *size, fresh: *fresh}
		clients[i] = c
		if !*fresh {
			all.Add(1)
			go func() {
				defer all.Done()
				c.one()
				c.took = nil
			}()
		}
	}
	all.Wait()
	tell(map[string]any{"event": "ready"})
	began := time.Now()
	until := began.Add(time.Duration(*seconds * float64(time.Second)))
	for _, c := range clients {
		all.Add(1)
		go func() {
			defer all.Done()
			for time.Now().Before(until) && c.failed < 3 {
				c.one()
			}
			if c.connection != nil {
				c.connection.Close()
			}
		}()
	}
	all.Wait()
	elapsed := time.Since(began)
	var took []time.Duration
	failed, handshakes, resumed, why := 0, 0, 0, ""
	for _, c := range clients {
		took = append(took, c.took...)
		failed, handshakes, resumed = failed+c.failed, handshakes+c.handshakes, resumed+c.resumed
		if c.why != nil && why == "" {
			why = c.why.Error()
		}
	}
	result := figures(took)
	result["event"], result["failed"], result["why"], result["seconds"] = "tls", failed, why, elapsed.Seconds()
	result["handshakes"], result["resumed"], result["clients"] = handshakes, resumed, *connections
	tell(result)
	return nil
}

type tlsClient struct {
	address    string
	config     *tls.Config
	request    []byte
	size       int
	fresh      bool
	connection *tls.Conn
	reader     *bufio.Reader
	buffer     [32 << 10]byte
	answer
	took                        []time.Duration
	handshakes, resumed, failed int
	why                         error
}

func (c *tlsClient) one() {
	began := time.Now()
	if err := c.try(); err != nil {
		c.failed++
		c.why = err
		if c.connection != nil {
			c.connection.Close()
			c.connection = nil
		}
		return
	}
	c.took = append(c.took, time.Since(began))
}

func (c *tlsClient) try() error {
	if c.connection == nil {
		plain, err := net.DialTimeout("tcp", c.address, 10*time.Second)
		if err != nil {
			return err
		}
		plain.SetDeadline(time.Now().Add(60 * time.Second))
		c.connection = tls.Client(plain, c.config)
		if err := c.connection.Handshake(); err != nil {
			return fmt.Errorf("handshake: %w", err)
		}
		c.handshakes++
		if c.connection.ConnectionState().DidResume {
			c.resumed++
		}
	}
	if _, err := c.connection.Write(c.request); err != nil {
		return err
	}
	c.reset()
	for whole := false; !whole; {
		n, err := c.connection.Read(c.buffer[:])
		if n == 0 && err != nil {
			return fmt.Errorf("before the end of the answer: %w", err)
		}
		if whole, err = c.take(c.buffer[:n]); err != nil {
			return err
		}
	}
	if c.length != c.size {
		return fmt.Errorf("a body of %d bytes instead of %d", c.length, c.size)
	}
	if c.fresh {
		// The server closes; its tickets came before the answer or come now.
		if n, err := c.connection.Read(c.buffer[:]); n != 0 || (err != nil && !errors.Is(err, io.EOF)) {
			return fmt.Errorf("after the answer: %d bytes, %v", n, err)
		}
		c.connection.Close()
		c.connection = nil
	}
	return nil
}
