package uplink

import (
	"context"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/compress"
)

// Send queues a message, signed for the link, and returns when it is accepted: Close will not lose it. It waits while
// the queue is full. msg is an encoded publish, subscribe or unsubscribe with its header, borrowed until return; a
// header_mac in it is replaced, recv_from, forward_to and incoming_conn are left out.
//
// Errors: ErrTooLarge; ErrClosed; what the message lacks, or why ctx or the connection ended. Nothing was sent then.
func (c *Conn) Send(ctx context.Context, msg []byte) error {
	return c.send(ctx, true, msg)
}

// TrySend is Send, but says ErrFull where Send would wait. It may be called from Options.Handle.
func (c *Conn) TrySend(msg []byte) error {
	return c.send(context.Background(), false, msg)
}

func (c *Conn) send(ctx context.Context, wait bool, msg []byte) error {
	if len(msg) > MaxMessage {
		return ErrTooLarge
	}
	if err := c.admitted(ctx, wait); err != nil {
		return err
	}
	c.signer.mu.Lock()
	defer c.signer.mu.Unlock()
	return c.signed(msg)
}

// signed signs and queues msg. signer.mu is held.
func (c *Conn) signed(msg []byte) error {
	head, tail, err := c.signer.sign(msg)
	if err != nil {
		return err
	}
	if c.packing.encoding != compress.None {
		head, tail = c.packing.pack(head, tail)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.over(); err != nil { // meanwhile
		return err
	}
	c.queue(head, tail)
	return nil
}

// Publish is Send for a message made of its parts: session is an encoded SessionHeader, content an encoded Content;
// all are borrowed until return. h.MAC is not used.
func (c *Conn) Publish(ctx context.Context, h *wire.PublishHeader, session, content []byte) error {
	if len(content)+len(session) > MaxMessage {
		return ErrTooLarge
	}
	if err := c.admitted(ctx, true); err != nil {
		return err
	}
	s := &c.signer
	s.mu.Lock()
	defer s.mu.Unlock()
	if cap(s.plain) > keptScratch {
		s.plain = nil
	}
	bare := *h
	bare.MAC = nil
	s.plain = wire.AppendPublish(s.plain[:0], &bare, session, content)
	return c.signed(s.plain)
}

// Write queues a batch as it is: whole messages with their prefixes, as AppendFrame puts them together, signed by the
// caller (NewMAC). It returns when the whole batch is accepted. batch is borrowed until return.
func (c *Conn) Write(ctx context.Context, batch []byte) error {
	if err := checkBatch(batch); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.admit(ctx, true); err != nil {
		return err
	}
	c.queue(batch, nil)
	return nil
}

// WriteThrough is Write for senders of so much, or so often, that to hand it to the writer would cost more than to
// write it: the caller writes to the socket himself unless somebody is at it. It returns when everything that was
// queued until then, the batch included, is with the kernel. After an error of ctx the batch is queued.
func (c *Conn) WriteThrough(ctx context.Context, batch []byte) error {
	if err := checkBatch(batch); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.admit(ctx, true); err != nil {
		return err
	}
	c.enqueue(batch, nil)
	for c.err == nil && c.unwell == nil {
		if !c.writing {
			c.fill()
			switch {
			case len(c.out) > 0:
				c.flush()
				continue
			case c.queued() == 0:
				return nil
			}
		}
		// The node's window is closed, or another one writes. The time of that is the socket's to count.
		if err := c.await(ctx, !c.writing); err != nil {
			return err
		}
	}
	c.work.Signal() // the writer slept through what it was told meanwhile
	return c.over()
}

// Waited returns how long all calls together have waited for room, and those of WriteThrough for the node's window.
func (c *Conn) Waited() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.waited
}

// Await waits until TrySend takes a message, and no more than most bytes of what was accepted before wait for the socket: what it
// has taken has left, as far as can be known here, but for Options.Unsent. Errors are those of ctx, or why the connection ended.
func (c *Conn) Await(ctx context.Context, most int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := c.over(); err != nil {
			return err
		}
		if c.queued() < c.o.Queue && c.queued()+c.going <= most {
			return nil
		}
		if err := c.await(ctx, false); err != nil {
			return err
		}
	}
}

func (c *Conn) admitted(ctx context.Context, wait bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.admit(ctx, wait)
}

// admit returns when there is room in the queue. mu is held, and given up while waiting.
func (c *Conn) admit(ctx context.Context, wait bool) error {
	if err := c.over(); err != nil {
		return err
	}
	if c.queued() < c.o.Queue {
		return nil
	}
	if !wait {
		return ErrFull
	}
	for c.queued() >= c.o.Queue {
		if err := c.await(ctx, true); err != nil {
			return err
		}
		if err := c.over(); err != nil {
			return err
		}
	}
	return nil
}

// await returns when something has been written, the connection has ended or ctx has, whose error it returns. count
// says whether it adds to waited. mu is held, and given up while waiting.
func (c *Conn) await(ctx context.Context, count bool) error {
	if ctx.Done() != nil {
		stop := context.AfterFunc(ctx, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.room.Broadcast()
		})
		defer stop()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	begin := time.Now()
	c.room.Wait()
	if count {
		c.waited += time.Since(begin)
	}
	return ctx.Err()
}

// over returns why nothing is accepted any more. mu is held.
func (c *Conn) over() error {
	switch {
	case c.err != nil:
		return c.err
	case c.closing:
		return ErrClosed
	case c.unwell != nil:
		return &Error{Fault: Network, Doing: "writing", Addr: c.addr, Err: c.unwell}
	}
	return nil
}

// queued returns how many bytes wait for a write. mu is held.
func (c *Conn) queued() int { return len(c.out) + len(c.pending) - c.sent }

// queue takes a batch in two parts, and tells the writer. mu is held.
func (c *Conn) queue(a, b []byte) {
	c.enqueue(a, b)
	c.work.Signal()
}

// enqueue takes a batch in two parts: what the node's window takes goes to out, the rest waits. mu is held.
func (c *Conn) enqueue(a, b []byte) {
	if len(c.pending) == c.sent {
		c.out, a = c.f.put(c.out, a)
		if len(a) == 0 {
			c.out, b = c.f.put(c.out, b)
		}
	}
	if len(a)+len(b) > 0 {
		if c.sent > len(c.pending)/2 {
			c.pending, c.sent = c.pending[:copy(c.pending, c.pending[c.sent:])], 0
		}
		c.pending = append(append(c.pending, a...), b...)
	}
}

// write is the writer: it writes to the socket, in turn with WriteThrough, and closes it.
func (c *Conn) write() {
	defer c.leave()
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.writing {
			c.work.Wait()
			continue
		}
		c.fill()
		if len(c.out) == 0 || c.unwell != nil {
			if c.err != nil {
				break
			}
			c.work.Wait()
			continue
		}
		c.flush()
	}
	_ = c.nc.Close()
}

// flush writes what is in out while nobody else writes. mu is held, and given up while writing.
func (c *Conn) flush() {
	b := c.out
	c.out, c.spare, c.answers = c.spare[:0], nil, 0
	c.f.cut()
	c.writing, c.going = true, len(b)
	c.mu.Unlock()
	_, err := c.nc.Write(b)
	c.mu.Lock()
	c.writing, c.going = false, 0
	if cap(b) <= 2*c.o.Queue+keptScratch {
		c.spare = b[:0]
	}
	if err != nil && c.unwell == nil {
		c.unwell = err
		c.out, c.pending, c.sent = nil, nil, 0
		_ = c.nc.SetReadDeadline(time.Now().Add(lastRead))
	}
	c.room.Broadcast()
}

// fill moves to out what may be written now. mu is held.
func (c *Conn) fill() {
	if c.err != nil {
		return // out is the last word
	}
	c.answer()
	if c.sent < len(c.pending) {
		var rest []byte
		c.out, rest = c.f.put(c.out, c.pending[c.sent:])
		if c.sent = len(c.pending) - len(rest); c.sent == len(c.pending) {
			c.pending, c.sent = c.pending[:0], 0
			if cap(c.pending) > 2*c.o.Queue+keptScratch {
				c.pending = nil
			}
		}
	}
	if c.closing && !c.finished && len(c.pending) == 0 {
		c.finished = true
		c.out = c.f.finish(c.out)
	}
}
