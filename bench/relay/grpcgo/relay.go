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
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
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

// stream serves one stream, of either use.
func (r *relay) stream(_ any, s grpc.ServerStream) error {
	if err := s.SendHeader(nil); err != nil {
		return err
	}
	for {
		var req mem.BufferSlice
		if err := s.RecvMsg(&req); err != nil {
			return nil // it has nothing more to ask for
		}
		verb, name, _ := strings.Cut(string(req.Materialize()), " ")
		t := r.topic(name)
		switch verb {
		case client.Join:
			m := t.join(s)
			defer t.leave(m)
			m.send(&req)
		case client.Feed, client.FeedAll:
			if err := s.SendMsg(&req); err != nil {
				return err
			}
			req.Free()
			return t.feed(s, verb == client.FeedAll)
		default:
			return status.Errorf(codes.InvalidArgument, "a relay's stream begins with %s, %s or %s and a name", client.Join, client.Feed, client.FeedAll)
		}
		req.Free()
	}
}

func (t *topic) join(s grpc.ServerStream) *member {
	m := &member{stream: s}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.joined = append(t.joined, m)
	return m
}

func (t *topic) leave(m *member) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.joined = slices.DeleteFunc(t.joined, func(o *member) bool { return o == m })
}

// send sends msg. A receiver that has gone gets nothing.
func (m *member) send(msg *mem.BufferSlice) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_ = m.stream.SendMsg(msg)
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

// pass sends msg to one or all.
func (t *topic) pass(msg *mem.BufferSlice, all bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	to := t.joined
	if !all && len(to) > 1 {
		t.turn = (t.turn + 1) % len(to)
		to = to[t.turn : t.turn+1]
	}
	for _, m := range to {
		m.send(msg)
	}
}
