//go:build unix

package oidc

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/leak"
	"github.com/seed31b3bfd0/slimgo/session"
)

func TestMain(m *testing.M) { leak.Main(m) }

// A token of a provider by client credentials; what is missing is said.
func TestLink(t *testing.T) {
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("content-type", "application/json")
		if strings.HasSuffix(r.URL.Path, "openid-configuration") {
			_ = json.NewEncoder(w).Encode(map[string]string{"issuer": s.URL, "token_endpoint": s.URL + "/token"})
			return
		}
		if user, secret, _ := r.BasicAuth(); user != "me" || secret != "password" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "abc", "token_type": "Bearer", "expires_in": 3600})
	}))
	defer s.Close()
	o := Options{Issuer: s.URL, ClientID: "me", ClientSecret: "password"}
	l, err := NewLink(o)
	if err != nil {
		t.Fatal(err)
	}
	if v, err := l.Authorization(t.Context()); v != "Bearer abc" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if text := fmt.Sprintf("%v %+v %#v", o, o, o); strings.Contains(text, "password") {
		t.Errorf("it prints as %s", text)
	}
	for _, o := range []Options{{}, {Issuer: s.URL, ClientID: "me"}, {Issuer: "http://issuer.example", ClientID: "me", ClientSecret: "x"}} {
		if l, err := NewLink(o); !errors.Is(err, session.ErrConfig) {
			t.Errorf("%v: %v", o, err)
			if l != nil {
				_ = l.Close()
			}
		}
	}
}
