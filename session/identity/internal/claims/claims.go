// Package claims makes what sessions ask of a token from what it says, whoever has made it.
package claims

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/session"
)

var (
	errNoSubject = errors.New("missing subject claim: the token has no sub that is text")
	errKey       = errors.New("the token's pubkey is no key: not the base64 of 32, 33 or 65 bytes")
)

// Of returns the claims of a token that was verified, and that counts for leeway after it has expired (P-id-3).
func Of(who *auth.Identity, leeway time.Duration) (session.Claims, error) {
	c := session.Claims{Subject: who.Subject, Issuer: who.Issuer, Expires: who.Expires.Add(leeway)}
	if c.Subject == "" {
		c.Subject, _ = who.Claims["id"].(string)
	}
	if c.Subject == "" {
		return session.Claims{}, errNoSubject
	}
	if n, ok := who.Claims["iat"].(json.Number); ok {
		if at, err := strconv.ParseUint(string(n), 10, 40); err == nil {
			c.Issued = time.Unix(int64(at), 0)
		}
	}
	text, there := who.Claims["pubkey"]
	if !there {
		custom, _ := who.Claims["custom_claims"].(map[string]any)
		text, there = custom["pubkey"]
	}
	if !there {
		return c, nil // nothing that it signs is believed
	}
	s, _ := text.(string)
	key, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil || len(key) != 32 && len(key) != 33 && len(key) != 65 {
		return session.Claims{}, errKey
	}
	c.PublicKey = key
	return c, nil
}
