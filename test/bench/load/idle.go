package main

import (
	"bufio"
	"crypto/tls"
	"flag"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// idle holds connections that had one answer each. Lines on standard input: "open N" opens so many more, "check" counts those that
// the peer has closed meanwhile. It ends with its standard input.
func idle(arguments []string) error {
	flags := flag.NewFlagSet("idle", flag.ExitOnError)
	port := flags.Int("port", 0, "of 127.0.0.1")
	protocol := flags.String("protocol", "h1", "h1, h2 (prior knowledge) or tls (HTTP/1.1)")
	size := flags.Int("size", 1024, "bytes that each body must have")
	flags.Parse(arguments)
	var held []net.Conn
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var count int
		switch line := lines.Text(); {
		case line == "check":
			closed := 0
			for _, c := range held {
				if !still(c) {
					closed++
				}
			}
			tell(map[string]any{"event": "check", "open": len(held), "closed": closed})
		default:
			if _, err := fmt.Sscanf(line, "open %d", &count); err != nil {
				return fmt.Errorf("what is %q?", line)
			}
			more, err := openIdle(*port, *protocol, *size, count, len(held))
			held = append(held, more...)
			why := ""
			if err != nil {
				why = err.Error()
			}
			tell(map[string]any{"event": "open", "open": len(held), "why": why})
		}
	}
	return lines.Err()
}

// openIdle opens with four clients at once: backend connections that the proxy keeps stay few.
func openIdle(port int, protocol string, size, count, offset int) ([]net.Conn, error) {
	var all sync.WaitGroup
	var mutex sync.Mutex
	var failure error
	var made []net.Conn
	for worker := range 4 {
		all.Add(1)
		go func() {
			defer all.Done()
			for n := worker; n < count; n += 4 {
				c, err := openOne(port, protocol, size, offset+n)
				mutex.Lock()
				if err != nil {
					failure = fmt.Errorf("connection %d: %w", offset+n, err)
				} else {
					made = append(made, c)
				}
				stop := failure != nil
				mutex.Unlock()
				if stop {
					return
				}
			}
		}()
	}
	all.Wait()
	return made, failure
}

func openOne(port int, protocol string, size, n int) (net.Conn, error) {
	// Sources of several addresses: one has not enough ports for connections here and those of the last run that still linger.
	dialer := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(2+n%8))}}
	c, err := dialer.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	defer c.SetDeadline(time.Time{})
	if protocol == "h2" {
		return c, askHTTP2(c, size)
	}
	if protocol == "tls" {
		session := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}, CurvePreferences: []tls.CurveID{tls.X25519}})
		if err := session.Handshake(); err != nil {
			return nil, err
		}
		return c, askHTTP1(session, size)
	}
	return c, askHTTP1(c, size)
}

func askHTTP1(c net.Conn, size int) error {
	if _, err := c.Write([]byte("GET / HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\n\r\n")); err != nil {
		return err
	}
	var a answer
	buffer := make([]byte, 16<<10)
	for whole := false; !whole; {
		n, err := c.Read(buffer)
		if n == 0 && err != nil {
			return err
		}
		if whole, err = a.take(buffer[:n]); err != nil {
			return err
		}
	}
	if a.length != size {
		return fmt.Errorf("a body of %d bytes instead of %d", a.length, size)
	}
	return nil
}

// still: the peer has not closed.
func still(c net.Conn) bool {
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	open := false
	raw.Read(func(fd uintptr) bool {
		n, _, why := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		open = why == syscall.EAGAIN || n > 0
		return true
	})
	return open
}

func askHTTP2(c net.Conn, size int) error {
	f := newFramer(c)
	f.out = append(f.out, preface...)
	f.frame(frameSettings, 0, 0, nil)
	f.frame(frameHeaders, flagEndStream|flagEndHeaders, 1, requestBlock("GET", "/", "bench.test"))
	if err := f.flush(); err != nil {
		return err
	}
	got := 0
	for {
		kind, flags, stream, payload, err := f.next()
		if err != nil {
			return err
		}
		switch kind {
		case frameSettings:
			if flags&flagAck == 0 {
				f.frame(frameSettings, flagAck, 0, nil)
				if err := f.flush(); err != nil {
					return err
				}
			}
		case frameReset, frameGoaway:
			return fmt.Errorf("frame %d of stream %d: %.60q", kind, stream, payload)
		case frameData:
			got += len(payload)
		}
		if stream == 1 && flags&flagEndStream != 0 && (kind == frameData || kind == frameHeaders) {
			break
		}
	}
	if got != size {
		return fmt.Errorf("a body of %d bytes instead of %d", got, size)
	}
	return nil
}
