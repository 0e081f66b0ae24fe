package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
)

// HTTP/2 frames (RFC 9113), as much as a well-behaved peer of the bench needs. Header blocks that come are not decoded: what matters
// of an answer is in its frames. The blocks that go out use no dynamic table, so they are the same bytes every time.

const (
	frameData     = 0
	frameHeaders  = 1
	frameReset    = 3
	frameSettings = 4
	framePing     = 6
	frameGoaway   = 7
	frameWindow   = 8

	flagEndStream  = 1
	flagAck        = 1
	flagEndHeaders = 4
	flagPadded     = 8

	preface       = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	defaultWindow = 65535
	wideWindow    = 1<<31 - 1
	settingWindow = 4 // SETTINGS_INITIAL_WINDOW_SIZE
	settingStream = 3 // SETTINGS_MAX_CONCURRENT_STREAMS
)

// framer reads frames and gathers those to write; flush sends them together.
type framer struct {
	connection net.Conn
	in         *bufio.Reader
	out        []byte
	payload    []byte
}

func newFramer(c net.Conn) *framer {
	return &framer{connection: c, in: bufio.NewReaderSize(c, 64<<10)}
}

func (f *framer) frame(kind, flags byte, stream uint32, payload []byte) {
	f.out = append(f.out, byte(len(payload)>>16), byte(len(payload)>>8), byte(len(payload)), kind, flags)
	f.out = binary.BigEndian.AppendUint32(f.out, stream)
	f.out = append(f.out, payload...)
}

func (f *framer) window(stream uint32, more uint32) {
	f.frame(frameWindow, 0, stream, binary.BigEndian.AppendUint32(nil, more))
}

func (f *framer) flush() error {
	if len(f.out) == 0 {
		return nil
	}
	_, err := f.connection.Write(f.out)
	f.out = f.out[:0]
	return err
}

// next gives one frame; the payload, without padding, stays valid until the call after it.
func (f *framer) next() (kind, flags byte, stream uint32, payload []byte, err error) {
	var head [9]byte
	if _, err = io.ReadFull(f.in, head[:]); err != nil {
		return
	}
	length := int(head[0])<<16 | int(head[1])<<8 | int(head[2])
	kind, flags, stream = head[3], head[4], binary.BigEndian.Uint32(head[5:])&(1<<31-1)
	if cap(f.payload) < length {
		f.payload = make([]byte, length)
	}
	payload = f.payload[:length]
	if _, err = io.ReadFull(f.in, payload); err != nil {
		return
	}
	if kind == frameData && flags&flagPadded != 0 {
		if length == 0 || int(payload[0]) >= length {
			return kind, flags, stream, nil, fmt.Errorf("padding of a DATA frame of %d bytes", length)
		}
		payload = payload[1 : length-int(payload[0])]
	}
	return
}

// quiet: nothing more is here to be read, so it is time to flush.
func (f *framer) quiet() bool { return f.in.Buffered() == 0 }

// literal is a header field that no table remembers (RFC 7541 section 6.2.2); index 0: the name is spelled out.
func literal(block []byte, index byte, name, value string) []byte {
	if index >= 15 {
		block = append(block, 0x0f, index-15)
	} else {
		block = append(block, index)
	}
	if index == 0 {
		block = append(append(block, byte(len(name))), name...)
	}
	return append(append(block, byte(len(value))), value...) // values here are shorter than 127 bytes
}

func requestBlock(method, path, host string) []byte {
	block := []byte{0x82} // :method GET
	if method == "POST" {
		block[0] = 0x83
	}
	block = append(block, 0x86) // :scheme http
	block = literal(block, 4, ":path", path)
	block = literal(block, 1, ":authority", host)
	if method == "POST" {
		block = literal(block, 31, "content-type", "application/grpc")
		block = literal(block, 0, "te", "trailers")
	}
	return literal(block, 58, "user-agent", "bench")
}
