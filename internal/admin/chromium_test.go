//go:build interop

package admin

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/chromium"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
)

// busyNode is a node with something of everything, some of it hostile.
func busyNode() *fakeNode {
	n := &fakeNode{stats: router.Stats{Received: 123456, BytesIn: 987654321, Delivered: 234567, Bytes: 1 << 30, Names: 3, Stalled: 1, Connections: 43,
		Sockets: 40, Waiting: 12, WaitingBytes: 1 << 20, Held: 5000, Negotiated: 99,
		Dropped: map[router.Reason]uint64{router.ReasonNoMatch: 77, router.ReasonStalled: 1234}, Refused: map[router.Reason]uint64{router.ReasonPath: 3}}}
	for id := range uint64(42) {
		n.conns = append(n.conns, router.Connection{ID: id + 1, Kind: table.Edge, State: "active", Remote: fmt.Sprintf("10.1.2.%d:40000", id),
			Agent: "grpc-python/1.76.0 grpc-c/51.0.0 (linux; chttp2)", LinkID: "0b5d2f6a-6f0c-4f6e-9d3a-77c2ad2c1e55", Age: time.Hour,
			Received: 1000 * id, ReceivedBytes: 1 << 20 * id, Delivered: 500 * id, DeliveredBytes: 1 << 19 * id, Names: 1,
			Some: []string{fmt.Sprintf("organization/namespace/application-%d/00000000-0000-0000-0000-0000000000%02d", id, id)}})
	}
	n.conns[4].Stalled, n.conns[4].Missed, n.conns[4].Queued, n.conns[4].QueuedBytes = 95*time.Second, 1234, 12, 1<<20
	n.conns[9].Dropped, n.conns[9].Unmatched, n.conns[9].LastDrop, n.conns[9].Held = 77, 77, router.ReasonNoMatch, 5000
	n.conns[11].Agent = `<img src=x onerror="document.title='owned'">` + strings.Repeat("A", 5000)
	n.conns[12].State, n.conns[12].Kind = "negotiating", table.Remote
	n.names = []router.HeldName{{Name: "organization/namespace/bob/NULL_COMPONENT", Some: []uint64{5}},
		{Name: `org/<script>document.title="owned"</script>/x/1`, Some: []uint64{12, 13, 14}}}
	n.names[0].Holders[table.Edge], n.names[1].Holders[table.Edge], n.names[1].Holders[table.Peer] = 1, 2, 1
	now := time.Now()
	n.links = []router.LinkStatus{{Endpoint: "http://upstream.example:46357", ID: "0b5d2f6a-6f0c-4f6e-9d3a-77c2ad2c1e55", Kind: table.Edge,
		State: router.LinkWaiting, Since: now.Add(-time.Hour), Attempts: 9, Losses: 1, Failed: now,
		Failure: "dial tcp 10.0.0.1:46357: connect: connection refused"},
		{Endpoint: "https://other.example:46357", Kind: table.Peer, State: router.LinkOver, Since: now.Add(-time.Minute), Attempts: 3, Failed: now,
			Failure: `remote error: tls: <script>document.title="owned"</script>` + strings.Repeat("x", 300)}}
	n.refusals = []router.Refusal{{First: now, Last: now, Count: 3, Endpoint: "127.0.0.1:46357", Remote: "10.9.9.9:555", Agent: "curl/8", Reason: router.ReasonNegotiation, Text: "no_key: the link has no key"}}
	n.deaths = []router.Death{{First: now, Last: now, Conn: 10, Remote: "10.1.2.9:40000", Reason: router.ReasonNoMatch,
		Name: "organization/namespace/carol/NULL_COMPONENT", Source: "organization/namespace/application-9/1", Count: 77}}
	return n
}

// The page works in a browser, in narrow and wide windows, light and dark: it is alive, asks nobody but its server,
// says nothing on the console, fits, and takes no text of a peer for markup.
func TestStatusPageInChromium(t *testing.T) {
	n := busyNode()
	now := time.Now()
	s := serve(t, n, func(o *Options) {
		o.Config = func() Config {
			return Config{File: "/etc/slim/node.yaml", Loaded: now, Tried: now, Faults: []string{"node.yaml:3:1: tracing.log_color: unknown field"}}
		}
		o.Certificates = func() []CertificateSource {
			return []CertificateSource{{Service: "slim/0", Key: "dataplane.servers[0].tls", Endpoint: "0.0.0.0:46357", Loaded: now,
				Leaf: leafUntil(now, 80*24*time.Hour, 5*24*time.Hour), Fault: "source.key: /etc/slim/crypto/key.pem: no such file or directory", Failed: now, Failures: 3},
				{Service: "slim/0", Key: "dataplane.clients[0].tls", Endpoint: "https://other.example:46357", Loaded: now}}
		}
	})
	b := chromium.Launch(t)
	for _, width := range []int{390, 1400} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(fmt.Sprintf("%d %s", width, scheme), func(t *testing.T) {
				b.Window(width, 900)
				b.Prefer(scheme)
				b.Open("http://" + s.Addr().String() + "/status")
				var seen struct {
					Looks, Rows, Wide, View, Images, Cut int
					Title, State, Rate, Ground           string
					Answers                              []string
					Outside                              []string
				}
				b.Eval(`new Promise((done) => { const wait = () => (document.body && Number(document.body.dataset.looks) >= 2) ? done(1) : setTimeout(wait, 50); wait(); })`, new(int))
				b.Eval(`({looks: Number(document.body.dataset.looks), rows: document.querySelectorAll(".connections tbody tr").length,
					wide: document.documentElement.scrollWidth, view: innerWidth, images: document.images.length + document.querySelectorAll("main script").length,
					cut: [...document.querySelectorAll("td")].filter((e) => e.getBoundingClientRect().right > innerWidth || e.scrollWidth > e.clientWidth + 1).length,
					title: document.title, state: document.getElementById("state").textContent,
					rate: document.querySelector(".connections tbody tr td:nth-child(5)").textContent,
					ground: getComputedStyle(document.body).backgroundColor,
					answers: [...document.querySelectorAll(".answers li")].map((e) => e.textContent),
					outside: performance.getEntriesByType("resource").map((r) => r.name).filter((u) => !u.startsWith(location.origin + "/") && !u.startsWith("data:"))})`, &seen)
				if seen.Rows != 42 || seen.State != "ready" || seen.Title != "SLIM node" || seen.Images != 0 || seen.Rate == "…" {
					t.Errorf("the page shows %+v", seen)
				}
				if seen.Wide > seen.View || seen.View != width {
					t.Errorf("the page is %d wide in a window of %d", seen.Wide, seen.View)
				}
				if seen.Cut > 0 {
					t.Errorf("%d cells stick out of the window, or of themselves", seen.Cut)
				}
				if dark := seen.Ground == "rgb(16, 21, 27)"; dark != (scheme == "dark") {
					t.Errorf("the ground is %s", seen.Ground)
				}
				if len(seen.Answers) < 3 || !strings.Contains(strings.Join(seen.Answers, "\n"), "Connection 5 from 10.1.2.4:40000 does not read") ||
					!strings.Contains(strings.Join(seen.Answers, "\n"), "The last reload of the configuration failed") {
					t.Errorf("answers %q", seen.Answers)
				}
				if len(seen.Outside) > 0 {
					t.Errorf("the page asks for %q", seen.Outside)
				}
				b.Screenshot(fmt.Sprintf("status-%d-%s", width, scheme))
			})
		}
	}
	// A question is asked as it is typed, and answered.
	b.Eval(`(() => { const q = document.getElementById("q"); q.value = "namespace/bob"; q.dispatchEvent(new Event("input")); return 1; })()`, new(int))
	var answers []string
	b.Eval(`new Promise((done) => { const wait = () => { const a = [...document.querySelectorAll(".answers li")].map((e) => e.textContent);
		document.querySelectorAll(".names tbody tr").length === 1 && document.querySelectorAll(".connections tbody tr").length === 1 ? done(a) : setTimeout(wait, 50); }; wait(); })`, &answers)
	for _, x := range b.Noise() {
		t.Errorf("the console says %s", x)
	}
	for _, u := range b.Asked() {
		if p, err := url.Parse(u); err != nil || p.Host != s.Addr().String() && p.Scheme != "data" && p.Scheme != "about" {
			t.Errorf("the page asked for %s", u)
		}
	}
}
