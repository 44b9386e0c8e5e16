//go:build interop

package interop

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
)

// A server on the Rust library sends failures of every code: its Bidi passes on the one that ends its requests, which callers may send but no
// library does. So it is sent, and received, as frames (P-rpc-5, P-rpc-6).
func TestRPCCodesOfARustServer(t *testing.T) {
	onBoth(t, func(t *testing.T, k kind) {
		n := startNode(t, k)
		n.app(t, "rpc-serve", server)
		ctx, cancel := context.WithTimeout(t.Context(), 2*limit)
		defer cancel()
		s, err := n.connect(t, client).Open(ctx, session.MustName(server), session.SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for code := rpc.Canceled; code <= rpc.Unauthenticated; code++ {
			id := fmt.Sprintf("00000000-0000-4000-8000-%012d", code)
			number := fmt.Sprint(uint8(code))
			for _, f := range []session.Content{
				{Metadata: map[string]string{"service": rpcBidi.Service, "method": rpcBidi.Name, "rpc-id": id, "slimrpc-dir": "req"}, Data: []byte("x")},
				{Metadata: map[string]string{"rpc-id": id, "slimrpc-dir": "req", "slimrpc-code": number}, Data: []byte("why")},
			} {
				if _, err := s.Publish(ctx, f); err != nil {
					t.Fatal(err)
				}
			}
			for _, want := range []struct{ code, text string }{{"", "echo:x"}, {number, "why"}} {
				m, err := s.Receive(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if m.Metadata["rpc-id"] != id || m.Metadata["slimrpc-code"] != want.code || string(m.Data) != want.text {
					t.Errorf("%v: %q %q, want %q", code, m.Metadata, m.Data, want)
				}
			}
		}
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

// Handlers of ours know who calls, of whatever library: the name, the subject, which MLS has verified, and what callers have said and nothing
// else (P-rpc-2).
func TestRPCCallersAreKnown(t *testing.T) {
	n := startNode(t, ours)
	told := make(chan *rpc.Info, 1)
	n.serveCalls(t, server, told)
	ask := rpcAsk{method: rpcWho, requests: []string{""}, to: []string{server}, metadata: map[string]string{"k": "v"}}
	for name, c := range map[string]rpcCaller{
		client + "-go":   goCaller{n.connect(t, client+"-go"), false},
		client + "-rust": rustCaller{n, client + "-rust"},
		client + "-py":   rpcScript{n.script(t, &rpcPython, client+"-py"), 1},
	} {
		if o := c.call(t, ask); o.failed > 0 {
			t.Errorf("%s: %v", name, o)
			continue
		}
		if i := <-told; len(i.Metadata) != 1 || i.Metadata["k"] != "v" || i.Caller.Subject == "" || i.Caller.Name.Any().String() != name {
			t.Errorf("%s: a handler knows %+v, want one key and who calls", name, i)
		}
	}
}

// A caller on the Rust library that is killed in the middle of a call has its handler end, and the server serves others.
func TestRPCCallerIsKilled(t *testing.T) {
	t.Parallel()
	n := startNode(t, ours)
	s := n.serveCalls(t, server, nil)
	began, ended := make(chan struct{}, 1), make(chan error, 1)
	rpc.HandleUnary(s, rpcSlow, func(ctx context.Context, _ *rpc.Raw) (*rpc.Raw, error) {
		began <- struct{}{}
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil, ctx.Err()
	})
	p := n.opened(t, "rpc-call", client, "--to", server, "--method", "Slow", "--timeout", "600")
	select {
	case <-began:
	case <-time.After(4 * limit):
		t.Fatalf("the call has not come:\n%s", p.tail())
	}
	p.kill()
	select {
	case err := <-ended:
		if rpc.CodeOf(err) != rpc.Canceled {
			t.Errorf("the handler's context ended by %v, want Canceled", err)
		}
	case <-time.After(3 * limit): // heartbeats have to be missed
		t.Fatal("the handler of a caller that was killed runs on")
	}
	wantTexts(t, "another caller", n.responses(t, "--to", server, "--payload", "hi"), []string{"echo:hi"})
}

// A server on the Rust library that is killed in the middle of a call is noticed: the call fails, and the next one finds the next instance
// (P-rpc-8).
func TestRPCServerIsKilled(t *testing.T) {
	t.Parallel()
	n := startNode(t, ours)
	s := n.app(t, "rpc-serve", server)
	c := rpc.NewClient(n.connect(t, client), session.MustName(server), rpc.CallOptions{Timeout: 4 * limit})
	result := make(chan error, 1)
	go func() {
		_, err := rpcTexts(t.Context(), c, rpcSlow, "600")
		result <- err
	}()
	if s.take(limit, isKind("call")) == nil {
		t.Fatal("the call has not come")
	}
	s.kill()
	select {
	case err := <-result:
		if rpc.CodeOf(err) != rpc.Unavailable {
			t.Errorf("a call that a killed server had: %v, want UNAVAILABLE", err)
		}
	case <-time.After(3 * limit):
		t.Fatal("a call that a killed server had hangs")
	}
	n.app(t, "rpc-serve", server)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := wantReplies(ctx, c, rpcUnary, []string{"hi"}, []string{"echo:hi"}); err != nil {
		t.Error(err)
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
}

func wantReplies(ctx context.Context, c rpc.Caller, m rpc.Method, requests, want []string) error {
	got, err := rpcTexts(ctx, c, m, requests...)
	if err != nil {
		return fmt.Errorf("%v: %w", m, err)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("%v: %.200q, want %.200q", m, got, want)
	}
	return nil
}

// A node that is killed and started again in the middle of a call delays it: it is served once, and answered.
func TestRPCNodeIsStartedAgain(t *testing.T) {
	n := startNode(t, ours)
	s := n.serveCalls(t, server, nil)
	began, times := make(chan struct{}, 10), 0
	rpc.HandleUnary(s, rpcSlow, func(_ context.Context, req *rpc.Raw) (*rpc.Raw, error) {
		times++
		began <- struct{}{}
		time.Sleep(2 * time.Second)
		return req, nil
	})
	c := rpc.NewClient(n.connect(t, client), session.MustName(server), rpc.CallOptions{Timeout: 4 * limit})
	result := make(chan error, 1)
	go func() { result <- wantReplies(t.Context(), c, rpcSlow, []string{"x"}, []string{"x"}) }()
	<-began
	n.kill()
	n.start(t)
	if err := <-result; err != nil || times != 1 {
		t.Errorf("%v, served %d times", err, times)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
