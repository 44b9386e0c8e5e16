package rpc_test

import (
	"context"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// before is t, which has a monotonic reading, as it would be if the wall clock had been set by d since t was made. There is no other way to
// such a time than into its representation: seconds of the wall clock from bit 30 on.
func before(t time.Time, d time.Duration) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) -= uint64(d/time.Second) << 30 //nolint:gosec // see above
	return t
}

// deadlineAt is a context whose deadline says something else than when it ends.
type deadlineAt struct {
	context.Context
	t time.Time
}

func (c deadlineAt) Deadline() (time.Time, bool) { return c.t, true }

// A deadline stays as far away as it was when the caller's clock is set after it was made, by however much, and the same for the server's
// handlers, who may hand it on (P-rpc-3).
func TestClocksThatAreSet(t *testing.T) {
	net := sessiontest.New(t, sessiontest.Options{Quiet: true, Delay: time.Microsecond})
	server := rpc.NewServer(net.App(serverName.String()), rpc.ServerOptions{})
	rpc.HandleUnary(server, unary, func(ctx context.Context, _ *rpc.Raw) (*rpc.Raw, error) {
		at, _ := ctx.Deadline()
		return raw(at.String()), nil
	})
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background()) }()
	defer func() {
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	c := dial(t, net.App("org/ns/client"), rpc.CallOptions{Session: session.SessionOptions{Plain: true}})
	for _, by := range []time.Duration{0, time.Minute, 2 * time.Hour, -2 * time.Hour, 3 * 365 * 24 * time.Hour, -3 * 365 * 24 * time.Hour} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		at, _ := ctx.Deadline()
		got, err := call(deadlineAt{ctx, before(at, by)}, c, unary, "")
		cancel()
		if err != nil {
			t.Errorf("the clock was set by %v: %v", by, err)
			continue
		}
		wall, _, mono := strings.Cut(got, " m=")
		heard, err := time.Parse("2006-01-02 15:04:05.999999999 -0700 MST", wall)
		if err != nil || heard.Sub(at).Abs() > time.Second || !mono {
			t.Errorf("the clock was set by %v: the handler's deadline is %q, want %v, with a monotonic reading", by, got, at)
		}
	}
}
