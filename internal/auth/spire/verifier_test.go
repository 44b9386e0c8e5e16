package spire

import (
	"encoding/base64"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/proto/spiffe/workload"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/auth/spire/spiretest"
)

func newVerifier(t *testing.T, a *Agent, peers ...string) *Verifier {
	t.Helper()
	p, err := ParsePeers(peers)
	if err != nil {
		t.Fatal(err)
	}
	v, err := NewVerifier(a, VerifierOptions{Audiences: []string{"slim", "other"}, Peers: p})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() })
	return v
}

// denied returns the refusal that err is; nil: it is none.
func denied(err error) *auth.Denied {
	var d *auth.Denied
	errors.As(err, &d)
	return d
}

func b64(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// stray sets bits of the last character of base64url that stand for nothing.
func stray(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := len(s) - 1
	return s[:last] + alphabet[strings.IndexByte(alphabet, s[last])|1:][:1]
}

// What is let in, and with which words the rest is refused. Rules: P-spiffe-4.
func TestVerifier(t *testing.T) {
	const id = "spiffe://a.org/app"
	a, b, stranger := spiretest.NewDomain(t, "a.org"), spiretest.NewDomain(t, "b.org"), spiretest.NewDomain(t, "a.org")
	api := spiretest.Serve(t)
	api.Bundles(spiretest.Bundles(t, a, b))
	agent, _ := agentOf(t, api)
	v := newVerifier(t, agent)
	with := func(kv ...any) map[string]any {
		c := maps.Clone(spiretest.Claims(id, time.Hour, "slim"))
		for i := 0; i < len(kv); i += 2 {
			if c[kv[i].(string)] = kv[i+1]; kv[i+1] == nil {
				delete(c, kv[i].(string))
			}
		}
		return c
	}
	good := a.Token(t, with())
	head, rest, _ := strings.Cut(good, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	flipped := []byte(signature)
	if flipped[10]++; flipped[10] > 'z' || flipped[10] == ':' || flipped[10] == '[' || flipped[10] == '.' || flipped[10] == '`' {
		flipped[10] = 'A'
	}
	for _, c := range []struct {
		name, header string
		says         string // in the reason; "": let in
		knows        bool   // whom it claims to be
	}{
		{"good", "Bearer " + good, "", true},
		{"scheme of any case, more spaces", "bEARER   " + good, "", true},
		{"another trust domain with a bundle", "Bearer " + b.Token(t, with("sub", "spiffe://b.org/x")), "", true},
		{"an audience that is no list", "Bearer " + a.Token(t, with("aud", "slim")), "", true},
		{"one of several", "Bearer " + a.Token(t, with("aud", []string{"x", "other"})), "", true},
		{"issued tomorrow, good from then", "Bearer " + a.Token(t, with("iat", time.Now().Unix()+86400, "nbf", time.Now().Unix()+86400)), "", true}, // as upstream
		{"exp with a part of a second", "Bearer " + a.Token(t, with("exp", float64(time.Now().Unix()+3600)+0.5)), "", true},

		{"nothing", "", "nothing was shown", false},
		{"basic", "Basic Og==", "something else than a bearer token", false},
		{"no token", "Bearer  ", "something else than a bearer token", false},
		{"the token alone", good, "something else than a bearer token", false},
		{"garbage", "Bearer x", "no JWT-SVID", false},
		{"a space in it", "Bearer " + good + " x", "characters that no token has", false},
		{"another character", "Bearer " + good + "\x7f", "characters that no token has", false},
		{"too long", "Bearer " + strings.Repeat("x", auth.MaxAuthorization), "too long", false},
		{"two parts", "Bearer " + head + "." + payload, "no JWT-SVID", false},
		{"alg none", "Bearer " + b64(`{"alg":"none","kid":"`+a.KeyID+`"}`) + "." + payload + ".", "no JWT-SVID", false},
		{"alg of a secret", "Bearer " + b64(`{"alg":"HS256","kid":"`+a.KeyID+`"}`) + "." + payload + "." + signature, "no JWT-SVID", false},
		{"alg of another key", "Bearer " + b64(`{"alg":"RS256","kid":"`+a.KeyID+`"}`) + "." + payload + "." + signature, "not signed by the key", true},
		{"no kid", "Bearer " + a.Token(t, with(), "kid", ""), "no kid", false},
		{"kid of nobody", "Bearer " + a.Token(t, with(), "kid", "../../etc/passwd"), "no key with the token's kid", true},
		{"kid of another trust domain", "Bearer " + b.Token(t, with()), "no key with the token's kid", true},
		{"typ", "Bearer " + a.Token(t, with(), "typ", "at+jwt"), "typ", false},
		{"a key of another in the name of ours", "Bearer " + stranger.Token(t, with(), "kid", a.KeyID), "not signed by the key", true},
		{"signature", "Bearer " + head + "." + payload + "." + string(flipped), "not signed by the key", true},
		{"padding", "Bearer " + good + "=", "no JWT-SVID", false},
		{"stray bits", "Bearer " + stray(good), "no JWT-SVID", false},
		{"stray bits in the payload", "Bearer " + head + "." + stray(b64(`{"sub":"spiffe://a.org/root","aud":["slim"],"exp":9999999999} `)) + "." + signature, "no JWT-SVID", false},
		{"payload of another", "Bearer " + head + "." + b64(`{"sub":"spiffe://a.org/root","aud":["slim"],"exp":9999999999}`) + "." + signature, "not signed by the key", true},
		{"a trust domain without a bundle", "Bearer " + a.Token(t, with("sub", "spiffe://c.org/app")), "no bundle of the trust domain c.org", true},
		{"expired by a second", "Bearer " + a.Token(t, with("exp", time.Now().Unix()-1)), "expired", true},
		{"no exp", "Bearer " + a.Token(t, with("exp", nil)), "claim exp is absent", false},
		{"exp that is text", "Bearer " + a.Token(t, with("exp", "9999999999")), "claim exp is absent, or no number", false},
		{"exp of another age", "Bearer " + a.Token(t, with("exp", 1e300)), "claim exp is no time", false},
		{"exp before all", "Bearer " + a.Token(t, with("exp", -1)), "claim exp is no time", false},
		{"another audience", "Bearer " + a.Token(t, with("aud", []string{"x"})), "none of the audiences", true},
		{"no audience", "Bearer " + a.Token(t, with("aud", nil)), "claim aud is absent", false},
		{"no audiences", "Bearer " + a.Token(t, with("aud", []string{})), "none of the audiences", true},
		{"audiences of numbers", "Bearer " + a.Token(t, with("aud", []any{"slim", 1})), "claim aud is a list of other than texts", false},
		{"no sub", "Bearer " + a.Token(t, with("sub", nil)), "no claim sub", false},
		{"sub that is a number", "Bearer " + a.Token(t, with("sub", 1)), "no claim sub", false},
		{"sub that is no SPIFFE ID", "Bearer " + a.Token(t, with("sub", "app")), "no SPIFFE ID", false},
		{"sub longer than a SPIFFE ID", "Bearer " + a.Token(t, with("sub", "spiffe://a.org/"+strings.Repeat("x", 2034))), "longer than the 2048 bytes", false},
		{"sub of a trust domain", "Bearer " + a.Token(t, with("sub", "spiffe://a.org")), "no workload", false},
		{"a list", "Bearer " + a.Token(t, `[]`), "no JSON object", false},
		{"half of an object", "Bearer " + a.Token(t, `{"sub":`), "no JSON object", false},
		{"more than an object", "Bearer " + a.Token(t, `{} {}`), "more after the JSON object", false},
		{"sub twice", "Bearer " + a.Token(t, `{"sub":"spiffe://a.org/a","sub":"spiffe://a.org/b","aud":"slim","exp":9999999999}`), "a member is there twice", false},
	} {
		who, err := v.Verify(soon(t), &auth.Shown{Authorization: c.header})
		d := denied(err)
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.says == "":
			if who.Mechanism != auth.SPIRE || !strings.HasPrefix(who.Subject, "spiffe://") || who.Expires.IsZero() || who.Claims["sub"] != who.Subject {
				t.Errorf("%s: %+v", c.name, who)
			}
		case d == nil || d.Status != 401 || d.Challenge != "" || !strings.Contains(d.Reason, c.says) || (d.Subject != "") != c.knows:
			t.Errorf("%s: %+v, %v, want %q", c.name, d, err, c.says)
		case len(good) > 0 && strings.Contains(d.Reason, signature):
			t.Errorf("%s: the reason has a secret in it", c.name)
		}
	}
}

// Claims of apps travel in audiences. Rules: P-spiffe-3, P-spiffe-4.
func TestClaims(t *testing.T) {
	d, api := spiretest.NewDomain(t, "a.org"), spiretest.Serve(t)
	api.Bundles(spiretest.Bundles(t, d))
	agent, _ := agentOf(t, api)
	v := newVerifier(t, agent)
	carry := func(s string) string { return claimsAudience + base64.StdEncoding.EncodeToString([]byte(s)) }
	exp := time.Now().Add(time.Hour)
	for _, c := range []struct {
		name   string
		aud    []string
		plain  []any
		custom map[string]any
	}{
		{"none", []string{"slim"}, []any{"slim"}, nil},
		{"a key", []string{"slim", pubkeyAudience([]byte{1, 2, 3})}, []any{"slim"}, map[string]any{"pubkey": "AQID"}},
		{"two are merged", []string{carry(`{"a":"1","b":"1"}`), "slim", carry(`{"b":"2"}`)}, []any{"slim"}, map[string]any{"a": "1", "b": "2"}},
		{"no base64", []string{"slim", claimsAudience + "!"}, []any{"slim", claimsAudience + "!"}, nil},
		{"no object", []string{"slim", carry(`[1]`)}, []any{"slim", carry(`[1]`)}, nil},
		{"no JSON", []string{"slim", carry(`{`)}, []any{"slim", carry(`{`)}, nil},
		{"a line end", []string{"slim", carry(`{}`) + "\n"}, []any{"slim", carry(`{}`) + "\n"}, nil},
		{"an empty object", []string{"slim", carry(`{}`)}, []any{"slim"}, map[string]any{}},
	} {
		who, err := v.VerifyToken(d.Token(t, map[string]any{"sub": "spiffe://a.org/x", "aud": c.aud, "exp": exp.Unix(), "iss": "us", "more": 1}))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		want := map[string]any{"sub": "spiffe://a.org/x", "aud": c.plain, "exp": exp.UTC().Format(time.RFC3339), "iss": "us"}
		if c.custom != nil {
			want["custom_claims"] = c.custom
		}
		if !reflect.DeepEqual(who.Claims, want) || who.Issuer != "us" {
			t.Errorf("%s: %v, want %v", c.name, who.Claims, want)
		}
	}
}

// accepted_spiffe_ids answer with 403. Rules: P-spiffe-6.
func TestVerifierOfSomePeers(t *testing.T) {
	d, api := spiretest.NewDomain(t, "a.org"), spiretest.Serve(t)
	api.Bundles(spiretest.Bundles(t, d))
	agent, _ := agentOf(t, api)
	v := newVerifier(t, agent, "spiffe://a.org/edge/*")
	if _, err := v.VerifyToken(d.Token(t, spiretest.Claims("spiffe://a.org/edge/1", time.Hour, "slim"))); err != nil {
		t.Error(err)
	}
	_, err := v.VerifyToken(d.Token(t, spiretest.Claims("spiffe://a.org/core", time.Hour, "slim")))
	if r := denied(err); r == nil || r.Status != 403 || r.Subject != "spiffe://a.org/core" {
		t.Errorf("%v", err)
	}
}

// Nobody is let in before there are bundles; afterwards those count that were there last. Rules: P-spiffe-7.
func TestVerifierWithoutBundles(t *testing.T) {
	t.Parallel()
	d, api := spiretest.NewDomain(t, "a.org"), spiretest.New(t)
	agent, told := agentOf(t, api)
	all := &Agents{all: map[string]*Agent{api.Address(): agent}}
	v := newVerifier(t, agent)
	token := d.Token(t, spiretest.Claims("spiffe://a.org/x", time.Hour, "slim"))
	_, err := v.VerifyToken(token)
	if r := denied(err); r == nil || r.Status != 503 || !strings.Contains(r.Reason, "it is away") {
		t.Errorf("before: %v", err)
	}
	api.Bundles(spiretest.Bundles(t, d))
	changed := v.Changed()
	api.Start()
	wait(t, "bundles", changed)
	if _, err := v.VerifyToken(token); err != nil {
		t.Error(err)
	}
	for told.heard(t) != nil { // until that all is well
	}
	if l := all.Loads()[api.Address()]; l.Fault != nil || l.Failures == 0 || l.Loaded.IsZero() || !l.Failed.IsZero() {
		t.Errorf("while it is there: %+v", l)
	}
	api.Stop()
	if err := told.heard(t); err == nil {
		t.Error("told that all is well")
	}
	if l := all.Loads()[api.Address()]; l.Fault == nil || l.Failed.IsZero() {
		t.Errorf("while it is away: %+v", l)
	}
	if _, err := v.VerifyToken(token); err != nil {
		t.Errorf("while it is away: %v", err)
	}
	_ = v.Close()
	_, err = v.VerifyToken(token)
	if r := denied(err); r == nil || r.Status != 503 {
		t.Errorf("after the end: %v", err)
	}
}

// Who was let in is judged again by the bundles of now. Rules: P-spiffe-4.
func TestAgain(t *testing.T) {
	t.Parallel()
	a, next, b := spiretest.NewDomain(t, "a.org"), spiretest.NewDomain(t, "a.org"), spiretest.NewDomain(t, "b.org")
	api := spiretest.Serve(t)
	api.Bundles(spiretest.Bundles(t, a, b))
	now := time.Now()
	all := NewAgents(Options{Now: func() time.Time { return now }, pace: quick})
	t.Cleanup(all.Close)
	agent, err := all.At(api.Address())
	if err != nil {
		t.Fatal(err)
	}
	v := newVerifier(t, agent)
	who, err := v.VerifyToken(a.Token(t, spiretest.Claims("spiffe://a.org/x", time.Hour, "slim")))
	if err != nil {
		t.Fatal(err)
	}
	become := func(r *workload.JWTBundlesResponse) {
		t.Helper()
		changed := v.Changed()
		api.Bundles(r)
		wait(t, "other bundles", changed)
	}
	again := func(what string, want bool) {
		t.Helper()
		if err := v.Again(soon(t), who); (err == nil) != want {
			t.Errorf("%s: %v", what, err)
		}
	}
	again("the same bundles", true)
	become(spiretest.Bundles(t, a))
	again("without those of others", true)
	become(spiretest.Bundles(t, next, b))
	again("another key while the token is good", false)
	now = now.Add(2 * time.Hour)
	again("another key after the token's end", true)
	become(spiretest.Bundles(t, b))
	again("a trust domain that has vanished", false)
	become(spiretest.Bundles(t, a))
	again("its own key after its end", true)
	if d := denied(v.Again(soon(t), &auth.Identity{})); d == nil || d.Status != 401 {
		t.Errorf("an identity of something else: %v", d)
	}
}

// Whatever is shown, the answer is a refusal, or who it is; and never that of another.
func FuzzVerify(f *testing.F) {
	d, api := spiretest.NewDomain(f, "a.org"), spiretest.Serve(f)
	api.Bundles(spiretest.Bundles(f, d))
	all := NewAgents(Options{})
	f.Cleanup(all.Close)
	agent, err := all.At(api.Address())
	if err != nil {
		f.Fatal(err)
	}
	v, err := NewVerifier(agent, VerifierOptions{Audiences: []string{"slim"}})
	if err != nil {
		f.Fatal(err)
	}
	good := d.Token(f, spiretest.Claims("spiffe://a.org/x", 100*time.Hour, "slim", pubkeyAudience([]byte{1})))
	f.Add("Bearer " + good)
	f.Add("bearer  " + good + ".")
	f.Add("Bearer " + b64(`{"alg":"none"}`) + "." + b64(`{"sub":"spiffe://a.org/x"}`) + ".")
	f.Add("Bearer " + d.Token(f, `{"aud":[[]],"exp":1e999}`))
	f.Add("Basic Og==")
	f.Fuzz(func(t *testing.T, header string) {
		who, err := v.Verify(t.Context(), &auth.Shown{Authorization: header})
		switch {
		case err == nil && who.Subject != "spiffe://a.org/x":
			t.Errorf("%q is let in as %s", header, who.Subject)
		case err != nil && denied(err) == nil:
			t.Errorf("%q: %v", header, err)
		}
	})
}

// FuzzParseToken looks into what no signature holds together.
func FuzzParseToken(f *testing.F) {
	f.Add(`{"alg":"ES256","kid":"a","typ":"JWT"}`, `{"sub":"spiffe://a.org/x","aud":["slim"],"exp":1}`)
	f.Add(`{"alg":"ES256","kid":"a"}`, `{"sub":"spiffe://a.org/x","aud":"slim-claims:e30=","exp":1.5e9,"iss":1}`)
	f.Add(`{"alg":"ES256","kid":1}`, `{"sub":null,"sub":1}`)
	f.Fuzz(func(t *testing.T, header, payload string) {
		tok, err := parseToken(b64(header) + "." + b64(payload) + "." + b64(strings.Repeat("x", 64)))
		if err == nil && (tok.subject.Path() == "" || tok.key == "" || tok.claims()["sub"] != tok.subject.String()) {
			t.Errorf("%q, %q: %+v", header, payload, tok)
		}
	})
}

// A verifier in the place of another judges who was let in by that one by its own audiences and accepted_spiffe_ids. Rules: P-auth-7,
// P-spiffe-6.
func TestAgainByAnotherVerifier(t *testing.T) {
	d, api := spiretest.NewDomain(t, "a.org"), spiretest.Serve(t)
	api.Bundles(spiretest.Bundles(t, d))
	agent, _ := agentOf(t, api)
	who, err := newVerifier(t, agent).VerifyToken(d.Token(t, spiretest.Claims("spiffe://a.org/edge/1", time.Hour, "slim")))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, audience string
		peers          []string
		want           int // 0: allowed
	}{
		{"as before", "slim", nil, 0},
		{"it is still accepted", "slim", []string{"spiffe://a.org/edge/*"}, 0},
		{"it is not accepted any more", "slim", []string{"spiffe://a.org/core/*"}, 403},
		{"its audience does not count any more", "other", nil, 401},
	} {
		peers, err := ParsePeers(c.peers)
		if err != nil {
			t.Fatal(err)
		}
		v, err := NewVerifier(agent, VerifierOptions{Audiences: []string{c.audience}, Peers: peers})
		if err != nil {
			t.Fatal(err)
		}
		err = v.Again(soon(t), who)
		if d := denied(err); (err == nil) != (c.want == 0) || d != nil && d.Status != c.want {
			t.Errorf("%s: %v, want %d", c.name, err, c.want)
		}
		_ = v.Close()
	}
}
