package link

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// low is an X25519 public key of small order: every shared secret with it is zero.
var low = make([]byte, 32)

func dialerConfig() Config {
	return Config{Role: Dialer, LinkID: "link-0001", Kind: wire.LinkEdge, Version: "2.3.0", NodeID: "n1", Strict: true,
		Rand: &counter{1}}
}

func acceptorConfig() Config {
	return Config{Role: Acceptor, Version: "2.3.1", NodeID: "n2", Strict: true, Rand: &counter{2}}
}

func link(l wire.LinkNegotiation) []byte { return wire.AppendLink(nil, &l) }

// parsed reads what a machine has sent.
func parsed(t *testing.T, msg []byte) wire.LinkNegotiation {
	t.Helper()
	l, err := parse(msg)
	if err != nil {
		t.Fatalf("own message %x: %v", msg, err)
	}
	return l
}

func wantReason(t *testing.T, err error, want Reason) {
	t.Helper()
	var pe *PeerError
	if !errors.As(err, &pe) || pe.Reason != want {
		t.Fatalf("error %v, want reason %v", err, want)
	}
}

func wantOver(t *testing.T, m *Machine, with []byte) {
	t.Helper()
	var le *LocalError
	for name, call := range map[string]func([]byte) ([]byte, error){"Start": m.Start,
		"Step": func(dst []byte) ([]byte, error) { return m.Step(dst, with) }} {
		out, err := call([]byte("kept"))
		if !errors.As(err, &le) || !errors.Is(err, ErrOver) || string(out) != "kept" {
			t.Fatalf("%s after the end: %q, %v, want ErrOver", name, out, err)
		}
	}
}

func TestRequestBytes(t *testing.T) {
	c := dialerConfig()
	c.Rand = bytes.NewReader(secretA())
	out, err := New(&c).Start([]byte("before"))
	if err != nil {
		t.Fatal(err)
	}
	// P-neg-4, P-key-1
	want := append([]byte("before"), unhex(t,
		"2a3c0a3a0a096c696e6b2d303030311205322e332e30222007a37cbc142093c8b755dc1b10e86cb4"+
			"26374ad16aa853ed0bdfc0b2b86d1c7c280232026e31")...)
	if !bytes.Equal(out, want) {
		t.Errorf("request %x, want %x", out, want)
	}
}

// The acceptor's checks (P-neg-3, P-neg-4). Each case changes a request that a strict acceptor accepts. Rules: P-neg-6.
func TestAcceptor(t *testing.T) {
	kem := func() []byte {
		var e ephemeral
		if err := e.make(&counter{3}, true); err != nil {
			t.Fatal(err)
		}
		return e.encapsulationKey()
	}()
	type want struct {
		reason      Reason // refused for it; else:
		key, hybrid bool
		kind        wire.LinkKind
	}
	signed, unsigned := want{key: true, kind: wire.LinkEdge}, want{kind: wire.LinkEdge}
	hybrid := want{key: true, hybrid: true, kind: wire.LinkEdge}
	refused := func(r Reason) want { return want{reason: r} }
	loose := func(c *Config) { c.Strict = false }
	pqc := func(c *Config) { c.EnforcePQC = true }
	loosePQC := func(c *Config) { c.Strict, c.EnforcePQC = false, true }
	type request = wire.LinkNegotiation
	cases := []struct {
		name    string
		config  func(*Config)
		request func(*request)
		want    want
	}{
		{"a plain request is answered", nil, nil, signed},
		{"2: PQC enforced, no KEM payload", pqc, nil, refused(ReasonKEM)},
		{"2: PQC enforced, KEM payload too short", pqc, func(l *request) { l.KEM = kem[1:] }, refused(ReasonKEM)},
		{"2: PQC enforced, a ciphertext instead of a key", pqc, func(l *request) { l.KEM = make([]byte, ciphertextSize) },
			refused(ReasonKEM)},
		{"2: PQC enforced and offered", pqc, func(l *request) { l.KEM = kem }, hybrid},
		{"2 comes before 3", pqc, func(l *request) { l.Reply = true }, refused(ReasonKEM)},
		{"3: a reply is no request", nil, func(l *request) { l.Reply = true }, refused(ReasonDirection)},
		{"4: version empty", nil, func(l *request) { l.Version = "" }, refused(ReasonVersion)},
		{"4: version with v", nil, func(l *request) { l.Version = "v2.3.0" }, refused(ReasonVersion)},
		{"4: there is no minimum version", nil, func(l *request) { l.Version = "0.0.1-pre+build" }, signed},
		{"4 comes before 5", nil, func(l *request) { l.Version, l.Key = "2", nil }, refused(ReasonVersion)},
		{"3 comes before 4", nil, func(l *request) { l.Reply, l.Version = true, "2" }, refused(ReasonDirection)},
		{"5 comes before 6", nil, func(l *request) { l.Key, l.LinkID = nil, "" }, refused(ReasonNoKey)},
		{"5: strict, no key", nil, func(l *request) { l.Key = nil }, refused(ReasonNoKey)},
		{"5: strict, key of 31 bytes", nil, func(l *request) { l.Key = l.Key[1:] }, refused(ReasonNoKey)},
		{"5: strict, key of 33 bytes", nil, func(l *request) { l.Key = append(l.Key, 0) }, refused(ReasonNoKey)},
		{"5: not strict, no key", loose, func(l *request) { l.Key = nil }, unsigned},
		{"5: not strict, key of 31 bytes", loose, func(l *request) { l.Key = l.Key[1:] }, unsigned},
		{"5: not strict, key given", loose, nil, signed},
		{"6: link_id empty", nil, func(l *request) { l.LinkID = "" }, refused(ReasonLinkID)},
		{"6: link_id of any text", nil, func(l *request) { l.LinkID = "\x00 \u65e5\u672c/" }, signed},
		{"6: link_id of 4096 bytes", nil, func(l *request) { l.LinkID = strings.Repeat("x", maxText) }, signed},
		{"6: link_id of 4097 bytes", nil, func(l *request) { l.LinkID = strings.Repeat("x", maxText+1) },
			refused(ReasonTooLong)},
		{"6: node_id of 4097 bytes", nil, func(l *request) { l.NodeID = strings.Repeat("x", maxText+1) },
			refused(ReasonTooLong)},
		{"6: deployment_name of 4097 bytes", nil, func(l *request) { l.Deployment = strings.Repeat("x", maxText+1) },
			refused(ReasonTooLong)},
		{"6: node_id may be absent", nil, func(l *request) { l.NodeID = "" }, signed},
		{"7: hybrid if offered, though not enforced", nil, func(l *request) { l.KEM = kem }, hybrid},
		{"7: KEM payload of another length is ignored", nil, func(l *request) { l.KEM = kem[1:] }, signed},
		{"7: empty KEM payload is ignored", nil, func(l *request) { l.KEM = []byte{} }, signed},
		{"7: strict, all-zero shared secret", nil, func(l *request) { l.Key = low }, refused(ReasonAgreement)},
		{"7: not strict, all-zero shared secret", loose, func(l *request) { l.Key = low }, unsigned},
		{"7: strict, KEM key out of range", nil, func(l *request) { l.KEM = bytes.Repeat([]byte{255}, len(kem)) },
			refused(ReasonAgreement)},
		{"7: not strict, KEM key out of range", loose, func(l *request) { l.KEM = bytes.Repeat([]byte{255}, len(kem)) },
			unsigned},
		{"7: not strict, KEM key but no X25519 key", loose, func(l *request) { l.Key, l.KEM = nil, kem }, unsigned},
		{"8: PQC enforced, not strict, no X25519 key", loosePQC, func(l *request) { l.Key, l.KEM = nil, kem },
			refused(ReasonNoKey)},
		{"8: PQC enforced, not strict, all-zero shared secret", loosePQC, func(l *request) { l.Key, l.KEM = low, kem },
			refused(ReasonAgreement)},
		{"9: remote is echoed", nil, func(l *request) { l.Kind = wire.LinkRemote }, want{key: true, kind: wire.LinkRemote}},
		{"9: peer is echoed", nil, func(l *request) { l.Kind = wire.LinkPeer }, want{key: true, kind: wire.LinkPeer}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			conf := acceptorConfig()
			if c.config != nil {
				c.config(&conf)
			}
			req := wire.LinkNegotiation{LinkID: "link-0001", Kind: wire.LinkEdge, Version: "2.3.0", NodeID: "n1",
				Deployment: "d", Key: unhex(t, publicA)}
			if c.request != nil {
				c.request(&req)
			}
			m := New(&conf)
			out, err := m.Step([]byte("before"), link(req))
			if c.want.reason != 0 {
				wantReason(t, err, c.want.reason)
				if string(out) != "before" {
					t.Errorf("something was sent: %x", out)
				}
				if r := m.Result(); r.LinkID != "" || r.Key != nil {
					t.Errorf("a result in spite of the refusal: %v", r)
				}
				wantOver(t, m, link(req))
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			rep := parsed(t, out[len("before"):])
			if !rep.Reply || rep.LinkID != req.LinkID || rep.Kind != c.want.kind || rep.Version != conf.Version ||
				rep.NodeID != conf.NodeID ||
				rep.Deployment != conf.Deployment {
				t.Errorf("reply %+v", rep)
			}
			if (len(rep.Key) == 32) != c.want.key || (len(rep.Key) == 0) == c.want.key ||
				(len(rep.KEM) == ciphertextSize) != c.want.hybrid ||
				(rep.KEM == nil) == c.want.hybrid {
				t.Errorf("reply has key of %d and KEM payload of %d bytes", len(rep.Key), len(rep.KEM))
			}
			r := m.Result()
			if (len(r.Key) == 32) != c.want.key || (r.Key == nil) == c.want.key || r.Hybrid != c.want.hybrid ||
				r.Kind != c.want.kind {
				t.Errorf("result with key of %d bytes, hybrid %v, kind %v", len(r.Key), r.Hybrid, r.Kind)
			}
			if r.LinkID != req.LinkID || r.RemoteNode != req.NodeID || r.RemoteVersion != req.Version ||
				r.RemoteDeployment != req.Deployment || r.Refusal != "" {
				t.Errorf("result %+v", r)
			}
			wantOver(t, m, link(req))
			if again := m.Result(); !bytes.Equal(again.Key, r.Key) || again.LinkID != r.LinkID {
				t.Error("a second message changed the result")
			}
		})
	}
}

// The dialer's row. Each case changes the reply of an acceptor that knows its part. Rules: P-neg-5, P-neg-6.
func TestDialer(t *testing.T) {
	type want struct {
		reason      Reason
		key, hybrid bool
	}
	signed, unsigned := want{key: true}, want{}
	refused := func(r Reason) want { return want{reason: r} }
	loose := func(c *Config) { c.Strict = false }
	pqc := func(c *Config) { c.EnforcePQC = true }
	loosePQC := func(c *Config) { c.Strict, c.EnforcePQC = false, true }
	type reply = wire.LinkNegotiation
	cases := []struct {
		name   string
		config func(*Config)
		reply  func(*reply)
		want   want
	}{
		{"a plain reply is taken", nil, nil, signed},
		{"PQC enforced: a hybrid reply is taken", pqc, nil, want{key: true, hybrid: true}},
		{"PQC enforced: no KEM payload", pqc, func(l *reply) { l.KEM = nil }, refused(ReasonKEM)},
		{"PQC enforced: ciphertext too short", pqc, func(l *reply) { l.KEM = l.KEM[1:] }, refused(ReasonKEM)},
		{"PQC enforced: a key instead of a ciphertext", pqc, func(l *reply) { l.KEM = make([]byte, encapsulationKeySize) },
			refused(ReasonKEM)},
		{"PQC enforced, not strict: no key", loosePQC, func(l *reply) { l.Key = nil }, refused(ReasonNoKey)},
		{"PQC comes before the direction", pqc, func(l *reply) { l.KEM, l.Reply = nil, false }, refused(ReasonKEM)},
		{"PQC not enforced: a KEM payload is ignored", nil, func(l *reply) { l.KEM = make([]byte, ciphertextSize) }, signed},
		{"a request is no reply", nil, func(l *reply) { l.Reply = false }, refused(ReasonDirection)},
		{"version no semantic version", nil, func(l *reply) { l.Version = "2.3" }, refused(ReasonVersion)},
		{"strict: no key", nil, func(l *reply) { l.Key = nil }, refused(ReasonNoKey)},
		{"strict: key of 31 bytes", nil, func(l *reply) { l.Key = l.Key[1:] }, refused(ReasonNoKey)},
		{"not strict: no key", loose, func(l *reply) { l.Key = nil }, unsigned},
		{"not strict: key of 31 bytes", loose, func(l *reply) { l.Key = l.Key[1:] }, refused(ReasonNoKey)},
		{"another link_id", nil, func(l *reply) { l.LinkID = "link-0002" }, refused(ReasonLinkID)},
		{"link_id empty", nil, func(l *reply) { l.LinkID = "" }, refused(ReasonLinkID)},
		{"strict: all-zero shared secret", nil, func(l *reply) { l.Key = low }, refused(ReasonAgreement)},
		{"not strict: all-zero shared secret", loose, func(l *reply) { l.Key = low }, refused(ReasonAgreement)},
		{"deployment_name of 4097 bytes", nil, func(l *reply) { l.Deployment = strings.Repeat("x", maxText+1) },
			refused(ReasonTooLong)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			conf, accept := dialerConfig(), acceptorConfig()
			if c.config != nil {
				c.config(&conf)
			}
			d := New(&conf)
			req, err := d.Start(nil)
			if err != nil {
				t.Fatal(err)
			}
			out, err := New(&accept).Step(nil, req)
			if err != nil {
				t.Fatal(err)
			}
			rep := parsed(t, out)
			if c.reply != nil {
				c.reply(&rep)
			}
			out, err = d.Step([]byte("before"), link(rep))
			if string(out) != "before" {
				t.Errorf("a dialer sent something: %x", out)
			}
			if c.want.reason != 0 {
				wantReason(t, err, c.want.reason)
				if r := d.Result(); r.LinkID != "" || r.Key != nil {
					t.Errorf("a result in spite of the refusal: %v", r)
				}
				wantOver(t, d, link(rep))
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r := d.Result()
			if (len(r.Key) == 32) != c.want.key || (r.Key == nil) == c.want.key || r.Hybrid != c.want.hybrid {
				t.Errorf("result with key of %d bytes, hybrid %v", len(r.Key), r.Hybrid)
			}
			if r.LinkID != conf.LinkID || r.RemoteNode != accept.NodeID || r.RemoteVersion != accept.Version ||
				r.Kind != wire.LinkEdge {
				t.Errorf("result %+v", r)
			}
			wantOver(t, d, link(rep))
		})
	}
}

// The kind is the received one on both ends, so a dialer obeys an echo that differs from its wish (P-neg-8).
func TestDialerTakesTheKindOfTheReply(t *testing.T) {
	for _, kind := range []wire.LinkKind{wire.LinkRemote, wire.LinkPeer, wire.LinkEdge} {
		conf := dialerConfig()
		conf.Strict = false
		d := New(&conf)
		if _, err := d.Start(nil); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Step(nil, link(wire.LinkNegotiation{LinkID: conf.LinkID, Version: "1.0.0", Reply: true,
			Kind: kind})); err != nil {
			t.Fatal(err)
		}
		if got := d.Result().Kind; got != kind {
			t.Errorf("kind %v, want %v", got, kind)
		}
	}
}

// Dialer against acceptor, every combination of strictness and PQC at either end, with a dialer that hides its key.
// Rules: P-neg-11.
func TestDialerAgainstAcceptor(t *testing.T) {
	for bits := range 32 {
		dc, ac := dialerConfig(), acceptorConfig()
		dc.Strict, dc.EnforcePQC, ac.Strict, ac.EnforcePQC = bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0
		keyless := bits&16 != 0
		d, a := New(&dc), New(&ac)
		req, err := d.Start(nil)
		if err != nil {
			t.Fatal(err)
		}
		if keyless {
			l := parsed(t, req)
			l.Key = nil
			req = link(l)
		}
		rep, err := a.Step(nil, req)
		switch {
		case ac.EnforcePQC && !dc.EnforcePQC:
			wantReason(t, err, ReasonKEM)
			continue
		case keyless && (ac.Strict || ac.EnforcePQC):
			wantReason(t, err, ReasonNoKey)
			continue
		case err != nil:
			t.Fatalf("dialer %+v, acceptor %+v: %v", dc, ac, err)
		}
		_, err = d.Step(nil, rep)
		switch {
		case keyless && dc.EnforcePQC:
			wantReason(t, err, ReasonKEM)
			continue
		case keyless && dc.Strict:
			wantReason(t, err, ReasonNoKey)
			continue
		case err != nil:
			t.Fatalf("dialer %+v, acceptor %+v: %v", dc, ac, err)
		}
		dr, ar := d.Result(), a.Result()
		if !bytes.Equal(dr.Key,
			ar.Key) || (dr.Key == nil) != keyless || dr.Hybrid != ar.Hybrid || dr.Hybrid != (dc.EnforcePQC && !keyless) {
			t.Errorf("case %d: the ends differ: keys of %d and %d bytes, hybrid %v and %v", bits, len(dr.Key), len(ar.Key),
				dr.Hybrid, ar.Hybrid)
		}
	}
}

// An old reply passes a dialer that uses its link_id again, but yields a key that no acceptor has; a request never
// passes. Rules: P-key-4.
func TestReplayedReply(t *testing.T) {
	dc, ac := dialerConfig(), acceptorConfig()
	first, a := New(&dc), New(&ac)
	req, err := first.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	rep, err := a.Step(nil, req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := first.Step(nil, rep); err != nil {
		t.Fatal(err)
	}
	again := New(&dc) // the same source of randomness, further on
	req2, err := again.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(req, req2) {
		t.Fatal("two requests have the same key")
	}
	if _, err := again.Step(nil, rep); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(again.Result().Key, a.Result().Key) {
		t.Error("a replayed reply restored the old key")
	}
	reflected := New(&dc)
	req3, err := reflected.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = reflected.Step(nil, req3)
	wantReason(t, err, ReasonDirection)
}

// Rules: P-key-4.
func TestKeyIsBoundToTheLinkID(t *testing.T) {
	x := unhex(t, sharedX)
	one, err1 := deriveKey(x, nil, "link-0001")
	two, err2 := deriveKey(x, nil, "link-0002")
	if err1 != nil || err2 != nil || bytes.Equal(one, two) {
		t.Errorf("%v, %v: keys equal: %v", err1, err2, bytes.Equal(one, two))
	}
}

// P-neg-10: what makes two nodes no peers, seen from both ends after a good negotiation.
func TestPeerRefusals(t *testing.T) {
	cases := []struct {
		name                     string
		kind                     wire.LinkKind
		dialNode, dialDeployment string
		node, deployment         string
		dialer, acceptor         string
	}{
		{"same deployment", wire.LinkPeer, "a", "d", "b", "d", "", ""},
		{"no deployments", wire.LinkPeer, "a", "", "b", "", "", ""},
		{"same node", wire.LinkPeer, "a", "d", "a", "d", refusalSelf, refusalSelf},
		{"same node comes first", wire.LinkPeer, "a", "d", "a", "e", refusalSelf, refusalSelf},
		{"other deployment", wire.LinkPeer, "a", "d", "b", "e", refusalDeployment, refusalDeployment},
		{"only the dialer has a deployment", wire.LinkPeer, "a", "d", "b", "", refusalDeployment, ""},
		{"only the acceptor has a deployment", wire.LinkPeer, "a", "", "b", "d", "", refusalDeployment},
		{"no node ids", wire.LinkPeer, "", "", "", "", "", ""},
		{"edge links are not checked", wire.LinkEdge, "a", "d", "a", "e", "", ""},
		{"remote links are not checked", wire.LinkRemote, "a", "d", "a", "e", "", ""},
	}
	for _, c := range cases {
		dc, ac := dialerConfig(), acceptorConfig()
		dc.Kind, dc.NodeID, dc.Deployment, ac.NodeID, ac.Deployment = c.kind, c.dialNode, c.dialDeployment, c.node,
			c.deployment
		d, a := New(&dc), New(&ac)
		req, err := d.Start(nil)
		if err != nil {
			t.Fatal(err)
		}
		rep, err := a.Step(nil, req)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if _, err := d.Step(nil, rep); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := a.Result().Refusal; got != c.acceptor {
			t.Errorf("%s: the acceptor refuses with %q, want %q", c.name, got, c.acceptor)
		}
		if got := d.Result().Refusal; got != c.dialer {
			t.Errorf("%s: the dialer refuses with %q, want %q", c.name, got, c.dialer)
		}
		if len(a.Result().Key) != 32 {
			t.Errorf("%s: no key, though refusals come after a normal reply", c.name)
		}
	}
}

// Rules: P-neg-1.
func TestFirstMessageMustNegotiate(t *testing.T) {
	good := link(wire.LinkNegotiation{LinkID: "l", Version: "1.0.0", Key: unhex(t, publicA)})
	h := wire.PublishHeader{Source: wire.Text("a", "b", "c"), Dest: wire.Text("a", "b", "c"), TTL: 8, Fanout: 1}
	cases := []struct {
		name string
		msg  []byte
		want Reason
	}{
		{"publish", wire.AppendPublish(nil, &h, nil, nil), ReasonNotNegotiation},
		{"subscribe", wire.AppendSubscribe(nil, &h, 1), ReasonNotNegotiation},
		{"ack", wire.AppendAck(nil, 7, true, ""), ReasonNotNegotiation},
		{"empty message", nil, ReasonNotNegotiation},
		{"link without link_type", []byte{0x2a, 0x00}, ReasonNotNegotiation},
		{"two links", append(bytes.Clone(good), good...), ReasonNotNegotiation},
		{"cut", good[:len(good)-1], ReasonUndecodable},
		{"group tag", []byte{0x2b}, ReasonUndecodable},
		{"link_id no UTF-8", link(wire.LinkNegotiation{LinkID: "\xff", Version: "1.0.0"}), ReasonUndecodable},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ac, dc := acceptorConfig(), dialerConfig()
			a := New(&ac)
			_, err := a.Step(nil, c.msg)
			wantReason(t, err, c.want)
			wantOver(t, a, good)
			d := New(&dc)
			if _, err := d.Start(nil); err != nil {
				t.Fatal(err)
			}
			_, err = d.Step(nil, c.msg)
			wantReason(t, err, c.want)
			wantOver(t, d, good)
		})
	}
}

// What is this side's own fault is a LocalError, and the machine is over after it.
func TestLocalErrors(t *testing.T) {
	good := link(wire.LinkNegotiation{LinkID: "l", Version: "1.0.0", Key: unhex(t, publicA)})
	withKEM := link(wire.LinkNegotiation{LinkID: "l", Version: "1.0.0", Key: unhex(t, publicA), KEM: make([]byte,
		encapsulationKeySize)})
	start := func(m *Machine) error { _, err := m.Start(nil); return err }
	step := func(m *Machine) error { _, err := m.Step(nil, good); return err }
	stepKEM := func(m *Machine) error { _, err := m.Step(nil, withKEM); return err }
	cases := []struct {
		name string
		base func() Config
		edit func(*Config)
		call func(*Machine) error
	}{
		{"an acceptor does not start", acceptorConfig, nil, start},
		{"a dialer starts first", dialerConfig, nil, step},
		{"a dialer starts once", dialerConfig, nil, func(m *Machine) error { start(m); return start(m) }},
		{"dialer without link_id", dialerConfig, func(c *Config) { c.LinkID = "" }, start},
		{"dialer with a link_id too long", dialerConfig, func(c *Config) { c.LinkID = strings.Repeat("x", maxText+1) },
			start},
		{"dialer with a link_id that is no UTF-8", dialerConfig, func(c *Config) { c.LinkID = "\xff" }, start},
		{"dialer of no known kind", dialerConfig, func(c *Config) { c.Kind = 3 }, start},
		{"own version wrong, dialer", dialerConfig, func(c *Config) { c.Version = "2.3" }, start},
		{"own version wrong, acceptor", acceptorConfig, func(c *Config) { c.Version = "" }, step},
		{"own node_id too long", acceptorConfig, func(c *Config) { c.NodeID = strings.Repeat("x", maxText+1) }, step},
		{"own deployment no UTF-8", acceptorConfig, func(c *Config) { c.Deployment = "\xff" }, step},
		{"no such role", acceptorConfig, func(c *Config) { c.Role = 2 }, step},
		{"dialer without randomness", dialerConfig, func(c *Config) { c.Rand = bytes.NewReader(make([]byte, 31)) }, start},
		{"dialer without randomness for ML-KEM", dialerConfig, func(c *Config) {
			c.Rand,
				c.EnforcePQC = bytes.NewReader(make([]byte, 40)), true
		}, start},
		{"acceptor without randomness", acceptorConfig, func(c *Config) { c.Rand = bytes.NewReader(nil) }, step},
		{"acceptor without randomness, not strict", acceptorConfig, func(c *Config) {
			c.Rand,
				c.Strict = bytes.NewReader(nil), false
		}, step},
		{"acceptor without randomness for ML-KEM", acceptorConfig, func(c *Config) {
			c.Rand,
				c.Strict = bytes.NewReader(make([]byte, 40)), false
		}, stepKEM},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			conf := c.base()
			if c.edit != nil {
				c.edit(&conf)
			}
			m := New(&conf)
			err := c.call(m)
			var le *LocalError
			if !errors.As(err, &le) || errors.Is(err, ErrOver) {
				t.Fatalf("error %v, want a LocalError", err)
			}
			wantOver(t, m, good)
		})
	}
}

func TestErrorsUnwrapToTheirCause(t *testing.T) {
	conf := acceptorConfig()
	_, err := New(&conf).Step(nil, link(wire.LinkNegotiation{LinkID: "\xff"}))
	if !errors.Is(err, wire.ErrUTF8) {
		t.Errorf("%v does not unwrap to the scanner's error", err)
	}
	conf.Rand = bytes.NewReader(nil)
	_, err = New(&conf).Step(nil, link(wire.LinkNegotiation{LinkID: "l", Version: "1.0.0", Key: unhex(t, publicA)}))
	if !errors.Is(err, io.EOF) {
		t.Errorf("%v does not unwrap to the reader's error", err)
	}
}

func TestNilRandIsCryptoRand(t *testing.T) {
	conf := dialerConfig()
	conf.Rand = nil
	one, err1 := New(&conf).Start(nil)
	two, err2 := New(&conf).Start(nil)
	if err1 != nil || err2 != nil || bytes.Equal(parsed(t, one).Key, parsed(t, two).Key) {
		t.Errorf("two requests, %v, %v, have equal keys", err1, err2)
	}
}

func TestCloseWipesTheKey(t *testing.T) {
	conf := acceptorConfig()
	m := New(&conf)
	req := link(wire.LinkNegotiation{LinkID: "l", Version: "1.0.0", Key: unhex(t, publicA)})
	if _, err := m.Step(nil, req); err != nil {
		t.Fatal(err)
	}
	key := m.Result().Key
	m.Close()
	if !bytes.Equal(key, make([]byte, 32)) || m.Result().Key != nil {
		t.Error("the key outlives Close")
	}
	wantOver(t, m, req)
}

func TestReasonsHaveNames(t *testing.T) {
	seen := map[string]bool{}
	for r := range numReasons + 1 {
		if s := r.String(); s == "" || seen[s] {
			t.Errorf("reason %d is called %q", r, s)
		} else {
			seen[s] = true
		}
	}
}
