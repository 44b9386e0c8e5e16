package jwt_test

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/identity/jwt"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// newKey makes a key as `openssl genpkey -algorithm ed25519` does, and its entry in a list of trusted keys.
func newKey(seed string) (key, entry string) {
	k := ed25519.NewKeyFromSeed([]byte(strings.Repeat(seed, 32)))
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		log.Fatal(err)
	}
	x := base64.RawURLEncoding.EncodeToString(k.Public().(ed25519.PublicKey))
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		fmt.Sprintf(`{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","x":%q}`, x)
}

// Two apps that trust each other's keys, in a network for tests. Who a message is from is proven by its sender's key.
func ExampleNewSelfSigned() {
	ctx := context.Background()
	net := sessiontest.New(nil, sessiontest.Options{})
	defer net.Close()
	aliceKey, alice := newKey("a")
	bobKey, bob := newKey("b")
	trusted := `{"keys":[` + alice + "," + bob + `]}`

	connect := func(name, key string) (*session.App, *jwt.SelfSigned) {
		me, err := jwt.NewSelfSigned(jwt.SelfSignedOptions{PrivateKey: jwt.Data(key), TrustedKeys: jwt.Data(trusted)})
		if err != nil {
			log.Fatal(err)
		}
		return net.App(name, func(o *session.Options) { o.Tokens, o.Verifier = me, me }), me
	}
	a, aliceID := connect("org/ns/alice", aliceKey)
	defer aliceID.Close()
	b, bobID := connect("org/ns/bob", bobKey)
	defer bobID.Close()

	l, err := b.Listen(session.ListenOptions{})
	if err != nil {
		log.Fatal(err)
	}
	s, err := a.Open(ctx, b.Name(), session.SessionOptions{Pin: bobID.Subject()}) // with him and no one else
	if err != nil {
		log.Fatal(err)
	}
	if _, err := s.Publish(ctx, session.Text("hello")); err != nil {
		log.Fatal(err)
	}
	heard, err := l.Accept(ctx)
	if err != nil {
		log.Fatal(err)
	}
	m, err := heard.Receive(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n%s\n", m.Data, m.Subject)
	net.Close() // apps before their identities
	// Output:
	// hello
	// did:key:z6MkrEVGLPYHhLGBQ25Bh5DXSakRiDpdoj7fdsNZSqYPcUGt
}

// A token that something else puts into a file, shown to a node.
func ExampleNewStatic() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte("eyJhbGciOi.eyJzdWIiOi.c2ln\n"), 0o600); err != nil {
		log.Fatal(err)
	}
	token, err := jwt.NewStatic(file, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer token.Close()
	o := session.Options{Name: session.MustName("org/ns/alice"), Nodes: []string{"https://node.example:46357"}, Authorization: token}
	shown, err := o.Authorization.Authorization(context.Background()) // as the app does whenever it connects
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(shown)
	// Output: Bearer eyJhbGciOi.eyJzdWIiOi.c2ln
}
