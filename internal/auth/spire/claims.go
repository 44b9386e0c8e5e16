package spire

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/strict"
)

// claimsAudience begins the audience that carries claims of an app, as standard base64 of a JSON object. Rules: P-spiffe-3.
const claimsAudience = "slim-claims:"

// algorithms are those of the JWT-SVID specification, section 2.1.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.ES256, jose.ES384, jose.ES512, jose.PS256, jose.PS384, jose.PS512}

var base64url = base64.RawURLEncoding.Strict()

// pubkeyAudience returns the audience that carries the public key with which an app signs.
func pubkeyAudience(key []byte) string {
	claims := `{"pubkey":"` + base64.StdEncoding.EncodeToString(key) + `"}`
	return claimsAudience + base64.StdEncoding.EncodeToString([]byte(claims))
}

// token is a JWT-SVID that was taken apart. Nothing of it is proven.
type token struct {
	jws     *jose.JSONWebSignature
	key     string // kid
	subject spiffeid.ID
	issuer  string
	expires time.Time
	aud     []string       // without what carries claims
	all     []string       // with it
	custom  map[string]any // nil: none
}

// parseToken takes a JWT-SVID apart. The error says what is wrong with it; nothing of that is secret.
func parseToken(text string) (*token, error) {
	for part := range strings.SplitSeq(text, ".") {
		if _, err := base64url.DecodeString(part); err != nil { // jose takes bits that stand for nothing: one token, several texts
			return nil, errors.New("the token is no JWT-SVID: a part of it is no base64url without padding")
		}
	}
	jws, err := jose.ParseSignedCompact(text, algorithms)
	if err != nil {
		return nil, errors.New("the token is no JWT-SVID: " + shortened(err.Error()))
	}
	h := jws.Signatures[0].Header
	if h.KeyID == "" {
		return nil, errors.New("the token is no JWT-SVID: its header has no kid")
	}
	if typ, has := h.ExtraHeaders[jose.HeaderType]; has && typ != "JWT" && typ != "JOSE" {
		return nil, errors.New("the token is no JWT-SVID: the typ in its header is neither JWT nor JOSE")
	}
	claims, _, err := strict.Object(jws.UnsafePayloadWithoutVerification(), true)
	if err != nil {
		return nil, fmt.Errorf("the token is no JWT-SVID: its payload: %w", err)
	}
	t := &token{jws: jws, key: h.KeyID}
	if sub, is := claims["sub"].(string); !is {
		return nil, errors.New("the token is no JWT-SVID: it has no claim sub that is text")
	} else if len(sub) > auth.MaxID {
		return nil, fmt.Errorf("the token is no JWT-SVID: its claim sub is longer than the %d bytes of a SPIFFE ID", auth.MaxID)
	} else if t.subject, err = spiffeid.FromString(sub); err != nil {
		return nil, errors.New("the token is no JWT-SVID: its claim sub is no SPIFFE ID: " + shortened(err.Error()))
	} else if t.subject.Path() == "" {
		return nil, errors.New("the token is no JWT-SVID: its claim sub names a trust domain, and no workload of it")
	}
	if t.expires, err = numericDate(claims["exp"]); err != nil {
		return nil, errors.New("the token is no JWT-SVID: its claim exp " + err.Error())
	}
	if t.all, err = texts(claims["aud"]); err != nil {
		return nil, errors.New("the token is no JWT-SVID: its claim aud " + err.Error())
	}
	t.issuer, _ = claims["iss"].(string)
	t.aud, t.custom = apart(t.all)
	return t, nil
}

// numericDate reads a NumericDate (RFC 7519 section 2) of this age of the world.
func numericDate(v any) (time.Time, error) {
	n, is := v.(json.Number)
	if !is {
		return time.Time{}, errors.New("is absent, or no number")
	}
	f, err := n.Float64()
	if err != nil || f < 0 || f > math.MaxInt32*8 {
		return time.Time{}, errors.New("is no time")
	}
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), int64(part*1e9)), nil
}

// texts reads a text, or a list of texts.
func texts(v any) ([]string, error) {
	if s, is := v.(string); is {
		return []string{s}, nil
	}
	list, is := v.([]any)
	if !is {
		return nil, errors.New("is absent, or neither a text nor a list")
	}
	var all []string
	for _, x := range list {
		s, is := x.(string)
		if !is {
			return nil, errors.New("is a list of other than texts")
		}
		all = append(all, s)
	}
	return all, nil
}

// apart takes the audiences that carry claims out, and merges these, the last of a name counting. What cannot be read stays an
// audience.
func apart(audiences []string) (plain []string, custom map[string]any) {
	for _, a := range audiences {
		var claims map[string]any
		if text, is := strings.CutPrefix(a, claimsAudience); is {
			if b, err := base64.StdEncoding.Strict().DecodeString(text); err == nil && !strings.ContainsAny(text, "\r\n") {
				claims, _, _ = strict.Object(b, true)
			}
		}
		if claims == nil {
			plain = append(plain, a)
			continue
		}
		if custom == nil {
			custom = map[string]any{}
		}
		maps.Copy(custom, claims)
	}
	return plain, custom
}

// claims are what a JWT-SVID says of its owner, in upstream's shape, where the time is text. Rules: P-spiffe-4.
func (t *token) claims() map[string]any {
	aud := make([]any, len(t.aud))
	for i, a := range t.aud {
		aud[i] = a
	}
	all := map[string]any{"sub": t.subject.String(), "aud": aud, "exp": t.expires.UTC().Format(time.RFC3339)}
	if t.issuer != "" {
		all["iss"] = t.issuer
	}
	if t.custom != nil {
		all["custom_claims"] = t.custom
	}
	return all
}

// meant reports whether the token is for one of these audiences.
func (t *token) meant(audiences []string) bool {
	return slices.ContainsFunc(t.all, func(a string) bool { return slices.Contains(audiences, a) })
}

// checkAudiences refuses a list of audiences with which nothing can be asked for.
func checkAudiences(audiences []string) error {
	if len(audiences) == 0 {
		return errors.New("jwt_audiences is empty: a JWT-SVID is always for somebody, as in [slim]")
	}
	for _, a := range audiences {
		if a == "" {
			return errors.New("jwt_audiences has an empty text in it")
		}
		if strings.HasPrefix(a, claimsAudience) {
			return fmt.Errorf("jwt_audiences must not have one that begins with %s: it carries claims", claimsAudience)
		}
	}
	return nil
}
