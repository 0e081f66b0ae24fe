package main

import (
	"bytes"
	"fmt"
	"strconv"
)

// answer reads one HTTP/1.1 response that has a Content-Length, piece by piece as it comes.
type answer struct {
	head   []byte
	inBody bool
	left   int
	body   []byte // its first bytes
	length int
}

const mostBodyKept = 64

// take uses `bytes` and says whether the response is whole; what is left over after it is an error, for nothing is pipelined.
func (a *answer) take(data []byte) (bool, error) {
	if !a.inBody {
		a.head = append(a.head, data...)
		end := bytes.Index(a.head, []byte("\r\n\r\n"))
		if end < 0 {
			if len(a.head) > 64<<10 {
				return false, fmt.Errorf("a head without an end: %.100q", a.head)
			}
			return false, nil
		}
		data = a.head[end+4:]
		if !bytes.HasPrefix(a.head, []byte("HTTP/1.1 200 ")) {
			return false, fmt.Errorf("answered with %.200q", a.head)
		}
		length, err := contentLength(a.head[:end+2])
		if err != nil {
			return false, err
		}
		a.inBody, a.left, a.length = true, length, length
	}
	if len(data) > a.left {
		return false, fmt.Errorf("%d bytes more than the response has", len(data)-a.left)
	}
	if keep := min(len(data), mostBodyKept-len(a.body)); keep > 0 {
		a.body = append(a.body, data[:keep]...)
	}
	a.left -= len(data)
	return a.left == 0, nil
}

func (a *answer) reset() { *a = answer{head: a.head[:0], body: a.body[:0]} }

func contentLength(head []byte) (int, error) {
	for _, line := range bytes.Split(head, []byte("\r\n")) {
		name, value, found := bytes.Cut(line, []byte(":"))
		if found && bytes.EqualFold(name, []byte("content-length")) {
			return strconv.Atoi(string(bytes.TrimSpace(value)))
		}
	}
	return 0, fmt.Errorf("no content-length in %.200q", head)
}
