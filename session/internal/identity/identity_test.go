package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/wire"
)

var secret = []byte("abcdefghijklmnopqrstuvwxyz012345")

// Tokens that the Rust library made.
const (
	aliceToken = "org/ns/alice_RPgE0kNq:1795368108:fS0iNGAOa3cEWvGd:eyJwdWJrZXkiOiJCT1BQaFQzRDRzdmg2SFF1VHhSdXV1UGgwVGw5UVJjQ2dvWUdDQ25OS" +
		"URTYi9PeXgvSytjK0pNay93dzVpRFd5ZWpJQTV1OExlNnd5UVJnNEZmM3pXR289In0:217MK1M1EWitJsKieJgQVcv4Hn3Yj9pPsf01fP6wTrs"
	alicePublic = "BOPPhT3D4svh6HQuTxRuuuPh0Tl9QRcCgoYGCCnNIDSb/Oyx/K+c+JMk/ww5iDWyejIA5u8Le6wyQRg4Ff3zWGo="
	bobToken    = "org/ns/bob_KTb9IdzP:1795368108:hEYSkRuGLvJzTCWW:eyJwdWJrZXkiOiJCSWl2VkZjY2VqNXhGb2lkK1FjLyswNTd0V0VMdGkxNGVRL0ZaSEJVZ" +
		"WtCdEFqVklWaVcxOEszcm8vZGhHbEtPbjBIMGE2dGdPMW9GdFl3aTFSWXloVjg9In0:Gv6Oi3Uw2qiLapg8u_c_QYOUsSxyJYQ3r8bu-hj4uGA"
	svcToken = "svc_AAAAAAAA:1700000000:AAECAwQFBgcICQoL:eyJwdWJrZXkiOiJBUUlEIn0:sfZIFVIPoyFZ1mTzNI6_WvKNK3YoxfxbIhs-niiUaA4"
)

func verifier(t *testing.T) *Secret {
	s, err := NewSecret("org/ns/me", secret, []byte{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTokensOfOthers(t *testing.T) {
	s := verifier(t)
	for _, c := range []struct {
		token, subject, public string
		at                     int64
	}{
		{aliceToken, "org/ns/alice_RPgE0kNq", alicePublic, 1795368108},
		{bobToken, "org/ns/bob_KTb9IdzP", "BIivVFccej5xFoid+Qc/+057tWELti14eQ/FZHBUekBtAjVIViW18K3ro/dhGlKOn0H0a6tgO1oFtYwi1RYyhV8=", 1795368108},
		{"svc_AAAAAAAA:1700000000:AAECAwQFBgcICQoL::bdtVD-s3fuNFEFQwu9St2ZGYKtTWCNrvA6mkJWW6X2o", "svc_AAAAAAAA", "", 1700000000},
		{svcToken, "svc_AAAAAAAA", "AQID", 1700000000},
		{"a/b_ZZZZZZZZ:0:________________:eyJwdWJrZXkiOiJBUUlEIn0:NBSKM4QoFXLBd6d7OGHZ202VlqPxZEnetbBPaIg9FdY", "a/b_ZZZZZZZZ", "AQID", 0},
	} {
		for _, age := range []int64{-5, 0, 3600} {
			got, err := s.Verify(c.token, time.Unix(c.at+age, 999_999_999))
			if err != nil || got.Subject != c.subject || base64.StdEncoding.EncodeToString(got.PublicKey) != c.public ||
				!got.Expires.Equal(time.Unix(c.at+3600, 0)) {
				t.Errorf("%s, %d s old: %+v, %v", c.token, age, got, err)
			}
		}
		got, err := s.Verify(c.token, time.Unix(c.at-6, 0))
		if !errors.Is(err, ErrEarly) || got == nil || got.Subject != c.subject {
			t.Errorf("6 s before it was made: %+v, %v", got, err)
		}
		got, err = s.Verify(c.token, time.Unix(c.at+3601, 0))
		if !errors.Is(err, ErrExpired) || got == nil || got.Subject != c.subject {
			t.Errorf("after its time: %+v, %v", got, err)
		}
	}
}

func TestTokensRefused(t *testing.T) {
	s := verifier(t)
	now := time.Unix(1700000000, 0)
	part := func(i int, text string) string {
		f := strings.Split(svcToken, ":")
		f[i] = text
		return strings.Join(f, ":")
	}
	mac := svcToken[strings.LastIndexByte(svcToken, ':')+1:]
	for _, c := range []struct {
		name, token string
		err         error
	}{
		{"empty", "", ErrMalformed},
		{"another id", part(0, "svd_AAAAAAAA"), ErrForged},
		{"another time", part(1, "1700000001"), ErrForged},
		{"another nonce", part(2, "AAECAwQFBgcICQoM"), ErrForged},
		{"other claims", part(3, "eyJwdWJrZXkiOiJBUUlFIn0"), ErrForged},
		{"short MAC", svcToken[:len(svcToken)-1], ErrMalformed},
		{"long MAC", svcToken + "A", ErrMalformed},
		{"MAC of another alphabet", part(4, "+"+mac[1:]), ErrMalformed},
		{"MAC with a line break", part(4, "\n"+mac[1:]), ErrMalformed},
		{"MAC with stray bits", svcToken[:len(svcToken)-1] + "5", ErrMalformed},
		{"five fields before the MAC", part(3, "a:b"), ErrMalformed},
		{"three fields before the MAC", strings.Join(slices.Delete(strings.Split(svcToken, ":"), 3, 4), ":"), ErrMalformed},
		{"no time", part(1, "abc"), ErrMalformed},
		{"negative time", part(1, "-1"), ErrMalformed},
		{"empty time", part(1, ""), ErrMalformed},
		{"time beyond all", part(1, "9223372036854775807"), ErrMalformed},
	} {
		if got, err := s.Verify(c.token, now); !errors.Is(err, c.err) || got != nil {
			t.Errorf("%s: %+v, %v, want %v", c.name, got, err, c.err)
		}
	}
	other, err := NewSecret("a", bytes.Repeat([]byte{1}, 32), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Verify(svcToken, now); !errors.Is(err, ErrForged) {
		t.Errorf("another secret: %v", err)
	}
}

func TestTokensOfOurs(t *testing.T) {
	now := time.Unix(1800000000, 0)
	s, public := verifier(t), []byte{1, 2, 3}
	seen := map[string]bool{}
	for range 100 {
		token := s.Token(now)
		if seen[token] {
			t.Fatal("the same token twice")
		}
		seen[token] = true
		c, err := s.Verify(token, now)
		if err != nil || c.Subject != s.Subject() || !bytes.Equal(c.PublicKey, public) {
			t.Fatalf("%+v, %v", c, err)
		}
	}
	if verifier(t).Subject() == s.Subject() {
		t.Error("two identities have one id")
	}
	again, err := RestoreSecret(s.Subject(), secret, public)
	if err != nil || again.Subject() != s.Subject() {
		t.Errorf("restored: %v, %v", again, err)
	}
	for _, base := range []string{"", "a:b", "a b"} {
		if _, err := NewSecret(base, secret, public); err == nil {
			t.Errorf("base %q is taken", base)
		}
	}
	if _, err := NewSecret("a", secret[:31], public); err == nil {
		t.Error("a secret of 31 bytes is taken")
	}
}

// A signature that the Rust library made.
func TestSignatureOfARustMessage(t *testing.T) {
	const token = "org/ns/alice_l1oHW0Cw:1795367875:iskwDHlVfbRMLkAd:eyJwdWJrZXkiOiJCTmxYYURZZmgxVjlyMFRFb0VCUWFualpOUGpTaWs2T3p2MGhUM3R2" +
		"Z0Q2MzFNY20xNFNoUzh2V2tSVlF5Y2VMdXJWdjdhVUJvZlM2bThkZFloaW9rK1k9In0:wisL6fCDM9g2pJ036EPdbjA3Mufbjx82IiKoxckdNaM"
	claims, err := verifier(t).Verify(token, time.Unix(1795367875, 0))
	if err != nil {
		t.Fatal(err)
	}
	source := Name(wire.Text("org", "ns", "alice"), claims.Subject)
	if got := fmt.Sprintf("%016x%016x", source.Name.Hi, source.Name.Lo); got != "01dee39637aa60d4da76d2e98824b38f" {
		t.Errorf("app id %s", got)
	}
	sig, err := hex.DecodeString("3045022059629358a3718e5f5d974fb04572c79feb45a052c10aa21d5ca84900bd8b8a46022100a29069e40af00563ccfe16" +
		"859e0751ac760bcab1a4e1fda3222a6d4231b3c119")
	if err != nil {
		t.Fatal(err)
	}
	command := message.Empty(message.DiscoveryRequest)
	m := &message.Message{
		Source: source, Dest: wire.Text("org", "ns", "bob"), Identity: token, Signature: sig, Kind: message.PointToPoint,
		Type: message.DiscoveryRequest, Session: 301145826, ID: 499569159, Command: &command,
	}
	if payload, err := VerifySignatures(m, claims); err != nil || payload {
		t.Errorf("payload signed %v, %v", payload, err)
	}
	m.ID++
	if _, err := VerifySignatures(m, claims); !errors.Is(err, ErrHeaderSignature) {
		t.Errorf("another id: %v", err)
	}
}

func TestSignatures(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	scalar, err := p256.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	point, err := p256.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	edPublic, edPrivate, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name                    string
		private, public, verify []byte
	}{
		{"P-256", scalar, point, point},
		{"P-256 compressed", scalar, point, elliptic.MarshalCompressed(elliptic.P256(), p256.X, p256.Y)},
		{"Ed25519", edPrivate.Seed(), edPublic, edPublic},
	} {
		key, err := NewKey(c.private, c.public)
		if err != nil {
			t.Fatal(err)
		}
		signed := func() *message.Message {
			m := &message.Message{
				Source: wire.Text("a", "b", "c"), Dest: wire.Text("d", "e", "f"), Identity: "token", Kind: message.Group,
				Type: message.GroupClose, Session: 1, ID: 2, Metadata: map[string]string{"k": "v", "traceparent": "x"},
				Command: &message.Close{Participants: []wire.NameText{wire.Text("a", "b", "c")}},
			}
			if err := key.Sign(m); err != nil {
				t.Fatal(err)
			}
			m, err := message.Decode(m.Append(nil))
			if err != nil {
				t.Fatal(err)
			}
			return m
		}
		claims := &Claims{Subject: "me", PublicKey: c.verify}
		if payload, err := VerifySignatures(signed(), claims); err != nil || !payload {
			t.Errorf("%s: payload signed %v, %v", c.name, payload, err)
		}
		for change, err := range map[*message.Message]error{
			with(signed(), func(m *message.Message) { m.Source = wire.Text("a", "b", "x") }):              ErrHeaderSignature,
			with(signed(), func(m *message.Message) { m.Identity += "x" }):                                ErrHeaderSignature,
			with(signed(), func(m *message.Message) { m.Session++ }):                                      ErrHeaderSignature,
			with(signed(), func(m *message.Message) { m.Signature = nil }):                                ErrHeaderSignature,
			with(signed(), func(m *message.Message) { m.Content = append(bytes.Clone(m.Content), 0x18) }): ErrPayloadSignature,
			with(signed(), func(m *message.Message) { m.Metadata["k"] = "w" }):                            ErrPayloadSignature,
			with(signed(), func(m *message.Message) { m.Metadata["l"] = "v" }):                            ErrPayloadSignature,
			with(signed(), func(m *message.Message) { m.Metadata[message.KeyPayloadSignature] = "?" }):    ErrPayloadSignature,
			with(signed(), func(m *message.Message) { m.Metadata["traceparent"] = "y" }):                  nil,
			with(signed(), func(m *message.Message) { m.TTL, m.Fanout = 3, 7 }):                           nil,
		} {
			if _, got := VerifySignatures(change, claims); !errors.Is(got, err) {
				t.Errorf("%s: %+v: %v, want %v", c.name, change, got, err)
			}
		}
		if _, err := VerifySignatures(signed(), &Claims{}); !errors.Is(err, ErrNoKey) {
			t.Errorf("%s: without a key: %v", c.name, err)
		}
		if s := fmt.Sprintf("%v %+v %#v %s %x", key, key, key, key, key); strings.Trim(s, "(key) ") != "" {
			t.Errorf("%s: the key prints as %q", c.name, s)
		}
	}
	if _, err := NewKey(scalar, point[:33]); err == nil {
		t.Error("a key of unknown kind is taken")
	}
	if known.verify(bytes.Repeat([]byte{4}, 65), nil, nil) || known.verify(bytes.Repeat([]byte{2}, 33), nil, nil) || known.verify(nil, nil, nil) {
		t.Error("what is no key verifies")
	}
}

func with(m *message.Message, change func(*message.Message)) *message.Message {
	change(m)
	return m
}

func TestChannelOfARustModerator(t *testing.T) {
	data, control, err := Channel(wire.Text("org", "ns", "chan").WithID(1, 2), "org/ns/mod_oduHzMis")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		n    wire.NameText
		want string
	}{{data, "1c832b5e376e3a9446b7b626c443a145"}, {control, "2afbc399c00e07f28d297c7e29824fe4"}} {
		if got := fmt.Sprintf("%016x%016x", c.n.Name.Hi, c.n.Name.Lo); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
	did := "did:key:z6Mkfvtar6ATQYC5jXqVLBjCH8R6AUAuKjta6LsFcG4gUND1"
	n := wire.Text("a", "b", "c").WithID(0x48b1da600caab75f, 0xa73e4fe334bf1482)
	if !IsOf(&n, did) || IsOf(&n, did+"x") {
		t.Error("the id of a did:key is another")
	}
}

func TestReplays(t *testing.T) {
	var r Replays
	from := func(i int) wire.NameText { return wire.Text("a", "b", fmt.Sprint(i)) }
	if r.Seen(from(1), 7) || !r.Seen(from(1), 7) || r.Seen(from(2), 7) {
		t.Error("a message is known by sender and id")
	}
	for id := range uint32(1000) {
		r.Seen(from(3), id+1)
	}
	if !r.Seen(from(3), 1) || r.Seen(from(3), 1001) || r.Seen(from(3), 1) || !r.Seen(from(3), 3) {
		t.Error("the last thousand are remembered, and no more")
	}
	r.Revoke(from(3), 900)
	if r.Seen(from(3), 900) || !r.Seen(from(3), 900) {
		t.Error("what is revoked may come again, once")
	}
	for i := range 100 {
		r.Seen(from(1000+i), 1)
	}
	if r.Seen(from(3), 900) {
		t.Error("more than a hundred senders are remembered")
	}
	if !r.Seen(from(1099), 1) {
		t.Error("the last sender is forgotten")
	}
	r.Seen(from(1002), 2) // heard again: now it is not the one to go
	r.Seen(from(5000), 1)
	if !r.Seen(from(1002), 1) {
		t.Error("who was heard of late is forgotten first")
	}
	r.Senders = 1
	r.Seen(from(5001), 1)
	if !r.Seen(from(1004), 1) {
		t.Error("there is room for one more, and somebody was forgotten")
	}
}

// A pace is as many at once, and as many in a second after that; and each sender has its own.
func TestPaces(t *testing.T) {
	now := time.Unix(1e9, 0)
	takes := func(p interface{ Take(time.Time) bool }) (n int) {
		for p.Take(now) {
			n++
		}
		return n
	}
	p := &Pace{Rate: 10, Burst: 25}
	if n := takes(p); n != 25 {
		t.Errorf("%d at once", n)
	}
	now = now.Add(1500 * time.Millisecond)
	if n := takes(p); n != 15 {
		t.Errorf("%d after a second and a half", n)
	}
	now = now.Add(-time.Hour) // a clock that is set back gives nothing
	if n := takes(p); n != 0 {
		t.Errorf("%d when the clock was set back", n)
	}
	now = now.Add(2 * time.Hour)
	if n := takes(p); n != 25 {
		t.Errorf("%d after a long time", n)
	}
	all := &Paces{Rate: 1, Burst: 2, Most: 3}
	name := func(i int) wire.Name { return wire.Text("org", "ns", strconv.Itoa(i)).Name }
	for i := range 5 {
		took := []bool{all.Take(name(i), now), all.Take(name(i), now), all.Take(name(i), now)}
		if !slices.Equal(took, []bool{true, true, false}) {
			t.Errorf("sender %d has no pace of its own: %v", i, took)
		}
		if len(all.by) > 3 {
			t.Errorf("%d senders are told apart", len(all.by))
		}
	}
	now = now.Add(time.Minute)
	for i := range 3 {
		if !all.Take(name(i), now) {
			t.Errorf("sender %d has to wait", i)
		}
	}
	all.Forget(name(0))
	if len(all.by) != 2 {
		t.Errorf("%d senders are told apart", len(all.by))
	}
}
