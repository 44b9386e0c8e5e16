//go:build interop

package soak

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// Frame types and flags of RFC 9113 section 6.
const (
	frameData         = 0
	frameHeaders      = 1
	framePriority     = 2
	frameReset        = 3
	frameSettings     = 4
	framePing         = 6
	frameWindowUpdate = 8
	frameContinuation = 9
	frameUnknown      = 0xbb

	flagEndHeaders = 4
	flagPadded     = 8
)

// frame is one HTTP/2 frame.
func frame(kind, flags byte, id uint32, payload []byte) []byte {
	n := len(payload)
	b := []byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}
	return append(binary.BigEndian.AppendUint32(b, id), payload...)
}

func repeat(b []byte, n int) []byte { return bytes.Repeat(b, n) }

func number(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// openingBytes is what a client says first, with so many requests and no message.
func openingBytes(requests int) []byte {
	var c h2.Conn
	c.Init(h2.Client, &h2.Settings{})
	for range requests {
		_, _ = c.Open(requestFields) // only full connections refuse
	}
	return bytes.Clone(c.Control())
}

// block is the header block of a request, with further fields.
func block(more ...hpack.HeaderField) []byte { return blockOf(requestFields[3].Value, more...) }

func blockOf(path string, more ...hpack.HeaderField) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	e.SetMaxDynamicTableSize(0)
	for _, f := range requestFields {
		if f.Name == ":path" {
			f.Value = path
		}
		_ = e.WriteField(hpack.HeaderField{Name: f.Name, Value: f.Value}) // a buffer takes all
	}
	for _, f := range more {
		_ = e.WriteField(f)
	}
	return b.Bytes()
}

// flood writes what next gives until the node ends it. What the node says meanwhile is read.
func (c *child) flood(ctx context.Context, opening []byte, next func(i int) []byte) error {
	nc, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer hold(ctx, nc)()
	ended := make(chan error, 1)
	go func() { ended <- listen(nc) }()
	if err := write(nc, opening); err != nil {
		return err
	}
	for i := 0; c.pay(ctx); i++ {
		if err := write(nc, next(i)); err != nil {
			nc.SetReadDeadline(time.Now().Add(time.Second))
			if said := <-ended; said != nil {
				return said
			}
			return err
		}
		c.requested(1)
		select {
		case err := <-ended:
			return err
		default:
		}
	}
	return ctx.Err()
}

// listen reads until the end and tells whether it came with GOAWAY, and which.
func listen(nc net.Conn) error {
	buf := make([]byte, 16<<10)
	for {
		n, err := nc.Read(buf)
		// GOAWAY is the last frame; what looks like it may be the id of a stream.
		at := bytes.LastIndex(buf[:n], []byte{frameGoAway, 0, 0, 0, 0, 0})
		if at >= 3 && at+14 <= n && at+6+int(binary.BigEndian.Uint16(buf[at-2:])) == n {
			if code := binary.BigEndian.Uint32(buf[at+10:]); code != 0 {
				return fmt.Errorf("GOAWAY %v", h2.ErrCode(code))
			}
		}
		if err != nil {
			return err
		}
	}
}

const frameGoAway = 7

// resetFlood opens streams and resets them, as fast as it can.
func resetFlood(ctx context.Context, c *child) error {
	b := block()
	return c.crowd(ctx, 4, func(int) error {
		id := uint32(1)
		return c.flood(ctx, openingBytes(0), func(int) []byte {
			var out []byte
			for range 50 {
				out = append(out, frame(frameHeaders, flagEndHeaders, id, b)...)
				out = append(out, frame(frameReset, 0, id, number(8))...)
				id += 2
			}
			return out
		})
	})
}

// frameFloods sends frames that mean little, of each kind in turn, each until the node ends it.
func frameFloods(ctx context.Context, c *child) error {
	gzip := block(hpack.HeaderField{Name: "grpc-encoding", Value: "gzip"})
	floods := []func(i int) []byte{
		func(int) []byte { return repeat(frame(frameSettings, 0, 0, nil), 50) },
		func(i int) []byte {
			return repeat(frame(frameSettings, 0, 0, append([]byte{0, 4}, number(uint32(i%2)*1000)...)), 20)
		},
		func(int) []byte { return repeat(frame(framePing, 0, 0, make([]byte, 8)), 50) },
		func(int) []byte { return repeat(frame(framePing, 1, 0, make([]byte, 8)), 50) },
		func(int) []byte { return repeat(frame(frameWindowUpdate, 0, 0, number(1)), 50) },
		func(int) []byte { return repeat(frame(frameWindowUpdate, 0, 1, number(1)), 50) },
		func(int) []byte { return repeat(frame(frameData, 0, 1, nil), 50) },
		func(int) []byte {
			return repeat(frame(frameData, flagPadded, 1, append([]byte{200}, make([]byte, 200)...)), 20)
		},
		func(int) []byte { return repeat(frame(framePriority, 0, 1, []byte{0, 0, 0, 0, 1}), 50) },
		func(int) []byte { return repeat(frame(frameUnknown, 0, 1, make([]byte, 10)), 50) },
		func(i int) []byte {
			if i == 0 {
				return frame(frameHeaders, 0, 3, nil)
			}
			return repeat(frame(frameContinuation, 0, 3, nil), 50)
		},
		func(i int) []byte { return frame(frameHeaders, flagEndHeaders, uint32(2*i+3), gzip) }, // requests that are refused
	}
	var turn atomic.Int64
	return c.crowd(ctx, 4, func(int) error {
		stop, cancel := context.WithTimeout(ctx, 2*time.Second) // some floods the node bears
		defer cancel()
		return c.flood(stop, openingBytes(1), floods[int(turn.Add(1))%len(floods)])
	})
}

// negotiations asks for as many links as a read holds, and gives each up before it can have an answer.
func negotiations(ctx context.Context, c *child) error {
	b := block()
	link := wire.AppendLink(nil, &wire.LinkNegotiation{LinkID: "l", Version: "3.4.6", Kind: wire.LinkEdge,
		Key: append([]byte{9}, make([]byte, 31)...)}) // a point of the curve: nothing has to be worked out for it here
	ask := append([]byte{0, 0, 0, 0, byte(len(link))}, link...)
	return c.crowd(ctx, 4, func(int) error {
		id := uint32(1)
		return c.flood(ctx, openingBytes(0), func(int) []byte {
			var out []byte
			for range 50 {
				out = append(out, frame(frameHeaders, flagEndHeaders, id, b)...)
				out = append(out, frame(frameData, 0, id, ask)...)
				out = append(out, frame(frameReset, 0, id, number(8))...)
				id += 2
			}
			return out
		})
	})
}

// headerBlocks sends header sections above the limit that take long to decode: each two bytes name a field of 2 KiB and
// enter it into the table anew, or a field comes in pieces of a byte.
func headerBlocks(ctx context.Context, c *child) error {
	names := append([]byte{0x40, 0x7f, 0xd1, 0x0e}, repeat([]byte{'n'}, 2000)...) // RFC 7541 section 6.2.1
	names = append(append(names, 0), repeat([]byte{0x7e, 0}, 30_000)...)
	pieces := append([]byte{0, 1, 'n', 0x7f, 0xe1, 0xd3, 3}, repeat([]byte{'v'}, 60_000)...)
	var turn atomic.Int64
	return c.crowd(ctx, 4, func(int) error {
		section, size := names, 16<<10
		if turn.Add(1)%2 == 0 {
			section, size = pieces, 1
		}
		return c.flood(ctx, openingBytes(0), func(i int) []byte {
			id := uint32(2*i + 1)
			out := frame(frameHeaders, 0, id, section[:7])
			for rest := section[7:]; len(rest) > 0; {
				n, flags := min(size, len(rest)), byte(0)
				if n == len(rest) {
					flags = flagEndHeaders
				}
				out = append(out, frame(frameContinuation, flags, id, rest[:n])...)
				rest = rest[n:]
			}
			return out
		})
	})
}

// garbage is what other protocols say, and what is no protocol at all.
func garbage(ctx context.Context, c *child) error {
	long := string(repeat([]byte{'x'}, 4000))
	many := make([]hpack.HeaderField, 4)
	for i := range many {
		many[i] = hpack.HeaderField{Name: fmt.Sprint("x-", i), Value: long}
	}
	index := append(block(), repeat([]byte{0xbe}, 10_000)...) // an entry of the dynamic table, over and over
	says := []func() []byte{
		func() []byte { return []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n") },
		func() []byte { return append([]byte{0x16, 3, 1, 2, 0, 1}, make([]byte, 500)...) },
		func() []byte {
			b := make([]byte, 1+rand.IntN(5000))
			for i := range b {
				b[i] = byte(rand.Uint32())
			}
			return b
		},
		func() []byte { return append([]byte(preface), frame(frameData, 0, 1, make([]byte, 10))...) },
		func() []byte { return append(openingBytes(0), frame(frameSettings, 0, 0, make([]byte, 3))...) },
		func() []byte { return append(openingBytes(0), 0xff, 0xff, 0xff, frameHeaders, 0, 0, 0, 0, 1) },
		func() []byte { return append(openingBytes(0), frame(frameHeaders, flagEndHeaders, 1, index)...) },
		func() []byte {
			return append(openingBytes(0), frame(frameHeaders, flagEndHeaders, 1, block(many...))...)
		},
		func() []byte { // a link of another world
			m := []byte{0x2a, 2, 0x0a, 0}
			return append(openingBytes(1), frame(frameData, 0, 1, append([]byte{0, 0, 0, 0, byte(len(m))}, m...))...)
		},
		func() []byte { // right, and then bits turn over
			b := append(openingBytes(3), frame(framePing, 0, 0, make([]byte, 8))...)
			for range 3 {
				b[len(preface)+rand.IntN(len(b)-len(preface))] ^= 1 << rand.IntN(8)
			}
			return b
		},
	}
	var turn atomic.Int64
	return c.crowd(ctx, 16, func(int) error {
		nc, err := c.dial(ctx)
		if err != nil {
			return err
		}
		defer hold(ctx, nc)()
		c.requested(1)
		if err := write(nc, says[int(turn.Add(1))%len(says)]()); err != nil {
			return err
		}
		return drain(nc, 100*time.Millisecond)
	})
}

// logFlood has the node say as much as it can: long texts of peers, with control characters, in requests that fail.
func logFlood(ctx context.Context, c *child) error {
	evil := string(repeat([]byte("\x1b[31m evil \n\x00 \" \\ "), 250))
	var turns atomic.Int64
	return c.crowd(ctx, 6, func(int) error {
		turn := turns.Add(1)
		switch turn % 3 {
		case 0: // a path that nobody serves
			b := blockOf("/"+evil[:1000], hpack.HeaderField{Name: "x", Value: evil[:2000]})
			c.requested(50)
			out := openingBytes(0)
			for i := range uint32(50) {
				out = append(out, frame(frameHeaders, flagEndHeaders, 2*i+1, b)...)
			}
			nc, err := c.dial(ctx)
			if err != nil {
				return err
			}
			defer hold(ctx, nc)()
			if err := write(nc, out); err != nil {
				return err
			}
			return drain(nc, 100*time.Millisecond)
		case 1: // links that must not be
			m, err := c.mux(ctx, 0)
			if err != nil {
				return err
			}
			defer m.close()
			return m.negotiate(ctx, c, 50, wire.LinkPeer, "soaked")
		}
		m, err := c.mux(ctx, 0)
		if err != nil {
			return err
		}
		defer m.close()
		if err := m.negotiate(ctx, c, 20, wire.LinkEdge, evil[:4000]); err != nil {
			return err
		}
		for _, x := range m.streams { // names that nobody has
			dest := wire.Text(evil[:300], evil[:300], fmt.Sprint(turn))
			h := publication(dest, dest, 1)
			msg := x.signed(h, func(h *wire.PublishHeader) []byte { return wire.AppendPublish(nil, h, session, blob(100)) })
			if err := m.put(x, msg); err != nil {
				return err
			}
		}
		return m.read(time.Second)
	})
}
