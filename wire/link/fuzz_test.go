package link

import (
	"bytes"
	"errors"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// checkOutcome holds what every Step promises: nothing but its result, or one of the two errors and nothing else.
func checkOutcome(t *testing.T, m *Machine, c *Config, out []byte, err error) {
	t.Helper()
	r := m.Result()
	if err != nil {
		var pe *PeerError
		if !errors.As(err, &pe) || pe.Reason == 0 || pe.Reason >= numReasons {
			t.Fatalf("error %v is no PeerError with a reason", err)
		}
		if len(out) != 0 || r.Key != nil || r.LinkID != "" {
			t.Fatalf("output %x or a result after %v", out, err)
		}
		return
	}
	if r.LinkID == "" || len(r.LinkID) > maxText || !strictVersion(r.RemoteVersion) || r.Kind > wire.LinkEdge {
		t.Fatalf("result %+v", r)
	}
	if len(r.Key) != 0 && len(r.Key) != 32 || len(r.Key) == 0 && (c.Strict || c.EnforcePQC) || c.EnforcePQC && !r.Hybrid {
		t.Fatalf("key of %d bytes, hybrid %v, strict %v, PQC %v", len(r.Key), r.Hybrid, c.Strict, c.EnforcePQC)
	}
	if _, err := m.Step(nil, nil); !errors.Is(err, ErrOver) {
		t.Fatalf("a second message gives %v", err)
	}
}

// requests are the acceptor's seeds: request messages of every sort of dialer, whole and cut.
func requests(f *testing.F) (seeds [][]byte) {
	for _, pqc := range []bool{false, true} {
		for _, kind := range []wire.LinkKind{wire.LinkRemote, wire.LinkPeer, wire.LinkEdge} {
			c := dialerConfig()
			c.EnforcePQC, c.Kind = pqc, kind
			b, err := New(&c).Start(nil)
			if err != nil {
				f.Fatal(err)
			}
			seeds = append(seeds, b, b[:len(b)/2], bytes.Replace(b, []byte("2.3.0"), []byte("v.3.0"), 1))
		}
	}
	return append(seeds, nil, []byte{0x2a, 0}, wire.AppendAck(nil, 7, true, ""),
		link(wire.LinkNegotiation{LinkID: "l", Version: "1.0.0"}),
		link(wire.LinkNegotiation{LinkID: "l", Version: "1.0.0", Reply: true, Key: low}),
		link(wire.LinkNegotiation{LinkID: "l", Version: "1.0.0", Key: low, KEM: make([]byte, encapsulationKeySize)}))
}

func FuzzAcceptor(f *testing.F) {
	for _, b := range requests(f) {
		f.Add(b, byte(0))
		f.Add(b, byte(3))
	}
	f.Fuzz(func(t *testing.T, msg []byte, how byte) {
		c := acceptorConfig()
		c.Strict, c.EnforcePQC = how&1 != 0, how&2 != 0
		m := New(&c)
		kept := bytes.Clone(msg)
		out, err := m.Step(nil, msg)
		if !bytes.Equal(msg, kept) {
			t.Fatal("the borrowed message was written to")
		}
		checkOutcome(t, m, &c, out, err)
		if err != nil {
			return
		}
		rep := parsed(t, out)
		r := m.Result()
		if !rep.Reply || rep.LinkID != r.LinkID || rep.Kind != r.Kind || (len(rep.Key) == 32) != (r.Key != nil) ||
			(rep.KEM != nil) != r.Hybrid {
			t.Fatalf("reply %+v does not fit the result", rep)
		}
	})
}

func FuzzDialer(f *testing.F) {
	for how := range byte(4) {
		dc, ac := dialerConfig(), acceptorConfig()
		dc.Strict, dc.EnforcePQC, ac.Strict = how&1 != 0, how&2 != 0, false
		req, err := New(&dc).Start(nil)
		if err != nil {
			f.Fatal(err)
		}
		rep, err := New(&ac).Step(nil, req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(rep, how)
		f.Add(rep[:len(rep)-3], how)
		f.Add(req, how)
		f.Add(link(wire.LinkNegotiation{LinkID: dc.LinkID, Version: "1.0.0", Reply: true}), how)
	}
	f.Fuzz(func(t *testing.T, msg []byte, how byte) {
		c := dialerConfig()
		c.Strict, c.EnforcePQC = how&1 != 0, how&2 != 0
		m := New(&c)
		if _, err := m.Start(nil); err != nil {
			t.Fatal(err)
		}
		out, err := m.Step(nil, msg)
		checkOutcome(t, m, &c, out, err)
		if len(out) != 0 {
			t.Fatalf("a dialer sent %x", out)
		}
		if err == nil && m.Result().LinkID != c.LinkID {
			t.Fatalf("link_id %q", m.Result().LinkID)
		}
	})
}
