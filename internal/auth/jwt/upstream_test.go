//go:build interop

package jwt

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/ports"
)

// upstream is a node of upstream's with a listener that wants tokens.
type upstream struct {
	url    string
	client http.Client
}

// startUpstream runs upstream's 3.4.6 node with the `auth` of YAML lines.
func startUpstream(t *testing.T, name, block string) *upstream {
	t.Helper()
	program := filepath.Join(os.Getenv("SLIM_PEERS"), "slim")
	if os.Getenv("SLIM_PEERS") == "" {
		t.Fatal("SLIM_PEERS is not set: it must name the folder of the upstream 3.4.6 programs (slim, slim-peer)")
	}
	port, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	conf := filepath.Join(t.TempDir(), name+".yaml")
	text := "tracing: {log_level: error}\nruntime: {drain_timeout: 1s}\nservices:\n  slim/0:\n    dataplane:\n      servers:\n        - endpoint: \"" +
		address + "\"\n          tls: {insecure: true}\n          auth:\n            type: jwt\n"
	for line := range strings.Lines(block) {
		text += "            " + line
	}
	if err := os.WriteFile(conf, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	node := exec.Command(program, "--config", conf)
	node.Stdout, node.Stderr = &out, &out
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = node.Wait(); close(ended) }()
	t.Cleanup(func() { _ = node.Process.Kill(); <-ended })
	u := &upstream{url: "http://" + address + "/dataplane.proto.v1.DataPlaneService/None"}
	plain := new(http.Protocols)
	plain.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: plain}
	t.Cleanup(tr.CloseIdleConnections)
	u.client = http.Client{Transport: tr, Timeout: 2 * time.Minute}
	for deadline := time.Now().Add(2 * time.Minute); ; {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
			return u
		}
		select {
		case <-ended:
			t.Fatalf("upstream's node for %s: %s", name, out.Bytes())
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("upstream's node for %s: %v\n%s", name, err, out.Bytes())
		}
	}
}

// status returns what a request is answered. The path is one that upstream does not have: authentication comes first.
func (u *upstream) status(t *testing.T, authorization string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, u.url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {"application/grpc"}, "Te": {"trailers"}}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	answer, err := u.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// yamlClaims are `claims` of a listener.
func yamlClaims(audience, issuer string) string {
	var lines []string
	if audience != "" {
		lines = append(lines, fmt.Sprintf("  audiences: [%q]", audience))
	}
	if issuer != "" {
		lines = append(lines, fmt.Sprintf("  issuer: %q", issuer))
	}
	if lines == nil {
		return ""
	}
	return "claims:\n" + strings.Join(lines, "\n") + "\n"
}

// Upstream's listener does what testdata/rows.txt says of it.
func TestUpstreamRows(t *testing.T) {
	listeners, tokens := readRows(t)
	all := map[string]*upstream{}
	for _, l := range listeners {
		key := fmt.Sprintf("key: {type: decoding, algorithm: HS256, format: %s, key: {data: '%s'}}", l.format, l.key)
		all[l.name] = startUpstream(t, l.name, yamlClaims(l.audience, l.issuer)+key)
	}
	for _, r := range tokens {
		if got := all[r.listener].status(t, "Bearer "+r.token(time.Now())); got != r.upstream {
			t.Errorf("%s: %s: upstream's status is %d, want %d", r.listener, r.name, got, r.upstream)
		}
	}
}

// Tokens of our Signer pass upstream's listener, whatever the algorithm, and those of another key do not.
func TestUpstreamTakesOurTokens(t *testing.T) {
	for _, name := range []string{"HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "key")
			write(t, file, made(t, name, 0).public)
			u := startUpstream(t, name, yamlClaims("slim", "us")+fmt.Sprintf("key: {type: decoding, algorithm: %s, format: pem, key: {file: %s}}", name, file))
			o := SignerOptions{Issuer: "us", Subject: "a/b", Audience: []string{"slim"}, Custom: map[string]any{"groups": []any{"g<"}}}
			for which, want := range []int{http.StatusOK, http.StatusUnauthorized} {
				if got := u.status(t, "Bearer "+signed(t, name, made(t, name, which).private, o)); got != want {
					t.Errorf("key %d: upstream's status is %d, want %d", which, got, want)
				}
			}
		})
	}
}

// Upstream's listener reads the header as ours (P-jwt-4).
func TestUpstreamHeaders(t *testing.T) {
	u := startUpstream(t, "headers", "key: {type: decoding, algorithm: HS256, format: pem, key: {data: '"+secrets["a"]+"'}}")
	for _, r := range headerRows(signed(t, "HS256", secrets["a"], SignerOptions{})) {
		if got := u.status(t, r.header); got != r.want {
			t.Errorf("%s: upstream's status is %d, want %d", r.name, got, r.want)
		}
	}
}

// Upstream binds subjects to keys as ours (P-jwt-9).
func TestUpstreamBinding(t *testing.T) {
	list, did := twoPeers(t)
	for _, binding := range []string{"off", "warn", "enforce"} {
		u := startUpstream(t, binding, "claims: {issuer: i}\nsubject_binding: "+binding+
			"\nkey: {type: decoding, algorithm: EdDSA, format: jwks, key: {data: '"+list+"'}}")
		for _, r := range bindingRows(did) {
			want := http.StatusOK
			if !r.owner && binding == "enforce" {
				want = http.StatusUnauthorized
			}
			for _, kid := range []string{"", "b"} {
				if got := u.status(t, "Bearer "+bindingToken(t, r.sub, kid)); got != want {
					t.Errorf("%s, sub %q, kid %q: upstream's status is %d, want %d", binding, r.sub, kid, got, want)
				}
			}
		}
	}
}

// Upstream's weaknesses that ours does not have, each as a test of ours shows it: a removed key lets in who has been there, and a
// key file that is renamed over the old one is not seen.
func TestUpstreamWeaknesses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	write(t, file, secrets["a"])
	u := startUpstream(t, "weak", "key: {type: decoding, algorithm: HS256, format: pem, key: {file: "+file+"}}")
	a, unseen := signed(t, "HS256", secrets["a"], SignerOptions{}), signed(t, "HS256", secrets["a"], SignerOptions{Custom: map[string]any{"n": 1}})
	b := func() string { return signed(t, "HS256", secrets["b"], SignerOptions{}) }
	if got := u.status(t, "Bearer "+a); got != 200 {
		t.Fatal(got)
	}
	write(t, file, secrets["b"]) // in place
	until(t, "upstream has the new key", func() bool { return u.status(t, "Bearer "+b()) == 200 })
	if got := u.status(t, "Bearer "+unseen); got != 401 {
		t.Errorf("a token of the old key that was not seen before: %d", got)
	}
	if got := u.status(t, "Bearer "+a); got != 200 {
		t.Errorf("a token of the old key that was: %d; upstream's cache has become better", got)
	}
}

// Tokens of upstream's clients pass our Verifier, and say what ours say, with an app's key besides (P-jwt-3).
func TestTokensOfUpstreamPass(t *testing.T) {
	peer := filepath.Join(os.Getenv("SLIM_PEERS"), "slim-peer")
	for _, name := range []string{"HS256", "RS256", "PS512", "ES256", "ES384", "EdDSA"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			headers := make(chan string, 100)
			plain := new(http.Protocols)
			plain.SetUnencryptedHTTP2(true)
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Protocols: plain, ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				select {
				case headers <- r.Header.Get("Authorization"):
				default:
				}
				w.WriteHeader(http.StatusUnauthorized)
			})}
			go func() { _ = server.Serve(l) }()
			t.Cleanup(func() { _ = server.Close() })
			dir := t.TempDir()
			write(t, filepath.Join(dir, "key"), made(t, name, 0).private)
			write(t, filepath.Join(dir, "client.yaml"), fmt.Sprintf(`endpoint: "http://%s"
tls: {insecure: true}
auth:
  type: jwt
  claims: {audiences: [slim, other], issuer: them, subject: who, custom_claims: {groups: [g], n: 1}}
  duration: 5s
  key: {type: encoding, algorithm: %s, format: pem, key: {file: %s}}
`, l.Addr(), name, filepath.Join(dir, "key")))
			node := exec.Command(peer, "echo", "--name", "org/ns/a", "--client-config", filepath.Join(dir, "client.yaml"))
			var out bytes.Buffer
			node.Stdout, node.Stderr = &out, &out
			if err := node.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() { _ = node.Wait(); close(ended) }()
			t.Cleanup(func() { _ = node.Process.Kill(); <-ended })
			var header string
			select {
			case header = <-headers:
			case <-time.After(time.Minute):
				_ = node.Process.Kill()
				<-ended
				t.Fatalf("upstream's client has not come: %s", out.Bytes())
			}
			v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: name, Format: PEM, Data: made(t, name, 0).public}, Strict: true,
				Audience: []string{"slim"}, Issuer: "them", Subject: "who"})
			who, err := v.Verify(context.Background(), &auth.Shown{Authorization: header})
			if err != nil {
				t.Fatalf("%v: %s", err, header)
			}
			if key, _ := who.Claims["pubkey"].(string); len(key) != 88 || who.Subject != "who" || fmt.Sprint(who.Claims["groups"]) != "[g]" ||
				time.Until(who.Expires) < 59*time.Minute {
				t.Errorf("%+v", who)
			}
			parts := strings.Split(strings.TrimPrefix(header, "Bearer "), ".")
			if got, err := base64url.DecodeString(parts[0]); string(got) != `{"typ":"JWT","alg":"`+name+`","kid":"who"}` {
				t.Errorf("upstream's header is %s, %v", got, err)
			}
			payload, _ := base64url.DecodeString(parts[1])
			ours := newSigner(t, SignerOptions{Key: Key{Algorithm: name, Format: PEM, Data: made(t, name, 0).private}, Audience: []string{"slim", "other"},
				Issuer: "them", Subject: "who", Custom: map[string]any{"groups": []any{"g"}, "n": 1}})
			token, err := ours.Token(map[string]any{"pubkey": who.Claims["pubkey"]})
			if err != nil {
				t.Fatal(err)
			}
			own, _ := base64url.DecodeString(strings.Split(token, ".")[1])
			if len(own) != len(payload) {
				t.Errorf("upstream's payload is %s, ours %s", payload, own)
			}
		})
	}
}
