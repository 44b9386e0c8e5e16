package transport

import (
	"fmt"
	"math"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/sys/unix"
)

// A stream that shares a socket gets its share, whatever bounds the socket and however large the others' messages are.
func TestStreamsShareASocket(t *testing.T) {
	for _, streams := range []int{2, 10, 30} {
		for bound, run := range map[string]func(v *visitor, ids []uint32){
			"the connection's window": func(v *visitor, ids []uint32) {
				v.allow(1<<30, ids...)
				for range 8 * len(ids) {
					v.allow(64<<10, 0)
					v.text.read(v.h.t, v.read())
				}
			},
			"the kernel": func(v *visitor, ids []uint32) {
				v.allow(1<<30, append(ids, 0)...)
				b := make([]byte, 64<<10)
				for range 100 + 8*len(ids) {
					if n, err := unix.Read(v.fd, b); err == nil {
						v.text.read(v.h.t, b[:n])
					}
					v.h.loop.Ready()
					v.h.settle()
				}
			},
		} {
			t.Run(fmt.Sprint(streams, " streams, bound by ", bound), func(t *testing.T) {
				h := build(t, Options{MaxStreams: 100})
				v := h.visit()
				_ = unix.SetsockoptInt(v.sock.Descriptor(), unix.SOL_SOCKET, unix.SO_SNDBUF, 64<<10)
				v.greet(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
				var ids []uint32
				for i := range streams {
					id := uint32(2*i + 1)
					g := v.enter(id)
					ids = append(ids, id)
					size := []int{60, 10_000, 300_000}[i%3]
					q := &mouth{g: g}
					g.writable = func() {
						for {
							if len(q.todo) == 0 {
								q.todo = []*Message{own(make([]byte, size))}
							}
							if q.pump(); len(q.todo) > 0 {
								return
							}
						}
					}
				}
				run(v, ids[:streams:streams])
				clear(v.text.data)
				run(v, ids[:streams:streams])
				total, least, most := 0, math.MaxInt, 0
				for _, id := range ids {
					n := len(v.text.data[id])
					total, least, most = total+n, min(least, n), max(most, n)
				}
				if fair := total / streams; least < fair*2/3 || most > fair*3/2 {
					t.Errorf("of %d bytes one stream has %d and another %d", total, least, most)
				}
				if total < 1<<20 {
					t.Errorf("only %d bytes: the test shows little", total)
				}
			})
		}
	}
}

// Who keeps a shared window closed: the stream that has clearly more unread, or else the one that has returned nothing
// for longer. Rules: P-press-8.
func TestWhoKeepsASharedWindow(t *testing.T) {
	now := time.Now()
	for _, tc := range []struct {
		name         string
		mine, others int           // unread, bytes
		later        time.Duration // by which the other has returned something after this one
		want         bool
	}{
		{"clearly more", 200, 100, -time.Hour, true},
		{"clearly less", 100, 200, time.Hour, false},
		{"a little more, but lately returned", 150, 100, -time.Second, false},
		{"a little less, but not returned for longer", 100, 150, time.Second, true},
		{"the same", 100, 100, 0, false},
	} {
		mine, others := share{unread: tc.mine, returned: momentOf(now)}, share{unread: tc.others, returned: momentOf(now.Add(tc.later))}
		if got := mine.suspect(&others); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}
