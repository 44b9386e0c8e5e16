package jwt

import (
	"cmp"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/seed31b3bfd0/slimgo/internal/auth/jose"
)

const (
	maxFetchedKeys = 128  // of an issuer; others are passed over
	maxListedKeys  = 4096 // in a file: a list may be of peers
	maxTries       = 128  // keys that one token has tried
)

// verifyKey is a key that verifies, or one of a list that does not, whose alg is nil.
type verifyKey struct {
	id     string // kid; "": none
	alg    *jose.Algorithm
	public any
	did    string // of an Ed25519 key, its did:key (P-jwt-9); else ""
}

// keySet is what verifies: one key, or a list. Immutable.
type keySet struct {
	one  *verifyKey              // for every token; nil: it is a list
	byID map[string][]*verifyKey // by kid, also keys without an algorithm, which verify nothing
	all  []*verifyKey            // those with an algorithm
}

// choice is why there is no key for a token.
type choice string

func (c choice) Error() string { return string(c) }

// choose returns the keys that a token's signature may be of (P-jwt-7). listed: the kid, if there is one, is that of a key.
func (s *keySet) choose(h *header) (keys []*verifyKey, listed bool, err error) {
	if s.one != nil {
		if s.one.alg != h.alg {
			return nil, true, choice("it is signed with " + h.alg.Name + ", and the key is for " + s.one.alg.Name)
		}
		return []*verifyKey{s.one}, true, nil
	}
	if named := s.byID[h.kid]; h.kid != "" && len(named) > 0 {
		keys = slices.DeleteFunc(slices.Clone(named), func(k *verifyKey) bool { return k.alg != h.alg })
		if len(keys) == 0 {
			return nil, true, choice("the key of its kid is none for " + h.alg.Name + ", or does not say for what it is (`alg`)")
		}
		return keys, true, nil
	}
	var rest []*verifyKey
	for _, k := range s.all {
		switch {
		case k.alg != h.alg:
		case h.kid != "" && k.did == h.kid: // upstream's peers name theirs like that; it is tried first
			keys = append(keys, k)
		default:
			rest = append(rest, k)
		}
	}
	listed = len(keys) > 0 || h.kid == ""
	keys = append(keys, rest...)
	if len(keys) == 0 {
		return nil, listed, choice("no key of the list is for " + h.alg.Name)
	}
	return keys[:min(len(keys), maxTries)], listed, nil
}

// parseSet reads a JWKS (RFC 7517 section 5). What cannot verify is passed over, and said in warnings. fetched: everybody may have
// read it.
func parseSet(b []byte, fetched, strict bool) (*keySet, []string, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(b, &doc); err != nil || doc.Keys == nil {
		return nil, nil, errors.New(`is no JWKS: a JSON object with a list "keys" (RFC 7517 section 5)`)
	}
	most := maxListedKeys
	if fetched {
		most = maxFetchedKeys
	}
	var warnings []string
	if n := len(doc.Keys); n > most && !fetched {
		return nil, nil, fmt.Errorf("has %d keys, and at most %d are taken", n, most)
	} else if n > most {
		warnings = append(warnings, fmt.Sprintf("has %d keys, of which the first %d count", n, most))
		doc.Keys = doc.Keys[:most]
	}
	s := &keySet{byID: map[string][]*verifyKey{}}
	for i, raw := range doc.Keys {
		k, err := parseMember(raw, fetched, strict)
		if k != nil && k.id != "" {
			s.byID[k.id] = append(s.byID[k.id], k)
		}
		if err != nil {
			if len(warnings) < 10 {
				warnings = append(warnings, fmt.Sprintf("keys[%d] verifies nothing: it %v", i, err))
			}
			continue
		}
		s.all = append(s.all, k)
	}
	if len(s.all) == 0 {
		warnings = append(warnings, "no key of this list verifies anything: everybody is refused")
	}
	return s, warnings, nil
}

// parseMember reads a key of a list. With an error it returns a key that verifies nothing, if it has a kid; else nil.
func parseMember(raw []byte, fetched, strict bool) (*verifyKey, error) {
	var about struct {
		ID  string `json:"kid"`
		Alg string `json:"alg"`
		Use string `json:"use"`
	}
	if json.Unmarshal(raw, &about) != nil {
		return nil, errors.New("is no JWK (RFC 7517)")
	}
	k := &verifyKey{id: about.ID}
	a := jose.Named(about.Alg)
	switch {
	case about.Use != "" && about.Use != "sig":
		return k, fmt.Errorf("is not for signatures: its `use` is %q", about.Use)
	case about.Alg == "":
		return k, errors.New("has no `alg`")
	case a == nil:
		return k, fmt.Errorf("is for %q, which is unknown here", about.Alg)
	case fetched && a.Secret > 0:
		return k, errors.New("is a secret that everybody can fetch")
	}
	public, private, err := jose.ParseJWK(raw)
	switch {
	case err != nil:
		return k, err
	case fetched && private:
		return k, errors.New("is a private key that everybody can fetch")
	}
	if err := cmp.Or(a.Fits(public), a.Long(public, strict)); err != nil {
		return k, err
	}
	k.alg, k.public = a, public
	if e, ok := public.(ed25519.PublicKey); ok {
		k.did = DIDKey(e)
	}
	return k, nil
}
