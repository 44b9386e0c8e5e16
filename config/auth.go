package config

import (
	"time"
)

// Auth is the `auth` block of a server or client: how connections prove who they are.
type Auth struct {
	Position Position // of the key
	Type     string   // "none", "basic", "jwt", "oidc", "spire"; clients also "static_jwt"
	Username string   // basic
	Password Secret   // basic
	File     string   // static_jwt
	JWT      *JWT
	OIDC     *OIDC
	Spire    *Spire
}

// JWT is `auth` of type jwt.
type JWT struct {
	Audience        []string
	Issuer, Subject string
	Custom          map[string]any
	Duration        time.Duration // unused, also upstream: tokens live an hour
	Key             JWTKey
	Policy          Policy
	SubjectBinding  string // "", "off", "warn" or "enforce"
}

// JWTKey is `key` of a JWT block.
type JWTKey struct {
	Type              string // "encoding", "decoding" or "autoresolve", which has no other keys
	Algorithm, Format string
	Key               Source
}

// Policy is `policy`: exactly one field is set, or none.
type Policy struct{ CEL, Rego, RegoFile string }

// OIDC is `auth` of type oidc.
type OIDC struct {
	IssuerURL, ClientID                string
	ClientSecret, RefreshToken         Secret
	RefreshTokenFile, AccessTokenFile  string
	Scope, Audience                    string
	Timeout, JWKSLife, ClaimsCacheLife time.Duration // ClaimsCacheLife 0: no cache
	Policy                             Policy
}

// checkAuth refuses what upstream refuses when it connects, and a listener that asks for nothing.
// Rules: P-auth-3.
func (d *decoder) checkAuth(a *Auth, path string) {
	refuse := func(key, text string) {
		d.fail(&node{pos: a.Position}, join(path, key), "", text).Context =
			[]string{contextStart, "datapath error", "configuration error", "auth config error", "internal auth error"}
	}
	switch {
	case a.Type == "basic" && a.Username == "":
		refuse("username", "username cannot be empty")
	case a.Type == "basic" && a.Password.Reveal() == "":
		refuse("password", "password cannot be empty")
	}
}

func (d *decoder) auth(n *node, path string, s side) Auth {
	words, what := []string{"basic", "jwt", "oidc", "spire", "none"}, "AuthenticationConfig"
	if s == clientSide {
		words = []string{"basic", "static_jwt", "jwt", "oidc", "spire", "none"}
	}
	o, kind := d.tagged(n, path, what, words...)
	a := Auth{Type: kind}
	if o == nil {
		return a
	}
	switch kind {
	case "basic":
		o.required("username")
		o.required("password")
		o.str("username", &a.Username)
		o.secret("password", &a.Password)
	case "static_jwt":
		var unused time.Duration
		o.required("file")
		o.str("file", &a.File)
		o.duration("duration", &unused)
		o.unused("duration", "")
	case "jwt":
		a.JWT = d.jwt(o, s)
	case "oidc":
		a.OIDC = d.oidc(o)
	case "spire":
		a.Spire = d.spire(o)
		if s == serverSide {
			o.accepted(a.Spire)
		}
	}
	o.end()
	return a
}

func (d *decoder) jwt(o *object, s side) *JWT {
	j := &JWT{Duration: time.Hour}
	if v := o.get("claims"); v != nil {
		d.claims(j, v, join(o.path, "claims"), s)
	}
	o.duration("duration", &j.Duration)
	o.required("key")
	if v := o.get("key"); v != nil {
		j.Key = d.jwtKey(v, join(o.path, "key"))
	}
	j.Policy = o.policy()
	o.optEnum("subject_binding", &j.SubjectBinding, "off", "warn", "enforce")
	return j
}

func (d *decoder) claims(j *JWT, n *node, path string, s side) {
	if n.kind != mapKind {
		d.mistyped(n, path, "struct Claims")
		return
	}
	o := d.object(n, path, "struct Claims", lenient)
	given := ""
	for _, key := range []string{"audience", "aud", "audiences"} {
		if n.get(key) != nil {
			if given != "" {
				d.bad(n, path, "duplicate field `audience`: "+given+" and "+key+" are one")
			}
			given = key
		}
		o.strs(key, &j.Audience)
	}
	for _, f := range []struct {
		name, alias string
		to          *string
	}{{"issuer", "iss", &j.Issuer}, {"subject", "sub", &j.Subject}} {
		if n.get(f.name) != nil && n.get(f.alias) != nil {
			d.bad(n, path, "duplicate field `"+f.name+"`: "+f.alias+" is its other name")
		}
		o.optStr(f.name, f.to)
		o.optStr(f.alias, f.to)
	}
	// An empty issuer must not pass for none, which takes anybody's tokens.
	for _, key := range []string{"issuer", "iss"} {
		if v := n.get(key); s == serverSide && v != nil && v.kind == stringKind && j.Issuer == "" {
			d.bad(v, join(path, key), "issuer cannot be empty: name whose tokens are taken, or leave the key out if they are anybody's")
		}
	}
	j.Custom = o.data("custom_claims")
	o.end()
}

func (d *decoder) jwtKey(n *node, path string) JWTKey {
	o, kind := d.tagged(n, path, "KeyConfig", "encoding", "decoding", "autoresolve")
	k := JWTKey{Type: kind}
	if o == nil {
		return k
	}
	if kind != "autoresolve" {
		for _, key := range []string{"algorithm", "format"} {
			o.required(key)
		}
		o.enum("algorithm", &k.Algorithm,
			"HS256", "HS384", "HS512", "ES256", "ES384", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "EdDSA")
		o.enum("format", &k.Format, "pem", "jwk", "jwks")
		k.Key = o.source("key")
	}
	o.end()
	return k
}

// policy reads a map with exactly one known key.
func (o *object) policy() (p Policy) {
	path := join(o.path, "policy")
	v := o.get("policy")
	switch {
	case v == nil:
		return p
	case v.kind == nullKind: // as upstream
		o.d.warn(v.pos, path, "it says nothing, and passes for none: whoever has a good token is let in")
		return p
	}
	if v.kind != mapKind || len(v.entries) != 1 {
		o.d.bad(v, path, "expected a map with exactly one key, "+oneOf([]string{"cel", "rego", "rego_file"}))
		return p
	}
	o.d.variant(v.entries[0].key, path, "a string", []string{"cel", "rego", "rego_file"})
	in := o.d.object(v, path, "a map", lenient)
	in.str("cel", &p.CEL)
	in.str("rego", &p.Rego)
	in.str("rego_file", &p.RegoFile)
	// An empty policy must not pass for none, which lets everybody in (P-pol-1).
	if given := v.entries[0]; given.val.kind == stringKind && p == (Policy{}) {
		o.d.bad(given.val, join(path, given.key.str), "rego policy compilation failed: it is empty")
	}
	return p
}

func (d *decoder) oidc(o *object) *OIDC {
	c := &OIDC{Timeout: 30 * time.Second, JWKSLife: time.Hour}
	optSecret := func(key string, to *Secret) {
		if v := o.n.get(key); v != nil && v.kind == nullKind {
			o.get(key)
			return
		}
		o.secret(key, to)
	}
	o.required("issuer_url")
	o.str("issuer_url", &c.IssuerURL)
	o.optStr("client_id", &c.ClientID)
	optSecret("client_secret", &c.ClientSecret)
	optSecret("refresh_token", &c.RefreshToken)
	o.optStr("refresh_token_file", &c.RefreshTokenFile)
	o.optStr("access_token_file", &c.AccessTokenFile)
	o.optStr("scope", &c.Scope)
	o.duration("timeout", &c.Timeout)
	o.optStr("audience", &c.Audience)
	o.duration("jwks_ttl", &c.JWKSLife)
	if v := o.n.get("claim_cache_ttl"); v == nil || v.kind != nullKind {
		o.duration("claim_cache_ttl", &c.ClaimsCacheLife)
	} else {
		o.get("claim_cache_ttl")
	}
	c.Policy = o.policy()
	return c
}
