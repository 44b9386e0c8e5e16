package netloop

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"

	"golang.org/x/crypto/chacha20poly1305"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/pool"
)

// memory is a client's TLS, over memory after its handshake.
type memory struct {
	net.Conn // of the handshake
	over     bool
	conn     *tls.Conn
	in, out  []byte
	keys     bytes.Buffer // as it logs them
}

func (m *memory) Read(p []byte) (int, error) {
	switch {
	case !m.over:
		return m.Conn.Read(p)
	case len(m.in) == 0:
		return 0, errDry
	}
	n := copy(p, m.in)
	m.in = m.in[n:]
	return n, nil
}

func (m *memory) Write(p []byte) (int, error) {
	if !m.over {
		return m.Conn.Write(p)
	}
	m.out = append(m.out, p...)
	return len(p), nil
}

// seal returns the records of p.
func (m *memory) seal(p []byte) []byte {
	m.out = nil
	_, _ = m.conn.Write(p)
	return m.out
}

// open returns what is in records and the error that follows it, nil if more may follow.
func (m *memory) open(records []byte) (p []byte, err error) {
	m.in = records
	buf := make([]byte, maxRecord)
	for {
		n, err := m.conn.Read(buf)
		p = append(p, buf[:n]...)
		if err == error(errDry) {
			return p, nil
		}
		if err != nil {
			return p, err
		}
	}
}

// shakenInMemory returns a socket with TLS on a loop of its own, and the client.
func shakenInMemory(t *testing.T, version uint16, h Handler) (*Socket, *memory) {
	t.Helper()
	_, k, m, _ := sealedManual(t, version, h)
	return k, m
}

// sealedManual is shakenInMemory with the loop and the descriptor from which what is sent can be read.
func sealedManual(t *testing.T, version uint16, h Handler) (*Manual, *Socket, *memory, int) {
	t.Helper()
	server, client := serving(t)
	server.MinVersion, server.MaxVersion = version, version
	server.SessionTicketsDisabled = true
	here, there := net.Pipe()
	m := &memory{Conn: there}
	client.KeyLogWriter = &m.keys
	m.conn = tls.Client(m, client)
	done := make(chan error, 1)
	go func() { done <- m.conn.Handshake() }()
	l := NewManual(0, func(*Loop) Owner { return &boss{} })
	fds := socketPair(t)
	k, err := l.AttachTLS(fds[0], here, server, h)
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	m.over = true
	return l, k, m, fds[1]
}

// sent returns everything that can be read from fd.
func sent(fd int) (all []byte) {
	for b := make([]byte, 1<<20); ; {
		n, err := unix.Read(fd, b)
		if n <= 0 || err != nil {
			return all
		}
		all = append(all, b[:n]...)
	}
}

// However the network cuts records, what is in them arrives, in order and at once: nothing that is complete waits.
func TestRecordsCutAnywhereArrive(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		h := &tape{}
		l, k, m, _ := sealedManual(t, tls.VersionTLS13, h)
		var in, records []byte
		var ends []int // plaintext that is complete, by byte of records
		for len(in) < 200_000 {
			p := pattern(1 + r.IntN(40_000))
			in = append(in, p...)
			for len(p) > 0 {
				n := min(len(p), maxRecord)
				more := m.seal(p[:n])
				for range len(more) - 1 {
					ends = append(ends, len(in)-len(p))
				}
				ends = append(ends, len(in)-len(p)+n)
				records = append(records, more...)
				p = p[n:]
			}
		}
		for at := 0; at < len(records); {
			n := min(len(records)-at, 1+r.IntN([]int{5, 100, 20_000, 200_000}[r.IntN(4)]))
			l.Deliver(k, records[at:at+n])
			if at += n; h.heard() != ends[at-1] {
				t.Fatalf("after %d bytes %d are delivered, want %d", at, h.heard(), ends[at-1])
			}
		}
		if !bytes.Equal(h.got.Bytes(), in) || h.fault != "" {
			t.Errorf("something else arrives: %s", h.fault)
		}
	}
}

// What a batch holds leaves in records of 16 KiB, whatever pieces it is made of.
func TestBatchesLeaveInFullRecords(t *testing.T) {
	for name, stage := range map[string]func(x *Outbox, p []byte){
		"copied": func(x *Outbox, p []byte) { x.B = append(x.B, p...) },
		"one piece between": func(x *Outbox, p []byte) {
			x.B = append(x.B, p[:100]...)
			x.Add(p[100:len(p)-7], nil)
			x.B = append(x.B, p[len(p)-7:]...)
		},
		"many pieces": func(x *Outbox, p []byte) {
			for len(p) > 0 {
				n := min(len(p), 5000)
				x.B = append(x.B, p[:9]...)
				x.Add(p[9:n], nil)
				p = p[n:]
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, k, m, fd := sealedManual(t, tls.VersionTLS13, &tape{})
			want := pattern(100_000)
			was := k.Written()
			l.Station().Post(func() {
				stage(k.Outbox(), want)
				if got, max := k.Staged(), k.tls.size(len(want)); got != max {
					t.Errorf("%d bytes are staged, want %d", got, max)
				}
			})
			l.RunTurn()
			out := sent(fd)
			if n := k.Written() - was; n != uint64(len(out)) || int(n) != k.tls.size(len(want)) {
				t.Errorf("%d bytes written, %d arrive, want %d", n, len(out), k.tls.size(len(want)))
			}
			var lengths []int
			for w := (walk{}); len(out) > 0; {
				n, _ := w.step(out)
				lengths = append(lengths, n)
				m.in = append(m.in, out[:n]...)
				out = out[n:]
			}
			if len(lengths) != 7 || lengths[0] != maxRecord+22 {
				t.Errorf("records of %d bytes", lengths)
			}
			if got, err := m.open(m.in); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes arrive: %v", len(got), err)
			}
		})
	}
}

// A peer that reads nothing blocks the socket as in the clear, and gets everything when it reads.
func TestSealedSocketBlocksAndGoesOn(t *testing.T) {
	h := &tape{}
	l, k, m, fd := sealedManual(t, tls.VersionTLS13, h)
	var want []byte
	l.Station().Post(func() {
		for k.Takes() {
			p := pattern(OutboxSize)
			want = append(want, p...)
			h.stage(p)
			k.Flush()
		}
		want = append(want, "and this"...) // staged while it is blocked
		h.stage([]byte("and this"))
	})
	l.RunTurn()
	if !k.Blocked() || k.Waiting() == 0 || k.Staged() == 0 || l.Blocked() != 1 {
		t.Fatalf("blocked %v, %d wait, %d staged", k.Blocked(), k.Waiting(), k.Staged())
	}
	var got []byte
	for len(got) < len(want) {
		p, err := m.open(sent(fd))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p...)
		l.Ready()
	}
	if !bytes.Equal(got, want) || k.Blocked() || k.Waiting() != 0 || l.Blocked() != 0 || !h.has("writable") {
		t.Errorf("%d of %d bytes, blocked %v, %d wait", len(got), len(want), k.Blocked(), k.Waiting())
	}
}

// A close_notify ends a direction as a FIN does. Rules: P-tls-6.
func TestCloseNotifyEndsTheInput(t *testing.T) {
	for _, more := range []bool{false, true} {
		h := &tape{more: more}
		l, k, m, fd := sealedManual(t, tls.VersionTLS13, h)
		m.seal([]byte("the last words"))
		_ = m.conn.CloseWrite()
		records := m.out
		l.Deliver(k, append(records, "what follows is no record"...))
		if got := h.got.String(); got != "the last words" || !h.has("ended") || h.has("closed") == more {
			t.Errorf("more %v: read %q, told %q", more, got, h.lines)
		}
		if more {
			l.Station().Post(func() { h.stage([]byte("an answer")); k.Flush(); k.EndOutput() })
			l.RunTurn()
			if p, err := m.open(sent(fd)); string(p) != "an answer" || err != io.EOF {
				t.Errorf("the peer reads %q and %v, want an answer and the end", p, err)
			}
			l.Station().Post(k.Close)
			l.RunTurn()
		}
		if !h.has("closed") || h.err != nil && !errors.Is(h.err, io.EOF) {
			t.Errorf("more %v: told %q, %v", more, h.lines, h.err)
		}
	}
}

// A FIN without a close_notify is no orderly end, but what was complete before it counts. Rules: P-tls-6.
func TestTruncatedInput(t *testing.T) {
	h := &tape{more: true}
	l, k, m, fd := sealedManual(t, tls.VersionTLS13, h)
	records := append(m.seal([]byte("complete")), m.seal([]byte("cut"))[:10]...)
	l.Deliver(k, records)
	l.Hangup(k, io.EOF)
	if h.got.String() != "complete" || h.has("ended") || !h.has("closed") || !errors.Is(h.err, ErrTruncated) {
		t.Errorf("read %q, told %q, %v", h.got.String(), h.lines, h.err)
	}
	if _, err := m.open(sent(fd)); err != io.EOF { // it may still read
		t.Errorf("the peer reads %v, want the end", err)
	}
}

// Close sends a close_notify, if the kernel takes it.
func TestCloseSaysSo(t *testing.T) {
	l, k, m, fd := sealedManual(t, tls.VersionTLS13, &tape{})
	l.Station().Post(func() { k.Outbox().B = append(k.Outbox().B, "bye"...); k.Flush(); k.Close() })
	l.RunTurn()
	if p, err := m.open(sent(fd)); string(p) != "bye" || err != io.EOF {
		t.Errorf("the peer reads %q and %v, want bye and the end", p, err)
	}
}

// Records that cannot be opened end the socket; the peer gets the alert, and nothing after it.
func TestBrokenRecordsEndTheSocket(t *testing.T) {
	for name, spoil := range map[string]func(r []byte) []byte{
		"changed":         func(r []byte) []byte { r[len(r)-1] ^= 1; return r },
		"no record":       func([]byte) []byte { return []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") },
		"too long":        func([]byte) []byte { return append([]byte{23, 3, 3, 255, 255}, make([]byte, 1<<16)...) },
		"twice":           func(r []byte) []byte { return append(bytes.Clone(r), r...) },
		"an empty record": func([]byte) []byte { return []byte{23, 3, 3, 0, 0} },
	} {
		t.Run(name, func(t *testing.T) {
			h := &tape{more: true}
			l, k, m, fd := sealedManual(t, tls.VersionTLS13, h)
			l.Deliver(k, spoil(m.seal([]byte("text"))))
			if !h.has("closed") || h.has("ended") || h.err == nil {
				t.Fatalf("told %q, %v", h.lines, h.err)
			}
			var op *net.OpError
			out := sent(fd)
			if n, ends := (&walk{}).step(out); n != len(out) || !ends {
				t.Errorf("%d bytes are sent, of which the alert is %d", len(out), n)
			}
			if p, err := m.open(out); len(p) > 0 || !errors.As(err, &op) || op.Op != "remote error" {
				t.Errorf("the peer reads %q and %v, want an alert", p, err)
			}
		})
	}
}

// forge seals records with the secret of one direction of TLS 1.3, of any type: crypto/tls never asks for new keys.
type forge struct {
	t      *testing.T
	suite  uint16
	secret []byte
	seq    uint64
}

// newForge takes the secret of the client from what it has logged.
func newForge(t *testing.T, m *memory) *forge {
	t.Helper()
	for line := range strings.Lines(m.keys.String()) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			secret, err := hex.DecodeString(f[2])
			if err != nil {
				t.Fatal(err)
			}
			return &forge{t: t, suite: m.conn.ConnectionState().CipherSuite, secret: secret}
		}
	}
	t.Fatal("no secret is logged")
	return nil
}

// expand is HKDF-Expand-Label, RFC 8446 section 7.1, without context.
func (f *forge) expand(label string, n int) []byte {
	label = "tls13 " + label
	info := append([]byte{byte(n >> 8), byte(n), byte(len(label))}, label...)
	b, err := hkdf.Expand(sha256.New, f.secret, string(append(info, 0)), n)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// seal returns p as a record of that type.
func (f *forge) seal(typ byte, p []byte) []byte {
	f.t.Helper()
	var aead cipher.AEAD
	var err error
	if f.suite == tls.TLS_CHACHA20_POLY1305_SHA256 {
		aead, err = chacha20poly1305.New(f.expand("key", 32))
	} else {
		var block cipher.Block
		if block, err = aes.NewCipher(f.expand("key", 16)); err == nil {
			aead, err = cipher.NewGCM(block)
		}
	}
	if err != nil {
		f.t.Fatal(err)
	}
	nonce := f.expand("iv", 12)
	for i := range 8 {
		nonce[4+i] ^= byte(f.seq >> (56 - 8*i))
	}
	f.seq++
	n := len(p) + 1 + aead.Overhead()
	head := []byte{23, 3, 3, byte(n >> 8), byte(n)}
	return aead.Seal(head, nonce, append(bytes.Clone(p), typ), head)
}

// update returns a KeyUpdate, and goes on with new keys. ask: the other side is to do the same.
func (f *forge) update(ask byte) []byte {
	r := f.seal(22, []byte{24, 0, 0, 1, ask})
	f.secret, f.seq = f.expand("traffic upd", 32), 0
	return r
}

// Keys may change at any time, in both directions, also where the message is cut.
func TestKeysChange(t *testing.T) {
	for _, cut := range []bool{false, true} {
		h := &tape{}
		l, k, m, fd := sealedManual(t, tls.VersionTLS13, h)
		f := newForge(t, m)
		in := f.seal(23, []byte("before "))
		if in = append(in, f.update(1)...); cut {
			in = append(in, f.seal(22, []byte{24, 0})...)
			in = append(in, f.seal(22, []byte{0, 1, 0})...)
			f.secret, f.seq = f.expand("traffic upd", 32), 0
		}
		in = append(in, f.seal(23, []byte("after"))...)
		for i := range in {
			l.Deliver(k, in[i:i+1])
		}
		if got := h.got.String(); got != "before after" || h.has("closed") {
			t.Errorf("cut %v: read %q, %v", cut, got, h.err)
		}
		l.Station().Post(func() { h.stage([]byte("with new keys")) })
		l.RunTurn()
		if p, err := m.open(sent(fd)); string(p) != "with new keys" || err != nil {
			t.Errorf("cut %v: the peer reads %q, %v", cut, p, err)
		}
	}
}

// A peer that has keys changed and reads none of the answers is ended before they take much memory.
func TestAnswersThatNobodyReadsAreBounded(t *testing.T) {
	h := &tape{}
	l, k, m, _ := sealedManual(t, tls.VersionTLS13, h)
	l.fill(k)
	if !k.Blocked() {
		t.Fatal("not blocked")
	}
	f := newForge(t, m)
	most := 0
	for i := 0; !h.has("muted"); i++ {
		if i > 10_000 {
			t.Fatalf("%d bytes of answers wait", len(k.tls.out))
		}
		l.Deliver(k, append(f.seal(23, []byte("x")), f.update(1)...))
		most = max(most, len(k.tls.out))
	}
	if most < maxAnswers/2 || most > 2*maxAnswers || !errors.Is(k.err, errAnswers) {
		t.Errorf("%d bytes of answers waited, %v", most, k.err)
	}
}

// After our close_notify nothing is said, whatever the peer asks for, and nothing is kept of it.
func TestNothingFollowsTheEndOfOutput(t *testing.T) {
	h := &tape{}
	l, k, m, fd := sealedManual(t, tls.VersionTLS13, h)
	l.Station().Post(k.EndOutput)
	l.RunTurn()
	if _, err := m.open(sent(fd)); err != io.EOF {
		t.Errorf("the peer reads %v, want the end", err)
	}
	f := newForge(t, m)
	for range 10 {
		l.Deliver(k, append(f.update(1), f.seal(23, []byte("x"))...))
	}
	if h.heard() != 10 || len(k.tls.out) > 0 || len(sent(fd)) > 0 {
		t.Errorf("%d bytes read, %d wait", h.heard(), len(k.tls.out))
	}
}

// Where the kernel has no room for a close_notify, it goes out when there is some, and the FIN after it.
func TestEndOfOutputWaitsForRoom(t *testing.T) {
	l, k, m, fd := sealedManual(t, tls.VersionTLS13, &tape{})
	for b := make([]byte, 1<<20); len(b) > 0; { // to the last byte
		if n, err := write(k.Descriptor(), b); n == 0 || err != nil {
			b = b[:len(b)/2]
		}
	}
	l.Station().Post(k.EndOutput)
	l.RunTurn()
	if !k.Blocked() || !k.OutputEnded() {
		t.Fatalf("blocked %v, ended %v", k.Blocked(), k.OutputEnded())
	}
	sent(fd)
	l.Ready()
	b := make([]byte, 100)
	n, err := unix.Read(fd, b)
	if err != nil || k.Blocked() {
		t.Fatalf("blocked %v, %v", k.Blocked(), err)
	}
	if _, err := m.open(b[:n]); err != io.EOF {
		t.Errorf("the peer reads %v, want a close_notify", err)
	}
	if n, err := unix.Read(fd, b); n != 0 || err != nil {
		t.Errorf("then it reads %d bytes, %v, want the end", n, err)
	}
}

// Output of every kind is written to in a socket's life; none of it stays in pools. With the tag invariants pool.Live
// counts.
func TestSealedSocketsGiveEverythingBack(t *testing.T) {
	before := pool.Live()
	h := &tape{}
	l, k, _, _ := sealedManual(t, tls.VersionTLS13, h)
	b := pool.Get(300_000)
	b.B = append(b.B, pattern(300_000)...)
	l.Station().Post(func() {
		for k.Takes() {
			k.Outbox().Add(b.B, b)
			k.Flush()
		}
		k.Outbox().Add(b.B, b)
	})
	l.RunTurn()
	l.Hangup(k, unix.ECONNRESET)
	b.Release()
	if n := pool.Live(); n != before || !h.has("closed") {
		t.Errorf("%d buffers are never released", n-before)
	}
}
