package oidc

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	leeway    = 60 * time.Second
	maxDepth  = 64   // of lists and objects in each other
	maxValues = 4096 // of a token or of userinfo: what they cost once they are read
)

// jws is a token that can be read. Nothing of it is proven.
type jws struct {
	alg, kid  string // kid may be empty
	claims    map[string]any
	signed    []byte // header and payload, as they came
	signature []byte
}

// bearer returns the token of a header: the scheme in any case, then spaces.
func bearer(authorization string) (string, bool) {
	scheme, s, ok := strings.Cut(authorization, " ")
	s = strings.TrimLeft(s, " ")
	return s, ok && strings.EqualFold(scheme, "Bearer") && s != ""
}

var base64url = base64.RawURLEncoding.Strict()

// parseJWS reads a token in compact form (RFC 7515 section 7.1). The caller bounds its length.
func parseJWS(s string) (*jws, error) {
	parts := strings.SplitN(s, ".", 4)
	if len(parts) != 3 || strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("this is no token of three parts: the provider has to give access tokens that are JWTs")
	}
	var raw [3][]byte
	for i := range raw {
		var err error
		if raw[i], err = base64url.DecodeString(parts[i]); err != nil {
			return nil, errors.New("this is no token: a part of it is no base64url without padding")
		}
	}
	header, err := readObject(raw[0])
	if err != nil {
		return nil, fmt.Errorf("this is no token: its header: %w", err)
	}
	t := &jws{signed: []byte(s[:len(parts[0])+1+len(parts[1])]), signature: raw[2]}
	t.alg, _ = header["alg"].(string)
	if kid, there := header["kid"]; there {
		var ok bool
		if t.kid, ok = kid.(string); !ok || t.kid == "" {
			return nil, errors.New("this is no token: its header: kid is no text")
		}
	}
	if t.claims, err = readObject(raw[1]); err != nil {
		return nil, fmt.Errorf("this is no token: its payload: %w", err)
	}
	return t, nil
}

// check judges the claims as upstream does (P-oidc-9), and returns the claim exp.
func (t *jws) check(audience, issuer string, now time.Time) (time.Time, error) {
	n, _ := t.claims["exp"].(json.Number)
	u, err := strconv.ParseUint(string(n), 10, 48) // later than anybody's clock, and still a time
	if err != nil {
		return time.Time{}, errors.New("the token's exp is missing, or no whole number of seconds")
	}
	exp := time.Unix(int64(u), 0)
	if now.Unix() > int64(u)+int64(leeway/time.Second) {
		return exp, fmt.Errorf("the token has expired %v ago: compare the clocks, and whether its owner renews it", now.Sub(exp).Round(time.Second))
	}
	return exp, meant(t.claims["aud"], t.claims["iss"], audience, issuer)
}

// meant returns why a token is not for us, by its claims of these names, nil: it has none.
func meant(aud, iss any, audience, issuer string) error {
	switch {
	case !among(aud, audience):
		return fmt.Errorf("the token is for others: its aud has not %q, which is audience here", audience)
	case !among(iss, issuer):
		return fmt.Errorf("the token is of another issuer: its iss is not %q, which is issuer_url here, to the last slash", issuer)
	}
	return nil
}

// among reports whether a claim is want, or a list that has it, or is not there.
func among(claim any, want string) bool {
	switch v := claim.(type) {
	case nil:
		return true
	case string:
		return v == want
	case []any:
		return slices.Contains(v, any(want))
	}
	return false
}

// text returns a claim if it is one.
func text(claims map[string]any, claim string) string {
	s, _ := claims[claim].(string)
	return s
}

// reader reads a JSON object strictly: no member twice, where readers differ in which one counts; no null, as upstream;
// bounded in depth and number.
type reader struct {
	d *json.Decoder
	n int // values
}

var (
	errJSON  = errors.New("it is no JSON object")
	errDepth = fmt.Errorf("it is nested more than %d deep", maxDepth)
)

// readObject returns an object, numbers as json.Number. It must be all there is. The errors tell nothing of the values.
func readObject(b []byte) (map[string]any, error) {
	if !utf8.Valid(b) {
		return nil, errJSON
	}
	r := &reader{d: json.NewDecoder(bytes.NewReader(b))}
	r.d.UseNumber()
	v, err := r.value(0)
	if err != nil {
		return nil, err
	}
	m, ok := v.(map[string]any)
	if _, err := r.d.Token(); !ok || err != io.EOF {
		return nil, errJSON
	}
	return m, nil
}

func (r *reader) value(depth int) (any, error) {
	t, err := r.d.Token()
	if r.n++; err != nil {
		return nil, errJSON
	}
	switch d, delim := t.(json.Delim); {
	case r.n > maxValues:
		return nil, fmt.Errorf("it has more than %d values", maxValues)
	case t == nil:
		return nil, errors.New("a value is null, which is refused, as by upstream: have the provider leave it out")
	case !delim:
		return t, nil
	case depth == maxDepth:
		return nil, errDepth
	case d == '{':
		return r.object(depth + 1)
	default:
		return r.list(depth + 1)
	}
}

func (r *reader) object(depth int) (any, error) {
	m := map[string]any{}
	for r.d.More() {
		t, err := r.d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return nil, errJSON
		}
		if _, twice := m[name]; twice {
			return nil, errors.New("a member is there twice")
		}
		if m[name], err = r.value(depth); err != nil {
			return nil, err
		}
	}
	return m, r.close()
}

func (r *reader) list(depth int) (any, error) {
	l := []any{}
	for r.d.More() {
		v, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		l = append(l, v)
	}
	return l, r.close()
}

func (r *reader) close() error {
	if _, err := r.d.Token(); err != nil {
		return errJSON
	}
	return nil
}
