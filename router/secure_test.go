package router

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
	"github.com/seed31b3bfd0/slimgo/router/netloop"
)

// long asks for many repetitions of what go test tries a few times, as CI does.
var long = os.Getenv("SLIMGO_TEST_LONG") != ""

// secureEnv has all peers of all rigs speak TLS: pressure, order, limits and ends are to be the same.
const secureEnv = "SLIMGO_TEST_TLS"

// secrets are one node's TLS and that of a client that trusts it.
type secrets struct{ server, client *tls.Config }

func makeSecrets(t testing.TB) *secrets {
	t.Helper()
	ca := certstest.NewIssuer(t, "ca", false)
	return &secrets{
		&tls.Config{Certificates: []tls.Certificate{ca.TLS(certstest.Leaf("node"))}, DynamicRecordSizingDisabled: true},
		&tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", DynamicRecordSizingDisabled: true},
	}
}

// shared are made once: most tests do not care whose they are.
var shared struct {
	once sync.Once
	*secrets
}

func sharedSecrets(t testing.TB) *secrets {
	shared.once.Do(func() {
		shared.secrets = makeSecrets(t)
		made := time.Now()
		shared.client.Time = func() time.Time { return made } // tests may have clocks of their own
	})
	return shared.secrets
}

// memoryTLS is a client's TLS, over memory after its handshake.
type memoryTLS struct {
	net.Conn // of the handshake
	over     bool
	conn     *tls.Conn
	in, out  []byte
	plain    []byte
}

// errEmpty is what a memoryTLS reads that holds nothing; it is temporary.
var errEmpty net.Error = empty{}

type empty struct{}

func (empty) Error() string   { return "nothing there" }
func (empty) Timeout() bool   { return false }
func (empty) Temporary() bool { return true }

func (m *memoryTLS) Read(p []byte) (int, error) {
	switch {
	case !m.over:
		return m.Conn.Read(p)
	case len(m.in) == 0:
		return 0, errEmpty
	}
	n := copy(p, m.in)
	m.in = m.in[n:]
	return n, nil
}

func (m *memoryTLS) Write(p []byte) (int, error) {
	if !m.over {
		return m.Conn.Write(p)
	}
	m.out = append(m.out, p...)
	return len(p), nil
}

// attachTLS attaches a descriptor with TLS to a loop, and returns the client's.
func attachTLS(t testing.TB, l *netloop.Manual, fd int, h netloop.Handler) (*netloop.Socket, *memoryTLS) {
	t.Helper()
	s := sharedSecrets(t)
	here, there := net.Pipe()
	m := &memoryTLS{Conn: there, plain: make([]byte, 32<<10)}
	client := s.client.Clone()
	client.SessionTicketsDisabled = true
	m.conn = tls.Client(m, client)
	done := make(chan error, 1)
	go func() {
		err := m.conn.Handshake()
		if err != nil {
			_ = there.Close()
		}
		done <- err
	}()
	server := s.server.Clone()
	server.SessionTicketsDisabled = true
	k, err := l.AttachTLS(fd, here, server, h)
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	m.over = true
	return k, m
}

// seal returns the records of b, which are good until the next call.
func (m *memoryTLS) seal(b []byte) []byte {
	m.out = m.out[:0]
	_, _ = m.conn.Write(b)
	return m.out
}

// end returns a close_notify.
func (m *memoryTLS) end() []byte {
	m.out = m.out[:0]
	_ = m.conn.CloseWrite()
	return m.out
}

// open returns what is in records; the last may be incomplete.
func (m *memoryTLS) open(b []byte) []byte {
	m.in = b
	n := 0
	for {
		if len(m.plain)-n < 16<<10 {
			m.plain = append(m.plain, make([]byte, len(m.plain))...)
		}
		k, err := m.conn.Read(m.plain[n:])
		if n += k; err != nil {
			return m.plain[:n]
		}
	}
}

// What the rest of this package's tests say of peers in memory holds for peers with TLS: some for each part of the way are
// run again here, more where long runs are asked for, all of them with secureEnv.
func TestPeersWithTLSAreLikeOthers(t *testing.T) {
	t.Parallel() // it waits for most of its time
	if os.Getenv(secureEnv) != "" {
		return
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	run := "HalfClose|PublishArrives|EachReason|OrderHolds|SocketThatDies|FanoutReaches|SlowSender"
	if long {
		run += "|AcknowledgementsNobody|HoldsItsGroup|HoldingOthers|LargestQueue|Lumps|Overtakes|ConnBufferBounds|QueuedMessages"
	}
	cmd := exec.Command(exe, "-test.run", run)
	cmd.Env = append(os.Environ(), secureEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Rules: P-tls-1.
func TestMessagesCrossByTLS(t *testing.T) {
	for name, version := range map[string]uint16{"1.3": tls.VersionTLS13, "1.2": tls.VersionTLS12} {
		t.Run(name, func(t *testing.T) {
			server := sharedSecrets(t).server.Clone()
			server.MinVersion, server.MaxVersion = version, version
			var log syncBuffer
			n := start(t, Options{Loops: 2, TLS: []*tls.Config{server}, Log: slog.New(slog.NewTextHandler(&log, nil))})
			a, b := call(t, n), call(t, n)
			b.subscribe(bob)
			for i, size := range []int{8, 100, 5_000, 20_000, 300_000, 3 << 20, 8} {
				a.send(publication(a.sign(header(alice, bob, 1, "x")), i, size))
				b.await(func() bool { return len(b.got) == 1 })
				if got := decode(t, b.got[0]).GetPublish().GetMsg().GetAppPayload().Blob; len(got) != size || binary.BigEndian.Uint64(got) != uint64(i) {
					t.Errorf("message %d of %d bytes arrives with %d", i, size, len(got))
				}
				b.got = nil
			}
			if want := "tls=" + name; !strings.Contains(log.String(), want) {
				t.Errorf("the log does not say %q:\n%s", want, &log)
			}
			// The end is orderly, both ways.
			if err := a.c.(*tls.Conn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			a.await(func() bool { return a.end != nil })
			if n, err := io.Copy(io.Discard, a.c); err != nil {
				t.Errorf("after the end: %d bytes, %v", n, err)
			}
		})
	}
}

// The time for a negotiation begins with the acceptance of the socket: a handshake that took long leaves less of it.
// Rules: P-tr-10.
func TestHandshakeAndNegotiationShareADeadline(t *testing.T) {
	sharedSecrets(t)
	synctest.Test(t, func(t *testing.T) { // a handshake is timed by the real clock, which stands still here
		for _, secure := range []bool{false, true} {
			r := newRig(t, 1, Options{})
			r.secure = secure
			r.seconds(9) // the loop's clock is so far ahead of that which the handshake has been measured by
			p := r.connect(0)
			r.seconds(2)
			if p.exchange(); p.shut() != secure {
				t.Errorf("TLS %v: closed %v two seconds after the handshake, eleven after the acceptance", secure, p.shut())
			}
		}
	})
}

// No message is lost while certificates are replaced, and nobody notices who is there.
func TestCertificatesRotateUnderLoad(t *testing.T) {
	rotations := 20
	if long {
		rotations = 100
	}
	s := sharedSecrets(t)
	ca := certstest.NewIssuer(t, "rotating", false)
	var current atomic.Pointer[tls.Config]
	next := func() {
		current.Store(&tls.Config{Certificates: []tls.Certificate{ca.TLS(certstest.Leaf("node"))}, DynamicRecordSizingDisabled: true})
	}
	current.Store(s.server)
	n := start(t, Options{Loops: 2, TLS: []*tls.Config{{DynamicRecordSizingDisabled: true,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current.Load(), nil }}}})
	a, b := call(t, n), call(t, n)
	b.subscribe(bob)
	got := 0
	for i := range rotations {
		next()
		for range 10 {
			a.send(publication(a.sign(header(alice, bob, 1, "x")), i, 1000))
		}
		c, err := tls.Dial("tcp", n.Addrs()[0].String(), &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		b.await(func() bool { return len(b.got) >= 10 })
		got += len(b.got)
		b.got = nil
	}
	if st := n.Stats(); got != 10*rotations || len(st.Dropped) > 0 || len(st.Refused) > 0 {
		t.Errorf("%d of %d messages, dropped %v, refused %v", got, 10*rotations, st.Dropped, st.Refused)
	}
}

// Each handshake that fails is counted under its reason, and said with what an operator must know.
func TestHandshakesThatFailAreCountedAndLogged(t *testing.T) {
	ca, clients, others := certstest.NewIssuer(t, "ca", false), certstest.NewIssuer(t, "clients", false), certstest.NewIssuer(t, "others", false)
	var b syncBuffer
	n := start(t, Options{Log: slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug})), TLS: []*tls.Config{{
		Certificates: []tls.Certificate{ca.TLS(certstest.Leaf("node"))}, MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: clients.Pool()}}})
	good := func() *tls.Config {
		return &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", Certificates: []tls.Certificate{clients.TLS(certstest.Leaf("app"))}}
	}
	with := func(change func(*tls.Config)) func(net.Conn) {
		return func(c net.Conn) {
			config := good()
			change(config)
			s := tls.Client(c, config)
			_ = s.Handshake()
			_, _ = s.Read(make([]byte, 1))
		}
	}
	say := func(text string) func(net.Conn) {
		return func(c net.Conn) {
			_, _ = io.WriteString(c, text)
			_, _ = io.Copy(io.Discard, c)
		}
	}
	of := func(i *certstest.Issuer, c *x509.Certificate) func(*tls.Config) {
		return func(config *tls.Config) {
			pair := i.TLS(c)
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
	}
	for _, c := range []struct {
		name string
		do   func(net.Conn)
		want Reason
		says []string // in the log
	}{
		{"HTTP/2", say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ReasonTLSPlain, []string{"HTTP/2 without TLS", "level=WARN"}},
		{"HTTP/1", say("GET / HTTP/1.1\r\n\r\n"), ReasonTLSPlain, []string{"HTTP/1 without TLS"}},
		{"noise", say("\x00\x01\x02\x03\x04\x05\x06"), ReasonTLSPlain, []string{"the peer speaks no TLS"}},
		{"another version", with(func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }), ReasonTLSMismatch, []string{"unsupported versions"}},
		{"no key exchange in common", say(helloWithout(t)), ReasonTLSMismatch, nil},
		{"no certificate", with(func(c *tls.Config) { c.Certificates = nil }), ReasonTLSCertificate, []string{"shows no certificate", "server_name=localhost"}},
		{"an expired one", with(of(clients, certstest.Expired("late"))), ReasonTLSCertificate, []string{"expired", "subject=\"CN=late\"", "issuer=\"CN=clients\"", "not_after="}},
		{"a foreign one", with(of(others, certstest.Leaf("stranger"))), ReasonTLSCertificate, []string{"unknown authority", "subject=\"CN=stranger\"", "issuer=\"CN=others\""}},
		{"who does not trust us", with(func(c *tls.Config) { c.RootCAs = others.Pool() }), ReasonTLSRefused, []string{"bad certificate"}},
		{"who comes and goes", func(c net.Conn) { _ = c.Close() }, ReasonTLSReset, []string{"level=DEBUG", "after 0 bytes"}},
		{"who breaks off", func(c net.Conn) { _, _ = io.WriteString(c, "\x16\x03\x01\x02\x00\x01"); _ = c.Close() }, ReasonTLSReset, []string{"after 6 bytes"}},
		{"broken records", say("\x16\x03\x01\x00\x04\x01\x00\x00\x00"), ReasonTLS, nil},
	} {
		before := n.Stats().Refused[c.want]
		b.reset()
		conn, err := net.Dial("tcp", n.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(hang))
		c.do(conn)
		_ = conn.Close()
		until(t, c.name+" is counted as "+c.want.String(), func() bool { return n.Stats().Refused[c.want] > before })
		until(t, c.name+" is logged", func() bool { return strings.Contains(b.String(), "TLS handshake failed") })
		for _, text := range append(c.says, "reason="+c.want.String(), "remote=127.0.0.1:", "endpoint=127.0.0.1:") {
			if !strings.Contains(b.String(), text) {
				t.Errorf("%s: the log does not say %q:\n%s", c.name, text, &b)
			}
		}
	}
	n.handshakeFailed(n.listening.all[0].ln, &netloop.HandshakeError{Fault: netloop.HandshakeTimeout, Remote: "1.2.3.4:5", Text: "late"})
	want := map[Reason]uint64{ReasonTLS: 1, ReasonTLSTimeout: 1, ReasonTLSPlain: 3, ReasonTLSMismatch: 2, ReasonTLSCertificate: 3,
		ReasonTLSRefused: 1, ReasonTLSReset: 2}
	if got := n.Stats().Refused; !maps.Equal(got, want) {
		t.Errorf("refused %v, want %v", got, want)
	}
	noted := map[Reason]uint64{}
	rows, _, err := n.Trouble(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range rows {
		noted[x.Reason] = x.Count
		if x.Text == "" || x.Endpoint != n.Addrs()[0].String() || x.Last.Before(x.First) {
			t.Errorf("noted for who looks: %+v", x)
		}
		if x.Reason == ReasonTLSCertificate && !strings.Contains(x.Text, "CN=stranger, made by CN=others, good until ") {
			t.Errorf("whose certificate it is, is not told: %s", x.Text)
		}
	}
	if !maps.Equal(noted, want) || len(rows) != len(want) {
		t.Errorf("noted are %v in %d rows, want %v", noted, len(rows), want)
	}
	until(t, "no socket is left", func() bool { return n.Stats().Sockets == 0 })
	// And who is as it must be comes in.
	c, err := tls.Dial("tcp", n.Addrs()[0].String(), good())
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(hang))
	if _, err := io.ReadFull(c, make([]byte, 9)); err != nil {
		t.Errorf("a good client: %v", err)
	}
	_ = c.Close()
}

// helloWithout returns the first record of a client whose only key exchange no node has.
func helloWithout(t *testing.T) string {
	t.Helper()
	here, there := net.Pipe()
	defer func() { _ = there.Close() }()
	go func() {
		_ = tls.Client(here, &tls.Config{ServerName: "localhost", CurvePreferences: []tls.CurveID{tls.CurveP521}, MinVersion: tls.VersionTLS13}).Handshake()
		_ = here.Close()
	}()
	b := make([]byte, 8<<10)
	n, err := there.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b[:n]), "\x00\x19", "\x7a\x7a") // P-521, which crypto/tls has
}
