package agent

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// Rules: P-ctl-6.
func TestDurations(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0y": 0, "1m": time.Minute, "1d": 24 * time.Hour, "1m30s": 90 * time.Second, "2w": 14 * 24 * time.Hour, "5ms": 5 * time.Millisecond,
		"7us": 7 * time.Microsecond, "1h 2m": 62 * time.Minute, " 1 0 s": 10 * time.Second, "1\th\u00a02 m": 62 * time.Minute, "1y": 31_556_926 * time.Second, "99999999999999y": maxDuration, "100y": maxDuration, "60y60y": maxDuration,
	} {
		if got, err := parseDuration(s); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", " ", "1", "s", "1x", "-1s", "1.5s", "99999999999999999999s"} {
		if got, err := parseDuration(s); err == nil {
			t.Errorf("%q is taken for %v", s, got)
		}
	}
}

// Rules: P-ctl-6.
func TestRequirements(t *testing.T) {
	w, err := parseWanted("l", `{"endpoint":"https://h:1","tls_required":true,"auth_method":{"spire":{"trust_domain":"td"}},"timeout":5,"backoff":7,
		"keepalive":{"tcp_keepalive":"1m","http2_keepalive":"2m","timeout":"3s","keep_alive_while_idle":true},"other":[1]}`)
	want := Wanted{ID: "l", Endpoint: "https://h:1", TLS: true, Auth: "spire", TrustDomain: "td", Timeout: 5 * time.Millisecond, Backoff: 7 * time.Millisecond,
		Keepalive: &Keepalive{time.Minute, 2 * time.Minute, 3 * time.Second, true}}
	if err != nil || !w.same(&want) || w.ID != "l" {
		t.Errorf("%+v, %v", w, err)
	}
	for _, s := range []string{"", "null", "[]", "5", `{"endpoint":"","tls_required":true,"auth_method":"none"}`, `{"endpoint":"x","auth_method":"none"}`,
		`{"endpoint":"x","tls_required":true}`, `{"endpoint":"x","tls_required":true,"auth_method":"magic"}`, `{"endpoint":"x","tls_required":true,"auth_method":{}}`,
		`{"endpoint":"x","tls_required":true,"auth_method":"none","timeout":-1}`, `{"endpoint":"x","tls_required":true,"auth_method":"none","keepalive":{"timeout":"x"}}`,
		`{"endpoint":"x","tls_required":"yes","auth_method":"none"}`, `{"endpoint":"` + strings.Repeat("x", maxConfig) + `"}`} {
		if w, err := parseWanted("l", s); err == nil {
			t.Errorf("%.60s is taken for %+v", s, w)
		}
	}
}

// Whatever comes, reading it ends, and what is made of it is within bounds.
func FuzzCommand(f *testing.F) {
	for _, c := range []*controllerpb.ConfigurationCommand{
		{}, {Reconcile: true, ConnectionsToCreate: []*controllerpb.Connection{wantLink("a", "http://x:1"), {LinkId: "b", ConfigData: "{"}}},
		{RoutesToSet: []*controllerpb.Route{wantRoute("a", alice), {}, {Name: nameFor(alice)}}, ConnectionsToDelete: []string{"a", ""}},
	} {
		b, err := proto.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c controllerpb.ConfigurationCommand
		if proto.Unmarshal(b, &c) != nil {
			return
		}
		o, bad := desired(c.GetConnectionsToCreate(), c.GetRoutesToSet())
		if len(o.links) > maxLinks || len(o.links)+len(bad.links) > len(c.GetConnectionsToCreate()) {
			t.Errorf("%d links and %d faults of %d", len(o.links), len(bad.links), len(c.GetConnectionsToCreate()))
		}
		n := len(bad.routes) + bad.silent
		for id, rs := range o.routes {
			if n += len(rs); id == "" || len(id) > maxLinkID {
				t.Errorf("routes over a link called %q", id)
			}
		}
		if n > len(c.GetRoutesToSet()) {
			t.Errorf("%d routes and faults of %d", n, len(c.GetRoutesToSet()))
		}
		for _, x := range c.GetConnectionsToCreate() {
			if w, err := parseClient(x.GetLinkId(), x.GetConfigData()); err == nil && (w.ID == "" || len(w.ID) > maxLinkID) {
				t.Errorf("a link called %q", w.ID)
			}
		}
	})
}

// The third vector of the format, but for its random parts. Rules: P-ctl-3.
func TestSharedSecret(t *testing.T) {
	const secret = "abcdefghijklmnopqrstuvwxyz012345"
	s, err := NewSharedSecret("dom", "node", secret, func() time.Time { return time.Unix(1700000000, 0) })
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(s.Token(), ":")
	if len(parts) != 5 || !strings.HasPrefix(parts[0], "dom/node_") || len(parts[0]) != len("dom/node_")+8 || parts[1] != "1700000000" ||
		len(parts[2]) != 16 || parts[3] != "" || len(parts[4]) != 43 {
		t.Errorf("token %q", parts)
	}
	if a, b := s.Token(), s.Token(); a == b {
		t.Error("two tokens are the same")
	}
	if got := s.mac("svc_AAAAAAAA:1700000000:AAECAwQFBgcICQoL:"); got != "bdtVD-s3fuNFEFQwu9St2ZGYKtTWCNrvA6mkJWW6X2o" {
		t.Errorf("MAC %s", got)
	}
	for _, x := range [][3]string{{"d", "n", secret[1:]}, {"d:", "n", secret}, {"d", "n n", secret}} {
		if _, err := NewSharedSecret(x[0], x[1], x[2], time.Now); err == nil {
			t.Errorf("%q is taken", x)
		}
	}
}
