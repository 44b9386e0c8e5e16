package admin

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
)

// That keys or a policy cannot be loaded, why, and since when, is in the numbers, the list, and words.
func TestAuthLoadsAreTold(t *testing.T) {
	now := time.Now()
	all := []AuthSource{
		{Service: "slim/0", Key: "dataplane.servers[0].auth", Endpoint: "a:1", What: "keys", Loads: auth.Loads{Loaded: now}},
		{Service: "slim/0", Key: "dataplane.servers[0].auth", Endpoint: "a:1", What: "policy",
			Loads: auth.Loads{Loaded: now, Fault: errors.New("policy.rego: line 3\n\x1b[31m"), Failed: time.Unix(3600, 0), Failures: 2}},
		{Service: "slim/0", Key: "dataplane.servers[0].auth", Endpoint: "a:1", What: "policy"}, // twice: a scrape must not fail for that
		{Endpoint: "unix:///agent", What: "SPIFFE Workload API", Loads: auth.Loads{Fault: errors.New("it is away"), Failed: time.Unix(7200, 0), Failures: 9}},
	}
	s := serve(t, &fakeNode{}, func(o *Options) { o.Auth = func() []AuthSource { return all } })
	code, body, _ := get(t, s, "/metrics", "")
	for _, want := range []string{
		`slim_auth_last_load_successful{endpoint="a:1",key="dataplane.servers[0].auth",service="slim/0",what="keys"} 1`,
		`slim_auth_last_load_successful{endpoint="a:1",key="dataplane.servers[0].auth",service="slim/0",what="policy"} 0`,
		`slim_auth_load_failures_total{endpoint="a:1",key="dataplane.servers[0].auth",service="slim/0",what="policy"} 2`,
		`slim_auth_last_load_successful{endpoint="unix:///agent",key="",service="",what="SPIFFE Workload API"} 0`,
	} {
		if !strings.Contains(body, "\n"+want) {
			t.Errorf("%d, no %s", code, want)
		}
	}
	if n := strings.Count(body, "\nslim_auth_loaded_timestamp_seconds"); n != 2 {
		t.Errorf("%d times of loading, want those of two", n)
	}
	st := s.look(t.Context(), "", 10)
	if a := st.Auth; len(a) != 4 || !a[0].Loaded.Equal(now) || a[0].Fault != "" || a[1].Failures != 2 || !a[1].Failed.Equal(time.Unix(3600, 0)) ||
		strings.ContainsAny(a[1].Fault, "\n\x1b") {
		t.Errorf("%+v", a)
	}
	want := []string{
		"The policy of a:1 (dataplane.servers[0].auth) cannot be loaded since 1970-01-01T01:00:00Z, and what was loaded before stays in use: policy.rego: line 3",
		"The SPIFFE Workload API of unix:///agent cannot be loaded since 1970-01-01T02:00:00Z, and there is none to use: it is away",
	}
	if len(st.Answers) != len(want) {
		t.Fatalf("answers\n%s", strings.Join(st.Answers, "\n"))
	}
	for i := range want {
		if !strings.HasPrefix(st.Answers[i], want[i]) {
			t.Errorf("%s\nwant %s", st.Answers[i], want[i])
		}
	}
}
