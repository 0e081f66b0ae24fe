package main

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"net"
	"sync"
	"time"
)

// flow is one end of a connection with several open streams: it owes what the peer's windows do not let through yet.
type flow struct {
	*framer
	window      int64
	initial     int64 // of the peer's streams
	streams     map[uint32]*stream
	consumed    int64 // bytes of DATA since the connection's window was last widened
	peerBlocked []*stream
}

type stream struct {
	id      uint32
	window  int64
	owed    []byte
	ending  bool // after what is owed: END_STREAM (a client) or trailers (the backend)
	got     []byte
	since   time.Time
	ended   bool
	trailer []byte // nil: a client's stream
}

func newFlow(c net.Conn) *flow {
	return &flow{framer: newFramer(c), window: defaultWindow, initial: defaultWindow, streams: map[uint32]*stream{}}
}

// wide tells the peer that it need not wait for windows.
func (f *flow) wide() {
	settings := binary.BigEndian.AppendUint32([]byte{0, settingWindow}, wideWindow)
	settings = binary.BigEndian.AppendUint32(append(settings, 0, settingStream), 1000)
	f.frame(frameSettings, 0, 0, settings)
	f.framer.window(0, wideWindow-defaultWindow)
}

// push sends what the windows let through of what a stream owes.
func (f *flow) push(s *stream) {
	for len(s.owed) > 0 {
		n := min(int64(len(s.owed)), f.window, s.window, 16384)
		if n <= 0 {
			return
		}
		last := byte(0)
		if s.ending && s.trailer == nil && n == int64(len(s.owed)) {
			last, s.ending = flagEndStream, false
		}
		f.frame(frameData, last, s.id, s.owed[:n])
		s.owed, f.window, s.window = s.owed[n:], f.window-n, s.window-n
	}
	if s.ending {
		s.ending = false
		if s.trailer != nil {
			f.frame(frameHeaders, flagEndHeaders|flagEndStream, s.id, s.trailer)
			delete(f.streams, s.id)
		} else {
			f.frame(frameData, flagEndStream, s.id, nil)
		}
	}
}

// common handles what both ends treat alike; false: the frame is the caller's.
func (f *flow) common(kind, flags byte, id uint32, payload []byte) (bool, error) {
	switch kind {
	case frameSettings:
		if flags&flagAck == 0 {
			for ; len(payload) >= 6; payload = payload[6:] {
				if binary.BigEndian.Uint16(payload) == settingWindow {
					value := int64(binary.BigEndian.Uint32(payload[2:]))
					for _, s := range f.streams {
						s.window += value - f.initial
					}
					f.initial = value
				}
			}
			f.frame(frameSettings, flagAck, 0, nil)
			f.all()
		}
	case framePing:
		if flags&flagAck == 0 {
			f.frame(framePing, flagAck, 0, payload)
		}
	case frameWindow:
		more := int64(binary.BigEndian.Uint32(payload))
		if id == 0 {
			f.window += more
			f.all()
		} else if s := f.streams[id]; s != nil {
			s.window += more
			f.push(s)
		}
	case frameData:
		if f.consumed += int64(len(payload)); f.consumed > wideWindow/2 {
			f.framer.window(0, uint32(f.consumed))
			f.consumed = 0
		}
		return false, nil
	case frameHeaders, frameReset, frameGoaway:
		return false, nil
	}
	return true, nil
}

func (f *flow) all() {
	for _, s := range f.streams {
		f.push(s)
	}
}

// grpcBackend answers every stream with response headers, each DATA frame with the same bytes, and the end with trailers: that echoes
// the messages of every method, unary or streaming.
func grpcBackend(arguments []string) error {
	listening, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	tell(map[string]any{"event": "listening", "port": listening.Addr().(*net.TCPAddr).Port})
	for {
		connection, err := listening.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer connection.Close()
			echoStreams(connection)
		}()
	}
}

func echoStreams(c net.Conn) error {
	f := newFlow(c)
	head := literal([]byte{0x88}, 31, "content-type", "application/grpc") // :status 200
	trailer := literal(nil, 0, "grpc-status", "0")
	start := make([]byte, len(preface))
	for got := 0; got < len(start); {
		n, err := f.in.Read(start[got:])
		if err != nil {
			return err
		}
		got += n
	}
	if string(start) != preface {
		return fmt.Errorf("a preface of %q", start)
	}
	f.wide()
	for {
		if f.quiet() {
			if err := f.flush(); err != nil {
				return err
			}
		}
		kind, flags, id, payload, err := f.next()
		if err != nil {
			return err
		}
		if taken, err := f.common(kind, flags, id, payload); taken || err != nil {
			if err != nil {
				return err
			}
			continue
		}
		s := f.streams[id]
		switch kind {
		case frameHeaders:
			if s == nil {
				s = &stream{id: id, window: f.initial, trailer: trailer}
				f.streams[id] = s
				f.frame(frameHeaders, flagEndHeaders, id, head)
			}
		case frameData:
			if s == nil {
				continue // reset meanwhile
			}
			s.owed = append(s.owed, payload...)
		case frameReset:
			delete(f.streams, id)
			continue
		case frameGoaway:
			continue
		}
		s.ending = s.ending || flags&flagEndStream != 0
		f.push(s)
	}
}

// grpcLoad holds -streams open streams on each of -connections connections. Each sends a message, waits for its echo, and so on
// until the time is up; then it ends in order, and a stream that is not ended in order by the other side has failed.
func grpcLoad(arguments []string) error {
	flags := flag.NewFlagSet("grpc", flag.ExitOnError)
	port := flags.Int("port", 0, "of 127.0.0.1")
	connections := flags.Int("connections", 8, "how many")
	streams := flags.Int("streams", 32, "on each")
	size := flags.Int("size", 128, "bytes of a message")
	seconds := flags.Float64("seconds", 3, "how long")
	flags.Parse(arguments)
	message := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(*size)), bytes.Repeat([]byte("m"), *size)...)
	began := time.Now()
	until := began.Add(time.Duration(*seconds * float64(time.Second)))
	var all sync.WaitGroup
	took := make([][]time.Duration, *connections)
	failures := make([]error, *connections)
	for i := range *connections {
		all.Add(1)
		go func() {
			defer all.Done()
			took[i], failures[i] = converse(*port, *streams, message, until)
		}()
	}
	all.Wait()
	elapsed := time.Since(began)
	var joined []time.Duration
	failed, why := 0, ""
	for i := range took {
		joined = append(joined, took[i]...)
		if failures[i] != nil {
			failed, why = failed+1, failures[i].Error()
		}
	}
	result := figures(joined)
	result["event"], result["failed"], result["why"], result["seconds"] = "grpc", failed, why, elapsed.Seconds()
	tell(result)
	return nil
}

func converse(port, streams int, message []byte, until time.Time) ([]time.Duration, error) {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 10*time.Second)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(until.Add(20 * time.Second))
	f := newFlow(c)
	f.out = append(f.out, preface...)
	f.wide()
	block := requestBlock("POST", "/bench.Echo/Stream", "bench.test")
	for i := range streams {
		s := &stream{id: uint32(2*i + 1), window: f.initial, owed: message, since: time.Now()}
		f.streams[s.id] = s
		f.frame(frameHeaders, flagEndHeaders, s.id, block)
		f.push(s)
	}
	var took []time.Duration
	open := streams
	for open > 0 {
		if f.quiet() {
			if err := f.flush(); err != nil {
				return took, err
			}
		}
		kind, flags, id, payload, err := f.next()
		if err != nil {
			return took, fmt.Errorf("with %d streams open: %w", open, err)
		}
		if taken, err := f.common(kind, flags, id, payload); taken || err != nil {
			if err != nil {
				return took, err
			}
			continue
		}
		s := f.streams[id]
		if kind == frameReset || kind == frameGoaway || s == nil {
			return took, fmt.Errorf("frame %d of stream %d: %.60q", kind, id, payload)
		}
		if kind == frameData {
			s.got = append(s.got, payload...)
			if len(s.got) >= len(message) {
				if !bytes.Equal(s.got, message) {
					return took, fmt.Errorf("another echo of %d bytes", len(s.got))
				}
				now := time.Now()
				took = append(took, now.Sub(s.since))
				s.got, s.since = s.got[:0], now
				if now.Before(until) {
					s.owed = message
				} else {
					s.ending, s.ended = true, true
				}
				f.push(s)
			}
		}
		if flags&flagEndStream != 0 {
			if kind != frameHeaders || !s.ended {
				return took, fmt.Errorf("stream %d was ended early, by frame %d", id, kind)
			}
			open--
		}
	}
	return took, nil
}
