package jwt

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// leeway is how long tokens count after they have expired, as upstream, and with Strict before they do.
const leeway = 60 * time.Second

// typed returns what is wrong with the types of a token's claims where a list of keys verifies: upstream reads them into a struct
// first (P-jwt-12).
func (t *token) typed() *fault {
	if _, ok := t.claims["iss"].(string); !ok {
		return &fault{BadIssuer, "the token has no claim iss that is text, which a list of keys wants"}
	}
	for _, name := range []string{"sub", "jti"} {
		v, there := t.claims[name]
		if _, ok := v.(string); there && !ok {
			return &fault{Malformed, "the claim " + name + " is no text, which a list of keys wants"}
		}
	}
	for _, name := range []string{"exp", "iat", "nbf"} {
		if _, there := t.claims[name]; !there {
			continue
		}
		if _, ok := t.seconds(name); !ok {
			return &fault{Malformed, "the claim " + name + " is no unsigned integer, which a list of keys wants"}
		}
	}
	if v, there := t.claims["aud"]; there {
		if list, ok := v.([]any); !ok || !texts(list) {
			return &fault{Malformed, "the claim aud is no list of texts, which a list of keys wants"}
		}
	}
	return nil
}

func texts(list []any) bool {
	return !slices.ContainsFunc(list, func(v any) bool { _, ok := v.(string); return !ok })
}

// expiry returns when a token expires, or why it does not count at now (P-jwt-10).
func (t *token) expiry(now time.Time) (time.Time, *fault) {
	exp, ok := t.seconds("exp")
	if !ok {
		return time.Time{}, &fault{Expired, "the token has no claim exp that is an unsigned integer"}
	}
	end := instant(exp)
	if now.Truncate(time.Second).After(end.Add(leeway)) {
		return end, &fault{Expired, fmt.Sprintf("the token has expired at %s", end.UTC().Format(time.RFC3339))}
	}
	return end, nil
}

// begun returns why a token does not count yet. Upstream never asks.
func (t *token) begun(now time.Time) *fault {
	for _, name := range []string{"nbf", "iat"} {
		v, there := t.claims[name]
		if !there {
			continue
		}
		n, ok := v.(json.Number)
		s, err := strconv.ParseFloat(string(n), 64) // RFC 7519 section 2: NumericDate may be fractional
		switch {
		case !ok || err != nil:
			return &fault{Malformed, "the claim " + name + " is no number"}
		case s > float64(now.Add(leeway).Unix()):
			return &fault{NotYet, "the claim " + name + " is in the future: are the clocks right?"}
		}
	}
	return nil
}

// expected is what the claims of all tokens are compared with.
type expected struct {
	audiences []string
	issuers   []string // empty: any
	subject   string   // strict only
	strict    bool
}

// accepts returns why a token is not meant for us (P-jwt-11).
func (e *expected) accepts(t *token) *fault {
	if f := e.audience(t); f != nil {
		return f
	}
	if f := e.issuer(t); f != nil {
		return f
	}
	switch t.claims["sub"].(type) {
	case []any, map[string]any:
		return &fault{Malformed, "the claim sub is no text"}
	}
	if e.strict && e.subject != "" && t.text("sub") != e.subject {
		return &fault{BadSubject, "the claim sub is another than claims.subject"}
	}
	return nil
}

func (e *expected) audience(t *token) *fault {
	v, there := t.claims["aud"]
	if !there {
		if e.strict {
			return &fault{BadAudience, "the token has no claim aud"}
		}
		return nil
	}
	aud, ok := oneOrMore(v)
	switch {
	case !ok:
		return &fault{Malformed, "the claim aud is neither text nor a list of texts"}
	case len(e.audiences) == 0:
		return &fault{BadAudience, "the token has a claim aud, and claims.audience is not configured"}
	case !slices.ContainsFunc(aud, func(a string) bool { return slices.Contains(e.audiences, a) }):
		return &fault{BadAudience, "the claim aud has none of claims.audience"}
	}
	return nil
}

func (e *expected) issuer(t *token) *fault {
	v, there := t.claims["iss"]
	if !there {
		if e.strict {
			return &fault{BadIssuer, "the token has no claim iss"}
		}
		return nil
	}
	iss, ok := oneOrMore(v)
	switch {
	case !ok:
		return &fault{Malformed, "the claim iss is neither text nor a list of texts"}
	case len(e.issuers) > 0 && !slices.ContainsFunc(iss, func(i string) bool { return slices.Contains(e.issuers, i) }):
		return &fault{BadIssuer, "the claim iss is another than claims.issuer"}
	}
	return nil
}

// oneOrMore returns a text, or a list of texts, as a list.
func oneOrMore(v any) ([]string, bool) {
	switch v := v.(type) {
	case string:
		return []string{v}, true
	case []any:
		if !texts(v) {
			return nil, false
		}
		all := make([]string, len(v))
		for i := range v {
			all[i] = v[i].(string)
		}
		return all, true
	}
	return nil, false
}
