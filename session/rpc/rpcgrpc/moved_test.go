package rpcgrpc_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/seed31b3bfd0/slimgo/session"
	"github.com/seed31b3bfd0/slimgo/session/rpc"
	"github.com/seed31b3bfd0/slimgo/session/rpc/rpcgrpc"
	"github.com/seed31b3bfd0/slimgo/session/sessiontest"
)

// moved is a service that uses what gRPC's package has for handlers.
type moved struct {
	healthpb.UnimplementedHealthServer
}

func (moved) Check(ctx context.Context, _ *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	md := metadata.Pairs("a", "b")
	if err := errors.Join(grpc.SetHeader(ctx, md), grpc.SendHeader(ctx, md), grpc.SetTrailer(ctx, md), knows(ctx, "Check")); err != nil {
		return nil, err
	}
	return &healthpb.HealthCheckResponse{}, nil
}

func (moved) Watch(_ *healthpb.HealthCheckRequest, s healthpb.Health_WatchServer) error {
	return errors.Join(s.SetHeader(nil), s.SendHeader(nil), grpc.SetTrailer(s.Context(), nil), knows(s.Context(), "Watch"))
}

// knows is an error where a context does not say what is called, and by whom.
func knows(ctx context.Context, method string) error {
	name, _ := grpc.Method(ctx)
	p, ok := peer.FromContext(ctx)
	if name != "/grpc.health.v1.Health/"+method || !ok || p.Addr.Network() != "slim" || p.Addr.String() != rpc.InfoOf(ctx).Caller.Name.String() {
		return status.Errorf(codes.DataLoss, "method %q, peer %v", name, p)
	}
	return nil
}

// group serves moved as org/ns/moved, and returns a client of these members.
func group(t *testing.T, members ...string) healthpb.HealthClient {
	t.Helper()
	net := sessiontest.New(t, sessiontest.Options{Quiet: true, Delay: time.Microsecond})
	server := rpc.NewServer(net.App("org/ns/moved"), rpc.ServerOptions{})
	healthpb.RegisterHealthServer(rpcgrpc.Registrar(server), moved{})
	go func() { _ = server.Serve(context.Background()) }()
	names := make([]session.Name, len(members))
	for i, m := range members {
		names[i] = session.MustName(m)
	}
	g := rpc.NewGroup(net.App("org/ns/caller"), names,
		rpc.GroupOptions{CallOptions: rpc.CallOptions{Session: session.SessionOptions{Plain: true}}, Invite: 100 * time.Millisecond})
	t.Cleanup(func() {
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
		server.Stop()
	})
	return healthpb.NewHealthClient(rpcgrpc.Conn(g))
}

func TestServicesThatUseWhatGRPCHas(t *testing.T) {
	h := group(t, "org/ns/moved")
	if _, err := h.Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
	w, err := h.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Recv(); err != io.EOF {
		t.Error(err)
	}
}

func TestTheFirstAnswerOfAGroupCounts(t *testing.T) {
	if _, err := group(t, "org/ns/absent", "org/ns/moved").Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Errorf("one of two is there: %v", err)
	}
}

// Stubs of gRPC take an io.EOF of SendMsg for the error of a method with one request.
func TestStreamOfAGroupWithoutAnyone(t *testing.T) {
	h := group(t, "org/ns/absent")
	if _, err := h.Check(t.Context(), &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("Check: %v, want Unavailable", err)
	}
	w, err := h.Watch(t.Context(), &healthpb.HealthCheckRequest{})
	if err != nil {
		t.Fatalf("Watch: %v, want a stream that says why", err)
	}
	if _, err := w.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("Watch: %v, want Unavailable", err)
	}
}

// uploads is a method with any number of requests whose handler sends no reply.
var uploads = grpc.ServiceDesc{ServiceName: "acme.Uploads", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{
	{StreamName: "None", ClientStreams: true, Handler: func(any, grpc.ServerStream) error { return nil }},
}}

func TestUploadWithoutAReply(t *testing.T) {
	net := sessiontest.New(t, sessiontest.Options{Quiet: true, Delay: time.Microsecond})
	server := rpc.NewServer(net.App("org/ns/uploads"), rpc.ServerOptions{})
	rpcgrpc.Registrar(server).RegisterService(&uploads, nil)
	go func() { _ = server.Serve(context.Background()) }()
	c := rpc.NewClient(net.App("org/ns/client"), session.MustName("org/ns/uploads"), rpc.CallOptions{Session: session.SessionOptions{Plain: true}})
	defer server.Stop()
	defer c.Close(context.Background())
	s, err := rpcgrpc.Conn(c).NewStream(t.Context(), &uploads.Streams[0], "/acme.Uploads/None")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.SendMsg(new(rpc.Raw)), s.CloseSend()); err != nil {
		t.Fatal(err)
	}
	if err := s.RecvMsg(new(rpc.Raw)); status.Code(err) != codes.Internal {
		t.Errorf("no reply: %v, want Internal", err)
	}
}
