package strict

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Bearer returns the token of a header `authorization`: the scheme in any case, then spaces (P-jwt-4).
func Bearer(authorization string) (token string, ok bool) {
	scheme, token, ok := strings.Cut(authorization, " ")
	token = strings.TrimLeft(token, " ")
	return token, ok && strings.EqualFold(scheme, "Bearer") && token != ""
}

// Compact is a JWS in compact form (RFC 7515 section 7.1), taken apart.
type Compact struct {
	Header, Payload, Signature []byte
	Signed                     []byte // header and payload, as they came
}

// ErrParts is why something is no token at all.
var ErrParts = errors.New("not three parts")

var base64url = base64.RawURLEncoding.Strict()

// Parse takes a token apart. The caller bounds its length. The error tells nothing of what it holds.
func Parse(s string) (*Compact, error) {
	parts := strings.SplitN(s, ".", 4)
	if len(parts) != 3 {
		return nil, ErrParts
	}
	c := &Compact{Signed: []byte(s[:len(parts[0])+1+len(parts[1])])}
	for i, to := range []struct {
		what string
		part *[]byte
	}{{"header", &c.Header}, {"payload", &c.Payload}, {"signature", &c.Signature}} {
		b, err := base64url.DecodeString(parts[i])
		if err != nil || strings.ContainsAny(parts[i], "\r\n") { // which encoding/base64 passes over
			return nil, fmt.Errorf("its %s: it is no base64url without padding", to.what)
		}
		*to.part = b
	}
	return c, nil
}
