package router

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// A controller hears of links, sets routes over them, which are no names that the node holds, and loses them with the link. Rules: P-ctl-4,
// P-ctl-5.
func TestRoutesOverALink(t *testing.T) {
	start := func(id string) *Node {
		n, err := Start(context.Background(), Options{Listen: []string{"127.0.0.1:0"}, NodeID: id, Loops: 2, MaxNames: 20, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), hang)
			defer cancel()
			_ = n.Shutdown(ctx)
		})
		return n
	}
	near, far := start("near"), start("far")
	type event struct {
		l  *ActiveLink
		up bool
	}
	links, names := make(chan event, 16), make(chan wire.Name, 16)
	if all := near.Watch(&Watch{Name: func(n wire.Name) { names <- n }, Link: func(l *ActiveLink, up bool) { links <- event{l, up} }}); len(all) > 0 {
		t.Fatalf("links %v of a new node", all)
	}
	addr := far.Addrs()[0].String()
	l := Link{Endpoint: addr, ID: "the-link", Kind: table.Remote, Connect: func(ctx context.Context) (net.Conn, error) { return net.Dial("tcp", addr) }}
	l.Call.Scheme, l.Call.Authority = "http", addr
	d, err := near.Dial(l)
	if err != nil {
		t.Fatal(err)
	}
	next := func() event {
		t.Helper()
		select {
		case e := <-links:
			return e
		case <-time.After(hang):
			t.Fatal("no link changes")
		}
		return event{}
	}
	e := next()
	if x := e.l; !e.up || x.LinkID != "the-link" || x.Node != "far" || x.Kind != table.Remote || !x.Dials {
		t.Errorf("up %v: %+v", e.up, x)
	}
	if all := far.Watch(&Watch{Name: func(wire.Name) {}, Link: func(*ActiveLink, bool) {}}); len(all) != 1 || all[0].LinkID != "the-link" || all[0].Dials {
		t.Errorf("at the other end %+v", all)
	}
	var cs []RouteChange
	for i := range 3 * routeSlice {
		cs = append(cs, RouteChange{Name: wire.Text("org", "ns", "x").WithID(1, uint64(i))})
	}
	if err := e.l.Change(t.Context(), cs); err != nil {
		t.Fatal(err)
	}
	held := func() (n int) {
		near.Routes(4, func(r *Route) bool {
			if h := r.Holders; len(h) == 1 && h[0].LinkID == "the-link" && h[0].Node == "far" && h[0].Endpoint == addr {
				n++
			}
			return true
		})
		return n
	}
	if cs[9].Err != nil || cs[10].Err == nil || held() != 10 {
		t.Errorf("%d routes over a link that may have 10; the tenth: %v, the next: %v", held(), cs[9].Err, cs[10].Err)
	}
	if _, yes := near.Held(cs[0].Name.Name); yes {
		t.Error("a route is held for one of its own names")
	}
	near.EachHeld(func(n wire.NameText) bool { t.Errorf("%v is told", n); return true })
	if err := e.l.Change(t.Context(), []RouteChange{{Name: cs[0].Name, Gone: true}, {Name: cs[0].Name, Gone: true}}); err != nil || held() != 9 {
		t.Errorf("%d routes, %v", held(), err)
	}
	d.Close()
	if e2 := next(); e2.up || e2.l != e.l {
		t.Errorf("up %v: %+v", e2.up, e2.l)
	}
	late := []RouteChange{{Name: cs[0].Name}, {Name: cs[0].Name, Gone: true}}
	if err := e.l.Change(t.Context(), late); err != nil || late[0].Err != ErrLinkGone || late[1].Err != nil {
		t.Errorf("a route over a link that has ended: %v, %v; %v", late[0].Err, late[1].Err, err)
	}
	if len(names) > 0 {
		t.Errorf("%d names are told", len(names))
	}
}
