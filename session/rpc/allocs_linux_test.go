//go:build !race

package rpc_test

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// A call with one request and one reply is four messages, and as many acknowledgements. What it costs both apps, in plain sessions with 64
// calls under way, is bounded, so that nothing creeps in.
func TestAllocsOfCalls(t *testing.T) {
	n, err := router.Start(t.Context(), router.Options{NodeID: "calls"})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Shutdown(context.Background())
	var apps []*session.App
	for _, name := range []string{"server", "client"} {
		a, err := session.Connect(t.Context(), session.Options{
			Name: session.MustName("org/ns/" + name), Secret: []byte("a secret of both, 32 bytes or more"), InProcess: n, Workers: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close(context.Background())
		apps = append(apps, a)
	}
	s := rpc.NewServer(apps[0], rpc.ServerOptions{})
	reply := make(rpc.Raw, 100)
	rpc.HandleUnary(s, unary, func(context.Context, *rpc.Raw) (*rpc.Raw, error) { return &reply, nil })
	go func() { _ = s.Serve(context.Background()) }()
	defer s.Stop()
	c := rpc.NewClient(apps[1], serverName, rpc.CallOptions{Session: session.SessionOptions{Plain: true}})
	defer c.Close(context.Background())
	request := make(rpc.Raw, 100)
	const under = 64
	calls := func(each int) {
		var all sync.WaitGroup
		for range under {
			all.Go(func() {
				for range each {
					if _, err := rpc.CallUnary[rpc.Raw, rpc.Raw](t.Context(), c, unary, &request); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
	}
	calls(20)
	const each = 40
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	calls(each)
	runtime.ReadMemStats(&after)
	objects := float64(after.Mallocs-before.Mallocs) / each / under
	size := float64(after.TotalAlloc-before.TotalAlloc) / each / under
	t.Logf("a call costs %.1f objects and %.0f bytes", objects, size)
	if objects > mostObjects || size > mostBytes {
		t.Errorf("a call costs %.1f objects and %.0f bytes, and may cost %d and %d", objects, size, mostObjects, mostBytes)
	}
}

const mostObjects, mostBytes = 115, 20_000
