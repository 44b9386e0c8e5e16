package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// Whatever is ordered, by whom and in whatever order, each command is acknowledged once, and what is kept of it is bounded, and forgotten with
// the next that orders nothing. Rules: P-ctl-6, P-ctl-7, P-ctl-8.
func FuzzDesk(f *testing.F) {
	for _, c := range []*controllerpb.ConfigurationCommand{
		{Reconcile: true, ConnectionsToCreate: []*controllerpb.Connection{wantLink("a", "http://x:1"), {LinkId: "b", ConfigData: "{"}}, RoutesToSet: []*controllerpb.Route{wantRoute("a", alice), {}}},
		{ConnectionsToCreate: []*controllerpb.Connection{{LinkId: "c", ConfigData: `{"endpoint": "http://x:2", "link_id": "d"}`}}, RoutesToSet: []*controllerpb.Route{wantRoute("d", alice)},
			RoutesToDelete: []*controllerpb.Route{wantRoute("a", alice), {}}, ConnectionsToDelete: []string{"a", "", "d"}},
	} {
		b, err := proto.Marshal(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, b, uint8(0))
		f.Add(b, []byte{}, uint8(5))
	}
	f.Fuzz(func(t *testing.T, first, second []byte, which uint8) {
		a := &Agent{log: slog.New(slog.DiscardHandler), ctx: context.Background(),
			opt: Options{Link: func(*Wanted) (router.Link, error) { return router.Link{}, errors.New("there is no network") }}}
		d := newDesk(a)
		a.desk = d
		s := newStream(a, tools, nil, a.log)
		one, other := &plane{}, &plane{}
		now := time.Now()
		for i, b := range [][]byte{first, second, first} {
			var c controllerpb.ConfigurationCommand
			if proto.Unmarshal(b, &c) != nil {
				return
			}
			origin := []any{one, other, tools}[which>>(2*i)%3]
			if p, ok := origin.(*plane); ok && which&64 != 0 {
				d.orderOf(p).registered(newOrder(), now)
			}
			s.slots <- struct{}{}
			d.command(origin, s, string(rune('1'+i)), &c)
			now = now.Add(time.Second)
			d.reconcile(now)
			for _, o := range d.orders {
				if len(o.links) > maxLinks {
					t.Errorf("%d links are kept", len(o.links))
				}
			}
		}
		d.reconcile(now.Add(2 * answerLimit))
		acks := map[string]int{}
		for len(s.out) > 0 {
			acks[(<-s.out).GetConfigCommandAck().GetOriginalMessageId()]++
		}
		if len(s.slots) > 0 || len(acks) != 3 || acks["1"] != 1 || acks["2"] != 1 || acks["3"] != 1 {
			t.Errorf("acknowledgements of three commands: %v; %d wait", acks, len(s.slots))
		}
		for _, origin := range []any{one, other, tools} { // each orders nothing more
			s.slots <- struct{}{}
			d.command(origin, s, "last", &controllerpb.ConfigurationCommand{Reconcile: true})
		}
		d.reconcile(now.Add(carryLimit + time.Minute))
		for origin, o := range d.orders {
			if origin != manual && len(o.links)+len(o.routes)+len(o.leftovers) > 0 {
				t.Errorf("kept of nothing: links %v, routes %v, left over %v", o.links, o.routes, o.leftovers)
			}
		}
	})
}

// sink is a channel that takes whatever is sent.
type sink struct{ sent atomic.Int32 }

func (s *sink) Context() context.Context { return context.Background() }
func (s *sink) SendMsg(any) error        { s.sent.Add(1); return nil }
func (s *sink) RecvMsg(any) error        { return errors.New("nothing comes") }

// A call whose last acknowledgement has gone out is over, also if that was faster than the end of the command at the desk.
func TestCallIsOverWithItsLastAcknowledgement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		to, begun := &sink{}, time.Now()
		s := newStream(&Agent{ctx: context.Background()}, tools, to, slog.New(slog.DiscardHandler))
		s.slots <- struct{}{}
		s.out <- message(&controllerpb.ControlMessage{})
		over := make(chan error, 1)
		go func() { over <- s.finish() }()
		synctest.Wait() // it was sent, and the slot is not free
		if to.sent.Load() != 1 || len(over) > 0 {
			t.Fatalf("%d messages sent", to.sent.Load())
		}
		s.free()
		if err := <-over; err != nil || time.Since(begun) > 0 {
			t.Errorf("the call ends with %v after %v", err, time.Since(begun))
		}
	})
}
