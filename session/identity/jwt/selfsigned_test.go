package jwt

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	tokens "github.com/seed31b3bfd0/slimgo/internal/auth/jwt"
	"github.com/seed31b3bfd0/slimgo/internal/leak"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

func TestMain(m *testing.M) { leak.Main(m) }

// person is an Ed25519 key.
type person struct {
	key  ed25519.PrivateKey
	pem  string
	did  string
	more string // members of its JWK, after x
}

func newPerson(t *testing.T, seed byte) *person {
	t.Helper()
	return personOf(t, ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
}

func personOf(t *testing.T, key ed25519.PrivateKey) *person {
	t.Helper()
	return &person{key: key, pem: pemOf(t, key), did: tokens.DIDKey(key.Public().(ed25519.PublicKey)), more: `,"alg":"EdDSA"`}
}

func pemOf(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// but returns it with other members in its JWK.
func (p person) but(more string) *person {
	p.more = more
	return &p
}

// list is a JWKS of people.
func list(people ...*person) string {
	var keys []string
	for _, p := range people {
		x := base64.RawURLEncoding.EncodeToString(p.key.Public().(ed25519.PublicKey))
		keys = append(keys, fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","x":%q%s}`, x, p.more))
	}
	return `{"keys":[` + strings.Join(keys, ",") + `]}`
}

// identity is p's.
func (p *person) identity(t *testing.T, change func(*SelfSignedOptions), trusted ...*person) *SelfSigned {
	t.Helper()
	o := SelfSignedOptions{PrivateKey: Data(p.pem), TrustedKeys: Data(list(trusted...))}
	if change != nil {
		change(&o)
	}
	s, err := NewSelfSigned(o)
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

// as makes tokens that are signed with p's key and name somebody else.
func (p *person) as(t *testing.T, subject string) *Source {
	t.Helper()
	s, err := NewSource(SourceOptions{Key: Key{Algorithm: "EdDSA", Format: PEM, Data: p.pem}, Subject: subject, Issuer: subject})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

var public = bytes.Repeat([]byte{4}, 65)

func token(t *testing.T, s session.TokenSource) string {
	t.Helper()
	text, err := s.Token(t.Context(), public)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Rules: P-id-1. Test 1 of RFC 8032 section 7.1, and both forms of PKCS #8 (RFC 5958).
func TestSubject(t *testing.T) {
	seed, err := hex.DecodeString("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
	if err != nil {
		t.Fatal(err)
	}
	p := personOf(t, ed25519.NewKeyFromSeed(seed))
	if !strings.Contains(list(p), `"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`) {
		t.Error(list(p))
	}
	der, err := hex.DecodeString("3051020101300506032b657004220420" + hex.EncodeToString(seed) + "812100" + hex.EncodeToString(p.key[32:]))
	if err != nil {
		t.Fatal(err)
	}
	v2 := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))
	for name, text := range map[string]string{"seed alone": p.pem, "with its public key": v2, "among other text": "Key of alice\n" + cert + p.pem + "end"} {
		s := p.identity(t, func(o *SelfSignedOptions) { o.PrivateKey = Data(text) }, p)
		if got := s.Subject(); got != "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw" {
			t.Errorf("%s: %s", name, got)
		}
		c, err := s.Verify(t.Context(), token(t, s))
		if err != nil || c.Subject != s.Subject() || c.Issuer != s.Subject() || !bytes.Equal(c.PublicKey, public) || c.Issued.IsZero() {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

// What is wrong with key or list is said when the identity is made, and what to do about it.
func TestOptionsOfSelfSigned(t *testing.T) {
	alice, bob := newPerson(t, 1), newPerson(t, 2)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(t.TempDir(), "none")
	ok, jwk := Data(list(alice)), `add {"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":"`
	for _, c := range []struct {
		name       string
		key, trust Text
		want       string
	}{
		{"no key", Text{}, ok, "private key: there is none"},
		{"no list", Data(alice.pem), Text{}, "trusted keys: there is none"},
		{"no PEM", Data("secret stuff"), ok, "invalid Ed25519 key: there is no block -----BEGIN PRIVATE KEY-----"},
		{"another key", Data(pemOf(t, ec)), ok, "invalid Ed25519 key: it is a *ecdsa.PrivateKey"},
		{"a broken key", Data("-----BEGIN PRIVATE KEY-----\nMAMC\n-----END PRIVATE KEY-----\n"), ok, "invalid Ed25519 key: its block is no PKCS #8"},
		{"no file of the key", File(none), ok, "private key " + none + ": no such file"},
		{"no file of the list", Data(alice.pem), File(none), "trusted keys " + none + ": no such file"},
		{"no list in it", Data(alice.pem), Data("[]"), "trusted keys: is no JWKS"},
		{"without the own key", Data(alice.pem), Data(list(bob)), "trusted keys: does not have the key of " + alice.did},
		{"what to add", Data(alice.pem), Data(list()), jwk},
		{"the own key without alg", Data(alice.pem), Data(list(bob, alice.but(""))), "has the key of " + alice.did + ", which is this app's own, but verifies nothing with it"},
		{"the own key for something else", Data(alice.pem), Data(list(alice.but(`,"alg":"EdDSA","use":"enc"`))), "verifies nothing with it"},
		{"a binding that there is not", Data(alice.pem), ok, `there is no "always"`},
	} {
		o := SelfSignedOptions{PrivateKey: c.key, TrustedKeys: c.trust}
		if strings.HasPrefix(c.name, "a binding") {
			o.Binding = "always"
		}
		s, err := NewSelfSigned(o)
		if !errors.Is(err, session.ErrConfig) || !strings.Contains(fmt.Sprint(err), c.want) || strings.Contains(fmt.Sprint(err), "secret stuff") {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		if s != nil {
			_ = s.Close()
		}
	}
	shown := fmt.Sprintf("%v %+v %#v %s", Data("very secret"), Data("very secret"), SelfSignedOptions{PrivateKey: Data("very secret")}, Key{Data: "very secret"})
	shown += fmt.Sprintf("%v %+v %#v", SourceOptions{Key: Key{Data: "very secret"}}, SourceOptions{Key: Key{Data: "very secret"}}, SourceOptions{Key: Key{Data: "very secret"}})
	if strings.Contains(shown, "very secret") {
		t.Errorf("a key is printed: %s", shown)
	}
}

// Rules: P-id-6. Upstream lets a forged subject pass unless it is told otherwise.
func TestForgedSubjects(t *testing.T) {
	alice, bob, stranger := newPerson(t, 1), newPerson(t, 2), newPerson(t, 3)
	named := bob.but(`,"alg":"EdDSA","kid":"bob"`)
	for _, c := range []struct {
		name, binding string
		source        session.TokenSource
		passes        bool
	}{
		{"its own", "", bob.identity(t, nil, bob), true},
		{"the kid of its key", "", bob.as(t, "bob"), true},
		{"alice's", "", bob.as(t, alice.did), false},
		{"nobody's", "", bob.as(t, "somebody"), false},
		{"alice's, enforced", BindEnforce, bob.as(t, alice.did), false},
		{"alice's, warned of", BindWarn, bob.as(t, alice.did), true},
		{"alice's, not looked at", BindOff, bob.as(t, alice.did), true},
		{"its own, of a stranger", "", stranger.identity(t, nil, stranger), false},
		{"alice's, of a stranger", BindOff, stranger.as(t, alice.did), false},
	} {
		var log bytes.Buffer
		me := alice.identity(t, func(o *SelfSignedOptions) { o.Binding, o.Logger = c.binding, slog.New(slog.NewTextHandler(&log, nil)) }, alice, named)
		_, err := me.Verify(t.Context(), token(t, c.source))
		if (err == nil) != c.passes {
			t.Errorf("%s: %v", c.name, err)
		}
		s := me.Stats()
		if passed := s.Verified == 1; passed != c.passes || len(s.Refused) == 0 != c.passes {
			t.Errorf("%s: %+v", c.name, s)
		}
		if warned := strings.Contains(log.String(), "does not belong to the trusted key"); warned != (c.binding == BindWarn) {
			t.Errorf("%s: said %s", c.name, log.String())
		}
	}
}

// Tokens that are nothing, or for something else.
func TestTokensOfNoUse(t *testing.T) {
	alice := newPerson(t, 1)
	me := alice.identity(t, nil, alice)
	good := token(t, me)
	part := strings.Split(good, ".")
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
	key := Key{Algorithm: "EdDSA", Format: PEM, Data: alice.pem}
	aud, err := NewSource(SourceOptions{Key: key, Subject: alice.did, Issuer: alice.did, Audience: []string{"slim"}})
	if err != nil {
		t.Fatal(err)
	}
	link, err := NewLink(SourceOptions{Key: key, Subject: alice.did, Issuer: alice.did})
	if err != nil {
		t.Fatal(err)
	}
	shown, err := link.Authorization(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing": "", "noise": "a.b.c", "unsigned": none + "." + part[1] + ".", "changed": part[0] + "." + part[1][1:] + "." + part[2],
		"for an audience": token(t, aud), "huge": strings.Repeat("a", 1<<20), "with a prefix": shown,
	} {
		if c, err := me.Verify(t.Context(), text); err == nil || errors.Is(err, session.ErrExpired) || c.Subject != "" {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	c, err := me.Verify(t.Context(), strings.TrimPrefix(shown, "Bearer "))
	if err != nil || c.PublicKey != nil {
		t.Errorf("what is shown to nodes has a key of an app: %+v, %v", c, err)
	}
	if r := me.Stats().Refused; r["malformed"] == 0 || r["algorithm"] == 0 || r["audience"] != 1 {
		t.Errorf("%v", r)
	}
}

// A token that has expired says whose it was, if everything else is right.
func TestExpiredTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		alice, bob, stranger := newPerson(t, 1), newPerson(t, 2), newPerson(t, 3)
		me := alice.identity(t, nil, alice, bob)
		own, forged, foreign := token(t, bob.identity(t, nil, bob)), token(t, bob.as(t, alice.did)), token(t, stranger.identity(t, nil, stranger))
		begin := time.Now()
		time.Sleep(time.Hour + time.Minute)
		c, err := me.Verify(t.Context(), own)
		if err != nil || c.Subject != bob.did || c.Expires.Sub(begin) != time.Hour+time.Minute {
			t.Errorf("in time: %+v, %v", c, err)
		}
		time.Sleep(time.Second)
		if c, err = me.Verify(t.Context(), own); !errors.Is(err, session.ErrExpired) || c.Subject != bob.did || !bytes.Equal(c.PublicKey, public) {
			t.Errorf("after it: %+v, %v", c, err)
		}
		for _, text := range []string{forged, foreign} {
			if c, err := me.Verify(t.Context(), text); err == nil || errors.Is(err, session.ErrExpired) || c.Subject != "" {
				t.Errorf("expired and wrong: %+v, %v", c, err)
			}
		}
	})
}

// replace puts a text in the place of a file, all at once.
func replace(t *testing.T, path, text string) {
	t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

// until waits for something that happens by itself.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for begin := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatalf("%s: not within a minute", what)
		}
	}
}

// safeBuffer is a log.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// Rules: P-id-5. Upstream reads the list once, and believes a token until it expires.
func TestListThatChanges(t *testing.T) {
	t.Parallel() // it waits for most of its time
	alice, bob := newPerson(t, 1), newPerson(t, 2)
	path := filepath.Join(t.TempDir(), "trusted.json")
	replace(t, path, list(alice, bob))
	var log safeBuffer
	me := alice.identity(t, func(o *SelfSignedOptions) {
		o.TrustedKeys, o.Logger, o.settle = File(path), slog.New(slog.NewTextHandler(&log, nil)), 50*time.Millisecond
	})
	text := token(t, bob.identity(t, nil, bob))
	believed := func() bool { _, err := me.Verify(t.Context(), text); return err == nil }
	if !believed() {
		t.Fatal("bob is not believed")
	}
	changed := me.Changed()
	replace(t, path, list(alice))
	<-changed
	if believed() {
		t.Error("bob is believed although he is listed no more")
	}
	replace(t, path, "half of a li")
	until(t, "a list that is none", func() bool { return me.Stats().Fault != nil })
	if believed() || me.Stats().Failures == 0 || !strings.Contains(log.String(), path) {
		t.Errorf("%+v, said: %s", me.Stats(), log.String())
	}
	changed = me.Changed()
	replace(t, path, list(bob))
	<-changed
	until(t, "the own key is gone", func() bool { return me.Stats().Own != nil })
	if !believed() {
		t.Error("bob is not believed although he is listed again")
	}
	until(t, "it is said", func() bool { return strings.Contains(log.String(), "cannot take part in new sessions") })
	replace(t, path, list(bob, alice))
	until(t, "the own key is back", func() bool { return me.Stats().Own == nil })
}

// Rules: P-id-1. Upstream signs with the new key in the name of the old one then, and others refuse that.
func TestPrivateKeyThatChanges(t *testing.T) {
	t.Parallel() // it waits for most of its time
	alice, bob := newPerson(t, 1), newPerson(t, 2)
	path := filepath.Join(t.TempDir(), "key.pem")
	replace(t, path, alice.pem)
	var log safeBuffer
	me := alice.identity(t, func(o *SelfSignedOptions) {
		o.PrivateKey, o.Logger, o.settle = File(path), slog.New(slog.NewTextHandler(&log, nil)), 50*time.Millisecond
	}, alice, bob)
	stays := func() {
		t.Helper()
		c, err := me.Verify(t.Context(), token(t, me))
		if err != nil || c.Subject != alice.did || me.Subject() != alice.did {
			t.Errorf("%+v, %v", c, err)
		}
	}
	for what, text := range map[string]string{"another's": bob.pem, "none": "nothing"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil { // in its place, which upstream sees
			t.Fatal(err)
		}
		until(t, what, func() bool { // not before it is read whole
			return me.Stats().PrivateKey != nil && (what == "none" || strings.Contains(log.String(), bob.did))
		})
		stays()
		replace(t, path, alice.pem)
		until(t, "alice's again", func() bool { return me.Stats().PrivateKey == nil })
		stays()
	}
	if text := log.String(); !strings.Contains(text, bob.did) || !strings.Contains(text, "until it is started again") || strings.Contains(text, strings.Split(bob.pem, "\n")[1]) {
		t.Errorf("said: %s", text)
	}
}

// as gives an app an identity.
func as(source session.TokenSource, verifier session.Verifier) func(*session.Options) {
	return func(o *session.Options) { o.Secret, o.Tokens, o.Verifier = nil, source, verifier }
}

// Apps that trust each other's keys hold encrypted sessions; others are not let in, whatever they call themselves.
func TestSessionsOfSelfSigned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := sessiontest.New(t, sessiontest.Options{})
		people := map[string]*person{"alice": newPerson(t, 1), "bob": newPerson(t, 2), "carol": newPerson(t, 3)}
		all := []*person{people["alice"], people["bob"], people["carol"]}
		apps := map[string]*session.App{}
		for name, p := range people {
			id := p.identity(t, nil, all...)
			apps[name] = net.App("org/ns/"+name, as(id, id))
			if got := apps[name].Subject(); got != p.did {
				t.Errorf("%s is %s", name, got)
			}
		}
		alice, bob, carol := apps["alice"], apps["bob"], apps["carol"]
		ears := map[*session.App]*session.Listener{}
		for _, a := range []*session.App{bob, carol} {
			l, err := a.Listen(session.ListenOptions{})
			if err != nil {
				t.Fatal(err)
			}
			ears[a] = l
		}
		g, err := alice.OpenGroup(t.Context(), session.MustName("org/ns/channel"), session.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var members []*session.Session
		for _, a := range []*session.App{bob, carol} {
			if err := g.Invite(t.Context(), a.Name()); err != nil {
				t.Fatal(err)
			}
			s, err := ears[a].Accept(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			members = append(members, s)
		}
		for range 3 { // each time with other tokens
			d, err := g.Publish(t.Context(), session.Text("hello"))
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			for _, s := range members {
				if m, err := s.Receive(t.Context()); err != nil || m.Subject != people["alice"].did {
					t.Errorf("%+v, %v", m, err)
				}
			}
			time.Sleep(40 * time.Minute)
		}
		stranger, short := newPerson(t, 4), session.SessionOptions{Interval: 100 * time.Millisecond, Retries: 3}
		own := stranger.identity(t, nil, append(all, stranger)...)
		lax := people["carol"].identity(t, func(o *SelfSignedOptions) { o.Binding = BindOff }, all...)
		for name, a := range map[string]*session.App{
			"a stranger":             net.App("org/ns/stranger", as(own, own)),
			"carol in alice's name":  net.App("org/ns/forger", as(people["carol"].as(t, people["alice"].did), lax)),
			"somebody with a secret": net.App("org/ns/secret"),
		} {
			before := bob.Stats().Unbelieved
			if _, err := a.Open(t.Context(), bob.Name(), short); !errors.Is(err, session.ErrTimeout) {
				t.Errorf("%s: %v", name, err)
			}
			if bob.Stats().Unbelieved == before {
				t.Errorf("%s: not counted", name)
			}
		}
	})
}

// Identities as upstream's `jwt` has them: each signs in a way of its own, and all believe all.
func TestSessionsOfSources(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(ec.Public())
	if err != nil {
		t.Fatal(err)
	}
	ecPublic := string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	secret := strings.Repeat("s", 32)
	ed := newPerson(t, 1)
	for name, k := range map[string][2]Key{
		"a secret": {{Algorithm: "HS256", Format: PEM, Data: secret}, {Algorithm: "HS256", Format: PEM, Data: secret}},
		"ES384":    {{Algorithm: "ES384", Format: PEM, Data: pemOf(t, ec)}, {Algorithm: "ES384", Format: PEM, Data: ecPublic}},
		"a list":   {{Algorithm: "EdDSA", Format: PEM, Data: ed.pem}, {Algorithm: "EdDSA", Format: JWKS, Data: list(ed)}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := sessiontest.New(t, sessiontest.Options{})
				app := func(name string) *session.App {
					s, err := NewSource(SourceOptions{Key: k[0], Subject: name + "@example", Issuer: "example", Audience: []string{"slim"}})
					if err != nil {
						t.Fatal(err)
					}
					v, err := NewVerifier(VerifierOptions{Key: k[1], Issuer: "example", Audience: []string{"slim"}})
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _, _ = s.Close(), v.Close() })
					return net.App("org/ns/"+name, as(s, v))
				}
				alice, bob := app("alice"), app("bob")
				l, err := bob.Listen(session.ListenOptions{})
				if err != nil {
					t.Fatal(err)
				}
				a, err := alice.Open(t.Context(), bob.Name(), session.SessionOptions{})
				if err != nil {
					t.Fatal(err)
				}
				b, err := l.Accept(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if _, err := a.Publish(t.Context(), session.Text("hello")); err != nil {
					t.Fatal(err)
				}
				if m, err := b.Receive(t.Context()); err != nil || m.Subject != "alice@example" {
					t.Errorf("%+v, %v", m, err)
				}
			})
		})
	}
}

// A static token, which upstream lets an app have that then can do nothing, is refused when the app is created, with the reason.
func TestStaticTokenIsNoIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	replace(t, path, "a.b.c\n")
	s, err := NewStatic(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if v, err := s.Authorization(t.Context()); v != "Bearer a.b.c" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	alice := newPerson(t, 1)
	o := sessiontest.New(nil, sessiontest.Options{}).Options("org/ns/alice")
	o.Tokens, o.Verifier = s, alice.identity(t, nil, alice)
	_, err = session.Connect(t.Context(), o)
	if !errors.Is(err, ErrStatic) || !errors.Is(err, session.ErrConfig) || !strings.Contains(err.Error(), "MLS") {
		t.Error(err)
	}
	if _, err := NewStatic(filepath.Join(t.TempDir(), "none"), nil); !errors.Is(err, session.ErrConfig) {
		t.Error(err)
	}
	if _, err := NewSource(SourceOptions{Key: Key{Algorithm: "EdDSA", Format: PEM, Data: alice.pem}}); !errors.Is(err, session.ErrConfig) ||
		!strings.Contains(err.Error(), "missing subject") {
		t.Error(err)
	}
}

// What a token claims is read within bounds, whatever it is.
func FuzzVerify(f *testing.F) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	p := &person{key: key, more: `,"alg":"EdDSA"`}
	me, err := NewSelfSigned(SelfSignedOptions{
		PrivateKey: Data(string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))), TrustedKeys: Data(list(p)),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = me.Close() })
	good, err := me.Token(context.Background(), public)
	if err != nil {
		f.Fatal(err)
	}
	for _, text := range []string{good, "", "a.b.c", good[:len(good)-1]} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := me.Verify(context.Background(), text)
		if err == nil && c.Subject != me.Subject() {
			t.Errorf("%q is of %q", text, c.Subject)
		}
	})
}
