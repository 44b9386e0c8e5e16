package netloop

import (
	"bytes"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// refusals collects what Acceptance.Refused hears.
type refusals struct {
	mu  sync.Mutex
	all []*HandshakeError
}

func (r *refusals) add(_ *Listener, e *HandshakeError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, e)
}

func (r *refusals) list() []*HandshakeError {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]*HandshakeError(nil), r.all...)
}

// Handshakes that stall are given up at their deadline, and keep nobody else waiting meanwhile.
func TestHandshakesThatStallEnd(t *testing.T) {
	t.Parallel() // beside those that wait
	r := rig(t, Options{})
	server, client := serving(t)
	var said refusals
	h := &tape{}
	var asked atomic.Int32
	a := Acceptance{TLS: server, Timeout: 300 * time.Millisecond, Refused: said.add, Handler: func(*Loop) Handler { return h },
		Full: func() bool { asked.Add(1); return false }}
	ln, _ := r.listen(a)
	const stalled = 100
	var peers []net.Conn
	for i := range stalled {
		c := r.connect(ln)
		if i%2 == 1 { // half of a record
			if _, err := c.Write([]byte{22, 3, 1, 0, 200, 1, 0, 0}); err != nil {
				t.Fatal(err)
			}
		}
		peers = append(peers, c)
	}
	eventually(t, "all are taken", func() bool { return asked.Load() == stalled+1 })
	a.Timeout = 2 * hang // a good one may take long
	ln.Change(a)
	good := tls.Client(r.connect(ln), client)
	if err := good.Handshake(); err != nil {
		t.Fatalf("beside %d that stall: %v", stalled, err)
	}
	eventually(t, "the good one is opened", func() bool { return h.has("opened") })
	eventually(t, "all are given up", func() bool { return len(said.list()) == stalled })
	for _, e := range said.list() {
		if e.Fault != HandshakeTimeout || !strings.Contains(e.Text, "not complete after 300ms, in which ") {
			t.Errorf("fault %d: %v", e.Fault, e)
		}
	}
	for _, c := range peers {
		_ = c.SetReadDeadline(time.Now().Add(hang))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a peer that stalls reads %v, want the end", err)
		}
	}
	eventually(t, "only the good one counts", func() bool { return r.e.Loops()[0].Sockets() == 1 })
	_ = good.Close()
	eventually(t, "it is closed", func() bool { return h.has("closed") })
}

// Whoever waits for a peer's bytes counts as a socket: Acceptance.Full bounds them.
func TestHandshakesCountAsSockets(t *testing.T) {
	r := rig(t, Options{})
	server, _ := serving(t)
	l := r.e.Loops()[0]
	full := make(chan struct{}, 1)
	ln, _ := r.listen(Acceptance{TLS: server, Handler: func(*Loop) Handler { return &tape{} },
		Full:   func() bool { return l.Sockets() >= 3 },
		Failed: func(*Listener, error) { full <- struct{}{} }})
	for range 5 {
		r.connect(ln)
	}
	<-full
	if n := l.Sockets(); n != 3 {
		t.Errorf("%d sockets, want 3", n)
	}
}

// slowKey is a key that counts who signs at the same time, and waits for others to come.
type slowKey struct {
	crypto.Signer
	now, most atomic.Int64
}

func (k *slowKey) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	n := k.now.Add(1)
	defer k.now.Add(-1)
	for most := k.most.Load(); n > most && !k.most.CompareAndSwap(most, n); most = k.most.Load() {
	}
	for range 100 { // others that might come have their turn
		runtime.Gosched()
	}
	return k.Signer.Sign(r, digest, o)
}

// However many handshakes run, few compute.
func TestFewHandshakesComputeAtATime(t *testing.T) {
	r := rig(t, Options{})
	server, client := serving(t)
	k := &slowKey{Signer: server.Certificates[0].PrivateKey.(crypto.Signer)}
	server.Certificates[0].PrivateKey = k
	ln, _ := r.listen(Acceptance{TLS: server, Handler: func(*Loop) Handler { return &tape{} }, Refused: func(_ *Listener, e *HandshakeError) { t.Error(e) }})
	var wg sync.WaitGroup
	for range 40 {
		c := tls.Client(r.connect(ln), client)
		wg.Go(func() {
			if err := c.Handshake(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most, turns := k.most.Load(), int64(cap(r.e.turns)); most > turns || most == 0 {
		t.Errorf("%d compute at a time, want %d at most", most, turns)
	}
	eventually(t, "all turns are given back", func() bool { return len(r.e.turns) == 0 }) // servers end after their clients
}

// Who has its turn when its time is over does not use it.
func TestLateTurnIsNotUsed(t *testing.T) {
	h := &handshake{turns: make(chan struct{}, 1), deadline: time.Now().Add(-time.Second)}
	if err := h.begin(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("begin: %v", err)
	}
	if h.end(); len(h.turns) != 0 {
		t.Error("the turn is kept")
	}
}

// A listener that closes gives up its handshakes: whoever dials tries again elsewhere, and nothing is enrolled later.
func TestClosedListenerEndsItsHandshakes(t *testing.T) {
	givesBack(t)
	r := rig(t, Options{})
	server, _ := serving(t)
	var said refusals
	ln, over := r.listen(Acceptance{TLS: server, Timeout: 2 * hang, Refused: said.add, Handler: func(*Loop) Handler { return &tape{} }})
	l := r.e.Loops()[0]
	var peers []net.Conn
	for range 10 {
		peers = append(peers, r.connect(ln))
	}
	eventually(t, "all have begun", func() bool { return l.Sockets() == len(peers) })
	ln.Close()
	select {
	case <-over:
	case <-time.After(hang):
		t.Fatal("Accept waits for handshakes that stall")
	}
	if n := l.Sockets(); n != 0 {
		t.Errorf("%d sockets are left", n)
	}
	if n := len(said.list()); n != 0 {
		t.Errorf("%d faults are told that are our own: %v", n, said.list()[0])
	}
}

// The same if a handshake is about to begin.
func TestHandshakeOfAClosedListenerEndsBeforeItBegins(t *testing.T) {
	ours, _ := tcpPair(t)
	var hs handshakes
	deadline := time.Now().Add(2 * hang)
	if !hs.add(ours, deadline) {
		t.Fatal("a listener takes nothing")
	}
	hs.end()
	done := make(chan *HandshakeError, 1)
	go func() {
		_, err := shake(ours, false, new(tls.Config), make(chan struct{}, 1), time.Now(), deadline)
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || err.Fault != HandshakeTimeout {
			t.Errorf("got %v", err)
		}
	case <-time.After(hang):
		t.Fatal("the handshake waits for its peer")
	}
	if hs.add(ours, deadline) {
		t.Error("a listener that is closed takes another")
	}
}

// A panic in a handshake costs that connection.
func TestPanicInAHandshakeCostsOneConnection(t *testing.T) {
	r := rig(t, Options{})
	server, client := serving(t)
	var calls atomic.Int64
	ln, _ := r.listen(Acceptance{Handler: func(*Loop) Handler { return &tape{} }, TLS: &tls.Config{
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			if calls.Add(1) == 1 {
				panic("broken")
			}
			return server, nil
		}}})
	if err := tls.Client(r.connect(ln), client).Handshake(); err == nil {
		t.Error("the first comes in")
	}
	if err := tls.Client(r.connect(ln), client).Handshake(); err != nil {
		t.Errorf("the second: %v", err)
	}
	eventually(t, "one is left", func() bool { return r.e.Loops()[0].Sockets() == 1 })
	eventually(t, "all turns are given back", func() bool { return len(r.e.turns) == 0 })
	if n := r.boss.panics.Load(); n != 1 {
		t.Errorf("%d panics are reported", n)
	}
}

// A handshake is short: a peer that sends more and more takes no more memory.
func TestLongHandshakesEnd(t *testing.T) {
	r := rig(t, Options{})
	server, client := serving(t)
	clients := certstest.NewIssuer(t, "clients", false)
	server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, clients.Pool()
	pair := clients.TLS(certstest.Leaf("app"))
	for _, size := range []int{16 << 10, 80 << 10} { // of the certificates that the client shows
		for n := len(pair.Certificate[0]); n < size; n += len(clients.Cert.Raw) {
			pair.Certificate = append(pair.Certificate, clients.Cert.Raw)
		}
		client.Certificates = []tls.Certificate{pair}
		var said refusals
		h := &tape{}
		ln, _ := r.listen(Acceptance{TLS: server, Refused: said.add, Handler: func(*Loop) Handler { return h }})
		_ = tls.Client(r.connect(ln), client).Handshake()
		if size < maxHandshake {
			eventually(t, "it is opened", func() bool { return h.has("opened") })
			continue
		}
		eventually(t, "it is refused", func() bool { return len(said.list()) == 1 })
		if e := said.list()[0]; e.Fault != HandshakeBroken || !errors.Is(e, errLong) {
			t.Errorf("fault %d: %v", e.Fault, e)
		}
	}
}

// The certificate that is not accepted is told, and a name that is as long as names may be does not fill the log.
func TestHandshakeErrorNamesTheCertificate(t *testing.T) {
	r := rig(t, Options{})
	server, client := serving(t)
	clients, others := certstest.NewIssuer(t, "clients", false), certstest.NewIssuer(t, strings.Repeat("others", 500), false)
	server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, clients.Pool()
	pair := others.TLS(certstest.Leaf("stranger"))
	client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	var said refusals
	ln, _ := r.listen(Acceptance{TLS: server, Refused: said.add, Handler: func(*Loop) Handler { return &tape{} }})
	c := tls.Client(r.connect(ln), client)
	_ = c.Handshake()
	eventually(t, "it is refused", func() bool { return len(said.list()) == 1 })
	e := said.list()[0]
	var unknown x509.UnknownAuthorityError
	if e.Fault != HandshakeCertificate || e.Cert == nil || e.Cert.Subject.CommonName != "stranger" || len(e.Text) > maxText ||
		e.Server != "localhost" || !errors.As(e, &unknown) {
		t.Errorf("%+v", e)
	}
	var alert *net.OpError
	if _, err := io.Copy(io.Discard, c); !errors.As(err, &alert) || alert.Op != "remote error" {
		t.Errorf("the peer reads %v, want an alert", err)
	}
}

// What crypto/tls does with a Temporary error is what sealed lives on: a read that finds part of a record can be
// repeated when the rest is there, and finds what it has left.
func TestCryptoTLSDoesNotLatchTemporaryErrors(t *testing.T) {
	for name, version := range map[string]uint16{"1.3": tls.VersionTLS13, "1.2": tls.VersionTLS12} {
		t.Run(name, func(t *testing.T) {
			k, client := shakenInMemory(t, version, &tape{})
			text := bytes.Repeat([]byte("text"), 3000)
			records := client.seal(text)
			s := k.tls
			got := make([]byte, 0, len(text))
			buf := make([]byte, maxRecord)
			for i := range records { // one byte at a time
				s.in = records[i : i+1]
				n, err := s.conn.Read(buf)
				if got = append(got, buf[:n]...); err != nil && err != error(errDry) {
					t.Fatalf("after %d of %d bytes: %v", i+1, len(records), err)
				}
			}
			if !bytes.Equal(got, text) {
				t.Errorf("%d of %d bytes", len(got), len(text))
			}
		})
	}
}
