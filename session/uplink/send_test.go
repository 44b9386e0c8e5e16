package uplink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/link"
	"github.com/seed31b3bfd0/slimgo/wire/pb"
)

// What arrives is what was sent, but for what belongs to the hop; the fake node checks each MAC.
func TestSentMessagesArriveSigned(t *testing.T) {
	for _, c := range []struct {
		name string
		kind Kind
		tag  bool
	}{{"edge", Edge, true}, {"remote", Remote, true}, {"peer", Peer, false}} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, &fake{}, func(t *testing.T, f *fake) {
				con, p := f.dial(Options{Kind: c.kind})
				forward := uint64(7)
				body := &pb.Content_AppPayload{AppPayload: &pb.ApplicationPayload{Blob: []byte("hello")}}
				sent := &pb.Message{Metadata: map[string]string{"k": "v"},
					MessageType: &pb.Message_Publish{Publish: &pb.Publish{
						Header:  &pb.SLIMHeader{Source: name(alice), Destination: name(bob), Fanout: 1, Version: "x", Ttl: 8},
						Session: &pb.SessionHeader{SessionId: 3}, Msg: &pb.Content{ContentType: body}}}}
				for i := range 3 { // the names are known from the first on
					h := sent.GetPublish().Header
					h.Identity = fmt.Sprint("id", i)
					if c.tag { // leaves: others of its own come in their place
						h.HeaderMac, h.ForwardTo = []byte("stale"), &forward
					}
					b, err := proto.Marshal(sent)
					if err != nil {
						t.Fatal(err)
					}
					if err := con.Send(t.Context(), b); err != nil {
						t.Fatal(err)
					}
					got := p.messages()
					if len(got) != i+1 {
						t.Fatalf("%d messages, want %d", len(got), i+1)
					}
					var m pb.Message
					if err := proto.Unmarshal(got[i], &m); err != nil {
						t.Fatal(err)
					}
					if n := len(m.GetPublish().Header.HeaderMac); (n == wire.MACSize) != c.tag {
						t.Errorf("a MAC of %d bytes", n)
					}
					h.HeaderMac, h.ForwardTo, m.GetPublish().Header.HeaderMac = nil, nil, nil
					if !proto.Equal(&m, sent) {
						t.Errorf("sent %v\ngot %v", sent, &m)
					}
				}
			})
		})
	}
}

func name(t wire.NameText) *pb.Name {
	return &pb.Name{
		Name: &pb.EncodedName{Component_0: t.Name.C[0], Component_1: t.Name.C[1], Component_2: t.Name.C[2],
			NameId: &pb.NameId{Id_0: t.Name.Hi, Id_1: t.Name.Lo}},
		StrName: &pb.StringName{StrComponent_0: t.Str[0], StrComponent_1: t.Str[1], StrComponent_2: t.Str[2]},
	}
}

func TestTwoInOneAreSentAsTheLast(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{})
		if err := c.Send(t.Context(), append(publication(1, 50), publication(2, 60)...)); err != nil {
			t.Fatal(err)
		}
		if got := p.messages(); len(got) != 1 || number(got[0], 60) != 2 {
			t.Errorf("got %x", got)
		}
	})
}

func TestPublishIsSend(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{})
		h := header(bob)
		h.MAC = []byte("not used")
		err := c.Publish(t.Context(), h, testSession, content(1, 100))
		if err = errors.Join(err, c.Send(t.Context(), publication(1, 100))); err != nil {
			t.Fatal(err)
		}
		got := p.messages()
		if len(got) != 2 || string(got[0]) != string(got[1]) {
			t.Errorf("%d messages: %x", len(got), got)
		}
	})
}

// A batch leaves as it is: its maker has signed it.
func TestBatchesLeaveAsTheyAre(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{})
		own := signer{hasher: hasher{mac: c.NewMAC(), linkID: c.Link().ID}}
		defer own.close()
		var batch []byte
		for i := range 100 {
			head, tail, err := own.sign(publication(i, 50))
			if err != nil {
				t.Fatal(err)
			}
			batch = append(append(batch, head...), tail...)
		}
		if err := c.Write(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		for i, msg := range p.messages() {
			if number(msg, 50) != i {
				t.Errorf("message %d is %d", i, number(msg, 50))
			}
		}
		if n := len(p.messages()); n != 100 {
			t.Errorf("%d messages", n)
		}
	})
}

func TestWhatCannotBeSentIsRefused(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{})
		most := MaxMessage - (len(publication(1, 3<<20)) - 3<<20)
		_, publishRequest := c.Request(t.Context(), wire.KindPublish, header(bob), 1)
		for name, err := range map[string]error{
			"no message":         c.Send(t.Context(), []byte{0xff}),
			"an acknowledgement": c.Send(t.Context(), wire.AppendAck(nil, 1, true, "")),
			"a link":             c.Send(t.Context(), wire.AppendLink(nil, &wire.LinkNegotiation{LinkID: "x"})),
			"no header":          c.Send(t.Context(), []byte{0x1a, 0}),
			"half a batch":       c.Write(t.Context(), AppendFrame(nil, publication(1, 50))[:20]),
			"a compressed batch": c.Write(t.Context(), []byte{1, 0, 0, 0, 0}),
			"too large":          c.Send(t.Context(), publication(1, most+1)),
			"too large with MAC": c.Send(t.Context(), publication(1, most)),
			"too large a part":   c.Publish(t.Context(), header(bob), testSession, content(1, MaxMessage)),
			"too large a batch":  c.Write(t.Context(), []byte{0, 0x7f, 0, 0, 0}),
			"a publish to ask":   publishRequest,
		} {
			if err == nil {
				t.Errorf("%s: sent", name)
			}
			if large := len(name) > 3 && name[:3] == "too"; large != errors.Is(err, ErrTooLarge) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got := p.messages(); len(got) != 0 || c.Err() != nil {
			t.Errorf("%d messages arrived; %v", len(got), c.Err())
		}
	})
}

// A node that takes nothing: the queue fills up to its bound, and then senders wait, or are told, until there is
// room.
func TestPressureHoldsSenders(t *testing.T) {
	bubble(t, &fake{hold: true, window: 10_000}, func(t *testing.T, f *fake) {
		const size = 1000
		c, p := f.dial(Options{Queue: 20_000})
		accepted := 0
		for c.TrySend(publication(accepted, size)) == nil {
			if accepted++; accepted > 1000 {
				t.Fatal("no bound")
			}
			settle()
		}
		if err := c.TrySend(publication(0, size)); !errors.Is(err, ErrFull) {
			t.Fatalf("got %v", err)
		}
		// 10,000 bytes are with the node, 20,000 in the queue, and the message that was still accepted.
		if bytes := accepted * size; bytes < 20_000 || bytes > 31_000+size {
			t.Errorf("%d messages of %d bytes are accepted by a queue of 20,000 and a window of 10,000", accepted, size)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := c.Send(ctx, publication(0, size)); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if w := c.Waited(); w != time.Minute {
			t.Errorf("waited %v", w)
		}
		var sent error
		var done sync.WaitGroup
		done.Go(func() { sent = c.Send(t.Context(), publication(accepted, size)) })
		settle()
		p.do(func() { // it takes all that it has
			p.f.hold = false
			for _, m := range p.got {
				p.h2.Hold(p.stream, -len(m)-prefixLen)
			}
		})
		done.Wait()
		if sent != nil {
			t.Error(sent)
		}
		for i, msg := range p.messages() {
			if number(msg, size) != i {
				t.Fatalf("message %d is %d", i, number(msg, size))
			}
		}
		if n := len(p.messages()); n != accepted+1 {
			t.Errorf("%d messages of %d", n, accepted+1)
		}
	})
}

// Await waits until there is room and no more than so much is to be written, and ends with the connection.
func TestAwaitUntilMessagesHaveLeft(t *testing.T) {
	bubble(t, &fake{hold: true, window: 10_000}, func(t *testing.T, f *fake) {
		const size = 1000
		c, p := f.dial(Options{Queue: 20_000})
		if err := c.Await(t.Context(), 0); err != nil {
			t.Errorf("nothing is under way: %v", err)
		}
		for c.TrySend(publication(0, size)) == nil {
			settle()
		}
		waits := func(most int) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			return c.Await(ctx, most)
		}
		for _, most := range []int{0, 10_000, 1 << 20} { // it has no room, either
			if err := waits(most); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("no more than %d, where 20,000 wait: %v", most, err)
			}
		}
		take := func(n int) {
			p.do(func() { p.h2.Hold(p.stream, -n*(len(p.got[0])+prefixLen)) })
			settle()
		}
		take(5)
		if err, more := waits(20_000), waits(10_000); err != nil || !errors.Is(more, context.DeadlineExceeded) {
			t.Errorf("5 of 20 have left: %v, %v", err, more)
		}
		take(4)
		done := make(chan error, 1)
		go func() { done <- c.Await(t.Context(), 0) }()
		settle()
		c.Abort()
		if err := <-done; !errors.Is(err, ErrClosed) {
			t.Errorf("the connection has ended: %v", err)
		}
	})
}

// Messages of many senders come whole, and those of each in order, though they are larger than the window.
func TestSendersShareAConnection(t *testing.T) {
	bubble(t, &fake{window: 3000}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{Queue: 1000})
		const senders, each, size = 8, 20, 5000
		var done sync.WaitGroup
		for s := range senders {
			done.Go(func() {
				for i := range each {
					var err error
					if s%2 == 0 {
						err = c.Publish(t.Context(), header(bob), testSession, content(s<<16|i, size))
					} else {
						err = c.WriteThrough(t.Context(), signedBatch(t, c, s<<16|i, s<<16|i+1, size))
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		done.Wait()
		var next [senders]int
		for _, msg := range p.messages() {
			n := number(msg, size)
			if s, i := n>>16, n&0xffff; i != next[s] {
				t.Errorf("message %d of sender %d, want %d", i, s, next[s])
			}
			next[n>>16]++
		}
		if n := len(p.messages()); n != senders*each {
			t.Errorf("%d messages of %d", n, senders*each)
		}
	})
}

func TestNamesAreConfirmedByTheNode(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{})
		id, err := c.Subscribe(t.Context(), header(bob))
		if err != nil || id == 0 {
			t.Fatalf("%d, %v", id, err)
		}
		if err := c.Unsubscribe(t.Context(), header(bob), id); err != nil {
			t.Fatal(err)
		}
		for i, want := range []wire.Kind{wire.KindSubscribe, wire.KindUnsubscribe} {
			var m wire.Message
			if err := wire.Scan(p.messages()[i], &m); err != nil || m.Kind != want || m.SubID != id {
				t.Errorf("message %d: %v of %d, want %v of %d; %v", i, m.Kind, m.SubID, want, id, err)
			}
		}
		other, err := c.Subscribe(t.Context(), header(alice))
		if err != nil || other == id {
			t.Errorf("the next subscription: %d, %v", other, err)
		}
	})
}

func TestAnswersFindTheirRequests(t *testing.T) {
	var asked []uint64
	f := &fake{message: func(_ *peer, _ []byte, m *wire.Message) { asked = append(asked, m.SubID) }}
	bubble(t, f, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{})
		var all []*Request
		for range 100 {
			r, err := c.Request(t.Context(), wire.KindSubscribe, header(bob), 0)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
		}
		if _, err := c.Request(t.Context(), wire.KindUnsubscribe, header(bob), all[0].ID); !errors.Is(err, errAsked) {
			t.Errorf("asked again: %v", err)
		}
		settle()
		p.do(func() {
			for i := len(asked) - 1; i >= 0; i-- { // the other way round; every tenth is refused
				p.frame(wire.AppendAck(nil, asked[i], i%10 != 0, "no more names"))
			}
			p.frame(wire.AppendAck(nil, 4711, true, ""))
		})
		for i, r := range all {
			var refused *NameError
			switch err := r.Wait(t.Context()); {
			case i%10 != 0 && err != nil:
				t.Errorf("request %d: %v", i, err)
			case i%10 == 0 && (!errors.As(err, &refused) || refused.ID != r.ID || refused.Reason != "no more names"):
				t.Errorf("request %d: %v", i, err)
			}
		}
		settle()
		if s := c.Stats(); s.Ignored != 1 {
			t.Errorf("answers that nobody waited for: %d", s.Ignored)
		}
	})
}

// Who writes requests himself hears the answers; those to a Request are its own.
func TestAnswersToWhatWasWritten(t *testing.T) {
	f := &fake{message: func(p *peer, _ []byte, m *wire.Message) {
		p.frame(wire.AppendAck(nil, m.SubID, m.SubID%2 == 0, "odd"))
	}}
	bubble(t, f, func(t *testing.T, f *fake) {
		var got []string
		c, _ := f.dial(Options{Answer: func(id uint64, ok bool, reason string) { got = append(got, fmt.Sprintln(id, ok, reason)) }})
		own := signer{hasher: hasher{mac: c.NewMAC(), linkID: c.Link().ID}}
		defer own.close()
		var batch []byte
		for id := range uint64(3) {
			head, tail, err := own.sign(wire.AppendSubscribe(nil, header(bob), id+10))
			if err != nil {
				t.Fatal(err)
			}
			batch = append(append(batch, head...), tail...)
		}
		if err := c.WriteThrough(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Request(t.Context(), wire.KindSubscribe, header(bob), 20); err != nil {
			t.Fatal(err)
		}
		settle()
		if want := []string{"10 true \n", "11 false odd\n", "12 true \n"}; !slices.Equal(got, want) || c.Stats().Ignored != 0 {
			t.Errorf("got %q, want %q; %d ignored", got, want, c.Stats().Ignored)
		}
	})
}

// A request that nobody waits for any more may be made again; one that the end of the connection meets is answered by
// it.
func TestRequestsEnd(t *testing.T) {
	bubble(t, &fake{message: func(*peer, []byte, *wire.Message) {}}, func(t *testing.T, f *fake) {
		c, _ := f.dial(Options{})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r, err := c.Request(t.Context(), wire.KindSubscribe, header(bob), 9)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if r, err = c.Request(t.Context(), wire.KindSubscribe, header(bob), 9); err != nil {
			t.Fatal(err)
		}
		c.Abort()
		if err := r.Wait(t.Context()); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
		if _, err := c.Subscribe(t.Context(), header(bob)); !errors.Is(err, ErrClosed) {
			t.Errorf("got %v", err)
		}
	})
	bubble(t, &fake{hold: true, window: 2000}, func(t *testing.T, f *fake) {
		c, _ := f.dial(Options{Queue: 1000})
		for c.TrySend(publication(0, 500)) == nil {
			settle()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Request(ctx, wire.KindSubscribe, header(bob), 9); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if len(c.requests.waiting) != 0 {
			t.Error("a request that was not sent waits for its answer")
		}
	})
}

// Close comes between a sender's admission and its message: that is not accepted.
func TestCloseOvertakesASender(t *testing.T) {
	bubble(t, &fake{}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{})
		if err := errors.Join(c.admitted(t.Context(), true), c.Close(t.Context())); err != nil {
			t.Fatal(err)
		}
		if err := c.signed(publication(1, 50)); !errors.Is(err, ErrClosed) || len(p.messages()) != 0 {
			t.Errorf("got %v, and %d messages", err, len(p.messages()))
		}
	})
}

// Without a key nothing is signed, and where that is allowed it is sent.
func TestUnsignedLinksSendUnsigned(t *testing.T) {
	bubble(t, &fake{reply: withoutKey, link: link.Config{}}, func(t *testing.T, f *fake) {
		c, p := f.dial(Options{AllowUnsigned: true})
		p.do(func() { p.in, p.out = nil, nil })
		if err := c.Send(t.Context(), publication(1, 50)); err != nil {
			t.Fatal(err)
		}
		if got := p.messages(); len(got) != 1 || string(got[0]) != string(publication(1, 50)) {
			t.Errorf("got %x", got)
		}
	})
}

// A queue that is full holds neither the reader nor its callback.
func TestTrySendFromTheCallback(t *testing.T) {
	var c *Conn
	answered, full := 0, 0
	o := Options{Queue: 500, Handle: func(msgs [][]byte) {
		for range msgs {
			if c.TrySend(publication(0, 100)) == nil {
				answered++
			} else {
				full++
			}
		}
	}}
	bubble(t, &fake{hold: true, window: 2000}, func(t *testing.T, f *fake) {
		var p *peer
		c, p = f.dial(o)
		for i := range 50 {
			p.send(publication(i, 100))
		}
		settle()
		if answered == 0 || full == 0 || answered+full != 50 {
			t.Errorf("%d answered, %d times full", answered, full)
		}
		synctest.Wait()
	})
}
