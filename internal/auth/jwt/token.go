package jwt

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// bearer returns the token of a header: the scheme in any case, then spaces (P-jwt-4).
func bearer(authorization string) (token string, ok bool) {
	scheme, token, ok := strings.Cut(authorization, " ")
	token = strings.TrimLeft(token, " ")
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != ""
}

// header is what the first part of a token says that counts.
type header struct {
	alg  *algorithm
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

var base64url = base64.RawURLEncoding.Strict()

// decode64 is strict: encoding/base64 passes over line ends.
func decode64(part string) ([]byte, error) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, errors.New("it is no base64url")
	}
	b, err := base64url.DecodeString(part)
	if err != nil {
		return nil, errors.New("it is no base64url without padding")
	}
	return b, nil
}

// parse reads a token (RFC 7519 section 7.2 up to the signature, P-jwt-5). An error is a *fault.
func parse(s string) (*token, error) {
	if len(s) > auth.MaxAuthorization {
		return nil, &fault{TooLarge, fmt.Sprintf("the token has more than %d bytes", auth.MaxAuthorization)}
	}
	parts := strings.SplitN(s, ".", 4)
	if len(parts) != 3 {
		return nil, &fault{Malformed, "this is no token: not three parts"}
	}
	var raw [3][]byte
	for i, what := range []string{"header", "payload", "signature"} {
		b, err := decode64(parts[i])
		if err != nil {
			return nil, &fault{Malformed, "this is no token: its " + what + ": " + err.Error()}
		}
		raw[i] = b
	}
	h, err := parseHeader(raw[0])
	if err != nil {
		return nil, err
	}
	claims, n, err := decodeObject(raw[1], false)
	if err != nil {
		return nil, &fault{Malformed, "this is no token: its payload: " + err.Error()}
	}
	t := &token{header: *h, claims: claims, signed: []byte(s[:len(parts[0])+1+len(parts[1])]), signature: raw[2]}
	t.bytes = 512 + len(s) + len(raw[1]) + 96*n
	return t, nil
}

// parseHeader reads the first part of a token (P-jwt-5).
func parseHeader(b []byte) (*header, error) {
	m, _, err := decodeObject(b, true)
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
	if h.alg = algorithmOf(alg); h.alg == nil {
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
