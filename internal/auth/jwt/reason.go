package jwt

import (
	"net/http"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// Reason is why a token was refused, for counts. There are no others.
type Reason uint8

// Reasons.
const (
	NoToken      Reason = iota // the request has none
	TooLarge                   // more than auth.MaxAuthorization bytes
	Malformed                  // it is no token, or has a member twice, of the wrong type, null, or nested too deep
	BadAlgorithm               // none, an unknown one, or another than the key's
	NoKey                      // no key is for it
	BadSignature               // it is not signed with a key that counts
	Expired                    // or it does not say when it does
	NotYet                     // strict: it is not valid yet, or was issued in the future
	BadAudience
	BadIssuer   // or one that is not asked
	BadSubject  // it is not the owner of the key that has signed, or strict: another than configured
	Unavailable // the issuer's keys could not be had
	BadPolicy   // the policy says no, or fails
	Closed      // the verifier is
	numReasons
)

var reasonTexts = [numReasons]string{"no_token", "too_large", "malformed", "algorithm", "no_key", "signature", "expired", "not_yet",
	"audience", "issuer", "subject", "unavailable", "policy", "closed"}

// String returns a word, as a label of metrics.
func (r Reason) String() string { return reasonTexts[r] }

// Reasons returns all there are.
func Reasons() []Reason {
	all := make([]Reason, numReasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// fault is why a token is refused.
type fault struct {
	reason Reason
	text   string // for an operator; nothing of it is secret
}

func (f *fault) Error() string { return f.text }

// denied makes of a fault what a request is refused with (P-jwt-16). listed: the issuer is one that we rely on.
func (f *fault) denied(t *token, listed bool) *auth.Denied {
	d := &auth.Denied{Status: http.StatusUnauthorized, Reason: f.text}
	switch {
	case f.reason == BadPolicy:
		d.Status = http.StatusForbidden
	case f.reason == Closed, f.reason == Unavailable && listed:
		d.Status = http.StatusServiceUnavailable
	}
	if t != nil {
		d.Subject, d.Issuer = cut(t.text("sub")), cut(t.text("iss")) // a stranger may say anything
	}
	return d
}
