//go:build interop

package interop

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/identity"
	"github.com/seed31b3bfd0/slimgo/session/identity/jwt"
)

// holder is who has an Ed25519 key, and trusts the keys in a list.
type holder struct {
	key       ed25519.PrivateKey
	file, did string
	list      string // path
}

// holders are n who trust each other.
func holders(t *testing.T, n int) []*holder {
	t.Helper()
	dir := t.TempDir()
	list := filepath.Join(dir, "trusted.json")
	var all []*holder
	var keys []map[string]string
	for i := range n {
		public, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		h := &holder{key: key, file: filepath.Join(dir, fmt.Sprintf("%d.pem", i)), list: list}
		keep(t, h.file, pemOf(t, key))
		all = append(all, h)
		keys = append(keys, map[string]string{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": base64.RawURLEncoding.EncodeToString(public)})
	}
	keep(t, list, asJSON(t, map[string]any{"keys": keys}))
	for _, h := range all {
		h.did = h.identity(t).Subject()
	}
	return all
}

func keep(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func pemOf(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// flags are those of a slim-peer that is h.
func (h *holder) flags(more ...string) []string {
	return append([]string{"--jwt-key", h.file, "--jwt-trusted", h.list}, more...)
}

// identity is h's, for an application of ours.
func (h *holder) identity(t *testing.T) *jwt.SelfSigned {
	t.Helper()
	s, err := jwt.NewSelfSigned(jwt.SelfSignedOptions{PrivateKey: jwt.File(h.file), TrustedKeys: jwt.File(h.list)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// options are those of an application of ours that is h.
func (h *holder) options(t *testing.T) func(*session.Options) {
	s := h.identity(t)
	return func(o *session.Options) { o.Secret, o.Tokens, o.Verifier = nil, s, s }
}

// inBothShapes runs a scenario on our node and on upstream's, encrypted and not; all enforce that names belong to identities.
func inBothShapes(t *testing.T, scenario func(t *testing.T, n *node, s shape)) {
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		for _, s := range []shape{{}, {plain: true}} {
			t.Run(s.String(), func(t *testing.T) { scenario(t, n, s) })
		}
	})
}

// twoTalk has applications of ours and of upstream's open sessions to each other.
func twoTalk(t *testing.T, n *node, shape shape, us func(*session.Options), them []string, subjects ...string) {
	t.Helper()
	b := n.app(t, "echo", bob, them...)
	a := n.connect(t, alice, us)
	if got := a.Subject(); got != subjects[0] {
		t.Errorf("we are %s, want %s", got, subjects[0])
	}
	s, err := a.Open(within(t), session.MustName(bob), unrepeated(shape))
	if err != nil {
		t.Fatal(err)
	}
	says(t, s, "one", "two")
	for _, want := range []string{"echo:one", "echo:two"} {
		m, err := s.Receive(within(t))
		if err != nil || string(m.Data) != want || !shape.plain && m.Subject != subjects[1] {
			t.Fatalf("%+v, %v, want %q of %s", m, err, want, subjects[1])
		}
	}
	if got := b.expect(t, "session").text("peer_subject"); !shape.plain && got != subjects[0] {
		t.Errorf("they know us as %q, want %s", got, subjects[0])
	}
	if err := s.Close(within(t)); err != nil {
		t.Error(err)
	}
	b.quit(t)

	l := listen(t, a)
	done := make(chan error, 1)
	go func() {
		s, err := l.Accept(t.Context())
		for err == nil {
			var m *session.Message
			if m, err = s.Receive(t.Context()); err == nil {
				_, err = m.Reply(t.Context(), session.Content{Data: append([]byte("echo:"), m.Data...)})
			}
		}
		done <- err
	}()
	args := append([]string{"--to", alice, "--count", "20", "--echo"}, shape.flags()...)
	wantAnswers(t, n.run(t, "send", bob, append(args, them...)...), 20)
	if err := <-done; !errors.Is(err, session.ErrClosed) {
		t.Error(err)
	}
	if s := a.Stats(); s.Refused+s.Unbelieved+s.Unsigned > 0 {
		t.Errorf("%+v", s)
	}
}

// unrepeated are options of a session that repeats nothing on a machine which stands still for some seconds: an answer to what was repeated
// is refused, and would be counted.
func unrepeated(s shape) session.SessionOptions {
	o := s.options()
	o.Interval, o.Retries = 10*time.Second, 3
	return o
}

// Applications with keys of their own talk to each other.
func TestDIDKeysOfTwo(t *testing.T) {
	inBothShapes(t, func(t *testing.T, n *node, shape shape) {
		h := holders(t, 2)
		twoTalk(t, n, shape, h[0].options(t), h[1].flags(), h[0].did, h[1].did)
	})
}

// Groups of them, one led by us, and one by upstream's.
func TestDIDKeysInGroups(t *testing.T) {
	inBothShapes(t, func(t *testing.T, n *node, shape shape) {
		h := holders(t, 4)
		b, c := n.member(t, "org/ns/b", h[1].flags()...), n.member(t, "org/ns/c", h[2].flags()...)
		a := n.connect(t, alice, h[0].options(t))
		g, err := a.OpenGroup(within(t), session.MustName(channel), unrepeated(shape))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []*app{b, c} {
			if err := g.Invite(within(t), session.MustName(m.name)); err != nil {
				t.Fatal(err)
			}
			m.expect(t, "session")
		}
		says(t, g, "of us")
		b.do(t, event{"publish": "of b"})
		for _, m := range []*app{b, c} {
			m.receives(t, "of us")
		}
		c.receives(t, "of b")
		hears(t, g, "of b")
		if err := g.Remove(within(t), session.MustName(b.name)); err != nil {
			t.Error(err)
		}
		says(t, g, "without b")
		c.receives(t, "without b")
		if err := g.Close(within(t)); err != nil {
			t.Error(err)
		}
		c.expect(t, "left")
		l := listen(t, a)
		m := n.app(t, "moderate", "org/ns/moderator", h[3].flags(append(shape.flags(), "--channel", channel)...)...)
		m.invite(t, c)
		m.do(t, event{"invite": alice})
		s := accept(t, l)
		members(t, s, 3)
		m.do(t, event{"publish": "of them"})
		hears(t, s, "of them")
		c.receives(t, "of them")
		says(t, s, "of us")
		m.receives(t, "of us")
		c.receives(t, "of us")
		m.do(t, event{"close": true})
		<-s.Done()
		if s := a.Stats(); s.Refused+s.Unbelieved+s.Unsigned > 0 {
			t.Errorf("%+v", s)
		}
	})
}

// signer says, in the words of upstream's configuration, who signs, and how that is verified.
type signer struct {
	alg     string
	private string // PEM
	public  string // as format has it
	format  string
}

const tokenIssuer, tokenAudience = "https://issuer.example", "slim-apps"

// config is a file for a slim-peer whose tokens name a subject.
func (s *signer) config(t *testing.T, subject string, verifier map[string]any) []string {
	t.Helper()
	claims := map[string]any{"issuer": tokenIssuer, "audience": []string{tokenAudience}}
	key := func(role, format, text string) map[string]any {
		return map[string]any{"type": role, "algorithm": s.alg, "format": format, "key": map[string]any{"data": text}}
	}
	own := map[string]any{"issuer": tokenIssuer, "audience": []string{tokenAudience}, "subject": subject}
	if verifier == nil {
		verifier = map[string]any{"type": "jwt", "claims": claims, "key": key("decoding", s.format, s.public)}
	} else { // those of a list have no audience
		own = map[string]any{"issuer": subject, "subject": subject}
	}
	file := filepath.Join(t.TempDir(), "identity.json")
	keep(t, file, asJSON(t, map[string]any{
		"provider": map[string]any{"type": "jwt", "claims": own, "key": key("encoding", "pem", s.private)}, "verifier": verifier,
	}))
	return []string{"--identity-config", file}
}

func (s *signer) options(t *testing.T, subject string) func(*session.Options) {
	t.Helper()
	source, err := jwt.NewSource(jwt.SourceOptions{
		Key: jwt.Key{Algorithm: s.alg, Format: jwt.PEM, Data: s.private}, Subject: subject, Issuer: tokenIssuer, Audience: []string{tokenAudience},
	})
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := jwt.NewVerifier(jwt.VerifierOptions{
		Key: jwt.Key{Algorithm: s.alg, Format: s.format, Data: s.public}, Issuer: tokenIssuer, Audience: []string{tokenAudience},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(source.Close(), verifier.Close()); err != nil {
			t.Error(err)
		}
	})
	return func(o *session.Options) { o.Secret, o.Tokens, o.Verifier = nil, source, verifier }
}

func newSigner(t *testing.T, alg string, key interface{ Public() crypto.PublicKey }) *signer {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	public := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	return &signer{alg: alg, private: pemOf(t, key), public: public, format: "pem"}
}

// Applications whose tokens one authority signs, in each of its manners.
func TestTokensOfOneKey(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Repeat("0123456789abcdef", 4)
	all := []*signer{
		newSigner(t, "ES256", ec), newSigner(t, "RS256", r), newSigner(t, "PS384", r), {alg: "HS256", private: secret, public: secret, format: "pem"},
	}
	inBothShapes(t, func(t *testing.T, n *node, shape shape) {
		for _, s := range all {
			t.Run(s.alg, func(t *testing.T) {
				twoTalk(t, n, shape, s.options(t, "subject of ours"), s.config(t, "subject of theirs", nil), "subject of ours", "subject of theirs")
			})
		}
	})
}

// Nobody speaks in the name of another one, whose key is listed, too; strangers are nobody.
func TestForgedSubjects(t *testing.T) {
	n := startNode(t, ours)
	h := holders(t, 3)
	stranger := holders(t, 1)[0]
	forged := &signer{alg: "EdDSA", private: pemOf(t, h[2].key)}
	list, err := os.ReadFile(h[0].list)
	if err != nil {
		t.Fatal(err)
	}
	lax := map[string]any{"type": "jwt", "key": map[string]any{
		"type": "decoding", "algorithm": "EdDSA", "format": "jwks", "key": map[string]any{"data": string(list)}}}
	t.Run("theirs are refused by us", func(t *testing.T) {
		a := n.connect(t, alice, h[0].options(t))
		listen(t, a)
		for name, flags := range map[string][]string{
			"the second's name, by the third's key": forged.config(t, h[1].did, lax), "a stranger": stranger.flags(),
			"with a secret": {"--secret", slimPeerSecret},
		} {
			before := a.Stats().Unbelieved
			args := append([]string{"--to", alice, "--mls", "--retries", "2", "--interval-ms", "200", "--timeout", "10"}, flags...)
			if code := n.ends(t, "send", bob, args...); code != 1 {
				t.Errorf("%s: status %d", name, code)
			}
			await(t, name+" is counted", func() bool { return a.Stats().Unbelieved > before })
		}
	})
	t.Run("ours are refused by them", func(t *testing.T) {
		n.app(t, "echo", bob, h[1].flags()...)
		short := session.SessionOptions{Interval: 200 * time.Millisecond, Retries: 3}
		source, err := jwt.NewSource(jwt.SourceOptions{Key: jwt.Key{Algorithm: "EdDSA", Format: jwt.PEM, Data: forged.private}, Subject: h[0].did, Issuer: h[0].did})
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := jwt.NewVerifier(jwt.VerifierOptions{Key: jwt.Key{Algorithm: "EdDSA", Format: jwt.JWKS, Data: string(list)}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = source.Close(), verifier.Close() })
		forger := n.connect(t, "org/ns/forger", func(o *session.Options) { o.Secret, o.Tokens, o.Verifier = nil, source, verifier })
		if _, err := forger.Open(within(t), session.MustName(bob), short); !errors.Is(err, session.ErrTimeout) {
			t.Errorf("the third in the first's name: %v", err)
		}
		if _, err := n.connect(t, alice, h[0].options(t)).Open(within(t), session.MustName(bob), session.SessionOptions{}); err != nil {
			t.Errorf("the first itself: %v", err)
		}
	})
}

// What our applications show opens upstream's listeners, over both transports; wrong credentials, and none, do not.
func TestAppsShowCredentials(t *testing.T) {
	const name, password, secret = "user", "pass:word", "a secret of thirty-two bytes, or more"
	dir := t.TempDir()
	link := func(t *testing.T, secret string) session.Authorizer {
		l, err := jwt.NewLink(jwt.SourceOptions{
			Key: jwt.Key{Algorithm: "HS256", Format: jwt.PEM, Data: secret}, Issuer: "us", Subject: "app", Audience: []string{"nodes"}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		return l
	}
	basic := func(password string) session.Authorizer {
		a, err := identity.Basic(name, password)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	static := func(t *testing.T, text string) session.Authorizer {
		file := filepath.Join(dir, fmt.Sprint(len(text), slices.Max([]byte(text))))
		keep(t, file, text+"\n") // which upstream's clients trip over
		s, err := jwt.NewStatic(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	bearer, err := link(t, secret).Authorization(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	token := strings.TrimPrefix(bearer, "Bearer ")
	for _, c := range []struct {
		name, auth string
		right      []session.Authorizer
		wrong      []session.Authorizer
	}{
		{"basic", fmt.Sprintf("{type: basic, username: %s, password: %q}", name, password),
			[]session.Authorizer{basic(password)}, []session.Authorizer{nil, basic("another"), link(t, secret)}},
		{"jwt", fmt.Sprintf("{type: jwt, claims: {issuer: us, audience: [nodes]}, key: {type: decoding, algorithm: HS256, format: pem, key: {data: %q}}}", secret),
			[]session.Authorizer{link(t, secret), static(t, token)}, []session.Authorizer{nil, basic(password), link(t, secret+"!"), static(t, token[1:])}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, scheme := range []string{"http", "ws"} {
				n := &node{kind: upstream, port: freePort(t), config: filepath.Join(t.TempDir(), "node.yaml"), binding: "enforce"}
				text := nodeConfig(n.port, nil)
				if scheme == "ws" {
					text = strings.Replace(text, "endpoint: ", "endpoint: ws://", 1)
					n.way = fmt.Sprintf("ws://127.0.0.1:%d", n.port)
				}
				keep(t, n.config, strings.Replace(text, "          tls:\n", "          auth: "+c.auth+"\n          tls:\n", 1))
				n.start(t)
				shows := func(a session.Authorizer) func(*session.Options) {
					return func(o *session.Options) { o.Authorization = a }
				}
				for i, a := range c.right {
					app := n.connect(t, fmt.Sprint("org/ns/right", i), shows(a))
					if s := app.Stats(); s.Sessions != 0 {
						t.Errorf("%+v", s)
					}
				}
				for i, a := range c.wrong {
					o := session.Options{Name: session.MustName(fmt.Sprint("org/ns/wrong", i)), Secret: []byte(slimPeerSecret), Nodes: []string{n.url()}}
					shows(a)(&o)
					app, err := session.Connect(within(t), o)
					if !errors.Is(err, session.ErrUnauthorized) {
						t.Errorf("%s: wrong credentials %d: %v", scheme, i, err)
					}
					if err == nil {
						_ = app.Close(within(t))
					}
				}
			}
		})
	}
}
