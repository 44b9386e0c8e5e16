package session

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/session/internal/workers"
)

// pair is a session of two, whose apps are alice and bob.
func (h *hub) pair(o SessionOptions) (alice, bob *App, a, b *Session) {
	h.t.Helper()
	alice, bob = h.app("alice"), h.app("bob")
	l := listen(h.t, bob)
	a, err := alice.Open(h.t.Context(), MustName("org/ns/bob"), o)
	if err != nil {
		h.t.Fatal(err)
	}
	return alice, bob, a, accept(h.t, l)
}

// A node that takes nothing for a while holds publishers back, and loses and reorders nothing, in unreliable sessions either.
func TestLinkWithoutRoom(t *testing.T) {
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				alice, _, a, b := h.pair(o)
				h.linkOf(alice).lets(100)
				texts := numbered("text", 1000)
				var all []*Delivery
				blocked, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				defer cancel()
				for _, text := range texts {
					d, err := a.Publish(blocked, Text(text))
					if err != nil {
						if !errors.Is(err, context.DeadlineExceeded) {
							t.Fatal(err)
						}
						break
					}
					all = append(all, d)
				}
				// A hundred have left; as many as may be wait for acknowledgements, or for room.
				if n := len(all); n != reliable.Window && n != reliable.Window+100 {
					t.Errorf("%d messages are under way", n)
				}
				h.linkOf(alice).lets(-1)
				for _, text := range texts[len(all):] {
					d, err := a.Publish(t.Context(), Text(text))
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, d)
				}
				receives(t, b, alice, texts...)
				for i, d := range all {
					if err := d.Wait(t.Context()); err != nil {
						t.Errorf("%s: %v", texts[i], err)
					}
				}
				if s := alice.Stats(); s.NoRoom+s.Down > 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// A connection that is lost and comes back loses nothing: what is reliable is repeated, the rest waits.
func TestLinkThatBreaks(t *testing.T) {
	t.Parallel()
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				alice, _, a, b := h.pair(o)
				publish(t, a, "before")
				l := h.linkOf(alice)
				l.breaks(true)
				var all []*Delivery
				texts := numbered("meanwhile", 100)
				for _, text := range texts {
					d, err := a.Publish(t.Context(), Text(text))
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, d)
				}
				time.Sleep(3 * time.Second)
				for _, d := range all {
					select {
					case <-d.Done():
						t.Error("delivered, without a connection")
					default:
					}
				}
				l.breaks(false)
				begin := time.Now()
				receives(t, b, alice, append([]string{"before"}, texts...)...)
				for i, d := range all {
					if err := d.Wait(t.Context()); err != nil {
						t.Errorf("%s: %v", texts[i], err)
					}
				}
				if d := time.Since(begin); d > 100*time.Millisecond {
					t.Errorf("it took %v", d)
				}
			})
		})
	}
}

// An app that does not take its messages loses none of a reliable session, and is not taken for dead; nor does it take its
// peer for dead, which has no reason to say that it is alive.
func TestAppThatTakesItsTime(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		alice, _, a, b := h.pair(SessionOptions{Interval: 5 * time.Second, Retries: 1000})
		texts := numbered("text", mostInbox+100)
		done := make(chan bool)
		go func() {
			defer close(done)
			publish(t, a, texts...)
		}()
		time.Sleep(time.Minute)
		if n := b.inbox.messages.Len(); n != mostInbox {
			t.Errorf("%d messages wait", n)
		}
		for _, s := range []*Session{a, b} {
			for _, p := range s.Participants() {
				if !p.Online {
					t.Errorf("%v takes %v for offline", s.Self(), p.Name)
				}
			}
		}
		receives(t, b, alice, texts...)
		<-done
	})
}

// What nobody repeats and has no room is told of.
func TestOverflowOfAnUnreliableSession(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob, a, b := h.pair(SessionOptions{Unreliable: true})
		texts := numbered("text", mostInbox+10)
		publish(t, a, texts...)
		time.Sleep(time.Second)
		receives(t, b, alice, texts[:mostInbox]...)
		lost := 0
		for lost < 10 {
			e, err := b.NextEvent(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if o, ok := e.(Overflow); ok {
				lost += o.Messages
			}
		}
		if s := bob.Stats(); s.Overflow != 10 {
			t.Errorf("%+v", s)
		}
	})
}

// What is too much of one session waits for nobody: it is dropped, counted, and comes again where it is repeated. Others are not held back.
func TestBacklogOfOneSession(t *testing.T) {
	t.Parallel()
	for _, o := range []SessionOptions{{Plain: true}, {Plain: true, Unreliable: true}} {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				alice, bob, a, b := h.pair(o)
				a2, err := alice.Open(t.Context(), bob.Name(), o)
				if err != nil {
					t.Fatal(err)
				}
				b2 := accept(t, bob.listener)
				m := message.Message{
					Source: MustName("org/ns/mallory").t, Dest: bob.self.Name, Fanout: 1, TTL: 8, Kind: message.PointToPoint, Type: message.Msg,
					Session: b.ID(), ID: 1,
					Blob: make([]byte, 1<<20),
				}
				big := m.Append(nil)
				release := bob.holdWorkers(2)
				for range 2 * mostBacklog >> 20 {
					h.linkOf(bob).queue <- arrival{time.Now(), big}
				}
				texts := numbered("text", 20)
				var all []*Delivery
				for _, s := range []*Session{a, a2} {
					for _, text := range texts {
						d, err := s.Publish(t.Context(), Text(text))
						if err != nil {
							t.Fatal(err)
						}
						all = append(all, d)
					}
				}
				time.Sleep(100 * time.Millisecond)
				if n := len(h.linkOf(bob).queue); n != 0 {
					t.Errorf("the reader waits with %d messages", n)
				}
				if n, all := b.backlog.bytes.Load(), bob.in.bytes.Load(); n < mostBacklog-2<<20 || n > mostBacklog || all > mostBacklog+1<<20 {
					t.Errorf("%d bytes of one session wait, %d in all", n, all)
				}
				behind := bob.Stats().Behind
				if behind < mostBacklog>>20 {
					t.Errorf("%d messages were dropped", behind)
				}
				release()
				receives(t, b2, alice, texts...)
				if o.Unreliable {
					sum := 0
					for e := range b.Events(t.Context()) {
						if e, ok := e.(Overflow); ok {
							if sum += e.Messages; sum >= int(behind) {
								break
							}
						}
					}
				} else {
					receives(t, b, alice, texts...)
					for _, d := range all {
						if err := d.Wait(t.Context()); err != nil {
							t.Error(err)
						}
					}
				}
				synctest.Wait()
				if own, all, small := b.backlog.bytes.Load(), bob.in.bytes.Load(), bob.in.small.Load(); own != 0 || all != 0 || small != 0 {
					t.Errorf("%d, %d, %d bytes are unread", own, all, small)
				}
			})
		})
	}
}

// holdWorkers keeps all of them from their work until the function it returns is called.
func (a *App) holdWorkers(n int) (release func()) {
	held := make(chan struct{})
	for range n {
		a.pool.Do(func() { <-held })
	}
	synctest.Wait()
	return func() { close(held) }
}

// Where very many sessions are behind, the reader waits, so that what comes stays where it is; and it goes on when they have caught up.
func TestReaderWaitsForManySessions(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		o := SessionOptions{Plain: true, Unreliable: true}
		alice, bob := h.app("alice"), h.app("bob")
		l := listen(t, bob)
		var from, to []*Session
		for range mostUnreadSmall/smallBacklog + 4 {
			s, err := alice.Open(t.Context(), bob.Name(), o)
			if err != nil {
				t.Fatal(err)
			}
			from, to = append(from, s), append(to, accept(t, l))
		}
		release := bob.holdWorkers(2)
		texts := []string{strings.Repeat("1", smallBacklog), "2"}
		for _, s := range from {
			publish(t, s, texts...)
		}
		time.Sleep(time.Second)
		if n := len(h.linkOf(bob).queue); n == 0 {
			t.Error("the reader does not wait")
		}
		if n := bob.in.small.Load(); n < mostUnreadSmall-smallBacklog || n > mostUnreadSmall {
			t.Errorf("%d bytes are unread", n)
		}
		release()
		for _, s := range to {
			receives(t, s, alice, texts...)
		}
		synctest.Wait()
		if all, small := bob.in.bytes.Load(), bob.in.small.Load(); all != 0 || small != 0 || bob.Stats().Behind != 0 {
			t.Errorf("%d, %d bytes are unread; %+v", all, small, bob.Stats())
		}
	})
}

// A worker that has as many messages before it as it can keeps the reader, and loses nothing.
func TestReaderWaitsForWorkers(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob, a, b := h.pair(SessionOptions{Plain: true, Unreliable: true})
		release := bob.holdWorkers(2)
		texts := numbered("text", workers.MostUnderWay+10)
		publish(t, a, texts...)
		time.Sleep(time.Second)
		if n := len(h.linkOf(bob).queue); n == 0 {
			t.Error("the reader does not wait")
		}
		release()
		receives(t, b, alice, texts[:mostInbox]...)
	})
}

// Who does not acknowledge is named, and goes offline; another message waits for it to come back.
func TestNotDelivered(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		_, bob, a, b := h.pair(SessionOptions{Interval: 100 * time.Millisecond, Retries: 5})
		h.mu.Lock()
		h.cut = func(_, _ *hubLink, m *message.Message) bool { return true }
		h.mu.Unlock()
		begin := time.Now()
		d, err := a.Publish(t.Context(), Text("lost"))
		if err != nil {
			t.Fatal(err)
		}
		var missing *NotDelivered
		err = d.Wait(t.Context())
		if !errors.Is(err, ErrNotDelivered) || !errors.As(err, &missing) || !slices.Equal(missing.Missing, []Name{bob.Name()}) {
			t.Errorf("delivered: %v", err)
		}
		if d := time.Since(begin); d != 600*time.Millisecond {
			t.Errorf("after %v", d)
		}
		for {
			e, err := a.NextEvent(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if p, ok := e.(Presence); ok {
				if p != (Presence{bob.Name(), false}) {
					t.Errorf("event %+v", p)
				}
				break
			}
		}
		d, err = a.Publish(t.Context(), Text("waits"))
		if err != nil {
			t.Fatal(err)
		}
		h.mu.Lock()
		h.cut = nil
		h.mu.Unlock()
		if err := d.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		m, err := b.Receive(t.Context())
		if err != nil || string(m.Data) != "lost" && string(m.Data) != "waits" {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

// What waits for Receive counts with all that came with it: messages without data have metadata, and a type. A session with a store,
// as bob's, and one without.
func TestInboxCountsMetadata(t *testing.T) {
	t.Parallel()
	for i, name := range []string{"bob", "carol"} {
		for k, o := range []SessionOptions{{}, {Plain: true}, {Plain: true, Unreliable: true}} {
			if !long && i != k%2 { // either name, and each kind of session with one of them
				continue
			}
			t.Run(name+" "+o.name(), func(t *testing.T) {
				bubble(t, func(t *testing.T, h *hub) {
					alice, bob := h.app("alice"), h.app(name)
					l := listen(t, bob)
					a, err := alice.Open(t.Context(), bob.Name(), o)
					if err != nil {
						t.Fatal(err)
					}
					b := accept(t, l)
					big := strings.Repeat("m", 1<<20)
					short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
					defer cancel()
					for i := range 20 {
						c := Content{Metadata: map[string]string{"key": big}}
						if i%2 == 0 {
							c = Content{Type: big}
						}
						if _, err := a.Publish(short, c); err != nil {
							break
						}
					}
					synctest.Wait()
					time.Sleep(time.Second)
					b.mu.Lock()
					n := b.inbox.messages.Len()
					b.mu.Unlock()
					if n == 0 || n > mostInboxBytes>>20 {
						t.Errorf("%d messages of a megabyte wait", n)
					}
					if bob.Stats().Overflow == 0 {
						t.Errorf("nothing was refused")
					}
					ended, end := context.WithCancel(t.Context())
					end()
					_ = a.Close(ended)
					_ = b.Close(ended)
				})
			})
		}
	}
}
