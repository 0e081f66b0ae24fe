package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"time"
	"unsafe"
)

// rate sends requests at fixed times, whatever the answers do (an open loop). A request whose time has come while every connection
// waits for an answer waits in a queue, and its latency counts from when it was due: a proxy that stops for a while is charged with
// all the requests that should have been sent meanwhile ("coordinated omission" is what hides them otherwise).
//
// One thread, one epoll, a timer of the kernel for the next due time: Go's own timers and poller would round to a millisecond.
// How late each request was taken up all the same is told too (late_p99_us): that is the instrument's error, and no proxy's.
//
// With -watch it runs until its standard input ends. Each line there ("mark") is answered with the figures of the requests that were
// due since the line before it; and the first answer with a body that was not seen since that line is told with its time at once.
func rate(arguments []string) error {
	flags := flag.NewFlagSet("rate", flag.ExitOnError)
	port := flags.Int("port", 0, "of 127.0.0.1")
	perSecond := flags.Float64("rate", 10000, "requests a second")
	connections := flags.Int("connections", 64, "kept connections")
	seconds := flags.Float64("seconds", 3, "how long")
	path := flags.String("path", "/", "what is asked for")
	size := flags.Int("size", -1, "bytes that each body must have; -1: any")
	watch := flags.Bool("watch", false, "until standard input ends")
	flags.Parse(arguments)
	runtime.LockOSThread()
	debug.SetGCPercent(-1) // some MB of latencies; no pause of a collector among them
	if *watch {
		debug.SetGCPercent(400)
	}
	l := &rateLoop{request: fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: bench.test\r\nUser-Agent: bench\r\n\r\n", *path), size: *size,
		gap: time.Duration(float64(time.Second) / *perSecond), seen: map[string]bool{}, watch: *watch}
	if err := l.open(*port, *connections); err != nil {
		return err
	}
	if *watch {
		if err := l.add(0); err != nil && !errors.Is(err, syscall.EPERM) {
			return err
		}
		syscall.SetNonblock(0, true)
		tell(map[string]any{"event": "running"})
	}
	began := time.Now()
	l.due = began.Add(l.gap)
	if !*watch {
		l.last = began.Add(time.Duration(*seconds * float64(time.Second)))
	}
	if err := l.run(); err != nil {
		return err
	}
	result := l.result()
	result["event"], result["failed"], result["why"], result["rate"] = "rate", l.failed, l.why, *perSecond
	result["queued"] = l.queuedEver
	tell(result)
	return nil
}

type rateConnection struct {
	fd   int
	busy bool
	due  time.Time
	answer
}

type rateLoop struct {
	epoll, timer int
	byFD         map[int]*rateConnection
	free         []*rateConnection // the one that rests longest is next
	waiting      []time.Time       // due, and no connection was free
	queuedEver   int
	request      []byte
	size         int
	gap          time.Duration
	due, last    time.Time
	took, late   []time.Duration // late: how long after its due time each was taken up
	failed       int
	why          string
	watch        bool
	seen         map[string]bool
	input        []byte
}

func (l *rateLoop) add(fd int) error {
	return syscall.EpollCtl(l.epoll, syscall.EPOLL_CTL_ADD, fd, &syscall.EpollEvent{Events: syscall.EPOLLIN, Fd: int32(fd)})
}

func (l *rateLoop) open(port, connections int) error {
	var err error
	if l.epoll, err = syscall.EpollCreate1(syscall.EPOLL_CLOEXEC); err != nil {
		return err
	}
	timer, _, code := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, 1 /* CLOCK_MONOTONIC */, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if code != 0 {
		return code
	}
	l.timer, l.byFD = int(timer), map[int]*rateConnection{}
	if err = l.add(l.timer); err != nil {
		return err
	}
	for range connections {
		c := &rateConnection{fd: -1}
		if err = l.connect(c, port); err != nil {
			return err
		}
		l.free = append(l.free, c)
	}
	return nil
}

func (l *rateLoop) connect(c *rateConnection, port int) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if err = syscall.SetNonblock(fd, true); err != nil {
		return err
	}
	c.fd = fd
	l.byFD[fd] = c
	return l.add(fd)
}

func (l *rateLoop) arm(wait time.Duration) {
	spec := [4]int64{0, 0, int64(wait / time.Second), int64(wait % time.Second)}
	if wait <= 0 {
		spec[2], spec[3] = 0, 1
	}
	syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, uintptr(l.timer), 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}

func (l *rateLoop) outstanding() int {
	return len(l.byFD) - len(l.free) + len(l.waiting)
}

func (l *rateLoop) run() error {
	events := make([]syscall.EpollEvent, 128)
	buffer := make([]byte, 64<<10)
	patience := 10 * time.Second
	for {
		now := time.Now()
		sending := l.watch || l.due.Before(l.last)
		for sending && !l.due.After(now) {
			l.issue(l.due)
			l.due = l.due.Add(l.gap)
			sending = l.watch || l.due.Before(l.last)
		}
		switch {
		case sending:
			l.arm(time.Until(l.due))
		case l.outstanding() == 0:
			return nil
		case now.After(l.last.Add(patience)):
			l.fail(fmt.Errorf("no answer within %v", patience), l.outstanding())
			return nil
		default:
			l.arm(patience)
		}
		n, err := syscall.EpollWait(l.epoll, events, -1)
		if err == syscall.EINTR {
			continue
		} else if err != nil {
			return err
		}
		for _, event := range events[:n] {
			switch fd := int(event.Fd); fd {
			case l.timer:
				syscall.Read(fd, buffer[:8])
			case 0:
				if n, err := syscall.Read(0, buffer); n > 0 {
					l.marks(buffer[:n])
				} else if err != syscall.EAGAIN && err != syscall.EINTR {
					return nil
				}
			default:
				if c := l.byFD[fd]; c != nil {
					if err := l.readable(c, buffer); err != nil {
						l.fail(err, 1)
						syscall.Close(c.fd) // it stays out of use: what is due waits for the others
						delete(l.byFD, c.fd)
						l.drop(c)
						if len(l.byFD) == 0 {
							return fmt.Errorf("no connection is left: %w", err)
						}
					}
				}
			}
		}
	}
}

func (l *rateLoop) drop(c *rateConnection) {
	for i, each := range l.free {
		if each == c {
			l.free = append(l.free[:i:i], l.free[i+1:]...)
			return
		}
	}
}

func (l *rateLoop) fail(err error, count int) {
	l.failed += count
	if l.why == "" {
		l.why = err.Error()
	}
}

// result has the latencies, and how late the requests were through this program's own fault.
func (l *rateLoop) result() map[string]any {
	result := figures(l.took)
	slices.Sort(l.late)
	result["late_p99_us"] = float64(percentile(l.late, 0.99).Nanoseconds()) / 1000
	return result
}

func (l *rateLoop) issue(due time.Time) {
	l.late = append(l.late, time.Since(due))
	if len(l.free) == 0 {
		l.waiting = append(l.waiting, due)
		l.queuedEver++
		return
	}
	c := l.free[0]
	l.free = l.free[1:]
	l.send(c, due)
}

func (l *rateLoop) send(c *rateConnection, due time.Time) {
	c.busy, c.due = true, due
	if n, err := syscall.Write(c.fd, l.request); err != nil || n != len(l.request) {
		l.fail(fmt.Errorf("wrote %d bytes: %v", n, err), 1)
	}
}

func (l *rateLoop) readable(c *rateConnection, buffer []byte) error {
	n, err := syscall.Read(c.fd, buffer)
	if err == syscall.EAGAIN || err == syscall.EINTR {
		return nil
	}
	if n <= 0 {
		return fmt.Errorf("closed with %v", err)
	}
	if !c.busy {
		return fmt.Errorf("%d bytes that nobody asked for", n)
	}
	whole, err := c.take(buffer[:n])
	if err != nil || !whole {
		return err
	}
	if l.size >= 0 && c.length != l.size {
		return fmt.Errorf("a body of %d bytes instead of %d", c.length, l.size)
	}
	now := time.Now()
	l.took = append(l.took, now.Sub(c.due))
	if l.watch && !l.seen[string(c.body)] {
		l.seen[string(c.body)] = true
		tell(map[string]any{"event": "body", "body": string(c.body), "at_ns": now.UnixNano()})
	}
	c.reset()
	c.busy = false
	if len(l.waiting) > 0 {
		due := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.send(c, due)
	} else {
		l.free = append(l.free, c)
	}
	return nil
}

// marks answers each line with the figures since the last one.
func (l *rateLoop) marks(data []byte) {
	l.input = append(l.input, data...)
	for {
		advance, _, _ := bufio.ScanLines(l.input, false)
		if advance == 0 {
			return
		}
		l.input = l.input[advance:]
		result := l.result()
		result["event"], result["failed"], result["why"] = "mark", l.failed, l.why
		l.late = nil
		l.took, l.failed, l.why, l.seen = nil, 0, "", map[string]bool{}
		tell(result)
	}
}
