package uplink

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// counting counts the writes to a connection, and fails when it is told to.
type counting struct {
	net.Conn
	mu     sync.Mutex
	writes int
	bytes  int
	broken error
}

func (c *counting) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes++
	if c.broken != nil {
		return 0, c.broken
	}
	c.bytes += len(p)
	return c.Conn.Write(p)
}

// newSecurePair returns both ends of a connection with TLS, and what is under ours.
func newSecurePair(t *testing.T) (*secure, *counting, *tls.Conn) {
	t.Helper()
	issuer := certstest.NewIssuer(t, "authority", false)
	pair, key := issuer.Pair("localhost")
	cert, err := tls.X509KeyPair([]byte(pair), []byte(key))
	if err != nil {
		t.Fatal(err)
	}
	here, there := net.Pipe()
	t.Cleanup(func() { _, _ = here.Close(), there.Close() })
	under := &counting{Conn: here}
	s := newSecure(under, &tls.Config{RootCAs: issuer.Pool(), ServerName: "localhost"})
	server := tls.Server(there, &tls.Config{Certificates: []tls.Certificate{cert}, SessionTicketsDisabled: true})
	done := make(chan error, 1)
	go func() { done <- server.Handshake() }()
	if err := errors.Join(s.Handshake(), <-done); err != nil {
		t.Fatal(err)
	}
	return s, under, server
}

// The records of a batch are with the kernel in as few calls as there are 64 KiB of them, whole and in order.
func TestRecordsOfABatchLeaveTogether(t *testing.T) {
	s, under, server := newSecurePair(t)
	want := make([]byte, 600_000)
	for i := range want {
		want[i] = byte(i >> 8)
	}
	got := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(server)
		got <- b
	}()
	for rest := want; len(rest) > 0; {
		n := min(len(rest), 200_000)
		writes, sent := under.writes, under.bytes
		if k, err := s.Write(rest[:n]); k != n || err != nil {
			t.Fatal(k, err)
		}
		writes, sent = under.writes-writes, under.bytes-sent
		if most := 1 + sent/mostGathered; writes > most || sent < n {
			t.Errorf("a batch of %d bytes was %d in %d writes, want at most %d", n, sent, writes, most)
		}
		rest = rest[n:]
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if b := <-got; !bytes.Equal(b, want) {
		t.Errorf("something else arrives: %d bytes", len(b))
	}
}

// What the reader has to say while a batch is gathered keeps its place, and after it nothing waits.
func TestAnswersBesideBatches(t *testing.T) {
	var got bytes.Buffer
	r := &records{Conn: &buffered{to: &got}}
	r.gather()
	for _, p := range []string{"one ", "answer ", "two "} {
		_, _ = r.Write([]byte(p))
	}
	if got.Len() > 0 {
		t.Errorf("%q left before its batch", got.String())
	}
	if err := r.flush(); err != nil || got.String() != "one answer two " {
		t.Errorf("%q, %v", got.String(), err)
	}
	if _, _ = r.Write([]byte("alert")); got.String() != "one answer two alert" {
		t.Errorf("%q: an answer alone waits", got.String())
	}
}

// buffered is a connection whose peer is a buffer.
type buffered struct {
	net.Conn
	to *bytes.Buffer
}

func (b *buffered) Write(p []byte) (int, error) { return b.to.Write(p) }

// A write that failed may have cut a record: nothing follows it, not even an alert.
func TestNothingFollowsACutRecord(t *testing.T) {
	s, under, _ := newSecurePair(t)
	under.broken = errors.New("broken")
	if n, err := s.Write([]byte("text")); n != 0 || !errors.Is(err, under.broken) {
		t.Errorf("%d, %v", n, err)
	}
	was := under.writes
	if _, err := s.Write([]byte("text")); !errors.Is(err, under.broken) {
		t.Errorf("then: %v", err)
	}
	if _ = s.Close(); under.writes != was {
		t.Errorf("%d writes after one that failed", under.writes-was)
	}
}
