package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc/metadata"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
)

// What keeps a control plane from being reached is said once, and again after a time in which it was; so are attempts counted.
func TestAttemptsInARow(t *testing.T) {
	var a attempts
	for i, x := range []struct {
		why    string
		took   time.Duration
		failed int
		say    bool
	}{{"refused", 0, 1, true}, {"refused", settled, 2, false}, {"reset", 0, 3, true}, {"refused", 0, 4, true},
		{"refused", settled + 1, 1, true}, {"refused", 0, 2, false}} {
		if say := a.ended(errors.New(x.why), x.took); say != x.say || a.failed != x.failed {
			t.Errorf("%d: said %v, %d in a row; want %v and %d", i, say, a.failed, x.say, x.failed)
		}
	}
}

// shown is a source of credentials.
type shown string

func (s shown) Authorization(context.Context) (string, error) { return string(s), nil }

func (s shown) Close() error { return nil }

// The request of the control channel has the headers and credentials of its client, and a registration lists remote links alone.
// Rules: P-ctl-1, P-ctl-3.
func TestWhatAControlPlaneIsShown(t *testing.T) {
	p := startCP(t, "127.0.0.1:0")
	n, app, far := startNode(t, "near"), startNode(t, "app"), startNode(t, "far")
	addr := n.Addrs()[0].String()
	for from, k := range map[*router.Node]table.Kind{app: table.Edge, far: table.Remote} {
		l := router.Link{Endpoint: "http://" + addr, Kind: k, ID: "link-" + k.String(),
			Connect: func(ctx context.Context) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "tcp", addr) }}
		l.Call.Scheme, l.Call.Authority = "http", addr
		if _, err := from.Dial(l); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "both are there", func() bool { return n.Stats().Negotiated == 2 })
	plane := Plane{Endpoint: "http://cp", Authority: p.ln.Addr().String(), Auth: shown("Bearer t"), Headers: map[string]string{"X-Site": "a"},
		Connect: func(ctx context.Context) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", p.ln.Addr().String())
		}}
	startAgent(t, n, Options{Planes: []Plane{plane}})
	x, m := p.next()
	md, _ := metadata.FromIncomingContext(x.Context())
	if got := fmt.Sprint(md.Get("authorization"), md.Get("x-site")); got != "[Bearer t] [a]" {
		t.Errorf("it is shown %s", got)
	}
	var links []string
	for _, c := range m.GetRegisterNodeRequest().GetConnections() {
		links = append(links, c.GetLinkId())
	}
	if fmt.Sprint(links) != "[link-remote]" {
		t.Errorf("it is told of %v, want the remote link alone", links)
	}
}
