package strict

import (
	"errors"
	"strings"
	"testing"
)

// The scheme in any case, then spaces. Rules: P-jwt-4.
func TestBearer(t *testing.T) {
	for header, want := range map[string]string{
		"Bearer a.b.c": "a.b.c", "bEARER   a": "a", "Bearer a b": "a b",
		"": "", "Bearer": "", "Bearer ": "", "Basic a": "", "a.b.c": "", " Bearer a": "", "Bearer\ta": "",
	} {
		if got, ok := Bearer(header); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v", header, got, ok)
		}
	}
}

// A token has three parts of base64url without padding, of which there is one spelling each.
func TestParse(t *testing.T) {
	c, err := Parse("e30.eA.AQI")
	if err != nil || string(c.Header) != "{}" || string(c.Payload) != "x" || string(c.Signature) != "\x01\x02" || string(c.Signed) != "e30.eA" {
		t.Errorf("%+v, %v", c, err)
	}
	if _, err := Parse(".."); err != nil {
		t.Errorf("empty parts are parts: %v", err)
	}
	for s, want := range map[string]string{
		"": "not three parts", "a.b": "not three parts", "a.b.c.d": "not three parts", strings.Repeat(".", 1000): "not three parts",
		"e30=.eA.AQ": "its header: it is no base64url", "e3+.eA.AQ": "its header:", "e30.e\nA.AQ": "its payload:", "e30.e\rA.AQ": "its payload:",
		"e30.eA.AR": "its signature:", "e30.eA.A": "its signature:",
	} {
		if _, err := Parse(s); err == nil || !strings.HasPrefix(err.Error(), want) || errors.Is(err, ErrParts) != (want == "not three parts") {
			t.Errorf("%q: %v, want %s", s, err, want)
		}
	}
}
