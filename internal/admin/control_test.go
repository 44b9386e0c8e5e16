package admin

import (
	"strings"
	"testing"
	"time"
)

// Control planes, and the links that they order, are in the metrics, in the status and in words, whatever their texts hold.
func TestControlIsTold(t *testing.T) {
	c := Control{
		Planes: []ControlPlane{{Endpoint: "http://a:1", State: "registered", Registrations: 2, Told: 7}, {Endpoint: "http://b:1", State: "waiting",
			Since: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Failure: "refused\x1b[31m"}, {Endpoint: "http://b:1", State: "waiting"}},
		Links:  []ControlLink{{ID: "1", State: "up", Routes: 3}, {ID: "2", State: "faulty", Endpoint: "http://c:1", Failure: "no local credentials"}},
		Routes: 3, Commands: 4, News: 5, Invalid: 6, Failures: 8, Calls: 9, Denied: 1,
	}
	s := serve(t, &fakeNode{}, func(o *Options) {
		services := o.Services
		o.Services = func() []Service {
			all := services()
			all[0].Control = func() Control { return c }
			return all
		}
	})
	_, body, _ := get(t, s, "/metrics", "")
	for _, want := range []string{
		`slim_control_plane_registered{endpoint="http://a:1",service="slim/0"} 1`, `slim_control_plane_registered{endpoint="http://b:1",service="slim/0"} 0`,
		`slim_control_names_told{endpoint="http://a:1",service="slim/0"} 7`, `slim_control_links{service="slim/0",state="up"} 1`,
		`slim_control_links{service="slim/0",state="faulty"} 1`, `slim_control_routes{service="slim/0"} 3`, `slim_control_invalid_total{service="slim/0"} 6`,
		`slim_control_calls_denied_total{service="slim/0"} 1`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("the metrics have no %s", want)
		}
	}
	_, body, _ = get(t, s, "/status.json", "")
	for _, want := range []string{"The control plane http://b:1 is not reached since 03:04:05", "1 links are ordered that cannot be opened as they are configured here: http://c:1 (no local credentials)"} {
		if !strings.Contains(body, want) {
			t.Errorf("the status does not say %q:\n%s", want, body)
		}
	}
	if strings.Contains(body, `\u001b`) {
		t.Error("a text of somebody else is shown as it came")
	}
	_, body, _ = get(t, serve(t, &fakeNode{}, nil), "/metrics", "")
	if strings.Contains(body, "slim_control_") {
		t.Error("a node without a controller has metrics of one")
	}
}
