package jwt

import (
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
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"

	"github.com/seed31b3bfd0/slimgo/internal/auth/jose"
)

func TestMain(m *testing.M) {
	askTimeout = time.Minute // the machine may be busy
	os.Exit(m.Run())
}

// pair is a key in PEM: private, and public.
type pair struct{ private, public string }

var makeOnce = struct {
	mu    sync.Mutex
	pairs map[string]pair
}{pairs: map[string]pair{}}

var base64url = base64.RawURLEncoding.Strict()

// asymmetric are the algorithms whose keys to verify with are public.
func asymmetric() []string {
	return slices.DeleteFunc(jose.Names(), func(name string) bool { return jose.Named(name).Secret > 0 })
}

// made returns a key that fits an algorithm, always the same for the same words. Words other than algorithms: "RSA 1024", "P-521".
func made(t testing.TB, algorithm string, which int) pair {
	t.Helper()
	kind := algorithm
	if strings.HasPrefix(kind, "RS") || strings.HasPrefix(kind, "PS") {
		kind = "RSA"
	}
	name := fmt.Sprint(kind, which)
	if strings.HasPrefix(kind, "HS") {
		secret := strings.Repeat(name+" ", 16)
		return pair{secret, secret}
	}
	makeOnce.mu.Lock()
	defer makeOnce.mu.Unlock()
	if p, ok := makeOnce.pairs[name]; ok {
		return p
	}
	var key crypto.Signer
	var err error
	switch kind {
	case "RSA":
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "P-521":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	}
	if err != nil {
		t.Fatal(err)
	}
	p := pair{pemOf(t, key), pemOf(t, key.Public())}
	makeOnce.pairs[name] = p
	return p
}

func pemOf(t testing.TB, key any) string {
	t.Helper()
	kind := "PUBLIC KEY"
	b, err := x509.MarshalPKIXPublicKey(key)
	if _, ok := key.(crypto.Signer); ok {
		kind = "PRIVATE KEY"
		b, err = x509.MarshalPKCS8PrivateKey(key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
}

// jwkOf returns a key as a member of a JWKS, with further members.
func jwkOf(t testing.TB, pemText string, further map[string]any) map[string]any {
	t.Helper()
	k, err := jwk.ParseKey([]byte(pemText), jwk.WithPEM(true))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	for name, v := range further {
		m[name] = v
	}
	return m
}

func jwks(t testing.TB, keys ...map[string]any) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": append([]map[string]any{}, keys...)})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func newSigner(t testing.TB, o SignerOptions) *Signer {
	t.Helper()
	s, err := NewSigner(o)
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

// signed returns a token of a subject, signed with the private key.
func signed(t testing.TB, algorithm, private string, o SignerOptions) string {
	t.Helper()
	o.Key = Key{Algorithm: algorithm, Format: PEM, Data: private}
	token, err := newSigner(t, o).Token(nil)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// notices keeps what was told.
type notices struct {
	mu  sync.Mutex
	all []Notice
}

func (n *notices) tell(e Notice) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, e)
}

// some reports whether something was told that has all words.
func (n *notices) some(words ...string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
next:
	for _, e := range n.all {
		text := fmt.Sprintf("%s|%v|%s|changed=%v", e.From, e.Err, e.Warning, e.Changed)
		for _, w := range words {
			if !strings.Contains(text, w) {
				continue next
			}
		}
		return true
	}
	return false
}

func (n *notices) String() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return fmt.Sprintf("%+v", n.all)
}

func (n *notices) len() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.all)
}

// until waits for what comes of its own.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("this has not happened: %s", what)
		}
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replacements are ways to put other text where a path leads. The path was made with place.
var replacements = []struct {
	name    string
	replace func(t testing.TB, path, text string)
}{
	{"written in place", write},
	{"renamed over", func(t testing.TB, path, text string) {
		write(t, path+".new", text)
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}},
	{"removed and made anew", func(t testing.TB, path, text string) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		write(t, path, text)
	}},
	{"a folder's link swapped, as Kubernetes does", func(t testing.TB, path, text string) {
		folder := filepath.Dir(path)
		if err := os.MkdirAll(filepath.Join(folder, "..2"), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(folder, "..2", "key"), text)
		if err := os.Symlink("..2", filepath.Join(folder, "..new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(folder, "..new"), filepath.Join(folder, "..data")); err != nil {
			t.Fatal(err)
		}
	}},
}

// place makes a file that all replacements can replace, and returns its path.
func place(t testing.TB, linked bool, text string) string {
	t.Helper()
	folder := t.TempDir()
	path := filepath.Join(folder, "key")
	if !linked {
		write(t, path, text)
		return path
	}
	if err := os.Mkdir(filepath.Join(folder, "..1"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(folder, "..1", "key"), text)
	for link, to := range map[string]string{"..data": "..1", "key": "..data/key"} {
		if err := os.Symlink(to, filepath.Join(folder, link)); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// quick has watched files read soon after a change.
func quick(n *notices) Watch { return Watch{Told: n.tell, Settle: 5 * time.Millisecond} }
