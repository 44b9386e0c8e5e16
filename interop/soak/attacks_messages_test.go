//go:build interop

package soak

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// field is an encoded length-delimited field.
func field(n protowire.Number, content ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), bytes.Join(content, nil))
}

// oddPublishes are what may follow the header in a publish, and the publish in a message, and breaks whoever decodes
// it.
var oddPublishes = func() [][2][]byte {
	bad := []byte("\xc3\x28")
	eleven := append(bytes.Repeat([]byte{0xff}, 10), 1)
	good := field(2, session)
	return [][2][]byte{
		{field(2, []byte{0xff, 0xff}), nil},
		{field(2, append([]byte{0x18}, eleven...)), nil},
		{append(good, field(3, []byte{0x0a, 50, 1})...), nil},
		{append(good, field(3, field(1, field(1, bad)))...), nil},
		{append(good, field(3, field(2, field(3, field(2, field(2, field(1, bad))))))...), nil},
		{good, field(4, field(1, bad))},
		{good, field(4, field(2, bad))},
		{good, []byte{15<<3 | 3}},
		{good, []byte{15<<3 | 4}},
		{good, bytes.Repeat([]byte{15<<3 | 3}, 100_000)},
		{good, []byte{15<<3 | 6}},
		{[]byte{2 << 3, 1}, nil},
	}
}()

// brokenMessages publishes what no receiver can decode to a receiver of its own, whose stream must not end.
func brokenMessages(ctx context.Context, c *child) error {
	dest := c.name("broken", 1)
	h := publication(c.name("breaker", 1), dest, 1)
	victim, err := c.uplink(ctx, uplink.Options{Handle: func([][]byte) {}})
	if err != nil {
		return err
	}
	defer victim.Abort()
	own := publication(dest, dest, 1)
	if _, err := victim.Subscribe(ctx, &own); err != nil {
		return err
	}
	var turn atomic.Int64
	err = c.crowd(ctx, 4, func(int) error {
		u, err := c.uplink(ctx, uplink.Options{})
		if err != nil {
			return err
		}
		defer u.Abort()
		odd := oddPublishes[int(turn.Add(1))%len(oddPublishes)]
		if err := u.Write(ctx, uplink.AppendFrame(nil, rawPublish(u, h, odd[0], odd[1]))); err != nil {
			return err
		}
		c.requested(1)
		select {
		case <-u.Done():
			return u.Err()
		case <-time.After(roundTrip):
			return context.DeadlineExceeded
		case <-ctx.Done():
			return nil
		}
	})
	if n := victim.Stats().Invalid; n > 0 {
		c.fault("%d broken messages reached a receiver", n)
	}
	if end := victim.Err(); end != nil && ctx.Err() == nil {
		return fmt.Errorf("the receiver of broken messages was ended: %w", end)
	}
	return err
}

// rawPublish is a publish whose header is signed for u, with fields after the header, and after the publish.
func rawPublish(u *uplink.Conn, h wire.PublishHeader, fields, after []byte) []byte {
	if m := u.NewMAC(); m != nil {
		h.MAC = tagOf(m, u.Link().ID, &h)
		m.Close()
	}
	b := wire.AppendPublish(nil, &h, nil, nil)
	var s wire.Message
	if err := wire.Scan(b, &s); err != nil {
		return nil // what we encode decodes
	}
	return append(field(3, s.Body.Of(b), fields), after...)
}

// largeHeaders publishes headers as large as messages may be to many receivers that read nothing.
func largeHeaders(ctx context.Context, c *child) error {
	turn := 0
	return c.again(ctx, func() error {
		turn++
		g, err := c.members(ctx, 2, 50, "headers", 64<<10)
		if err != nil {
			return err
		}
		defer g.close()
		return c.until(ctx, 5*time.Second, func(ctx context.Context) error {
			u, err := c.uplink(ctx, uplink.Options{Queue: 16 << 20})
			if err != nil {
				return err
			}
			defer u.Abort()
			h := publication(c.name("sender", 1), c.name("headers", wire.Null), 256)
			h.Dest = h.Dest.WithID(wire.Null, wire.Null)
			sizes := []int{4 << 20, 60 << 10, 3 << 10, 1 << 20, 64 << 10}
			for i := 0; c.pay(ctx); i++ {
				size := sizes[(turn+i)%len(sizes)]
				h.Identity = strings.Repeat("i", size-1000)
				if err := u.Publish(ctx, &h, session, nil); err != nil {
					return err
				}
				c.requested(1)
			}
			return ctx.Err()
		})
	})
}

// doubledFields sends messages in which something occurs millions of times.
func doubledFields(ctx context.Context, c *child) error {
	h := publication(c.name("doubler", 1), c.name("doubled", 1), 1)
	plain := wire.AppendPublish(nil, &h, session, nil)
	var s wire.Message
	if err := wire.Scan(plain, &s); err != nil {
		return err
	}
	body := s.Body.Of(plain)
	head := s.Header.Of(plain)
	const most = 4<<20 - 1000
	name := []byte{1<<3 | 2, 2, 0x0a, 0}
	bombs := [][]byte{
		append(bytes.Clone(plain), bytes.Repeat([]byte{3<<3 | 2, 0}, most/2)...),
		field(3, body, bytes.Repeat([]byte{1<<3 | 2, 0}, most/2)),
		field(3, field(1, head, bytes.Repeat(name, most/4)), field(2, session)),
		field(3, field(1, head, bytes.Repeat([]byte{6 << 3, 1}, most/2)), field(2, session)),
		field(3, body, bytes.Repeat([]byte{2<<3 | 2, 0}, most/2)),
		append(bytes.Clone(plain), bytes.Repeat([]byte{3<<3 | 2, 0}, 3000)...),
		append(bytes.Clone(plain), bytes.Repeat([]byte{4<<3 | 2, 0}, most/2)...),
		append(bytes.Clone(plain), bytes.Repeat([]byte{100<<3&0x7f | 0x80, 6, 0}, most/3)...),
	}
	return c.crowd(ctx, 4, func(int) error {
		u, err := c.uplink(ctx, uplink.Options{Queue: 16 << 20})
		if err != nil {
			return err
		}
		defer u.Abort()
		for i := 0; c.pay(ctx); i++ {
			if err := u.Write(ctx, uplink.AppendFrame(nil, bombs[i%len(bombs)])); err != nil {
				return err
			}
			c.requested(1)
		}
		return ctx.Err()
	})
}

// withheld begins large messages on many streams of one socket, negotiated or not, and keeps back the last byte.
func withheld(ctx context.Context, c *child) error {
	turn := 0
	return c.again(ctx, func() error {
		turn++
		m, err := c.mux(ctx, 0)
		if err != nil {
			return err
		}
		defer m.close()
		if turn%2 == 0 {
			if err := m.negotiate(ctx, c, 100, wire.LinkEdge, "withholder"); err != nil {
				return err
			}
		} else {
			for range 100 {
				if _, err := m.open(); err != nil {
					return err
				}
			}
		}
		left := make([]int, len(m.streams)) // bytes to go
		for i := range left {
			left[i] = 5 + 4<<20 - 1
			left[i] -= m.stage(m.streams[i], []byte{0, 0, 0x40, 0, 0})
		}
		zeros := make([]byte, 64<<10)
		for begin := time.Now(); time.Since(begin) < 20*time.Second && c.pay(ctx); {
			for i, x := range m.streams {
				if !x.ended {
					n := m.stage(x, zeros[:min(len(zeros), left[i])])
					left[i] -= n
				}
			}
			c.requested(1)
			if err := m.flush(); err != nil {
				return err
			}
			if err := m.read(50 * time.Millisecond); err != nil {
				return err
			}
		}
		return errors.New("let be")
	})
}
