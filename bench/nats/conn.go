package nats

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
)

const (
	defaultReadBuffer = 256 << 10
	maxPayload        = 64 << 20         // what a server can be configured for at most
	setupLimit        = 20 * time.Second // for the answer to the first PING
)

// Dialer opens connections to a NATS server.
type Dialer struct{}

// Protocol implements load.Dialer.
func (Dialer) Protocol() string { return load.NATS }

// Conn is one client connection. Besides reader and Publisher, one goroutine uses it at a time.
type Conn struct {
	nc         *load.Socket
	sink       load.Sink
	wmu        sync.Mutex
	pongs      chan struct{} // gets one for each PONG
	subscribed int           // names so far

	over context.Context // ends with the connection, by the cause
	end  context.CancelCauseFunc
}

// Dial connects and returns when the server has answered the first PING.
func (Dialer) Dial(ctx context.Context, addr string, o load.DialOptions) (load.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, setupLimit)
	defer cancel()
	nc, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	c := &Conn{nc: load.NewSocket(nc), sink: o.Sink, pongs: make(chan struct{}, 1)}
	c.over, c.end = context.WithCancelCause(context.Background())
	go c.read(cmp.Or(o.ReadBuffer, defaultReadBuffer))
	hello := `CONNECT {"verbose":false,"pedantic":false,"tls_required":false,"name":"slim-bench","lang":"go","version":"1","protocol":1}` + "\r\n"
	if err := c.confirmed(ctx, []byte(hello)); err != nil {
		_ = c.Close()
		if !errors.Is(err, context.Canceled) {
			err = fmt.Errorf("no PONG came back: is this a NATS server without TLS and credentials? (a SLIM node has an address without nats://) (%w)", err)
		}
		return nil, fmt.Errorf("nats %s: %w", addr, err)
	}
	return c, nil
}

func (c *Conn) write(b []byte) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	_, err := c.nc.Write(b)
	return err
}

// confirmed writes b and waits until the server has worked through it: it confirms nothing by itself, so a PING follows.
func (c *Conn) confirmed(ctx context.Context, b []byte) error {
	if err := c.write(append(b, "PING\r\n"...)); err != nil {
		return err
	}
	select {
	case <-c.pongs:
		return nil
	case <-c.over.Done():
		return c.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Subject returns the subject that stands for a.
func Subject(a load.Address) string {
	s := strings.Join(a.Parts[:], ".")
	if a.ID != 0 {
		s += "." + strconv.FormatUint(a.ID, 10)
	}
	return s
}

// Subscribe implements load.Conn.
func (c *Conn) Subscribe(ctx context.Context, n, _ int, at func(int) load.Address) (int, error) {
	var out []byte
	for i := range n {
		c.subscribed++
		out = fmt.Appendf(out, "SUB %s %d\r\n", Subject(at(i)), c.subscribed)
	}
	if err := c.confirmed(ctx, out); err != nil {
		return 0, err
	}
	return n, nil
}

// Unsubscribe implements load.Conn: it is an error, as no scenario asks a NATS server for it.
func (c *Conn) Unsubscribe(context.Context, int, int, func(int) load.Address) (int, error) {
	return 0, errors.ErrUnsupported
}

// Pace implements load.Conn.
func (c *Conn) Pace(bytesPerSecond int) { c.nc.Pace(bytesPerSecond) }

// Err implements load.Conn.
func (c *Conn) Err() error { return context.Cause(c.over) }

// Close implements load.Conn.
func (c *Conn) Close() error {
	c.end(net.ErrClosed)
	return c.nc.Close()
}

// read parses what the server sends until the connection ends.
func (c *Conn) read(size int) {
	r := bufio.NewReaderSize(c.nc, size)
	for {
		_, err := r.Peek(1)
		if err == nil {
			err = c.batch(r)
		}
		if err != nil {
			c.end(err)
			_ = c.nc.Close()
			return
		}
	}
}

// batch works through what one read brought, and what it takes to complete the last message.
func (c *Conn) batch(r *bufio.Reader) error {
	if c.sink != nil {
		c.sink.Begin(load.Now())
		defer c.sink.Flush()
	}
	for r.Buffered() > 0 {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch {
		case bytes.HasPrefix(line, []byte("MSG ")):
			err = c.message(r, line)
		case string(line) == "PING\r\n":
			err = c.write([]byte("PONG\r\n"))
		case string(line) == "PONG\r\n":
			select {
			case c.pongs <- struct{}{}:
			default: // nobody waits any more
			}
		case bytes.HasPrefix(line, []byte("-ERR")):
			err = errors.New("nats server: " + strings.TrimSpace(string(line)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// message takes the one that a line announces.
func (c *Conn) message(r *bufio.Reader, line []byte) error {
	n, ok := payloadSize(line)
	if !ok || n > maxPayload {
		return fmt.Errorf("nats: odd line %q", line)
	}
	late := r.Buffered() < n+2 && c.sink != nil
	if late { // a receiver is not read out meanwhile
		c.sink.Flush()
	}
	b, err := r.Peek(min(n+2, r.Size()))
	if err == nil && n+2 > r.Size() { // grows with what comes, not with what is announced
		b, err = io.ReadAll(io.LimitReader(r, int64(n+2)))
		if err == nil && len(b) < n+2 {
			err = io.ErrUnexpectedEOF
		}
	} else if err == nil {
		defer func() { _, _ = r.Discard(n + 2) }() // it is buffered
	}
	if late {
		c.sink.Begin(load.Now())
	}
	if err == nil && c.sink != nil {
		c.sink.Deliver(b[:n])
	}
	return err
}

// payloadSize reads the last field of a MSG line.
func payloadSize(line []byte) (int, bool) {
	line = bytes.TrimRight(line, "\r\n")
	n, err := strconv.ParseUint(string(line[bytes.LastIndexByte(line, ' ')+1:]), 10, 31)
	return int(n), err == nil
}

// publisher sends stamped payloads.
type publisher struct {
	c      *Conn
	sender uint32
	size   int    // of payloads
	msg    []byte // an encoded PUB
	out    []byte
}

// Publisher implements load.Conn. NATS knows no identities, and a subject reaches all who subscribed to it.
func (c *Conn) Publisher(m load.Message) (load.Publisher, error) {
	if m.Size < load.StampSize || len(m.To) != 1 {
		return nil, fmt.Errorf("nats: payload of %d bytes to %d subjects: want at least %d, and 1", m.Size, len(m.To), load.StampSize)
	}
	b := fmt.Appendf(nil, "PUB %s %d\r\n", Subject(m.To[0]), m.Size)
	b = append(append(b, make([]byte, m.Size)...), '\r', '\n')
	return &publisher{c: c, sender: m.Sender, size: m.Size, msg: b}, nil
}

// Send implements load.Publisher.
func (p *publisher) Send(first uint64, n int, at, step int64) error {
	p.out = p.out[:0]
	for i := range n {
		p.out = append(p.out, p.msg...)
		load.Stamp{Seq: first + uint64(i), At: at + int64(i)*step, Sender: p.sender}.PutEnd(p.out[:len(p.out)-2], p.size)
	}
	err := p.c.write(p.out)
	if known := p.c.Err(); err != nil && known != nil {
		return known
	}
	return err
}

// Waited implements load.Publisher.
func (p *publisher) Waited() int64 { return p.c.nc.Waited() }
