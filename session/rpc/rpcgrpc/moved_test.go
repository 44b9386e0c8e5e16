package rpcgrpc_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

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

// group serves moved as org/ns/moved, and returns a client of these members. It is called in a bubble: who is absent is
// waited for.
func group(t *testing.T, members ...string) healthpb.HealthClient {
	t.Helper()
	net := sessiontest.New(t, sessiontest.Options{Quiet: true, Delay: time.Microsecond})
	server := rpc.NewServer(net.App("org/ns/moved"), rpc.ServerOptions{})
	healthpb.RegisterHealthServer(rpcgrpc.Registrar(server), moved{})
	go func() { _ = server.Serve(context.Background()) }()
	synctest.Wait()
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
	synctest.Test(t, func(t *testing.T) {
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
	})
}

func TestTheFirstAnswerOfAGroupCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		if _, err := group(t, "org/ns/absent", "org/ns/moved").Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
			t.Errorf("one of two is there: %v", err)
		}
	})
}

// Stubs of gRPC take an io.EOF of SendMsg for the error of a method with one request.
func TestStreamOfAGroupWithoutAnyone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
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
	})
}

// shapes are methods that count their requests: None sends no reply, Count the number, and Early a reply before them; over gets why these
// have ended, and begun that the reply is said.
func shapes(begun chan<- struct{}, over chan<- error) *grpc.ServiceDesc {
	count := func(s grpc.ServerStream) (n int, err error) {
		for {
			if err := s.RecvMsg(new(rpc.Raw)); err != nil {
				return n, err
			}
			n++
		}
	}
	one := func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		req := new(rpc.Raw)
		return req, decode(req)
	}
	return &grpc.ServiceDesc{ServiceName: "acme.Shapes", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Echo", Handler: one}},
		Streams: []grpc.StreamDesc{
			{StreamName: "None", ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
				_, _ = count(s)
				return nil
			}},
			{StreamName: "Count", ClientStreams: true, ServerStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
				n, _ := count(s)
				text := rpc.Raw(strconv.Itoa(n))
				return s.SendMsg(&text)
			}},
			{StreamName: "Early", ClientStreams: true, Handler: func(_ any, s grpc.ServerStream) error {
				_ = s.SendMsg(new(rpc.Raw))
				begun <- struct{}{}
				_, err := count(s)
				over <- err
				return nil
			}},
		}}
}

func TestShapes(t *testing.T) {
	nw := sessiontest.New(t, sessiontest.Options{Quiet: true, Delay: time.Microsecond})
	server := rpc.NewServer(nw.App("org/ns/shapes"), rpc.ServerOptions{})
	begun, over := make(chan struct{}, 1), make(chan error, 1)
	d := shapes(begun, over)
	rpcgrpc.Registrar(server).RegisterService(d, nil)
	for _, m := range server.Methods() {
		if m.Service != "acme.Shapes" || m.ClientStreams != (m.Name != "Echo") || m.ServerStreams != (m.Name == "Count") {
			t.Errorf("%+v is not as it was described", m)
		}
	}
	go func() { _ = server.Serve(context.Background()) }()
	c := rpc.NewClient(nw.App("org/ns/client"), session.MustName("org/ns/shapes"), rpc.CallOptions{Session: session.SessionOptions{Plain: true}})
	l := bufconn.Listen(1 << 16)
	gateway := grpc.NewServer(rpcgrpc.Gateway(c)...)
	go func() { _ = gateway.Serve(l) }()
	outside, err := grpc.NewClient("passthrough:///gateway", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return l.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(bytesCodec{})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = outside.Close()
		gateway.Stop()
		_ = c.Close(context.Background())
		server.Stop()
	})
	for name, conn := range map[string]grpc.ClientConnInterface{"a stub": rpcgrpc.Conn(c), "by the gateway": outside} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		open := func(i, requests int) grpc.ClientStream {
			t.Helper()
			s, err := conn.NewStream(ctx, &d.Streams[i], "/acme.Shapes/"+d.Streams[i].StreamName)
			if err != nil {
				t.Fatal(name, err)
			}
			for range requests {
				if err := s.SendMsg(new(rpc.Raw)); err != nil {
					t.Fatal(name, err)
				}
			}
			return s
		}
		none := open(0, 1)
		if err := none.CloseSend(); err != nil {
			t.Error(name, err)
		}
		if err := none.RecvMsg(new(rpc.Raw)); status.Code(err) != codes.Internal {
			t.Errorf("%s, no reply: %v, want Internal", name, err)
		}
		for _, requests := range []int{0, 3} {
			s, n := open(1, requests), new(rpc.Raw)
			if err := errors.Join(s.CloseSend(), s.RecvMsg(n)); err != nil || string(*n) != strconv.Itoa(requests) {
				t.Errorf("%s, %d requests: %q, %v", name, requests, *n, err)
			}
			if err := s.RecvMsg(n); err != io.EOF {
				t.Errorf("%s, after the end: %v", name, err)
			}
			if err := s.SendMsg(n); requests == 0 && name == "a stub" && err == nil {
				t.Errorf("%s: a request after the end", name)
			}
		}
		if name == "a stub" { // gRPC's own waits for the end after the one reply
			if err := open(2, 1).RecvMsg(new(rpc.Raw)); err != nil {
				t.Error(name, err)
			}
			<-begun
			if err := <-over; err != io.EOF {
				t.Errorf("%s: requests after the one reply end by %v, want io.EOF", name, err)
			}
		}
		waiting, giveUp := context.WithCancel(ctx)
		if s, err := conn.NewStream(waiting, &d.Streams[2], "/acme.Shapes/Early"); err != nil || s.SendMsg(new(rpc.Raw)) != nil {
			t.Fatal(name, err)
		}
		<-begun
		giveUp()
		if err := <-over; status.Code(err) != codes.Canceled {
			t.Errorf("%s: requests of a call that is given up end by %v, want Canceled", name, err)
		}
		cancel()
	}
	// Callers of other languages may send the end of no requests to a unary method.
	s, err := c.NewStream(t.Context(), rpc.Method{Service: "acme.Shapes", Name: "Echo"})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.CloseSend(), s.Receive(new(rpc.Raw))); err != nil {
		t.Errorf("no request: %v", err)
	}
}

// bytesCodec leaves messages as they are.
type bytesCodec struct{ rpc.Proto }

func (bytesCodec) Name() string { return "proto" }
