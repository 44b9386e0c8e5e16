package jwt

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// secrets are those of testdata/rows.txt.
var secrets = map[string]string{"a": "secret of a, which has 32 bytes..", "b": "secret of b, which has 32 bytes..",
	"c": "secret of c, which has 32 bytes.."}

// listenerRow is a listener of testdata/rows.txt.
type listenerRow struct{ name, audience, issuer, format, key string }

// tokenRow is a token of testdata/rows.txt.
type tokenRow struct {
	listener, secret string
	upstream, ours   int
	name             string
	header, payload  string
}

func readRows(t testing.TB) (listeners []listenerRow, tokens []tokenRow) {
	t.Helper()
	f, err := os.Open("testdata/rows.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for s.Scan() {
		line := s.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		if w := strings.SplitN(line, " ", 6); w[0] == "listener" {
			if w[4] == PEM {
				w[5] = secrets[w[5]]
			}
			listeners = append(listeners, listenerRow{w[1], strings.Trim(w[2], "-"), strings.Trim(w[3], "-"), w[4], w[5]})
			continue
		}
		parts := strings.SplitN(line, " | ", 3)
		w := strings.Fields(parts[0])
		if len(parts) != 3 || len(w) < 5 {
			t.Fatalf("what is %q?", line)
		}
		r := tokenRow{listener: w[0], secret: w[1], name: strings.Join(w[4:], " "), header: parts[1], payload: parts[2]}
		r.upstream, _ = strconv.Atoi(w[2])
		r.ours, _ = strconv.Atoi(w[3])
		if r.header == "-" {
			r.header = `{"typ":"JWT","alg":"HS256"}`
		}
		tokens = append(tokens, r)
	}
	if err := s.Err(); err != nil || len(listeners) == 0 || len(tokens) < 100 {
		t.Fatalf("%d listeners, %d tokens, %v", len(listeners), len(tokens), err)
	}
	return listeners, tokens
}

var seconds = regexp.MustCompile(`<-?\d+>`)

// token signs what the row says, with HS256.
func (r *tokenRow) token(now time.Time) string {
	claims := strings.ReplaceAll(r.payload, "$", `"iss":"slim","sub":"slim","aud":["slim"],"exp":<3000>`)
	claims = strings.NewReplacer(`\n`, "\n", "~", "").Replace(claims)
	claims = seconds.ReplaceAllStringFunc(claims, func(s string) string {
		n, _ := strconv.ParseInt(s[1:len(s)-1], 10, 64)
		return strconv.FormatInt(now.Unix()+n, 10)
	})
	return hs256(strings.ReplaceAll(r.header, `\n`, "\n"), claims, secrets[r.secret])
}

// hs256 signs whatever is given.
func hs256(header, payload, secret string) string {
	e := base64.RawURLEncoding
	s := e.EncodeToString([]byte(header)) + "." + e.EncodeToString([]byte(payload))
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(s))
	return s + "." + e.EncodeToString(m.Sum(nil))
}

// status returns what a request with this header is answered.
func status(t testing.TB, v *Verifier, authorization string) (int, string) {
	t.Helper()
	_, err := v.Verify(context.Background(), &auth.Shown{Authorization: authorization})
	if err == nil {
		return http.StatusOK, ""
	}
	var d *auth.Denied
	if !errors.As(err, &d) {
		t.Fatalf("the error is no *auth.Denied: %v", err)
	}
	if d.Reason == "" || d.Challenge != "" {
		t.Errorf("denied with reason %q and challenge %q", d.Reason, d.Challenge)
	}
	return d.Status, d.Reason
}

func newVerifier(t testing.TB, o VerifierOptions) *Verifier {
	t.Helper()
	v, err := NewVerifier(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := v.Close(); err != nil {
			t.Error(err)
		}
	})
	return v
}

func verifiers(t testing.TB, listeners []listenerRow) map[string]*Verifier {
	all := map[string]*Verifier{}
	for _, l := range listeners {
		o := VerifierOptions{Key: Key{Algorithm: "HS256", Format: l.format, Data: l.key}, Issuer: l.issuer, Subject: "slim"}
		if l.audience != "" {
			o.Audience = []string{l.audience}
		}
		all[l.name] = newVerifier(t, o)
	}
	return all
}

// What is accepted is what upstream accepts, line by line, but for what docs/protocol.md names.
func TestRows(t *testing.T) {
	listeners, tokens := readRows(t)
	all := verifiers(t, listeners)
	for _, r := range tokens {
		if got, why := status(t, all[r.listener], "Bearer "+r.token(time.Now())); got != r.ours {
			t.Errorf("%s: %s: status %d (%s), want %d", r.listener, r.name, got, why, r.ours)
		}
	}
}
