package nats

import (
	"bufio"
	"bytes"
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
	maxPayload        = 64 << 20 // what a server can be configured for at most
	setupLimit        = 20 * time.Second
)

// Dialer opens connections to a NATS server.
type Dialer struct {
	// Limit is how long a server may take to answer the first PING; 0: 20 s.
	Limit time.Duration
}

// Protocol implements load.Dialer.
func (Dialer) Protocol() string { return load.NATS }

// Conn is one client connection.
type Conn struct {
	nc    *load.Socket
	sink  load.Sink
	large bytes.Buffer // of the reading goroutine

	wmu sync.Mutex // around writes to nc

	mu    sync.Mutex // around the fields below
	pongs []chan struct{}
	sids  map[load.Address]int
	err   error

	closed chan struct{} // closed after err is set
	gone   chan struct{} // closed when the reading goroutine has ended
}

// Dial connects and returns when the server has answered the first PING.
func (d Dialer) Dial(ctx context.Context, addr string, o load.DialOptions) (load.Conn, error) {
	limit := d.Limit
	if limit == 0 {
		limit = setupLimit
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var nd net.Dialer
	nc, err := nd.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if o.ReadBuffer == 0 {
		o.ReadBuffer = defaultReadBuffer
	}
	c := &Conn{
		nc: load.NewSocket(nc), sink: o.Sink,
		sids: map[load.Address]int{}, closed: make(chan struct{}), gone: make(chan struct{}),
	}
	go c.read(o.ReadBuffer)
	hello := `CONNECT {"verbose":false,"pedantic":false,"tls_required":false,"name":"slim-bench","lang":"go","version":"1","protocol":1}` + "\r\n"
	if err = c.write([]byte(hello)); err == nil {
		err = c.flush(ctx)
	}
	if err != nil {
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

// flush waits until the server has worked through everything written before.
func (c *Conn) flush(ctx context.Context) error {
	pong := make(chan struct{})
	c.mu.Lock()
	c.pongs = append(c.pongs, pong)
	c.mu.Unlock()
	if err := c.write([]byte("PING\r\n")); err != nil {
		return err
	}
	select {
	case <-pong:
		return nil
	case <-c.closed:
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

// Subscribe implements load.Conn. The server confirms nothing by itself, so a PING follows each batch.
func (c *Conn) Subscribe(ctx context.Context, n, outstanding int, at func(int) load.Address) (int, error) {
	return c.each(ctx, n, outstanding, func(dst []byte, i int) []byte {
		a := at(i)
		c.mu.Lock()
		sid, ok := c.sids[a]
		if !ok {
			sid = len(c.sids) + 1
			c.sids[a] = sid
		}
		c.mu.Unlock()
		return fmt.Appendf(dst, "SUB %s %d\r\n", Subject(a), sid)
	})
}

// Unsubscribe implements load.Conn.
func (c *Conn) Unsubscribe(ctx context.Context, n, outstanding int, at func(int) load.Address) (int, error) {
	return c.each(ctx, n, outstanding, func(dst []byte, i int) []byte {
		c.mu.Lock()
		sid := c.sids[at(i)]
		c.mu.Unlock()
		return fmt.Appendf(dst, "UNSUB %d\r\n", sid)
	})
}

func (c *Conn) each(ctx context.Context, n, outstanding int, line func([]byte, int) []byte) (int, error) {
	if outstanding == 0 {
		outstanding = 256
	}
	var out []byte
	for i := 0; i < n; {
		out = out[:0]
		end := min(n, i+outstanding)
		for j := i; j < end; j++ {
			out = line(out, j)
		}
		err := c.write(out)
		if err == nil {
			err = c.flush(ctx)
		}
		if err != nil {
			return i, err
		}
		i = end
	}
	return n, nil
}

// Pace implements load.Conn.
func (c *Conn) Pace(bytesPerSecond int) { c.nc.Pace(bytesPerSecond) }

// Err implements load.Conn.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close implements load.Conn.
func (c *Conn) Close() error {
	c.fail(net.ErrClosed)
	return nil
}

func (c *Conn) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	close(c.closed)
	_ = c.nc.Close()
}

// read parses what the server sends until the connection ends.
func (c *Conn) read(size int) {
	defer close(c.gone)
	r := bufio.NewReaderSize(c.nc, size)
	for {
		if _, err := r.Peek(1); err != nil {
			c.fail(err)
			return
		}
		if err := c.batch(r); err != nil {
			c.fail(err)
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
		case len(line) > 4 && string(line[:4]) == "MSG ":
			err = c.message(r, line)
		case string(line) == "PING\r\n":
			err = c.write([]byte("PONG\r\n"))
		case string(line) == "PONG\r\n":
			c.pong()
		case strings.HasPrefix(string(line), "-ERR"):
			err = errors.New("nats server: " + strings.TrimSpace(string(line)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Conn) message(r *bufio.Reader, line []byte) error {
	n, ok := payloadSize(line)
	if !ok || n > maxPayload {
		return fmt.Errorf("nats: odd line %q", line)
	}
	if n+2 > r.Size() {
		return c.largeMessage(r, n)
	}
	late := r.Buffered() < n+2
	b, err := r.Peek(n + 2)
	if err != nil {
		return err
	}
	if c.sink != nil {
		if late {
			c.sink.Begin(load.Now())
		}
		c.sink.Deliver(b[:n])
	}
	_, err = r.Discard(n + 2)
	return err
}

// largeMessage takes one that does not fit the read buffer.
func (c *Conn) largeMessage(r *bufio.Reader, n int) error {
	c.large.Reset() // grows with what comes, not with what is announced
	if _, err := io.CopyN(&c.large, r, int64(n+2)); err != nil {
		return err
	}
	if c.sink != nil {
		c.sink.Begin(load.Now())
		c.sink.Deliver(c.large.Bytes()[:n])
	}
	return nil
}

// payloadSize reads the last field of a MSG line.
func payloadSize(line []byte) (int, bool) {
	line = bytes.TrimRight(line, "\r\n")
	n, err := strconv.ParseUint(string(line[bytes.LastIndexByte(line, ' ')+1:]), 10, 31)
	return int(n), err == nil
}

func (c *Conn) pong() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pongs) > 0 {
		close(c.pongs[0])
		c.pongs = c.pongs[1:]
	}
}

// publisher sends stamped payloads.
type publisher struct {
	c      *Conn
	sender uint32
	size   int      // of payloads
	msgs   [][]byte // one encoded PUB for each destination
	out    []byte
}

// Publisher implements load.Conn. NATS knows no identities, and a subject reaches all who subscribed to it.
func (c *Conn) Publisher(m load.Message) (load.Publisher, error) {
	if m.Size < load.StampSize || len(m.To) == 0 {
		return nil, fmt.Errorf("nats: payload of %d bytes to %d subjects: want at least %d and 1", m.Size, len(m.To), load.StampSize)
	}
	p := &publisher{c: c, sender: m.Sender, size: m.Size}
	for _, to := range m.To {
		b := fmt.Appendf(nil, "PUB %s %d\r\n", Subject(to), m.Size)
		b = append(b, make([]byte, m.Size)...)
		p.msgs = append(p.msgs, append(b, '\r', '\n'))
	}
	return p, nil
}

// Send implements load.Publisher.
func (p *publisher) Send(first uint64, n int, at, step int64) error {
	p.out = p.out[:0]
	for i := range n {
		seq := first + uint64(i)
		p.out = append(p.out, p.msgs[seq%uint64(len(p.msgs))]...)
		load.Stamp{Seq: seq, At: at + int64(i)*step, Sender: p.sender}.PutEnd(p.out[:len(p.out)-2], p.size)
	}
	if err := p.c.write(p.out); err != nil {
		if known := p.c.Err(); known != nil {
			return known
		}
		return err
	}
	return nil
}

// Waited implements load.Publisher.
func (p *publisher) Waited() int64 { return p.c.nc.Waited() }
