package oidc

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth/strict"
)

const leeway = 60 * time.Second

// jws is a token that can be read. Nothing of it is proven.
type jws struct {
	alg, kid  string // kid may be empty
	crit      bool   // its header says that something else must count
	claims    map[string]any
	signed    []byte // header and payload, as they came
	signature []byte
}

// parseJWS reads a token in compact form (RFC 7515 section 7.1). The caller bounds its length.
func parseJWS(s string) (*jws, error) {
	c, err := strict.Parse(s)
	if errors.Is(err, strict.ErrParts) {
		return nil, errors.New("this is no token of three parts: the provider has to give access tokens that are JWTs")
	} else if err != nil {
		return nil, fmt.Errorf("this is no token: %w", err)
	}
	header, err := readObject(c.Header)
	if err != nil {
		return nil, fmt.Errorf("this is no token: its header: %w", err)
	}
	t := &jws{signed: c.Signed, signature: c.Signature}
	t.alg, _ = header["alg"].(string)
	_, t.crit = header["crit"]
	if kid, there := header["kid"]; there {
		var ok bool
		if t.kid, ok = kid.(string); !ok || t.kid == "" {
			return nil, errors.New("this is no token: its header: kid is no text")
		}
	}
	if t.claims, err = readObject(c.Payload); err != nil {
		return nil, fmt.Errorf("this is no token: its payload: %w", err)
	}
	return t, nil
}

// readObject reads an object without null, which upstream refuses, too.
func readObject(b []byte) (map[string]any, error) {
	m, _, err := strict.Object(b, false)
	return m, err
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

// strict returns what strict authentication wants of a token besides (P-oidc-9).
func (t *jws) strict(now time.Time) error {
	switch {
	case t.crit:
		return errors.New("the token's header has crit, of which nothing is understood here")
	case t.claims["aud"] == nil:
		return errors.New("the token has no aud, which strict authentication wants")
	case t.claims["iss"] == nil:
		return errors.New("the token has no iss, which strict authentication wants")
	}
	for _, claim := range []string{"nbf", "iat"} {
		v, there := t.claims[claim]
		if !there {
			continue
		}
		n, _ := v.(json.Number)
		f, err := strconv.ParseFloat(string(n), 64) // RFC 7519 section 2: it may be fractional
		switch {
		case err != nil:
			return fmt.Errorf("the token's %s is no number", claim)
		case f > float64(now.Add(leeway).Unix()):
			return fmt.Errorf("the token's %s is in the future: compare the clocks", claim)
		}
	}
	return nil
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
