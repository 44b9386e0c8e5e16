package simnet

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is one end of a connection. As with TCP on Linux:
//   - what was written before Close or CloseWrite arrives, and then io.EOF;
//   - an end that closes with bytes unread, and one that is written to after it has closed, resets the connection;
//   - after a reset what has been sent can still be read, then reads fail with ECONNRESET and writes with EPIPE.
//
// All methods are safe for all.
type Conn struct {
	in, out       *pipe
	local, remote Addr
}

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.in.read(b)
	return n, c.fault("read", err)
}

// Write implements net.Conn. It returns when all of b is in the buffer.
func (c *Conn) Write(b []byte) (int, error) {
	n, err := c.out.write(b)
	if errors.Is(err, syscall.EPIPE) {
		c.in.reset() // whoever writes to one that is gone is told so
	}
	return n, c.fault("write", err)
}

// Close implements net.Conn.
func (c *Conn) Close() error {
	if c.in.closeRead() {
		c.out.reset()
	} else {
		c.out.closeWrite()
	}
	c.out.abandon()
	return nil
}

// CloseWrite ends this end's bytes, and leaves the other's as they are.
func (c *Conn) CloseWrite() error {
	c.out.closeWrite()
	return nil
}

// Reset ends both directions abruptly.
func (c *Conn) Reset() {
	c.in.closeRead()
	c.out.reset()
	c.out.abandon()
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.in.setDeadline(&c.in.readBy, t) }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.out.setDeadline(&c.out.writeBy, t) }

// fault wraps err as the net package does; io.EOF stays as it is.
func (c *Conn) fault(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "sim", Source: c.local, Addr: c.remote, Err: err}
}

// pipe is one direction.
type pipe struct {
	delay time.Duration
	limit int

	mu              sync.Mutex
	changed         sync.Cond
	sent            []segment // in the order of their times
	size            int       // bytes of sent
	fin             bool      // the writer has ended: what is in sent is all
	aborted         bool      // likewise, and reads end with ECONNRESET
	deaf            bool      // the reader has closed
	gone            bool      // the writer has closed: its writes fail
	readBy, writeBy time.Time // zero: no limit
}

// segment is what one write has put in.
type segment struct {
	at time.Time // when it can be read
	b  []byte    // empty: the end
}

func newPipe(delay time.Duration, limit int) *pipe {
	p := &pipe{delay: delay, limit: limit}
	p.changed.L = &p.mu
	return p
}

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		now := time.Now()
		switch {
		case p.deaf:
			return 0, net.ErrClosed
		case past(p.readBy, now):
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		}
		if n := p.take(b, now); n > 0 {
			p.changed.Broadcast()
			return n, nil
		}
		var next time.Time
		switch {
		case len(p.sent) == 0 && p.aborted:
			return 0, syscall.ECONNRESET
		case len(p.sent) == 0:
		case p.sent[0].at.After(now):
			next = p.sent[0].at
		default: // an end
			return 0, io.EOF
		}
		p.wait(now, next, p.readBy)
	}
}

// take copies what has arrived until now. p.mu is held.
func (p *pipe) take(b []byte, now time.Time) (n int) {
	for n < len(b) && len(p.sent) > 0 {
		s := &p.sent[0]
		if s.at.After(now) || len(s.b) == 0 {
			break
		}
		k := copy(b[n:], s.b)
		n += k
		p.size -= k
		if s.b = s.b[k:]; len(s.b) == 0 {
			p.sent = p.sent[1:]
		}
	}
	return n
}

func (p *pipe) write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := 0; ; {
		now := time.Now()
		switch {
		case p.gone:
			return n, net.ErrClosed
		case p.fin, p.aborted, p.deaf:
			return n, syscall.EPIPE
		case past(p.writeBy, now):
			return n, os.ErrDeadlineExceeded
		}
		if k := min(len(b)-n, p.limit-p.size); k > 0 {
			p.sent = append(p.sent, segment{now.Add(p.delay), append([]byte(nil), b[n:n+k]...)})
			p.size += k
			n += k
			p.changed.Broadcast()
		}
		if n == len(b) {
			return n, nil
		}
		p.wait(now, p.writeBy)
	}
}

// wait returns at the latest at the first of the times that are not zero. p.mu is held, and given up meanwhile.
func (p *pipe) wait(now time.Time, times ...time.Time) {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if !first.IsZero() {
		alarm := time.AfterFunc(first.Sub(now), func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.changed.Broadcast()
		})
		defer alarm.Stop()
	}
	p.changed.Wait()
}

func past(limit, now time.Time) bool { return !limit.IsZero() && !now.Before(limit) }

// closeRead ends the reader's part and reports whether bytes were left unread.
func (p *pipe) closeRead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := p.size > 0
	p.deaf, p.sent, p.size = true, nil, 0
	p.changed.Broadcast()
	return left
}

func (p *pipe) closeWrite() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.fin && !p.aborted && !p.deaf {
		p.fin, p.sent = true, append(p.sent, segment{at: time.Now().Add(p.delay)})
	}
	p.changed.Broadcast()
}

func (p *pipe) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.aborted = true
	p.changed.Broadcast()
}

// abandon has the writer's calls fail as those on a closed connection.
func (p *pipe) abandon() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	p.changed.Broadcast()
}

func (p *pipe) setDeadline(which *time.Time, t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	*which = t
	p.changed.Broadcast()
	return nil
}
