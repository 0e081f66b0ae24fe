package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http2"
)

// A request that got no answer within this time has failed.
const patience = 8 * time.Second

// load sends requests at a fixed rate, whatever the answers do, in equal parts over the protocols whose ports are given; every
// second one on a connection of its own. It begins at once, ends with its standard input, and then tells what happened.
//
// Nothing is sent twice behind its back: net/http's Client is not used, each connection is held here. The one case in which a
// client may send again is counted apart, as "again": a kept connection that ended without a byte of an answer (RFC 9112 section
// 9.3.1, GET only), or whose GOAWAY says that the request was not taken (RFC 9113 section 6.8).
func load(arguments []string) error {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	rate := flags.Float64("rate", 500, "requests a second, all protocols together")
	ca := flags.String("ca", "", "PEM file: who signs the servers' certificates")
	cert := flags.String("cert", "", "PEM file: the client's certificate (mtls)")
	key := flags.String("key", "", "PEM file: its key")
	ports := map[string]*int{}
	for _, name := range []string{"h1", "h2", "tls", "mtls", "tcp"} {
		ports[name] = flags.Int(name, 0, "port")
	}
	flags.Parse(arguments)
	secure := func(alpn string, mutual bool) (*tls.Config, error) {
		pem, err := os.ReadFile(*ca)
		if err != nil {
			return nil, err
		}
		config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost", NextProtos: []string{alpn}}
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", *ca)
		}
		if mutual {
			pair, err := tls.LoadX509KeyPair(*cert, *key)
			if err != nil {
				return nil, err
			}
			config.Certificates = []tls.Certificate{pair}
		}
		return config, nil
	}
	var lanes []*lane
	for _, name := range []string{"h1", "h2", "tls", "mtls", "tcp"} {
		if *ports[name] == 0 {
			continue
		}
		l := &lane{name: name, address: fmt.Sprintf("127.0.0.1:%d", *ports[name]), seen: map[string]map[string]int{}}
		var err error
		switch name {
		case "h1":
			l.speak = newHTTP1
		case "h2":
			l.speak, l.shared = newHTTP2, true
		case "tls":
			l.speak = newHTTP1
			l.secure, err = secure("http/1.1", false)
		case "mtls":
			l.speak, l.shared = newHTTP2, true
			l.secure, err = secure("h2", true)
		case "tcp":
			l.speak = newEcho
		}
		if err != nil {
			return err
		}
		lanes = append(lanes, l)
	}
	stop := make(chan struct{})
	var sending sync.WaitGroup
	start := time.Now()
	gap := time.Duration(float64(time.Second) * float64(len(lanes)) / *rate)
	for i, l := range lanes {
		sending.Add(1)
		go func() {
			defer sending.Done()
			l.pace(start, start.Add(gap*time.Duration(i)/time.Duration(len(lanes))), gap, stop)
		}()
	}
	io.Copy(io.Discard, os.Stdin)
	close(stop)
	sending.Wait()
	sent := time.Since(start)
	for _, l := range lanes {
		l.flying.Wait()
	}
	report(lanes, sent)
	return nil
}

// conversation is a connection that has been set up and can carry requests.
type conversation interface {
	// ask sends a request and checks the answer; keep: the connection may carry another one.
	ask(path string, body []byte, note func(what, value string)) (keep bool, err error)
	usable() bool // the peer has not ended it, as far as can be seen without a wait
	end() error   // in order, after an answer
	close()
}

// notTaken says that the peer certainly did not act on the request.
type notTaken struct{ why error }

func (e notTaken) Error() string { return e.why.Error() }

type failure struct {
	Protocol string `json:"protocol"`
	Fresh    bool   `json:"fresh"`
	Path     string `json:"path"`
	At       string `json:"at"`
	Why      string `json:"why"`
}

// lane is one protocol's share of the load.
type lane struct {
	name    string
	address string
	secure  *tls.Config // nil: plain
	speak   func(net.Conn) (conversation, error)
	shared  bool // a connection carries several requests at once

	flying   sync.WaitGroup
	mutex    sync.Mutex
	kept     []conversation
	count    int
	fresh    int
	again    int
	opened   int
	refused  int
	failures []failure
	took     []time.Duration           // from when the request was due
	seen     map[string]map[string]int // what the answers tell of who gave them
}

func (l *lane) pace(start, due time.Time, gap time.Duration, stop chan struct{}) {
	timer := time.NewTimer(time.Until(due))
	for n := 0; ; n++ {
		select {
		case <-stop:
			return
		case <-timer.C:
		}
		l.flying.Add(1)
		go l.one(n, start, due)
		due = due.Add(gap)
		timer.Reset(time.Until(due))
	}
}

func (l *lane) one(n int, start, due time.Time) {
	defer l.flying.Done()
	fresh := n%2 == 1
	path := fmt.Sprintf("/%s/%d", l.name, n)
	var body []byte
	if n%8 >= 6 {
		body = bytes.Repeat([]byte(path), 4096/len(path))
	}
	again := false
	err := l.try(fresh, path, body)
	if unsent := (notTaken{}); !fresh && errors.As(err, &unsent) {
		again = true
		err = l.try(true, path, body)
	}
	took := time.Since(due)
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.count++
	l.took = append(l.took, took)
	if fresh {
		l.fresh++
	}
	if again {
		l.again++
	}
	if err != nil {
		if errors.Is(err, syscall.ECONNREFUSED) {
			l.refused++
		}
		l.failures = append(l.failures, failure{l.name, fresh, path, fmt.Sprintf("%.3f s, after %d ms, %s", due.Sub(start).Seconds(), took.Milliseconds(),
			time.Now().UTC().Format("15:04:05.000")), err.Error()})
	}
}

func (l *lane) try(fresh bool, path string, body []byte) error {
	var c conversation
	if !fresh {
		c = l.take()
	}
	if c == nil {
		var err error
		if c, err = l.open(); err != nil {
			return err
		}
		if l.shared && !fresh {
			l.keep(c)
		}
	}
	keep, err := c.ask(path, body, l.note)
	switch {
	case fresh && err == nil:
		err = c.end()
	case fresh || (!l.shared && (err != nil || !keep)):
		c.close()
	case !l.shared:
		l.keep(c)
	}
	return err
}

// take gives a kept connection that still lives, or nil.
func (l *lane) take() conversation {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	for len(l.kept) > 0 {
		last := len(l.kept) - 1
		c := l.kept[last]
		if c.usable() {
			if !l.shared {
				l.kept = l.kept[:last]
			}
			return c
		}
		l.kept = l.kept[:last]
		if !l.shared { // others may still wait for answers on a shared one
			c.close()
		}
	}
	return nil
}

func (l *lane) keep(c conversation) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.kept = append(l.kept, c)
}

func (l *lane) note(what, value string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.seen[what] == nil {
		l.seen[what] = map[string]int{}
	}
	l.seen[what][value]++
}

func (l *lane) open() (conversation, error) {
	l.mutex.Lock()
	l.opened++
	l.mutex.Unlock()
	connection, err := net.DialTimeout("tcp", l.address, patience)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	if l.secure != nil {
		session := tls.Client(connection, l.secure)
		session.SetDeadline(time.Now().Add(patience))
		if err := session.Handshake(); err != nil {
			connection.Close()
			return nil, fmt.Errorf("handshake: %w", err)
		}
		session.SetDeadline(time.Time{})
		state := session.ConnectionState()
		if state.NegotiatedProtocol != l.secure.NextProtos[0] {
			connection.Close()
			return nil, fmt.Errorf("ALPN chose %q", state.NegotiatedProtocol)
		}
		l.note("certificates", state.PeerCertificates[0].SerialNumber.String())
		connection = session
	}
	c, err := l.speak(connection)
	if err != nil {
		connection.Close()
		return nil, err
	}
	return c, nil
}

// ended says that the peer closed or reset the connection.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func checkAnswer(path string, body []byte, answer *http.Response, note func(what, value string)) error {
	got, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil {
		return fmt.Errorf("body after %d bytes: %w", len(got), err)
	}
	if answer.StatusCode != 200 {
		return fmt.Errorf("status %d, %q", answer.StatusCode, got)
	}
	if len(body) == 0 {
		body = []byte(path)
	}
	if !bytes.Equal(got, body) {
		return fmt.Errorf("another body: %d bytes, %.60q", len(got), got)
	}
	note("servers", answer.Header.Get("server"))
	note("backends", answer.Header.Get("x-backend"))
	return nil
}

type http1 struct {
	connection net.Conn
	reader     *bufio.Reader
}

func newHTTP1(c net.Conn) (conversation, error) { return &http1{c, bufio.NewReader(c)}, nil }

func (c *http1) ask(path string, body []byte, note func(what, value string)) (bool, error) {
	c.connection.SetDeadline(time.Now().Add(patience))
	request := []byte("GET " + path + " HTTP/1.1\r\nhost: storm\r\n\r\n")
	if len(body) > 0 {
		request = append(fmt.Appendf(nil, "POST %s HTTP/1.1\r\nhost: storm\r\ncontent-length: %d\r\n\r\n", path, len(body)), body...)
	}
	_, err := c.connection.Write(request)
	if err == nil {
		_, err = c.reader.Peek(1)
	}
	if err != nil {
		if len(body) == 0 && ended(err) {
			return false, notTaken{err}
		}
		return false, err
	}
	answer, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return false, err
	}
	return !answer.Close, checkAnswer(path, body, answer, note)
}

func (c *http1) usable() bool { return c.reader.Buffered() == 0 && silent(c.connection) }
func (c *http1) end() error   { return c.connection.Close() }
func (c *http1) close()       { c.connection.Close() }

// silent: nothing has come, neither bytes nor an end.
func silent(connection net.Conn) bool {
	if session, ok := connection.(*tls.Conn); ok {
		connection = session.NetConn()
	}
	raw, err := connection.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	nothing := false
	err = raw.Read(func(fd uintptr) bool {
		_, _, why := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		nothing = why == syscall.EAGAIN
		return true
	})
	return err == nil && nothing
}

var http2Transport = &http2.Transport{AllowHTTP: true, DisableCompression: true}

type http2Talk struct{ connection *http2.ClientConn }

func newHTTP2(c net.Conn) (conversation, error) {
	made, err := http2Transport.NewClientConn(c)
	return &http2Talk{made}, err
}

// A ClientConn is one connection: what sends again is its Transport, which is not asked here.
func (c *http2Talk) ask(path string, body []byte, note func(what, value string)) (bool, error) {
	method, from := "GET", io.Reader(nil)
	if len(body) > 0 {
		method, from = "POST", bytes.NewReader(body)
	}
	request, err := http.NewRequest(method, "http://storm"+path, from)
	if err != nil {
		return false, err
	}
	var answer *http.Response
	done := make(chan error, 1)
	go func() {
		var err error
		if answer, err = c.connection.RoundTrip(request); err == nil {
			err = checkAnswer(path, body, answer, note)
		}
		done <- err
	}()
	select {
	case err = <-done:
	case <-time.After(patience):
		return false, errors.New("no answer in time")
	}
	// x/net/http2 keeps these errors to itself; the second one: GOAWAY named an earlier stream as the last one.
	if err != nil && (strings.Contains(err.Error(), "client conn not usable") || strings.Contains(err.Error(), "graceful shutdown GOAWAY")) {
		return false, notTaken{err}
	}
	return err == nil, err
}

func (c *http2Talk) usable() bool { return c.connection.CanTakeNewRequest() }
func (c *http2Talk) end() error   { return c.connection.Close() }
func (c *http2Talk) close()       { c.connection.Close() }

type echo struct{ connection net.Conn }

func newEcho(c net.Conn) (conversation, error) { return &echo{c}, nil }

func (c *echo) ask(path string, body []byte, _ func(what, value string)) (bool, error) {
	c.connection.SetDeadline(time.Now().Add(patience))
	sent := append([]byte(path+"\n"), body...)
	if _, err := c.connection.Write(sent); err != nil {
		return false, err
	}
	got := make([]byte, len(sent))
	if n, err := io.ReadFull(c.connection, got); err != nil {
		return false, fmt.Errorf("echo after %d of %d bytes: %w", n, len(sent), err)
	}
	if !bytes.Equal(sent, got) {
		return false, fmt.Errorf("other bytes: %.60q", got)
	}
	return true, nil
}

func (c *echo) usable() bool { return silent(c.connection) }
func (c *echo) close()       { c.connection.Close() }

// end closes the own half; the proxy passes that on, and the backend's end comes back.
func (c *echo) end() error {
	defer c.connection.Close()
	if err := c.connection.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	if n, err := c.connection.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		return fmt.Errorf("after the half-close: %d bytes, %v", n, err)
	}
	return nil
}

func percentile(sorted []time.Duration, part float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return float64(sorted[min(len(sorted)-1, int(float64(len(sorted))*part))].Microseconds()) / 1000
}

func report(lanes []*lane, sent time.Duration) {
	by := map[string]any{}
	var took []time.Duration
	failures := []failure{}
	total, failed, refused, again, fresh := 0, 0, 0, 0, 0
	for _, l := range lanes {
		slices.Sort(l.took)
		seen := map[string]int{}
		for what, values := range l.seen {
			seen[what] = len(values)
		}
		by[l.name] = map[string]any{"requests": l.count, "fresh": l.fresh, "again": l.again, "opened": l.opened, "failed": len(l.failures),
			"refused": l.refused, "p50_ms": percentile(l.took, 0.5), "p99_ms": percentile(l.took, 0.99), "seen": seen}
		took = append(took, l.took...)
		failures = append(failures, l.failures[:min(len(l.failures), 10)]...)
		total, failed, refused, again, fresh = total+l.count, failed+len(l.failures), refused+l.refused, again+l.again, fresh+l.fresh
	}
	slices.Sort(took)
	tell(map[string]any{"event": "load", "seconds": sent.Seconds(), "requests": total, "fresh": fresh, "rate": float64(total) / sent.Seconds(),
		"failed": failed, "refused": refused, "again": again, "p50_ms": percentile(took, 0.5), "p99_ms": percentile(took, 0.99),
		"most_ms": percentile(took, 1), "by": by, "failures": failures})
}
