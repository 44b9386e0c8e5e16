package router

import (
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed31b3bfd0/slimgo/internal/certs/certstest"
)

// What cannot be listened on is found without a try: what is no endpoint, and two at one place. Rules: P-conf-21.
func TestCheckEndpoints(t *testing.T) {
	for list, want := range map[string]string{
		"127.0.0.1:1 127.0.0.1:2 [::1]:1 ws://127.0.0.1:3/x": "",
		"127.0.0.1:0 127.0.0.1:0 0.0.0.0:0 ws://127.0.0.1:0": "",
		"0.0.0.0:1 [::]:1 [::1]:2":                           "",
		"[::]:1 127.0.0.1:1":                                 "", // then it is IPv6 only
		"127.0.0.1:1 127.0.0.1:1":                            "1: the address is listed twice",
		"127.0.0.1:1 ws://127.0.0.1:1/x":                     "1: the address is listed twice",
		"127.0.0.1:1 [::ffff:127.0.0.1]:1":                   "1: the address is listed twice",
		"localhost:1 localhost:1":                            "1: the address is listed twice",
		"0.0.0.0:1 127.0.0.2:2 127.0.0.1:1":                  "2: 0.0.0.0:1, which is in the list before, includes it",
		"ws://127.0.0.1:1 0.0.0.0:1":                         "1: it includes ws://127.0.0.1:1, which is in the list before",
		"[::1]:1 [::]:1":                                     "1: it includes [::1]:1",
		"unix:///a/s unix:///a/b":                            "",
		"unix:///a/s unix:///a/../a/s?mode=0600":             "1: the address is listed twice",
		"unix:///a/s?mode=9":                                 `0: mode "9" of the unix socket is no permission`,
		"unix:///" + strings.Repeat("x", 128):                "0: the path of the unix socket has 129 bytes",
		"ws://127.0.0.1:463570/":                             "0: port 463570 is above 65535",
		"nonsense 127.0.0.1:1 127.0.0.1:1 ws://:1@2/":        "0: address nonsense: missing port|2: the address is listed twice|3: a listener has no user",
	} {
		var all []Endpoint
		for _, addr := range strings.Fields(list) {
			all = append(all, Endpoint{Addr: addr})
		}
		var got []string
		err := CheckEndpoints(all)
		errs := []error{err}
		if many, ok := err.(interface{ Unwrap() []error }); ok {
			errs = many.Unwrap()
		}
		for _, err := range errs {
			var e *ListenError
			if errors.As(err, &e) {
				got = append(got, fmt.Sprintf("%d: %v", e.Index, e.Err))
			}
		}
		wants := strings.Split(want, "|")
		if want == "" {
			wants = nil
		}
		if len(got) != len(wants) {
			t.Errorf("%s: %q, want %q", list, got, wants)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], wants[i]) {
				t.Errorf("%s: %q, want %q", list, got[i], wants[i])
			}
		}
	}
	if err := CheckEndpoints([]Endpoint{{Addr: "ws://127.0.0.1:1", TLS: new(tls.Config)}}); err == nil {
		t.Error("ws:// with TLS is taken")
	}
}

// A start whose endpoints are in each other's way says which, and not that another process is.
func TestEndpointsInEachOthersWay(t *testing.T) {
	t.Parallel() // beside those that wait
	n, err := Start(t.Context(), Options{Listen: []string{"0.0.0.0:46399", "127.0.0.1:46399"}})
	if err == nil {
		_ = n.Shutdown(t.Context())
		t.Fatal("it starts")
	}
	var e *ListenError
	if !errors.As(err, &e) || e.Index != 1 || strings.Contains(err.Error(), "another process") || !strings.Contains(err.Error(), "0.0.0.0:46399, which is in the list before, includes it") {
		t.Error(err)
	}
}

// A node says who it is, and where it listens, as a client would dial it; after a change what is so then.
func TestNodeTellsAboutItself(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	n := startAt(t, Options{NodeID: "the-node", Deployment: "home", Listen: []string{"127.0.0.1:0", "ws://127.0.0.1:0/slim", "unix://" + path + "?mode=0600"}})
	a := n.About()
	want := []string{"http://" + n.Addrs()[0].String(), "ws://" + n.Addrs()[1].String() + "/slim", "unix://" + path}
	if a.NodeID != "the-node" || a.Deployment != "home" || !slices.Equal(a.Listeners, want) {
		t.Errorf("%+v, want %q", a, want)
	}
	secure := &tls.Config{Certificates: []tls.Certificate{certstest.NewIssuer(t, "ca", false).TLS(certstest.Leaf("node"))}}
	change(t, n, Setup{Endpoints: []Endpoint{{Addr: "127.0.0.1:0", TLS: secure}}})
	if a := n.About(); !slices.Equal(a.Listeners, []string{"https://" + n.Addrs()[0].String()}) {
		t.Errorf("after a change: %+v", a)
	}
}
