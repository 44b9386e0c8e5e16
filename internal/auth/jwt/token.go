package jwt

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/jose"
	"github.com/seed31b3bfd0/slimgo/internal/auth/strict"
)

// header is what the first part of a token says that counts.
type header struct {
	alg  *jose.Algorithm
	kid  string
	crit bool // it says that something else must count
}

// token is a token that can be read. Nothing of it is proven.
type token struct {
	header
	claims    map[string]any
	signed    []byte // header and payload, as they came
	signature []byte
	bytes     int // that it takes once it is read, about
}

// parse reads a token (RFC 7519 section 7.2 up to the signature, P-jwt-5). An error is a *fault.
func parse(s string) (*token, error) {
	if len(s) > auth.MaxAuthorization {
		return nil, &fault{TooLarge, fmt.Sprintf("the token has more than %d bytes", auth.MaxAuthorization)}
	}
	c, err := strict.Parse(s)
	if err != nil {
		return nil, &fault{Malformed, "this is no token: " + err.Error()}
	}
	h, err := parseHeader(c.Header)
	if err != nil {
		return nil, err
	}
	claims, n, err := strict.Object(c.Payload, false)
	if err != nil {
		return nil, &fault{Malformed, "this is no token: its payload: " + err.Error()}
	}
	t := &token{header: *h, claims: claims, signed: c.Signed, signature: c.Signature}
	t.bytes = 512 + len(s) + len(c.Payload) + 96*n
	return t, nil
}

// parseHeader reads the first part of a token (P-jwt-5).
func parseHeader(b []byte) (*header, error) {
	m, _, err := strict.Object(b, true)
	if err != nil {
		return nil, &fault{Malformed, "this is no token: its header: " + err.Error()}
	}
	for name, v := range m {
		if !member(name, v) {
			return nil, &fault{Malformed, "this is no token: its header: a member is of the wrong type"} // its name is the peer's
		}
	}
	h := &header{}
	h.kid, _ = m["kid"].(string)
	_, h.crit = m["crit"].([]any)
	alg, ok := m["alg"].(string)
	if h.alg = jose.Named(alg); h.alg == nil {
		if ok && len(alg) <= 16 {
			return nil, &fault{BadAlgorithm, fmt.Sprintf("the token's algorithm is %q, which is none here", alg)}
		}
		return nil, &fault{BadAlgorithm, "the token's algorithm is none here"}
	}
	return h, nil
}

// member reports whether a member of a header may have a value, as upstream has it: strings all of them, but for these.
func member(name string, v any) bool {
	switch v := v.(type) {
	case string:
		return name != "crit" && name != "x5c" && name != "jwk"
	case nil:
		switch name {
		case "typ", "cty", "jku", "jwk", "kid", "x5u", "x5c", "x5t", "x5t#S256", "crit", "enc", "zip":
			return true
		}
	case []any:
		for _, e := range v {
			if _, ok := e.(string); !ok {
				return false
			}
		}
		return name == "crit" || name == "x5c"
	case map[string]any:
		return name == "jwk" // it is not looked at: who signs may not say with which key
	}
	return false
}

// text returns a claim if it is a string.
func (t *token) text(claim string) string {
	s, _ := t.claims[claim].(string)
	return s
}

// seconds returns a claim that is an unsigned integer (P-jwt-10).
func (t *token) seconds(claim string) (uint64, bool) {
	n, ok := t.claims[claim].(json.Number)
	if !ok {
		return 0, false
	}
	u, err := strconv.ParseUint(string(n), 10, 64)
	return u, err == nil
}

// instant is a number of seconds since 1970 as a time, none beyond what time.Time compares well.
func instant(seconds uint64) time.Time { return time.Unix(int64(min(seconds, math.MaxInt64>>20)), 0) }
