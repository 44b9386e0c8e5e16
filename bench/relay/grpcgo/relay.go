// Package grpcgo is the relay of bench/relay as one would write it with grpc-go: a goroutine for each stream, one Recv and one
// Send for each delivery, no look into the message. It shows what "just use grpc-go" costs for the same frames; an
// echo on one stream would do the same two calls.
package grpcgo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/seed31b3bfd0/slimgo/bench/client"
)

const maxMessage = 4<<20 + 64<<10

// Serve relays on l until ctx ends.
func Serve(ctx context.Context, l net.Listener) error {
	r := &relay{topics: map[string]*topic{}}
	s := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(r.stream),
		grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(16<<20), grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage))
	stop := context.AfterFunc(ctx, s.Stop)
	defer stop()
	if err := s.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("grpc-go relay: %w", err)
	}
	return nil
}

// raw hands messages through as they are.
type raw struct{}

var _ encoding.CodecV2 = raw{}

func (raw) Name() string { return "proto" }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*mem.BufferSlice)
	if !ok {
		return nil, fmt.Errorf("raw codec: %T", v)
	}
	b.Ref()
	return *b, nil
}

func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*mem.BufferSlice)
	if !ok {
		return fmt.Errorf("raw codec: %T", v)
	}
	data.Ref()
	*b = data
	return nil
}

type relay struct {
	mu     sync.Mutex
	topics map[string]*topic
}

// topic holds those who joined one name. Feeds take the read lock with each message.
type topic struct {
	mu     sync.RWMutex
	joined []*member
	turn   int // guarded by the lock of a feed alone: one feed for each name that is not for all
}

// member serialises the sends of several feeds to one stream.
type member struct {
	mu     sync.Mutex
	stream grpc.ServerStream
}

func (r *relay) topic(name string) *topic {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.topics[name]
	if t == nil {
		t = new(topic)
		r.topics[name] = t
	}
	return t
}

func first(md metadata.MD, key string) string {
	if v := md.Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// stream serves one stream, of either use.
func (r *relay) stream(_ any, s grpc.ServerStream) error {
	md, _ := metadata.FromIncomingContext(s.Context())
	if err := s.SendHeader(nil); err != nil {
		return err
	}
	if name := first(md, client.JoinField); name != "" {
		return r.topic(name).join(s)
	}
	name := first(md, client.FeedField)
	if name == "" {
		return status.Errorf(codes.InvalidArgument, "a relay's stream names %s or %s", client.JoinField, client.FeedField)
	}
	return r.topic(name).feed(s, first(md, client.AllField) == "1")
}

func (t *topic) join(s grpc.ServerStream) error {
	m := &member{stream: s}
	t.mu.Lock()
	t.joined = append(t.joined, m)
	t.mu.Unlock()
	<-s.Context().Done()
	t.mu.Lock()
	t.joined = slices.DeleteFunc(t.joined, func(o *member) bool { return o == m })
	t.mu.Unlock()
	return nil
}

func (t *topic) feed(s grpc.ServerStream, all bool) error {
	for {
		var msg mem.BufferSlice
		if err := s.RecvMsg(&msg); err != nil {
			return nil //nolint:nilerr // however a feed ends, the relay has done its part
		}
		t.pass(&msg, all)
		msg.Free()
	}
}

// pass sends msg to one or all. A receiver that has gone gets nothing.
func (t *topic) pass(msg *mem.BufferSlice, all bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	to := t.joined
	if !all && len(to) > 1 {
		t.turn = (t.turn + 1) % len(to)
		to = to[t.turn : t.turn+1]
	}
	for _, m := range to {
		m.mu.Lock()
		_ = m.stream.SendMsg(msg)
		m.mu.Unlock()
	}
}
