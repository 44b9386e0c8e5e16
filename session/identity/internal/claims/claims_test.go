package claims

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// Rules: P-id-3.
func TestOf(t *testing.T) {
	key := bytes.Repeat([]byte{4}, 65)
	text := base64.StdEncoding.EncodeToString(key)
	now := time.Unix(1800000000, 0)
	for _, c := range []struct {
		name, subject string
		claims        map[string]any
		want          string
		key           []byte
		issued        int64
		err           error
	}{
		{"all", "me", map[string]any{"pubkey": text, "iat": json.Number("7")}, "me", key, 7, nil},
		{"no key", "me", nil, "me", nil, 0, nil},
		{"a key among custom claims", "me", map[string]any{"custom_claims": map[string]any{"pubkey": text}}, "me", key, 0, nil},
		{"the first key counts", "me", map[string]any{"pubkey": text, "custom_claims": map[string]any{"pubkey": "AAAA"}}, "me", key, 0, nil},
		{"an id for a subject", "", map[string]any{"id": "me"}, "me", nil, 0, nil},
		{"nobody", "", map[string]any{"id": 1.0}, "", nil, 0, errNoSubject},
		{"a key that is no text", "me", map[string]any{"pubkey": json.Number("1")}, "", nil, 0, errKey},
		{"a key of no kind", "me", map[string]any{"pubkey": "AAAA"}, "", nil, 0, errKey},
		{"an empty key", "me", map[string]any{"pubkey": ""}, "", nil, 0, errKey},
		{"a key of another alphabet", "me", map[string]any{"pubkey": "_" + text[1:]}, "", nil, 0, errKey},
		{"a time that is none", "me", map[string]any{"iat": json.Number("1.5")}, "me", nil, 0, nil},
		{"a time beyond all", "me", map[string]any{"iat": json.Number("99999999999999")}, "me", nil, 0, nil},
	} {
		got, err := Of(&auth.Identity{Subject: c.subject, Issuer: "them", Claims: c.claims, Expires: now}, time.Minute)
		if !errors.Is(err, c.err) || got.Subject != c.want || !bytes.Equal(got.PublicKey, c.key) || c.issued == 0 != got.Issued.IsZero() ||
			c.issued != 0 && got.Issued.Unix() != c.issued {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
		if c.err == nil && (got.Issuer != "them" || !got.Expires.Equal(now.Add(time.Minute))) {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
