package client

import (
	"crypto/tls"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
	"github.com/seed31b3bfd0/slimgo/router"
)

// By each transport of a node the same messages go out and come back: one way in, all ways out.
func TestAllTransportsCarryTheSame(t *testing.T) {
	issuer := certstest.NewIssuer(t, "authority", false)
	leaf := certstest.Leaf("node")
	leaf.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	own := issuer.TLS(leaf)
	plain := &tls.Config{Certificates: []tls.Certificate{own}, NextProtos: []string{"h2", "http/1.1"}}
	demanding := plain.Clone()
	demanding.ClientCAs, demanding.ClientAuth = issuer.Pool(), tls.RequireAndVerifyClientCert
	path := filepath.Join(t.TempDir(), "node.sock")
	n, err := router.Start(t.Context(), router.Options{
		NegotiationTimeout: time.Minute, // nobody is turned away for want of a processor
		Listen:             []string{"127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "ws://127.0.0.1:0/slim", "wss://127.0.0.1:0", "unix://" + path},
		TLS:                []*tls.Config{nil, plain, demanding, nil, plain, nil}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	at := func(i int) string { return n.Addrs()[i].String() }
	ours := &tls.Config{RootCAs: issuer.Pool(), Certificates: []tls.Certificate{own}}
	var conns []*Conn
	join := func(addr string, d Dialer, o load.DialOptions) *Conn {
		t.Helper()
		c, err := d.Dial(t.Context(), addr, o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close(); <-c.(*Conn).Done() })
		conns = append(conns, c.(*Conn))
		return c.(*Conn)
	}
	const count = 200
	group := address("group", 0)
	var sinks []*arrivals
	for _, w := range []struct {
		addr string
		d    Dialer
		o    load.DialOptions
	}{
		{at(0), Dialer{}, load.DialOptions{}},
		{"http://" + at(0), Dialer{}, load.DialOptions{}},
		{"https://" + at(1), Dialer{TLS: ours}, load.DialOptions{}},
		{"https://" + at(1), Dialer{TLS: &tls.Config{InsecureSkipVerify: true}}, load.DialOptions{}}, //nolint:gosec // what --insecure does
		{"https://" + at(2), Dialer{}, load.DialOptions{TLS: ours}},
		{"ws://" + at(3) + "/slim?token=x", Dialer{}, load.DialOptions{}},
		{"wss://" + at(4), Dialer{TLS: ours}, load.DialOptions{}},
		{"unix://" + path, Dialer{}, load.DialOptions{}},
	} {
		sink := expect(count)
		w.o.Sink = sink
		if _, err := join(w.addr, w.d, w.o).Subscribe(t.Context(), 1, 0, func(int) load.Address { return group }); err != nil {
			t.Fatal(err)
		}
		sinks = append(sinks, sink)
	}
	sender := join("wss://"+at(4), Dialer{TLS: ours}, load.DialOptions{})
	pub, err := sender.Publisher(load.Message{Sender: 1, To: []load.Address{group}, All: true, Size: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(count) {
		if err := pub.Send(i, 1, load.Now(), 0); err != nil {
			t.Fatal(err)
		}
	}
	for i, s := range sinks {
		s.wait(t, conns...)
		if got := s.From(1).Seen(); got.Next != count || got.Missing+got.Duplicates+got.Reordered != 0 || s.Arrivals().Changed != 0 {
			t.Errorf("way %d: %+v", i, got)
		}
	}
	if _, err := (Dialer{TLS: &tls.Config{RootCAs: issuer.Pool()}}).Dial(t.Context(), "https://"+at(2), load.DialOptions{}); err == nil {
		t.Error("without a certificate, where one is demanded")
	}
}
