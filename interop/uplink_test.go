//go:build interop

package interop

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// TestUplinks: two apps' connections to one node publish to each other, whatever their links; all is signed, and
// checked at both ends. MLS groups with real apps, over the same connections, are in mls_test.go.
func TestUplinks(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		for i, c := range []struct {
			name string
			o    uplink.Options
		}{
			{"edge", uplink.Options{}},
			{"edge with PQC", uplink.Options{EnforcePQC: true}},
			{"remote", uplink.Options{Kind: uplink.Remote}},
			{"small reads and queue", uplink.Options{ReadBuffer: 1024, Queue: 2000, Window: 64 << 10}},
		} {
			t.Run(c.name, func(t *testing.T) {
				a, b := n.uplink(t, c.o), n.uplink(t, c.o)
				for _, u := range []*uplink.Conn{a, b} {
					want := uplink.Link{ID: u.Link().ID, Kind: c.o.Kind, Signed: true, Hybrid: c.o.EnforcePQC,
						RemoteVersion: u.Link().RemoteVersion, RemoteNode: fmt.Sprintf("node-%d", n.port)}
					if u.Link() != want {
						t.Errorf("link %+v, want %+v", u.Link(), want)
					}
				}
				first, second := wire.Text("org", "ns", "a").WithID(1, uint64(i)), wire.Text("org", "ns", "b").WithID(2, uint64(i))
				pass(t, a, b, first, second)
				pass(t, b, a, second, first)
			})
		}
	})
}

// someSession is an encoded SessionHeader.
var someSession = []byte{0x08, 0x01, 0x10, 0x01, 0x18, 0x07}

// pass subscribes the receiver, has messages of all sizes go to it, and withdraws the name.
func pass(t *testing.T, from, to *uplink.Conn, source, dest wire.NameText) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	h := func(source wire.NameText, identity string) *wire.PublishHeader {
		return &wire.PublishHeader{Source: source, Dest: dest, Identity: identity, Version: uplink.Version, Fanout: 1, TTL: 8}
	}
	id, err := to.Subscribe(ctx, h(dest, "id"))
	if err != nil {
		t.Fatal(err)
	}
	sizes := []int{8, 100, 1000, 20_000, 1 << 20}
	const total = 200
	sent := make(chan error, 1)
	go func() {
		for i := range total {
			size := sizes[i%len(sizes)]
			if i > 20 {
				size = min(size, 20_000)
			}
			blob := append(binary.BigEndian.AppendUint64(nil, uint64(i)), make([]byte, size-8)...)
			app := append(binary.AppendUvarint([]byte{0x12}, uint64(size)), blob...)
			content := append(binary.AppendUvarint([]byte{0x0a}, uint64(len(app))), app...)
			if err := from.Publish(ctx, h(source, fmt.Sprint("id", i%3)), someSession, content); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	for i := range total {
		msg, err := to.Receive(ctx)
		if err != nil {
			t.Fatalf("message %d: %v", i, err)
		}
		size := sizes[i%len(sizes)]
		if i > 20 {
			size = min(size, 20_000)
		}
		if len(msg) < size || binary.BigEndian.Uint64(msg[len(msg)-size:]) != uint64(i) {
			t.Fatalf("message %d of %d bytes is another", i, len(msg))
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if s := to.Stats(); s.Unauthentic+s.Invalid+s.Discarded != 0 {
		t.Errorf("%+v", s)
	}
	if err := to.Unsubscribe(ctx, h(dest, "id"), id); err != nil {
		t.Error(err)
	}
}

// TestUplinkCloses: Close returns when the node has everything, and nothing that was accepted is lost.
func TestUplinkCloses(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		dest := wire.Text("org", "ns", "b").WithID(2, 2)
		h := &wire.PublishHeader{Source: dest, Dest: dest, Identity: "id", Version: uplink.Version, Fanout: 1, TTL: 8}
		b := n.uplink(t, uplink.Options{})
		if _, err := b.Subscribe(ctx, h); err != nil {
			t.Fatal(err)
		}
		const rounds, each = 10, 100
		for range rounds {
			a := n.uplink(t, uplink.Options{Queue: 1 << 20})
			for range each {
				if err := a.Publish(ctx, h, someSession, []byte{0x0a, 0x02, 0x12, 0x00}); err != nil {
					t.Fatal(err)
				}
			}
			if err := a.Close(ctx); err != nil {
				t.Error(err)
			}
		}
		for i := range rounds * each {
			if _, err := b.Receive(ctx); err != nil {
				t.Fatalf("%d of %d messages: %v", i, rounds*each, err)
			}
		}
	})
}

// TestUplinkIsRefused: what the node says when there is no channel of that name.
func TestUplinkIsRefused(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		compressed := uplink.Options{Fields: []uplink.Field{{Name: "grpc-encoding", Value: "br"}}}
		_, err := uplink.Dial(ctx, n.address(), &compressed)
		var s *uplink.StatusError
		if !errors.As(err, &s) || s.GRPC != 12 {
			t.Errorf("a compressed channel: %v", err)
		}
		var e *uplink.Error
		self := uplink.Options{Kind: uplink.Peer, NodeID: fmt.Sprintf("node-%d", n.port)}
		if _, err := uplink.Dial(ctx, n.address(), &self); !errors.As(err, &e) {
			t.Errorf("a peer that is itself: %v", err)
		}
	})
}
