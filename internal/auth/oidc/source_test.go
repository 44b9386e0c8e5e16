package oidc

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Upstream's vector, and what url.QueryEscape does otherwise.
func TestBasic(t *testing.T) {
	if got, want := basic("cl:ent/id", "se:cret/val"), "Basic Y2wlM0FlbnQlMkZpZDpzZSUzQWNyZXQlMkZ2YWw="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := formEncode("aZ09*-._ ~é%"), "aZ09*-._+%7E%C3%A9%25"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestSourceOptions(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	empty := file("empty", " \n")
	for _, c := range []struct {
		name string
		o    SourceOptions
		want string
	}{
		{"nothing", SourceOptions{}, "no identity provider configured"},
		{"an id alone", SourceOptions{Issuer: issuer, ClientID: "x"}, "no identity provider configured"},
		{"in the clear", SourceOptions{Issuer: "http://idp.example", ClientID: "x", ClientSecret: "y"}, "OIDC issuer URL must use https"},
		{"in the clear, to refresh", SourceOptions{Issuer: "http://idp.example", ClientID: "x", RefreshToken: "y"}, "OIDC issuer URL must use https"},
		{"no issuer", SourceOptions{ClientID: "x", ClientSecret: "y"}, "issuer_url"},
		{"a refresh token without id", SourceOptions{Issuer: issuer, RefreshToken: "x"}, "client id cannot be empty"},
		{"a file without id", SourceOptions{Issuer: issuer, RefreshTokenFile: empty}, "client id cannot be empty"},
		{"no file", SourceOptions{Issuer: issuer, ClientID: "x", RefreshTokenFile: filepath.Join(dir, "none")}, "none: no such file"},
		{"an empty file", SourceOptions{Issuer: issuer, ClientID: "x", RefreshTokenFile: empty}, "empty is empty"},
		{"a huge file", SourceOptions{Issuer: issuer, ClientID: "x", RefreshTokenFile: file("huge", strings.Repeat("x", maxFile+1))}, "larger than 64 KiB"},
		{"no login", SourceOptions{Issuer: issuer, Credentials: filepath.Join(dir, "none")}, "no identity provider configured"},
		{"a login that is no YAML", SourceOptions{Credentials: file("bad", "\t{")}, "log in again"},
		{"a login without refresh token", SourceOptions{Credentials: file("l1", "client_id: x\nissuer: "+issuer)}, "has no refresh_token"},
		{"a login without id", SourceOptions{Credentials: file("l2", "refresh_token: x\nissuer: "+issuer)}, "client id cannot be empty"},
		{"a login elsewhere", SourceOptions{Issuer: issuer, Credentials: file("l3", "refresh_token: x\nclient_id: y\nissuer: https://x.example")},
			"is of the issuer \"https://x.example\""},
		{"a login in the clear", SourceOptions{Credentials: file("l4", "refresh_token: x\nclient_id: y\nissuer: http://x.example")},
			"OIDC issuer URL must use https"},
	} {
		s, err := newSource(c.o, newWeb().client())
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// Which grant counts when several are configured, and what each sends (P-oidc-2, P-oidc-3).
func TestGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "refresh")
		login := filepath.Join(dir, "credentials.yaml")
		if err := errors.Join(os.WriteFile(file, []byte("  from-file\n"), 0o600), os.WriteFile(login, []byte("id_token: a\naccess_token: b\n"+
			"refresh_token: from-login\nclient_id: other\nissuer: "+issuer+"\ntoken_endpoint: "+issuer+"/token\n"), 0o600)); err != nil {
			t.Fatal(err)
		}
		all := SourceOptions{Issuer: issuer, ClientID: "cl:ent/id", ClientSecret: "se:cret/val", RefreshToken: "inline", RefreshTokenFile: file,
			Credentials: login, Scope: "openid x"}
		for _, c := range []struct {
			name, form, header string
			take               func(*SourceOptions)
		}{
			{"a file", "client_id=cl%3Aent%2Fid&grant_type=refresh_token&refresh_token=from-file", "", func(*SourceOptions) {}},
			{"a token", "client_id=cl%3Aent%2Fid&grant_type=refresh_token&refresh_token=inline", "", func(o *SourceOptions) { o.RefreshTokenFile = "" }},
			{"a secret", "grant_type=client_credentials&scope=openid+x", "Basic Y2wlM0FlbnQlMkZpZDpzZSUzQWNyZXQlMkZ2YWw=",
				func(o *SourceOptions) { o.RefreshToken = "" }},
			{"a login", "client_id=other&grant_type=refresh_token&refresh_token=from-login", "", func(o *SourceOptions) { o.ClientSecret = "" }},
			{"a login that says where", "client_id=other&grant_type=refresh_token&refresh_token=from-login", "", func(o *SourceOptions) { o.Issuer = "" }},
		} {
			c.take(&all)
			w := newWeb()
			a := w.tokens(`{"access_token":"AT"}`)
			s := w.source(t, all)
			if got := s.show(t.Context()); got != "Bearer AT" {
				t.Errorf("%s: %s", c.name, got)
				continue
			}
			if got := a.sent()[0].Encode(); got != c.form {
				t.Errorf("%s: form %s, want %s", c.name, got, c.form)
			}
			if got := a.headers[0].Get("Authorization"); got != c.header {
				t.Errorf("%s: header %q, want %q", c.name, got, c.header)
			}
			_ = s.Close()
		}
	})
}

// What a token endpoint may answer, and what an operator reads. Texts as upstream.
func TestTokenEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ name, answer, want string }{
			{"a token", `{"access_token":"AT","token_type":"mac","expires_in":300}`, "Bearer AT"},
			{"a token with status 201", `201|{"access_token":"AT"}`, "Bearer AT"},
			{"expires_in as a text does not count", `{"access_token":"AT","expires_in":"1"}`, "Bearer AT"},
			{"an error with status 200", `{"error":"invalid_client","error_description":"no such\nclient"}`,
				"error: Token endpoint error: status 200, body: invalid_client: no such client"},
			{"an error without description", `400|{"error":"invalid_scope","access_token":"AT"}`,
				"error: Token endpoint error: status 400, body: invalid_scope: no description"},
			{"a page", `502|<html>`, "error: Token endpoint error: status 502, body: <html>"},
			{"a long page", `502|` + strings.Repeat("x", 1000), "error: Token endpoint error: status 502, body: xxx"},
			{"no JSON", `access_token=AT`, "error: POST " + issuer + "/token: the answer is not the JSON"},
			{"no token", `{"token_type":"Bearer"}`, "error: no token available"},
			{"a token that is no text", `{"access_token":1}`, "error: no token available"},
			{"a token with a line end", `{"access_token":"A\r\nT"}`, "error: the access_token of the provider has the byte 0x0d"},
			{"a huge token", `{"access_token":"` + strings.Repeat("x", 20000) + `"}`, "error: the access_token of the provider has 20000 bytes"},
			{"a token that has ended", `{"access_token":"AT","expires_in":0}`, "error: the identity provider gives tokens that have ended"},
			{"a token for ever", `{"access_token":"AT","expires_in":18446744073709551615}`, "Bearer AT"},
		} {
			w := newWeb()
			w.tokens(c.answer)
			s := w.source(t, SourceOptions{ClientID: "x", ClientSecret: "SECRET"})
			got := s.show(t.Context())
			if !strings.HasPrefix(got, c.want) || len(got) > 1000 || strings.Contains(got, "SECRET") {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
			_ = s.Close()
		}
		for _, c := range []struct {
			name     string
			document any
			want     string
		}{
			{"no endpoint", map[string]any{}, "names no token_endpoint"},
			{"another origin", map[string]any{"token_endpoint": "https://evil.example/token"}, "of another origin, https://evil.example/token"},
			{"in the clear", map[string]any{"token_endpoint": "http://idp.example/token"}, "must use https"},
			{"a list", []int{}, "is not the JSON"},
		} {
			w := newWeb()
			a := w.tokens(`{"access_token":"AT"}`)
			w.json("/.well-known/openid-configuration", c.document)
			s := w.source(t, SourceOptions{ClientID: "x", ClientSecret: "SECRET"})
			if got := s.show(t.Context()); !strings.Contains(got, c.want) || a.asked() != 0 {
				t.Errorf("%s: %s, want %s", c.name, got, c.want)
			}
			_ = s.Close()
		}
		// The status of the document does not matter, as upstream; of what is no document it is what is said.
		w := newWeb()
		w.tokens(`{"access_token":"AT"}`)
		w.handle("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			fmt.Fprintf(w, `{"token_endpoint":%q}`, issuer+"/token")
		})
		s := w.source(t, SourceOptions{Issuer: issuer + "/", ClientID: "x", ClientSecret: "y"})
		if got := s.show(t.Context()); got != "Bearer AT" {
			t.Error(got)
		}
		_ = s.Close()
		w.handle("/.well-known/openid-configuration", http.NotFound)
		s = w.source(t, SourceOptions{ClientID: "x", ClientSecret: "y"})
		if got := s.show(t.Context()); !strings.Contains(got, "status 404: there is nothing at this URL") {
			t.Error(got)
		}
	})
}

// A token is renewed after two thirds of its life, by itself: nobody who opens a connection waits for it.
func TestRenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		a := w.tokens(`{"access_token":"A1","expires_in":3600}`, `{"access_token":"A2","expires_in":90}`, `{"access_token":"A3","expires_in":30}`,
			`{"access_token":"A4","expires_in":30}`, `{"access_token":"A5"}`)
		s := w.source(t, SourceOptions{ClientID: "x", ClientSecret: "y"})
		s.show(t.Context())
		begun := time.Now()
		at := func(d time.Duration, want string, asked int) {
			t.Helper()
			time.Sleep(time.Until(begun.Add(d)))
			synctest.Wait()
			if n := a.asked(); n != asked {
				t.Errorf("after %v: asked %d times, want %d", d, n, asked)
			}
			if got := s.show(t.Context()); got != want {
				t.Errorf("after %v: %s, want %s", d, got, want)
			}
		}
		at(0, "Bearer A1", 1)
		at(2399*time.Second, "Bearer A1", 1)
		at(2401*time.Second, "Bearer A2", 2)
		// Two thirds of 90 s would be 60: by itself it is renewed after 61, or when it is wanted after 60.
		at(2459*time.Second, "Bearer A2", 2)
		at(2462*time.Second, "Bearer A3", 3)
		at(2470*time.Second, "Bearer A3", 3)
		at(2485*time.Second, "Bearer A4", 3) // it lives for 30 s only: whoever wants one gets one, and nobody else has it renewed
		at(2500*time.Second, "Bearer A4", 4)
		at(2546*time.Second, "Bearer A5", 5)
	})
}

// A token whose end one of the two clocks has passed is renewed before it is shown: that of the wall goes on while a machine sleeps, and may
// be put forward or back.
func TestRenewalAfterAClockHasJumped(t *testing.T) {
	for _, c := range []struct {
		name       string
		even, wall time.Duration // until the end, by each clock
		want       string
	}{
		{"both agree", time.Hour, time.Hour, "Bearer FOUND"},
		{"the wall's has jumped forward", time.Hour, -time.Minute, "Bearer NEW"},
		{"the wall's has jumped back", -time.Minute, time.Hour, "Bearer NEW"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWeb()
				w.tokens(`{"access_token":"NEW"}`)
				s := w.source(t, SourceOptions{ClientID: "x", ClientSecret: "y"})
				now := time.Now()
				s.seed(&token{access: "FOUND", expires: now.Add(c.even), until: now.Add(c.wall).Round(0), life: time.Hour})
				s.used.Do(func() {}) // as if it had been used before
				if got := s.show(t.Context()); got != c.want {
					t.Errorf("shows %s, want %s", got, c.want)
				}
			})
		})
	}
}

// Upstream's client dies for good when its first fetch fails, and sends requests without a token from then on.
func TestStartFailureIsRepaired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logText
		w := newWeb()
		w.tokens(`{"access_token":"AT"}`)
		w.set(errors.New("connection refused"), nil)
		s := w.source(t, SourceOptions{ClientID: "x", ClientSecret: "SECRET", Log: log.logger()})
		if got := s.show(t.Context()); !strings.Contains(got, "connection refused") {
			t.Error(got)
		}
		for range 100 { // those who try meanwhile are told at once, and ask nobody
			begun := time.Now()
			if got := s.show(t.Context()); !strings.Contains(got, "connection refused") || time.Since(begun) > 0 {
				t.Errorf("%s after %v", got, time.Since(begun))
			}
		}
		if n := w.count("/.well-known/openid-configuration"); n != 1 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(time.Hour)
		if n := w.count("/.well-known/openid-configuration"); n < 120 || n > 130 {
			t.Errorf("asked %d times in an hour, want every half minute", n)
		}
		w.set(nil, nil)
		time.Sleep(lastRetry)
		if got := s.show(t.Context()); got != "Bearer AT" {
			t.Error(got)
		}
		if n := strings.Count(log.String(), "no new token"); n != 1 || !strings.Contains(log.String(), "gives tokens again") ||
			strings.Contains(log.String(), "SECRET") {
			t.Errorf("the log:\n%s", log.String())
		}
		if st := s.Stats(); st.Tokens != 1 || st.Failures < 100 {
			t.Errorf("stats %+v", st)
		}
	})
}

// Failures from two thirds of a token's life to its end cost nobody a connection; what comes after is repaired as well.
func TestRenewalFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		w.tokens(`{"access_token":"A1","expires_in":3600}`, `500|x`)
		s := w.source(t, SourceOptions{ClientID: "x", ClientSecret: "y"})
		s.show(t.Context())
		begun := time.Now()
		time.Sleep(3595 * time.Second)
		if got := s.show(t.Context()); got != "Bearer A1" {
			t.Errorf("to the last second: %s", got)
		}
		time.Sleep(time.Until(begun.Add(3600 * time.Second)))
		if got := s.show(t.Context()); got != "error: Token endpoint error: status 500, body: x" {
			t.Errorf("after the end: %s", got)
		}
		w.tokens(`{"access_token":"A2"}`)
		time.Sleep(lastRetry)
		if got := s.show(t.Context()); got != "Bearer A2" {
			t.Errorf("at last: %s", got)
		}
	})
}

// A provider that hangs is waited for as long as the caller says.
func TestSourceWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		w.tokens(`{"access_token":"AT"}`)
		hang := make(chan struct{})
		w.set(nil, hang)
		s := w.source(t, SourceOptions{ClientID: "x", ClientSecret: "y"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got := s.show(ctx); !strings.Contains(got, "no token from the identity provider yet") {
			t.Error(got)
		}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if got := s.show(t.Context()); got != "Bearer AT" {
					t.Error(got)
				}
			})
		}
		synctest.Wait()
		close(hang)
		wg.Wait()
		if n := w.count("/token"); n != 1 {
			t.Errorf("asked %d times", n)
		}
		hang = make(chan struct{})
		w.set(nil, hang)
		s2 := w.source(t, SourceOptions{ClientID: "x", ClientSecret: "y"})
		got := make(chan string)
		go func() { got <- s2.show(t.Context()) }()
		synctest.Wait()
		_ = s2.Close()
		if g := <-got; !strings.Contains(g, "closed") || !strings.Contains(s2.show(t.Context()), "closed") {
			t.Errorf("after Close: %s", g)
		}
		close(hang)
	})
}

// Rotation in memory: each exchange uses the token that the one before has given.
func TestRotationInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWeb()
		a := w.tokens(`{"access_token":"A1","refresh_token":"R2"}`, `{"access_token":"A2"}`, `500|x`, `{"access_token":"A3","refresh_token":"R3"}`,
			`400|{"error":"invalid_grant"}`)
		s := w.source(t, SourceOptions{ClientID: "x", RefreshToken: "R1"})
		s.show(t.Context())
		time.Sleep(3 * time.Hour)
		var sent []string
		for _, f := range a.sent() {
			sent = append(sent, f.Get("refresh_token"))
		}
		if want := []string{"R1", "R2", "R2", "R2", "R3"}; !slices.Equal(sent, want) {
			t.Errorf("sent %v, want %v", sent, want)
		}
		if got := s.show(t.Context()); !strings.HasPrefix(got, "error: refresh token revoked or expired") {
			t.Error(got)
		}
		if s.Stats().Failures < 100 { // it goes on, and says so, and asks the provider no more
			t.Errorf("%+v", s.Stats())
		}
	})
}

// secretFiles makes a refresh token file in a folder of its own.
func secretFiles(t *testing.T, refresh string) (file, cache string) {
	t.Helper()
	dir := t.TempDir()
	file, cache = filepath.Join(dir, "refresh_token"), filepath.Join(dir, "access_token")
	if err := os.WriteFile(file, []byte(refresh), 0o644); err != nil {
		t.Fatal(err)
	}
	return file, cache
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// A rotated refresh token is on the disk before anybody sees the access token that came with it, and only its owner can read it.
func TestRotationOnDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file, cache := secretFiles(t, "R1\n")
		w := newWeb()
		a := w.tokens(`{"access_token":"A1","refresh_token":"R2"}`, `{"access_token":"A2","refresh_token":"R2"}`, `{"access_token":"A3","refresh_token":"R3"}`)
		s := w.source(t, SourceOptions{ClientID: "x", RefreshTokenFile: file, AccessTokenFile: cache})
		for i, want := range []string{"R2", "R2", "R3"} {
			access := fmt.Sprintf("A%d", i+1)
			if got := s.show(t.Context()); got != "Bearer "+access {
				t.Fatal(got)
			}
			if r, c := content(t, file), content(t, cache); r != want || c != access {
				t.Errorf("%s: files hold %q and %q, want %q", access, r, c, want)
			}
			for _, path := range []string{file, cache, file + ".lock"} {
				if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
					t.Errorf("%s: %v, %v", filepath.Base(path), info.Mode(), err)
				}
			}
			time.Sleep(45 * time.Minute)
		}
		if got := a.sent()[2].Get("refresh_token"); got != "R2" {
			t.Errorf("sent %s", got)
		}
		left, err := os.ReadDir(filepath.Dir(file))
		if err != nil || len(left) != 3 {
			t.Errorf("the folder holds %v, %v", left, err)
		}
	})
}

// Links are followed, as those of slimctl's or Kubernetes' folders: what is replaced is the file.
func TestRotationThroughLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file, _ := secretFiles(t, "R1")
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(file, link); err != nil {
			t.Fatal(err)
		}
		w := newWeb()
		w.tokens(`{"access_token":"A1","refresh_token":"R2"}`)
		w.source(t, SourceOptions{ClientID: "x", RefreshTokenFile: link}).show(t.Context())
		if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 || content(t, file) != "R2" {
			t.Errorf("%v, %v, the file holds %q", info, err, content(t, file))
		}
	})
}

// Two processes with one file: who comes second finds the other's token, and exchanges nothing, as upstream.
func TestSharedFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file, cache := secretFiles(t, "R1")
		k := newSigner("a", "ES256", "p256")
		jwt := func(iat, exp time.Duration) string {
			return k.token(map[string]any{"iat": time.Now().Add(iat).Unix(), "exp": time.Now().Add(exp).Unix()}, nil)
		}
		first := jwt(0, time.Hour)
		w := newWeb()
		a := w.tokens(fmt.Sprintf(`{"access_token":%q,"refresh_token":"R2"}`, first), `{"access_token":"A2","refresh_token":"R3"}`)
		o := SourceOptions{ClientID: "x", RefreshTokenFile: file, AccessTokenFile: cache}
		s1 := w.source(t, o)
		s2 := w.source(t, o)
		if g1, g2 := s1.show(t.Context()), s2.show(t.Context()); g1 != "Bearer "+first || g2 != g1 {
			t.Errorf("%s and %s", g1, g2)
		}
		if a.asked() != 1 {
			t.Errorf("asked %d times", a.asked())
		}
		_, _ = s1.Close(), s2.Close()
		for _, c := range []struct {
			name, cached string
			asked        bool
			want         string
		}{
			{"before two thirds", jwt(-39*time.Minute, 21*time.Minute), false, ""},
			{"after two thirds", jwt(-41*time.Minute, 19*time.Minute), true, "A"},
			{"ended", jwt(-time.Hour, -1), true, "A"},
			{"from the future", jwt(time.Hour, 2*time.Hour), true, "A"},
			{"without iat", k.token(map[string]any{"exp": time.Now().Add(time.Hour).Unix()}, nil), true, "A"},
			{"no JWT", "opaque", true, "A"},
			{"no base64", "a.!.c", true, "A"},
			{"no JSON", "a.eA.c", true, "A"},
			{"a line", "x\ny", true, "A"},
			{"nothing", "", true, "A"},
		} {
			if err := os.WriteFile(cache, []byte(c.cached+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			a := w.tokens(`{"access_token":"A"}`)
			s := w.source(t, o)
			s.show(t.Context()) // maybe what was cached, while it is renewed
			synctest.Wait()
			if c.want == "" {
				c.want = c.cached
			}
			if got := s.show(t.Context()); got != "Bearer "+c.want || (a.asked() == 1) != c.asked {
				t.Errorf("%s: %s, asked %d times", c.name, got, a.asked())
			}
			_ = s.Close()
		}
		// A token that is still good seeds the start, whatever the provider does.
		late := jwt(-50*time.Minute, 10*time.Minute)
		if err := os.WriteFile(cache, []byte(late), 0o600); err != nil {
			t.Fatal(err)
		}
		w.set(errors.New("connection refused"), nil)
		if got := w.source(t, o).show(t.Context()); got != "Bearer "+late {
			t.Errorf("with a provider that is away: %s", got)
		}
	})
}

// The lock is upstream's: flock on a file beside. Whoever holds it keeps others from the token, and from nothing else.
func TestLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file, _ := secretFiles(t, "R1")
		held, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		w := newWeb()
		a := w.tokens(`{"access_token":"A"}`)
		s := w.source(t, SourceOptions{ClientID: "x", RefreshTokenFile: file})
		go s.show(t.Context())
		time.Sleep(time.Second)
		if a.asked() != 0 {
			t.Error("exchanged while another process has the lock")
		}
		if err := os.WriteFile(file, []byte("R2"), 0o600); err != nil {
			t.Fatal(err)
		}
		held.Close()
		if got := s.show(t.Context()); got != "Bearer A" || a.sent()[0].Get("refresh_token") != "R2" {
			t.Errorf("%s with %v", got, a.sent())
		}
		_ = s.Close()
		// A lock that is never given back is said, and a Source that waits for it can be closed.
		held, err = os.OpenFile(file+".lock", os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer held.Close()
		if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX); err != nil {
			t.Fatal(err)
		}
		s = w.source(t, SourceOptions{ClientID: "x", RefreshTokenFile: file})
		if got := s.show(t.Context()); !strings.Contains(got, "held by another process") {
			t.Error(got)
		}
		time.Sleep(2 * time.Second)
		_ = s.Close()
	})
}

// A refresh token that the provider no longer takes stops the exchange until somebody logs in again.
func TestRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file, _ := secretFiles(t, "R1")
		login := filepath.Join(t.TempDir(), "credentials.yaml")
		write := func(path, text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		yaml := "client_id: x\nissuer: " + issuer + "\nrefresh_token: "
		write(login, yaml+"R1")
		for _, c := range []struct {
			o    SourceOptions
			path string
			text string
		}{{SourceOptions{ClientID: "x", RefreshTokenFile: file}, file, "R9"}, {SourceOptions{Credentials: login}, login, yaml + "R9"}} {
			w := newWeb()
			a := w.tokens(`400|{"error":"invalid_grant","error_description":"gone"}`, `{"access_token":"A"}`)
			s := w.source(t, c.o)
			if got := s.show(t.Context()); !strings.HasPrefix(got, "error: refresh token revoked or expired") {
				t.Error(got)
			}
			time.Sleep(time.Hour)
			if got := s.show(t.Context()); !strings.Contains(got, "log in again") || a.asked() != 1 {
				t.Errorf("%s, asked %d times", got, a.asked())
			}
			write(c.path, c.text)
			time.Sleep(lastRetry)
			if got := s.show(t.Context()); got != "Bearer A" || a.sent()[1].Get("refresh_token") != "R9" {
				t.Errorf("after a login: %s", got)
			}
			_ = s.Close()
		}
	})
}

// A file that cannot be replaced, as one that is mounted alone, is written in place. A process that dies in the middle of it has
// noted the token where the next one finds it; upstream's would be lost.
func TestWrittenInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file, _ := secretFiles(t, "R1-which-is-longer")
		l, err := lock(t.Context(), file+".lock")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(l.note("R2"), os.WriteFile(file, []byte("R"), 0o600)); err != nil { // and here it dies
			t.Fatal(err)
		}
		l.unlock()
		w := newWeb()
		a := w.tokens(`{"access_token":"A"}`)
		s := w.source(t, SourceOptions{ClientID: "x", RefreshTokenFile: file})
		if got := s.show(t.Context()); got != "Bearer A" || a.sent()[0].Get("refresh_token") != "R2" || content(t, file) != "R2" || content(t, file+".lock") != "" {
			t.Errorf("%s with %v; the file holds %q, the lock %q", got, a.sent(), content(t, file), content(t, file+".lock"))
		}
		_ = s.Close()
		// Half a note is none: it died before the file was touched.
		if err := errors.Join(os.WriteFile(file, []byte("R3"), 0o600), os.WriteFile(file+".lock", []byte("R4"), 0o600)); err != nil {
			t.Fatal(err)
		}
		s = w.source(t, SourceOptions{ClientID: "x", RefreshTokenFile: file})
		if got := s.show(t.Context()); got != "Bearer A" || a.sent()[1].Get("refresh_token") != "R3" {
			t.Errorf("%s with %v", got, a.sent()[1])
		}
	})
}

// A rotated token that cannot be written is kept in memory, used, said and counted, and written when that works again.
func TestCannotWrite(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Log("root may write anywhere: a folder takes the place of the file")
	}
	synctest.Test(t, func(t *testing.T) {
		var log logText
		file, _ := secretFiles(t, "R1")
		w := newWeb()
		a := &tokens{answers: []string{`{"access_token":"A1","refresh_token":"R2"}`, `{"access_token":"A2"}`}}
		w.handle("/token", func(rw http.ResponseWriter, r *http.Request) {
			if a.asked() == 0 { // between reading and writing, something comes into the way
				if err := errors.Join(os.Remove(file), os.MkdirAll(filepath.Join(file, "x"), 0o700)); err != nil {
					t.Error(err)
				}
			}
			a.ServeHTTP(rw, r)
		})
		s := w.source(t, SourceOptions{ClientID: "x", RefreshTokenFile: file, Log: log.logger()})
		if got := s.show(t.Context()); got != "Bearer A1" {
			t.Fatal(got)
		}
		if !strings.Contains(log.String(), "could not be written") || strings.Contains(log.String(), "R2") || s.Stats().Unkept != 1 {
			t.Errorf("%+v, log:\n%s", s.Stats(), log.String())
		}
		if err := errors.Join(os.RemoveAll(file), os.WriteFile(file, []byte("R1"), 0o600)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := content(t, file); got != "R2" || a.sent()[1].Get("refresh_token") != "R2" {
			t.Errorf("the file holds %q, sent %v", got, a.sent())
		}
	})
}

// Close waits for an exchange that goes on, for a moment: what the provider gives now, nobody could get again.
func TestCloseKeepsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file, _ := secretFiles(t, "R1")
		w := newWeb()
		asked, answer := make(chan struct{}, 1), make(chan struct{})
		w.handle("/token", func(rw http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			<-answer
			fmt.Fprint(rw, `{"access_token":"A1","refresh_token":"R2"}`)
		})
		s := w.source(t, SourceOptions{ClientID: "x", RefreshTokenFile: file})
		synctest.Wait()
		select {
		case <-asked:
			t.Error("a token was used up before anybody wanted one")
		default:
		}
		go s.show(t.Context())
		<-asked
		closed := make(chan struct{})
		go func() { _ = s.Close(); close(closed) }()
		synctest.Wait()
		close(answer)
		<-closed
		if got := content(t, file); got != "R2" {
			t.Errorf("the file holds %q", got)
		}
		// One that hangs is not waited for.
		hang := make(chan struct{})
		w.set(nil, hang)
		s = w.source(t, SourceOptions{ClientID: "x", RefreshTokenFile: file})
		go s.show(t.Context())
		synctest.Wait()
		begun := time.Now()
		_ = s.Close()
		if took := time.Since(begun); took > lastExchange {
			t.Errorf("Close took %v", took)
		}
		close(hang)
	})
}
