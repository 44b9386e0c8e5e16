package jwt

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth/jose"
)

func TestDIDKey(t *testing.T) {
	// The first key of RFC 8032 section 7.1, as upstream spells it.
	b, err := hex.DecodeString("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
	if err != nil {
		t.Fatal(err)
	}
	if got := DIDKey(ed25519.PublicKey(b)); got != "did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw" {
		t.Error(got)
	}
}

// bindingRows are tokens that the second of two keys, of kid "a" and "b", has signed, by their sub (P-jwt-9). Upstream's listener
// answers the same.
func bindingRows(did string) []struct {
	sub   string
	owner bool
} {
	return []struct {
		sub   string
		owner bool
	}{{"b", true}, {did, true}, {"a", false}, {"", false}, {"x", false}, {"did:key:z6MktwupdmLXVVqTzCw4i46r4uGyosGXRnR3XjN4Zq7oMMsw", false}}
}

func twoPeers(t testing.TB) (list, did string) {
	a := jwkOf(t, made(t, "EdDSA", 0).public, map[string]any{"alg": "EdDSA", "kid": "a"})
	b := jwkOf(t, made(t, "EdDSA", 1).public, map[string]any{"alg": "EdDSA", "kid": "b"})
	public, _, err := publicKeys.read(jose.Named("EdDSA"), []byte(made(t, "EdDSA", 1).public))
	if err != nil {
		t.Fatal(err)
	}
	return jwks(t, a, b), DIDKey(public.(ed25519.PublicKey))
}

// bindingToken is signed by b, with or without saying so.
func bindingToken(t testing.TB, sub, kid string) string {
	t.Helper()
	key, _, err := privateKeys.read(jose.Named("EdDSA"), []byte(made(t, "EdDSA", 1).private))
	if err != nil {
		t.Fatal(err)
	}
	header, payload := map[string]any{"alg": "EdDSA"}, map[string]any{"iss": "i", "exp": time.Now().Unix() + 100}
	if kid != "" {
		header["kid"] = kid
	}
	if sub != "" {
		payload["sub"] = sub
	}
	h, err := encode(nil, header)
	if err != nil {
		t.Fatal(err)
	}
	p, err := encode(nil, payload)
	if err != nil {
		t.Fatal(err)
	}
	text := base64url.EncodeToString(h) + "." + base64url.EncodeToString(p)
	signature, err := jose.Named("EdDSA").Sign(key, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return text + "." + base64url.EncodeToString(signature)
}

func TestBinding(t *testing.T) {
	list, did := twoPeers(t)
	for _, binding := range []string{"", BindOff, BindWarn, BindEnforce} {
		for _, r := range bindingRows(did) {
			for _, kid := range []string{"", "b", did} {
				var told notices
				v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: JWKS, Data: list}, Binding: binding, Watch: Watch{Told: told.tell}})
				token := bindingToken(t, r.sub, kid)
				want, said, seen := http.StatusOK, 0, uint64(0)
				if !r.owner && binding == BindEnforce {
					want = http.StatusUnauthorized
				}
				if !r.owner && binding == BindWarn {
					said = 1
				}
				if !r.owner && (binding == BindWarn || binding == BindEnforce) {
					seen = 1
				}
				name := fmt.Sprintf("binding %q, sub %q, kid %q", binding, r.sub, kid)
				if got, why := status(t, v, "Bearer "+token); got != want || told.len() != said || v.Stats().Mismatches != seen {
					t.Errorf("%s: %d (%s), want %d; told %v; %d mismatches, want %d", name, got, why, want, &told, v.Stats().Mismatches, seen)
				}
				if got, _ := status(t, v, "Bearer "+token); got != want { // refused ones are not remembered
					t.Errorf("%s, again: %d", name, got)
				}
			}
		}
	}
}

// Who shows many wrong tokens does not fill the log.
func TestMismatchesAreSaidSeldom(t *testing.T) {
	list, _ := twoPeers(t)
	var told notices
	v := newVerifier(t, VerifierOptions{Key: Key{Algorithm: "HS256", Format: JWKS, Data: list}, Binding: BindWarn, Watch: Watch{Told: told.tell}})
	for i := range 20 {
		if got, _ := status(t, v, "Bearer "+bindingToken(t, fmt.Sprint("x", i), "")); got != http.StatusOK {
			t.Fatal(got)
		}
	}
	if told.len() != 1 || v.Stats().Mismatches != 20 {
		t.Errorf("told %v; %d mismatches", &told, v.Stats().Mismatches)
	}
}

// A token that names no key has at most 128 tried; the one whose did:key it names is tried first.
func TestTriesAreBounded(t *testing.T) {
	s := &keySet{byID: map[string][]*verifyKey{}}
	ed := jose.Named("EdDSA")
	for i := range maxTries + 50 {
		k := &verifyKey{id: fmt.Sprint("k", i), did: fmt.Sprint("did", i), alg: ed}
		s.all = append(s.all, k)
		s.byID[k.id] = []*verifyKey{k}
	}
	last := fmt.Sprint(maxTries + 49)
	for _, c := range []struct {
		kid, first string
		n          int
	}{{"", "k0", maxTries}, {"x", "k0", maxTries}, {"did" + last, "k" + last, maxTries}, {"k" + last, "k" + last, 1}} {
		keys, _, err := s.choose(&header{alg: ed, kid: c.kid})
		if err != nil || len(keys) != c.n || keys[0].id != c.first {
			t.Errorf("kid %q: %d keys, the first is %v; %v", c.kid, len(keys), keys[0].id, err)
		}
	}
}
