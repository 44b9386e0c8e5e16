package auth

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

// The header is taken byte for byte as a client writes it. Rules: P-auth-3.
func TestBasic(t *testing.T) {
	for _, tc := range []struct {
		name, user, password, shown string
		want                        string // reason; "": allowed
	}{
		{"as a client writes it", "alice", "secret", "Basic YWxpY2U6c2VjcmV0", ""},
		{"empty ones of a listener", "", "", "Basic Og==", ""},
		{"a colon in the password", "a", "b:c", "Basic YTpiOmM=", ""},
		{"nothing", "alice", "secret", "", "no credentials"},
		{"lower case", "alice", "secret", "basic YWxpY2U6c2VjcmV0", "the scheme is to be written Basic"},
		{"two spaces", "alice", "secret", "Basic  YWxpY2U6c2VjcmV0", "what follows Basic is not base64"},
		{"a space at the end", "alice", "secret", "Basic YWxpY2U6c2VjcmV0 ", "what follows Basic is not base64"},
		{"without padding", "", "", "Basic Og", "what follows Basic is not base64"},
		{"another scheme", "alice", "secret", "Bearer YWxpY2U6c2VjcmV0", "the scheme is not Basic"},
		{"another password", "alice", "secret", "Basic YWxpY2U6c2VjcmVU", "wrong name or password"},
	} {
		who, err := NewBasicVerifier(tc.user, tc.password).Verify(t.Context(), &Shown{Authorization: tc.shown})
		var d *Denied
		switch {
		case tc.want == "" && (err != nil || who.Mechanism != Basic || who.Subject != tc.user):
			t.Errorf("%s: %+v, %v", tc.name, who, err)
		case tc.want != "" && (!errors.As(err, &d) || d.Reason != tc.want || d.Status != 401 || d.Challenge != "Basic"):
			t.Errorf("%s: %+v, %#v, want %q", tc.name, who, err, tc.want)
		case tc.want != "" && strings.Contains(d.Reason, "secret"):
			t.Errorf("%s: the reason holds the password", tc.name)
		}
	}
}

// A name is told, without which a log would say little, and nothing that could be a password or a token.
func TestBasicTellsNamesAlone(t *testing.T) {
	for shown, want := range map[string]string{"bob:secret": "bob", "bob:": "bob", ":secret": "", "secret": "", strings.Repeat("b", 500) + ":x": strings.Repeat("b", maxClaimed)} {
		_, err := NewBasicVerifier("alice", "secret").Verify(t.Context(), &Shown{Authorization: "Basic " + base64.StdEncoding.EncodeToString([]byte(shown))})
		var d *Denied
		if !errors.As(err, &d) || d.Subject != want {
			t.Errorf("%q: %+v", shown, d)
		}
	}
}

// What a client shows is what a listener takes, and neither goes on after its end.
func TestBasicSource(t *testing.T) {
	for _, tc := range []struct {
		user, password string
		want           error
	}{{"", "x", ErrNoUsername}, {"x", "", ErrNoPassword}, {"", "", ErrNoUsername}} {
		if _, err := NewBasicSource(tc.user, tc.password); !errors.Is(err, tc.want) {
			t.Errorf("%q, %q: %v, want %v", tc.user, tc.password, err, tc.want)
		}
	}
	s, err := NewBasicSource("ålice", "s€cret:")
	if err != nil {
		t.Fatal(err)
	}
	v := NewBasicVerifier("ålice", "s€cret:")
	shown, err := s.Authorization(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Verify(t.Context(), &Shown{Authorization: shown}); err != nil {
		t.Error(err)
	}
	_, _ = s.Close(), v.Close()
	if _, err := s.Authorization(t.Context()); err == nil {
		t.Error("a source that is closed shows something")
	}
	if _, err := v.Verify(t.Context(), &Shown{Authorization: shown}); err == nil {
		t.Error("a verifier that is closed lets somebody in")
	}
}

func FuzzBasicVerify(f *testing.F) {
	for _, s := range []string{"", "Basic ", "Basic Og==", "basic Og==", "Basic Og==\n", "Bearer x", "Basic " + strings.Repeat("A", 1<<14)} {
		f.Add(s)
	}
	v := NewBasicVerifier("alice", "secret")
	f.Fuzz(func(t *testing.T, shown string) {
		who, err := v.Verify(t.Context(), &Shown{Authorization: shown})
		if (err == nil) != (shown == basicHeader("alice", "secret")) || (who == nil) != (err != nil) {
			t.Fatalf("%q: %v, %v", shown, who, err)
		}
		var d *Denied
		if errors.As(err, &d) && len(d.Subject) > maxClaimed {
			t.Fatalf("it keeps %d bytes of a name", len(d.Subject))
		}
	})
}
