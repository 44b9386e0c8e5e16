package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// big is a node with many names and connections, some of which are of no use.
type big struct {
	Node
	names, nameless, conns int
}

func (b *big) EachHeld(f func(wire.NameText) bool) {
	for i := range b.names + b.nameless {
		t := wire.Text("org", "ns", "many").WithID(1, uint64(i))
		if t.NoStrings = i >= b.names; t.NoStrings {
			t.Str = [3]string{}
		}
		if !f(t) {
			return
		}
	}
}

func (b *big) Routes(_ int, f func(*router.Route) bool) {
	b.EachHeld(func(t wire.NameText) bool { return f(&router.Route{Name: t}) })
}

func (b *big) Links() []router.LinkStatus { return nil }

func (b *big) Connections(context.Context, int) (all []router.Connection, err error) {
	for i := range b.conns {
		all = append(all, router.Connection{ID: uint64(i), Kind: table.Edge, State: "active"})
	}
	return append(all, router.Connection{ID: 1 << 20, State: "negotiating"}), nil
}

// All names are told in messages of newsPart, but those without strings. Rules: P-ctl-4.
func TestNamesAreToldInParts(t *testing.T) {
	w := &news{node: &big{names: 2*newsPart + 200, nameless: 3}, wake: make(chan struct{}, 1)}
	w.begin()
	var parts []int
	err := w.tell(func(c *controllerpb.ConfigurationCommand) error {
		parts = append(parts, len(c.GetRoutesToSet()))
		return nil
	})
	if err != nil || fmt.Sprint(parts) != "[500 500 200]" || w.nameless != 3 {
		t.Errorf("told in messages of %v names, %v; %d without strings, want 3", parts, err, w.nameless)
	}
}

// still is a channel on which nothing comes.
type still struct{ ctx context.Context }

func (s still) Context() context.Context { return s.ctx }
func (still) SendMsg(any) error          { return nil }
func (still) RecvMsg(any) error          { return nil }

// Lists have at most listPart entries a message, and the last one says so; connections that have not negotiated are in none. Rules: P-ctl-8.
func TestListsComeInParts(t *testing.T) {
	for _, c := range []struct {
		n    int
		want string
	}{{0, "[0 true]"}, {listPart - 1, "[99 true]"}, {listPart, "[100 true]"}, {2*listPart + 50, "[100 false 100 false 50 true]"}} {
		a := &Agent{node: &big{names: c.n, conns: c.n - 1}, ctx: t.Context()} // the agent itself is one of the connections
		s := newStream(a, tools, still{t.Context()}, slog.New(slog.DiscardHandler))
		if err := s.listRoutes("r"); err != nil {
			t.Fatal(err)
		}
		var got []any
		for len(s.out) > 0 {
			m := (<-s.out).GetRouteListResponse()
			got = append(got, len(m.GetEntries()), m.GetDone())
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%d routes: %v, want %s", c.n, got, c.want)
		}
		if c.n == 0 {
			continue
		}
		if err := s.listConnections("c"); err != nil {
			t.Fatal(err)
		}
		got = nil
		for len(s.out) > 0 {
			m := (<-s.out).GetConnectionListResponse()
			got = append(got, len(m.GetEntries()), m.GetDone())
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%d connections: %v, want %s", c.n, got, c.want)
		}
	}
}

// An order of more links than a node dials is obeyed as far as that goes, and says which are too many.
func TestLinksOfAnOrderAreBounded(t *testing.T) {
	var all []*controllerpb.Connection
	for i := range maxLinks + 2 {
		all = append(all, wantLink(fmt.Sprint("l", i), "http://127.0.0.1:1"))
	}
	all = append(all, wantLink("l0", "http://127.0.0.1:2")) // is one of them
	o, f := desired(all, nil)
	if len(o.links) != maxLinks || len(f.links) != 2 || o.links["l0"].Endpoint != "http://127.0.0.1:2" {
		t.Errorf("%d links, %d faults; want %d and 2", len(o.links), len(f.links), maxLinks)
	}
	for _, x := range f.links {
		if !strings.Contains(x.GetErrorMsg(), "too many links") {
			t.Errorf("%s: %s", x.GetLinkId(), x.GetErrorMsg())
		}
	}
}

// A link that is ordered again, while it is left over, is no link that only stays for a while. Rules: P-ctl-9.
func TestALeftoverThatIsOrderedAgain(t *testing.T) {
	t0 := time.Unix(1000, 0)
	o := wants(map[string]string{"a": "x"}, "a")
	o.become(wants(map[string]string{"b": "x"}), t0) // to the same endpoint: a stays
	if !o.leaving("a") {
		t.Fatal("a does not stay")
	}
	o.become(wants(map[string]string{"a": "x"}, "a"), t0)
	if o.leaving("a") {
		t.Error("a link that is ordered is on the point of leaving")
	}
}

// Two links are dialled in the same way only if nothing of how is different.
func TestLinksThatDiffer(t *testing.T) {
	k := Keepalive{TCP: 1}
	w := func() *Wanted { return &Wanted{Endpoint: "e", Client: []byte("c"), Keepalive: &Keepalive{TCP: 1}} }
	if x := w(); !x.same(w()) {
		t.Error("a link differs from itself")
	}
	for name, change := range map[string]func(*Wanted){"endpoint": func(w *Wanted) { w.Endpoint = "f" }, "tls": func(w *Wanted) { w.TLS = true },
		"auth": func(w *Wanted) { w.Auth = "jwt" }, "trust domain": func(w *Wanted) { w.TrustDomain = "d" }, "timeout": func(w *Wanted) { w.Timeout = 1 },
		"backoff": func(w *Wanted) { w.Backoff = 1 }, "client": func(w *Wanted) { w.Client = []byte("d") },
		"keepalive": func(w *Wanted) { w.Keepalive.HTTP2 = 1 }, "no keepalive": func(w *Wanted) { w.Keepalive = nil }} {
		x := w()
		if change(x); x.same(w()) || w().same(x) {
			t.Errorf("links that differ in %s are the same", name)
		}
	}
	if k != *w().Keepalive {
		t.Error("keepalives of the same times differ")
	}
}

// refuses denies everybody.
type refuses struct {
	auth.Verifier
	status int
}

func (r refuses) Verify(context.Context, *auth.Shown) (*auth.Identity, error) {
	return nil, &auth.Denied{Status: r.status}
}
func (refuses) Changed() <-chan struct{} { return nil }

// Who calls is told whether it is not known who that is, or not allowed, or that nobody knows now. Rules: P-auth-1.
func TestHowCallersAreRefused(t *testing.T) {
	for denied, want := range map[int]codes.Code{http.StatusUnauthorized: codes.Unauthenticated, http.StatusForbidden: codes.PermissionDenied,
		http.StatusServiceUnavailable: codes.Unavailable} {
		g := auth.NewGuard(refuses{status: denied}, auth.GuardOptions{Timeout: limit})
		if got := status.Code(judge(t.Context(), g)); got != want {
			t.Errorf("%d: %v, want %v", denied, got, want)
		}
		g.Close()
	}
}
