package router

import (
	"bytes"
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// rawCodec passes bytes through grpc-go.
type rawCodec struct{}

func (rawCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (rawCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = bytes.Clone(data); return nil }
func (rawCodec) Name() string                       { return "raw" }

// A gRPC client has one socket and waits without a word for a stream that the node does not allow it yet. All streams
// of a socket may be reset at once and cost those that remain nothing. Rules: P-lim-16.
func TestDefaultClientHasHundredsOfStreams(t *testing.T) {
	n := start(t, Options{AllowUnsigned: true})
	cc, err := grpc.NewClient(n.Addrs()[0].String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(rawCodec{})))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	link, err := proto.Marshal(&pb.Message{MessageType: &pb.Message_Link{Link: &pb.Link{LinkType: &pb.Link_LinkNegotiation{
		LinkNegotiation: &pb.LinkNegotiationPayload{LinkId: "l", SlimVersion: "3.4.6", ConnectionType: pb.LinkConnectionType_LINK_CONNECTION_TYPE_EDGE},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	guard, cancelAll := context.WithTimeout(t.Context(), hang)
	defer cancelAll()
	exchange := func(s grpc.ClientStream, msg []byte) {
		t.Helper()
		var got []byte
		if err := s.SendMsg(&msg); err != nil {
			t.Fatal(err)
		}
		if err := s.RecvMsg(&got); err != nil {
			t.Fatal(err)
		}
	}
	const count = 256
	var first grpc.ClientStream
	rest, cancelRest := context.WithCancel(guard)
	defer cancelRest()
	for i := range count {
		ctx := rest
		if i == 0 {
			ctx = guard
		}
		s, err := cc.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, openChannelPath)
		if err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		exchange(s, link)
		if i == 0 {
			first = s
		}
	}
	until(t, "all are connections", func() bool { return n.Stats().Connections == count })
	cancelRest()
	until(t, "all but one have ended", func() bool { return n.Stats().Connections == 1 })
	exchange(first, wire.AppendSubscribe(nil, header(bob, bob, 1, ""), 1))
	if s := n.Stats(); s.Sockets != 1 || s.Connections != 1 {
		t.Errorf("%d sockets and %d connections are left, want one of each", s.Sockets, s.Connections)
	}
}
