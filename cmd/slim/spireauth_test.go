package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth/spire/spiretest"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// bearing connects with a bearer token, and returns the status of a refusal; 0: it is let in. It tries again if the
// node had no time to judge the token, which is 503, unless that is wanted.
func bearing(t *testing.T, addr, token string, want int) (*uplink.Conn, int) {
	t.Helper()
	for limit := time.Now().Add(hang); ; {
		c, err := uplink.Dial(t.Context(), addr,
			&uplink.Options{Setup: hang, Fields: []uplink.Field{{Name: "authorization", Value: "Bearer " + token}}})
		if err == nil {
			return c, 0
		}
		var refused *uplink.StatusError
		if !errors.As(err, &refused) {
			t.Fatal(err)
		}
		if refused.HTTP != http.StatusServiceUnavailable || refused.HTTP == want || time.Now().After(limit) {
			return nil, refused.HTTP
		}
	}
}

// shows is bearing of one that leaves at once.
func shows(t *testing.T, addr, token string, want int) int {
	t.Helper()
	c, got := bearing(t, addr, token, want)
	if c != nil {
		c.Abort()
		<-c.Done()
	}
	return got
}

// A listener with auth of type spire judges tokens, and a client shows them: both start without the agent, and come together once it is
// there. Rules: P-spiffe-2, P-spiffe-4, P-spiffe-7.
func TestSPIREAuth(t *testing.T) {
	t.Parallel() // it waits for most of its time
	d, api := spiretest.NewDomain(t, "a.org"), spiretest.New(t)
	socket := filepath.Join(t.TempDir(), "s")
	auth := fmt.Sprintf("auth: {type: spire, socket_path: %s, accepted_spiffe_ids: ['spiffe://a.org/node']}", api.Path())
	r := startReloading(t, serviceText([]string{plain("unix://"+socket, auth)}, []string{plain("unix://"+socket, strings.Replace(auth, ", accepted_spiffe_ids: ['spiffe://a.org/node']", "", 1),
		"backoff: {type: fixed_interval, interval: 50ms}")}))
	r.await("no JWT-SVID yet from the Workload API at " + api.Address())
	addr := "unix://" + socket
	token := func(id string, life time.Duration, audience string) string {
		return d.Token(t, spiretest.Claims(id, life, audience))
	}
	if got := shows(t, addr, token("spiffe://a.org/node", time.Hour, "slim"), 503); got != 503 {
		t.Errorf("before there are bundles: %d", got)
	}
	api.Bundles(spiretest.Bundles(t, d))
	api.Issue(d, "spiffe://a.org/node", time.Hour)
	api.Start()
	r.await("client connected")
	for want, text := range map[int]string{
		0:   token("spiffe://a.org/node", time.Hour, "slim"),
		401: token("spiffe://a.org/node", time.Hour, "else"),
		403: token("spiffe://a.org/app", time.Hour, "slim"),
	} {
		if got := shows(t, addr, text, want); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
	other := spiretest.NewDomain(t, "b.org")
	api.Bundles(spiretest.Bundles(t, other)) // its own trust domain has vanished: who came by it is ended
	r.await("connection closed")
}

// What no agent can mend is refused.
func TestSPIREAuthThatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"socket_path: unix://run/a.sock":                         "URI must not include an authority",
		"socket_path: /a, jwt_audiences: []":                     "jwt_audiences is empty",
		"socket_path: /a, accepted_spiffe_ids: [x]":              "accepted_spiffe_ids: \"x\" is no SPIFFE ID",
		"socket_path: /a, accepted_spiffe_ids: ['spiffe://a/*']": "",
	} {
		file := filepath.Join(t.TempDir(), "node.yaml")
		if err := os.WriteFile(file, []byte(serviceText([]string{plain("127.0.0.1:0", "auth: {type: spire, "+text+"}")}, nil)), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out := checked(t, file); (code == cli.ExitOK) != (want == "") || !strings.Contains(out, want) {
			t.Errorf("%s: %d, %s", text, code, out)
		}
	}
	file := filepath.Join(t.TempDir(), "node.yaml")
	client := "{endpoint: 'unix:///none', tls: {insecure: true}, auth: {type: spire, socket_path: /a, target_spiffe_id: x}}"
	if err := os.WriteFile(file, []byte(serviceText(nil, []string{client})), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out := checked(t, file); code == cli.ExitOK || !strings.Contains(out, "target_spiffe_id") {
		t.Errorf("a client: %d, %s", code, out)
	}
}
