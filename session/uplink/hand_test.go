package uplink

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
	"github.com/seed31b3bfd0/slimgo/wire/mac"
)

// sink is a socket that takes everything and gives nothing.
type sink struct {
	net.Conn
	once   sync.Once
	closed chan struct{}
}

func (s *sink) Read([]byte) (int, error)           { <-s.closed; return 0, io.EOF }
func (s *sink) Write(b []byte) (int, error)        { return len(b), nil }
func (s *sink) Close() error                       { s.once.Do(func() { close(s.closed) }); return nil }
func (s *sink) SetReadDeadline(time.Time) error    { return nil }
func (s *sink) SetWriteDeadline(t time.Time) error { return nil }

var handKey = make([]byte, 32)

// byHand is a connection whose link is negotiated and whose node is the test: it feeds take. Its window has no end.
func byHand(t testing.TB, o Options) *Conn {
	t.Helper()
	o.LinkID = "by-hand"
	c := &Conn{o: o.filled(&url.URL{Host: "hand"}), addr: "hand", nc: &sink{closed: make(chan struct{})}, ready: make(chan struct{}),
		done: make(chan struct{})}
	c.work.L, c.room.L = &c.mu, &c.mu
	c.inbox.some = make(chan struct{}, 1)
	if err := c.open(&url.URL{Host: "hand"}); err != nil {
		t.Fatal(err)
	}
	c.machine.Close()
	c.machine = nil
	c.link = Link{ID: "by-hand", Signed: true}
	c.signer.hasher = hasher{mac: mac.New(handKey, "by-hand"), linkID: "by-hand"}
	c.verifier = hasher{mac: mac.New(handKey, "by-hand"), linkID: "by-hand"}
	c.live()
	c.start()
	t.Cleanup(func() { abandon(c) })
	if !c.take([]byte(greeting)) {
		t.Fatal(c.Err())
	}
	return c
}

// greeting opens windows and channel.
const greeting = "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x7f\xff\xff\xff" + // SETTINGS_INITIAL_WINDOW_SIZE
	"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\x00\x00" + // WINDOW_UPDATE
	"\x00\x00\x01\x01\x04\x00\x00\x00\x01\x88" // HEADERS: 200

// fromNode is a DATA frame with messages that the node has signed.
func fromNode(t testing.TB, msgs ...[]byte) []byte {
	t.Helper()
	s := signer{hasher: hasher{mac: mac.New(handKey, "by-hand"), linkID: "by-hand"}}
	var batch []byte
	for _, msg := range msgs {
		head, tail, err := s.sign(msg)
		if err != nil {
			t.Fatal(err)
		}
		batch = append(append(batch, head...), tail...)
	}
	return data(batch)
}

// data is a DATA frame.
func data(b []byte) []byte {
	return append([]byte{byte(len(b) >> 16), byte(len(b) >> 8), byte(len(b)), 0, 0, 0, 0, 0, 1}, b...)
}

// Whatever a node sends, the connection neither panics nor holds more than it may, and ends whole.
func FuzzNode(f *testing.F) {
	signed := fromNode(f, publication(1, 50), publication(2, 100))
	ack := data(AppendFrame(nil, wire.AppendAck(nil, 1, false, "no")))
	var srv h2.Conn
	srv.Init(h2.Server, nil)
	for _, seed := range [][]byte{
		signed, ack, append(signed[:40:40], signed...), data([]byte("\x00\x00\x00\x00\x00")),
		data([]byte("\x01\x00\x00\x00\x00")), data([]byte("\x00\x00\x40\x00\x00")), data(AppendFrame(nil, []byte{0xff})),
		data(AppendFrame(nil, wire.AppendLink(nil, &wire.LinkNegotiation{}))),
		[]byte("\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08"),
		[]byte("\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		[]byte("\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678"), []byte("\x00\x00\x00\x01\x05\x00\x00\x00\x01"), srv.Control(),
		data(AppendFrame(nil, make([]byte, 15000))),
	} {
		f.Add(seed, uint8(0))
		f.Add(seed, uint8(7))
	}
	f.Fuzz(func(t *testing.T, b []byte, piece uint8) {
		c := byHand(t, Options{Window: 64 << 10})
		n := int(piece)*16 + 1
		for len(b) > 0 {
			k := min(n, len(b))
			if !c.take(b[:k]) {
				break
			}
			b = b[k:]
		}
		if held := c.inbox.held(); held > 8*c.o.Window {
			t.Errorf("%d bytes are held with a window of %d", held, c.o.Window)
		}
	})
}

// Senders sign one after the other; the race detector watches.
func TestSendersShareTheSigner(t *testing.T) {
	c := byHand(t, Options{Queue: 64 << 20})
	var done sync.WaitGroup
	for range 4 {
		done.Go(func() {
			for i := range 500 {
				if err := c.Send(t.Context(), publication(i, 50)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
}
