package rpcgrpc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
	"github.com/seed31b3bfd0/slimgo/session/rpc/rpcgrpc"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// service is gRPC's health service, which tells what its callers have said.
type service struct {
	*health.Server
	said chan metadata.MD
}

func (s *service) Check(ctx context.Context, req *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	s.said <- md
	return s.Server.Check(ctx, req)
}

// start serves it by SLIMRPC, and returns a client of that.
func start(t *testing.T) (*rpc.Client, *service) {
	t.Helper()
	net := sessiontest.New(t, sessiontest.Options{Quiet: true, Delay: time.Microsecond})
	server := rpc.NewServer(net.App("org/ns/health"), rpc.ServerOptions{})
	s := &service{health.NewServer(), make(chan metadata.MD, 10)}
	s.SetServingStatus("it", healthpb.HealthCheckResponse_SERVING)
	healthpb.RegisterHealthServer(rpcgrpc.Registrar(server), s)
	go func() { _ = server.Serve(context.Background()) }()
	c := rpc.NewClient(net.App("org/ns/client"), session.MustName("org/ns/health"), rpc.CallOptions{Session: session.SessionOptions{Plain: true}})
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
		server.Stop()
	})
	return c, s
}

// check calls methods of both shapes by a stub of gRPC.
func check(t *testing.T, c healthpb.HealthClient, s *service) {
	t.Helper()
	ctx := metadata.AppendToOutgoingContext(t.Context(), "k", "v", "k", "w", "b-bin", "\x00\xff", "b-bin", "x")
	res, err := c.Check(ctx, &healthpb.HealthCheckRequest{Service: "it"})
	if err != nil || res.GetStatus() != healthpb.HealthCheckResponse_SERVING {
		t.Fatalf("Check: %v, %v", res, err)
	}
	if md := <-s.said; len(md) != 2 || !slices.Equal(md["k"], []string{"v,w"}) || !slices.Equal(md["b-bin"], []string{"\x00\xff", "x"}) {
		t.Errorf("metadata %q", map[string][]string(md))
	}
	_, err = c.Check(t.Context(), &healthpb.HealthCheckRequest{Service: "another"})
	if status.Code(err) != codes.NotFound || status.Convert(err).Message() != "unknown service" {
		t.Errorf("Check of what there is not: %v", err)
	}
	watching, cancel := context.WithCancel(t.Context())
	defer cancel()
	w, err := c.Watch(watching, &healthpb.HealthCheckRequest{Service: "it"})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []healthpb.HealthCheckResponse_ServingStatus{healthpb.HealthCheckResponse_SERVING, healthpb.HealthCheckResponse_NOT_SERVING} {
		if res, err := w.Recv(); err != nil || res.GetStatus() != want {
			t.Fatalf("Watch: %v, %v; want %v", res, err, want)
		}
		s.SetServingStatus("it", healthpb.HealthCheckResponse_NOT_SERVING)
	}
	cancel()
	if _, err := w.Recv(); status.Code(err) != codes.Canceled {
		t.Errorf("Watch that was cancelled: %v", err)
	}
}

func TestStubsAndServices(t *testing.T) {
	c, s := start(t)
	check(t, healthpb.NewHealthClient(rpcgrpc.Conn(c)), s)
}

func TestGateway(t *testing.T) {
	c, s := start(t)
	l := bufconn.Listen(1 << 16)
	gateway := grpc.NewServer(rpcgrpc.Gateway(c)...)
	go func() { _ = gateway.Serve(l) }()
	defer gateway.Stop()
	conn, err := grpc.NewClient("passthrough:///gateway", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	check(t, healthpb.NewHealthClient(conn), s)
}

func TestErrors(t *testing.T) {
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		there := rpcgrpc.Error(status.Error(code, "why"))
		if !errors.Is(there, rpc.Code(code)) {
			t.Errorf("%v becomes %v", code, there)
		}
		if back := rpcgrpc.Status(there); status.Code(back) != code || status.Convert(back).Message() != "why" {
			t.Errorf("%v becomes %v", there, back)
		}
	}
	if there := rpcgrpc.Error(status.Error(256+codes.NotFound, "why")); !errors.Is(there, rpc.Unknown) {
		t.Errorf("a code that is none becomes %v", there)
	}
	for _, err := range []error{nil, io.EOF} {
		if rpcgrpc.Status(err) != err || rpcgrpc.Error(err) != err {
			t.Errorf("%v does not stay what it is", err)
		}
	}
}
