package netloop

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// A connection without a descriptor is one of the loop all the same, in both directions and at its end.
func TestJoinWithoutADescriptor(t *testing.T) {
	r := rig(t, Options{Loops: 1})
	ours, theirs := net.Pipe()
	h := &tape{}
	if err := r.e.Join(t.Context(), ours, Joining{Handler: func(*Loop) Handler { return h }}); err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Write([]byte("in")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is read", func() bool {
		var got []byte
		r.do(func() { got = bytes.Clone(h.got.Bytes()) })
		return string(got) == "in"
	})
	r.do(func() {
		h.stage([]byte("out"))
		h.k.Flush()
	})
	b := make([]byte, 3)
	if _, err := theirs.Read(b); err != nil || string(b) != "out" {
		t.Fatalf("read %q, %v", b, err)
	}
	_ = theirs.Close()
	eventually(t, "its end is heard of", func() bool { return h.has("closed") })
}

// What is carried ends with the engine, whoever reads.
func TestStopEndsWhatIsCarried(t *testing.T) {
	r := rig(t, Options{Loops: 1})
	ours, theirs := net.Pipe() // nobody reads
	h := &tape{}
	if err := r.e.Join(t.Context(), ours, Joining{Handler: func(*Loop) Handler { return h }}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is a socket", func() bool { return h.has("opened") })
	r.do(func() {
		h.stage(make([]byte, OutboxSize))
		h.k.Flush()
	})
	r.e.Stop()
	if _, err := theirs.Read(make([]byte, 1<<20)); err == nil {
		if _, err = theirs.Read(make([]byte, 1<<20)); err == nil {
			t.Error("the connection outlives the engine")
		}
	}
	if err := r.e.Join(t.Context(), theirs, Joining{Handler: func(*Loop) Handler { return h }}); err == nil {
		t.Error("a stopped engine takes a connection")
	}
}

// closing is a connection that tells when it is closed.
type closing struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (c *closing) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// A connection without a descriptor ends with its socket, also if its peer takes nothing and says nothing.
func TestCarriedConnectionEndsWithItsSocket(t *testing.T) {
	r := rig(t, Options{Loops: 1})
	r.e.linger = 50 * time.Millisecond
	_, client := serving(t)
	for name, end := range map[string]func(ours net.Conn){
		"closed by its loop": func(ours net.Conn) {
			h := &tape{}
			if err := r.e.Join(t.Context(), ours, Joining{Handler: func(*Loop) Handler { return h }}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is a socket", func() bool { return h.has("opened") })
			r.do(func() {
				h.stage(make([]byte, 1000))
				h.k.Flush()
				h.k.Close()
			})
		},
		"given up in its handshake": func(ours net.Conn) {
			j := Joining{TLS: client, Timeout: time.Millisecond, Handler: func(*Loop) Handler { return &tape{} }}
			if err := r.e.Join(t.Context(), ours, j); err == nil {
				t.Error("nobody has answered, and it is there")
			}
		},
	} {
		ours, theirs := net.Pipe() // nobody reads
		c := &closing{Conn: ours, closed: make(chan struct{})}
		end(c)
		select {
		case <-c.closed:
		case <-time.After(hang):
			t.Fatalf("%s: it is still there", name)
		}
		_ = theirs.Close()
	}
}

// Who gives up before the handshake has begun does not wait for its peer.
func TestJoinThatIsGivenUp(t *testing.T) {
	r := rig(t, Options{Loops: 1})
	_, client := serving(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		ours, _ := tcpPair(t)
		done := make(chan error, 1)
		go func() {
			done <- r.e.Join(ctx, ours, Joining{TLS: client, Timeout: 2 * hang, Handler: func(*Loop) Handler { return &tape{} }})
		}()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		case <-time.After(hang):
			t.Fatal("it waits for its peer")
		}
	}
}

// A connection that this side opens with TLS is as one that it accepts.
func TestJoinWithTLS(t *testing.T) {
	for name, version := range map[string]uint16{"TLS 1.3": tls.VersionTLS13, "TLS 1.2": tls.VersionTLS12} {
		for _, carried := range []bool{false, true} { // without a descriptor
			t.Run(fmt.Sprint(name, " ", carried), func(t *testing.T) {
				r := rig(t, Options{Loops: 1})
				server, client := serving(t)
				server.MinVersion, server.MaxVersion = version, version
				ours, theirs := tcpPair(t)
				if carried {
					ours, theirs = net.Pipe()
				}
				peer := tls.Server(theirs, server)
				first := make(chan error, 1)
				go func() {
					_, err := peer.Write([]byte("first")) // comes with the end of the handshake
					first <- err
				}()
				h := &tape{}
				if err := r.e.Join(t.Context(), ours, Joining{Handler: func(*Loop) Handler { return h }, TLS: client, Timeout: 2 * hang}); err != nil {
					t.Fatal(err)
				}
				if err := <-first; err != nil {
					t.Fatal(err)
				}
				eventually(t, "it is read", func() bool { return h.heard() == len("first") })
				out := pattern(3 << 20)
				r.do(func() { h.pump(out, func() {}) })
				got := make([]byte, len(out))
				if _, err := io.ReadFull(peer, got); err != nil || !bytes.Equal(got, out) {
					t.Errorf("the peer reads something else than was written: %v", err)
				}
				_ = peer.Close()
				eventually(t, "its end is heard of", func() bool { return h.has("closed") })
			})
		}
	}
}

// tcpPair returns both ends of a connection.
func tcpPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if a, err = net.Dial("tcp", ln.Addr().String()); err == nil {
		b, err = ln.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

// A handshake that fails says why, and one that is not wanted any more ends.
func TestHandshakesOfJoinThatFail(t *testing.T) {
	r := rig(t, Options{Loops: 1})
	server, client := serving(t)
	stranger, _ := serving(t)
	elsewhere := client.Clone()
	elsewhere.ServerName = "elsewhere"
	for name, tc := range map[string]struct {
		peer   func(net.Conn)
		client *tls.Config
		fault  HandshakeFault
	}{
		"another's certificate": {func(c net.Conn) { _ = tls.Server(c, stranger).Handshake() }, client, HandshakeCertificate},
		"another name":          {func(c net.Conn) { _ = tls.Server(c, server).Handshake() }, elsewhere, HandshakeCertificate},
		"no TLS":                {func(c net.Conn) { _, _ = c.Write([]byte("SSH-2.0-OpenSSH_9.9")) }, client, HandshakePlain},
		"closes":                {func(c net.Conn) { _ = c.Close() }, client, HandshakeReset},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := tcpPair(t)
			done := make(chan struct{})
			go func() { defer close(done); tc.peer(theirs) }()
			err := r.e.Join(t.Context(), ours, Joining{TLS: tc.client, Timeout: 2 * hang})
			var e *HandshakeError
			if !errors.As(err, &e) || e.Fault != tc.fault {
				t.Errorf("error %v, want fault %d", err, tc.fault)
			}
			<-done
		})
	}
	ours, _ := tcpPair(t)
	ctx, cancel := context.WithCancel(t.Context())
	go cancel()
	if err := r.e.Join(ctx, ours, Joining{TLS: client, Timeout: time.Hour}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want the end of the context", err)
	}
}
