package session

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// recorder has what goes by as a node sees it.
type recorder struct {
	mu   sync.Mutex
	last map[message.Type][]byte // guarded by mu: what one app has sent
}

func (h *hub) records(from *App) *recorder {
	r, link := &recorder{last: map[message.Type][]byte{}}, h.linkOf(from)
	h.cuts(func(from, _ *hubLink, m *message.Message) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if from == link {
			r.last[m.Type] = m.Append(nil)
		}
		return false
	})
	return r
}

func (r *recorder) of(t message.Type) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last[t]
}

// inject has a message come to an app, by nobody.
func (h *hub) inject(to *App, b []byte) {
	h.linkOf(to).queue <- arrival{time.Now(), b}
	time.Sleep(20 * time.Millisecond) // within a time in which nobody says anything
}

// What a member has said to leave does not count again when it has come back: it was heard once.
func TestLeaveIsNotSaidAgain(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprint("plain ", plain), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				apps, members := h.group(SessionOptions{Plain: plain}, "alice", "bob", "carol")
				r := h.records(apps[1])
				if err := members[1].Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(15 * time.Second)
				if err := members[0].Invite(t.Context(), apps[1].Name()); err != nil {
					t.Fatal(err)
				}
				members[1] = accept(t, apps[1].listener)
				h.inject(apps[0], r.of(message.LeaveRequest))
				if n := len(members[0].Participants()); n != 3 {
					t.Fatalf("%d members", n)
				}
				everybodyTalks(t, apps, members)
			})
		})
	}
}

// Those who are no members say what they like, and as many of them as like to, and nothing of members is forgotten for them.
func TestForeignersDoNotMakeMembersForgotten(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		apps, members := h.group(SessionOptions{}, "alice", "bob")
		r := h.records(apps[1])
		if err := members[1].Suspend(t.Context()); err != nil {
			t.Fatal(err)
		}
		suspended := r.of(message.UpdateState)
		if err := members[1].Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 101 {
			h.inject(apps[0], foreign(t, i, apps[0], members[0].ID()))
		}
		h.inject(apps[0], suspended)
		for _, p := range members[0].Participants() {
			if !p.Online {
				t.Fatalf("%v is taken for offline", p.Name)
			}
		}
		everybodyTalks(t, apps, members)
	})
}

// foreign is the heartbeat of somebody who knows the secret, and is no member.
func foreign(t *testing.T, i int, to *App, id uint32) []byte {
	t.Helper()
	m := message.Message{Dest: to.Name().t, Kind: message.Group, Type: message.Heartbeat, Session: id, Command: &message.Beat{Epoch: 1}}
	return newStranger(t, fmt.Sprint("foreign", i)).says(m)
}

// Messages of an epoch to come, which nobody can verify, are held by a bound of bytes, and not for ever.
func TestMessagesOfEpochsToCome(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		apps, members := h.group(SessionOptions{}, "alice", "bob")
		r := h.records(apps[0])
		publish(t, members[0], "text")
		m, err := message.Decode(r.of(message.Msg))
		if err != nil {
			t.Fatal(err)
		}
		forged := ofNextEpoch(m, 3<<20)
		m = &forged
		sends := func(n int) (refused uint64) {
			before := apps[1].Stats().Refused
			for range n {
				m.ID++
				h.inject(apps[1], m.Append(nil))
			}
			return apps[1].Stats().Refused - before
		}
		if n := sends(20); n != 18 {
			t.Errorf("of 20 messages of three megabytes %d were refused", n)
		}
		time.Sleep(time.Minute)
		if n := sends(3); n != 1 {
			t.Errorf("a minute later %d of 3 were refused", n)
		}
		receives(t, members[1], apps[0], "text")
		everybodyTalks(t, apps, members)
	})
}

// What was heard before an app was started again, and has changed something, is not heard anew after that.
func TestHeardBeforeTheStart(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		bubble(t, func(t *testing.T, h *hub) {
			store := new(MemoryStore)
			apps, members := h.group(SessionOptions{Plain: plain}, "alice", "carol")
			bob := h.life("bob", store)
			l := listen(t, bob)
			if err := members[0].Invite(t.Context(), bob.Name()); err != nil {
				t.Fatal(err)
			}
			b := accept(t, l)
			r := h.records(apps[1])
			if err := members[1].Suspend(t.Context()); err != nil {
				t.Fatal(err)
			}
			suspended := r.of(message.UpdateState)
			if err := members[1].Resume(t.Context()); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				h.stop(bob)
				bob = h.life("bob", store)
				b = accept(t, listen(t, bob))
				time.Sleep(time.Second)
				h.inject(bob, suspended)
				for _, p := range b.Participants() {
					if !p.Online {
						t.Fatalf("%v is taken for offline", p.Name)
					}
				}
			}
			everybodyTalks(t, append(apps, bob), append(members, b))
		})
	}
}

// A moderator that was started again has not forgotten who has left, and answers who has not heard its answer.
func TestLeftBeforeTheStart(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		store := new(MemoryStore)
		alice, bob, carol := h.life("alice", store), h.app("bob"), h.app("carol")
		g, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		lb, lc := listen(t, bob), listen(t, carol)
		for _, a := range []*App{bob, carol} {
			if err := g.Invite(t.Context(), a.Name()); err != nil {
				t.Fatal(err)
			}
		}
		b, c := accept(t, lb), accept(t, lc)
		r := h.records(bob)
		if err := b.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		h.stop(alice)
		alice = h.life("alice", store)
		g = only(t, alice)
		time.Sleep(time.Second)
		leave := r.of(message.LeaveRequest)
		replies := h.counts(alice, message.LeaveReply)
		h.inject(alice, leave)
		h.mu.Lock()
		if *replies != 1 {
			t.Errorf("%d answers", *replies)
		}
		h.mu.Unlock()
		if err := g.Invite(t.Context(), bob.Name()); err != nil {
			t.Fatal(err)
		}
		b = accept(t, lb)
		h.inject(alice, leave)
		if n := len(g.Participants()); n != 3 {
			t.Fatalf("%d members", n)
		}
		everybodyTalks(t, []*App{alice, bob, carol}, []*Session{g, b, c})
	})
}

// What a moderator has said before it has invited a member anew does not count in the new session, also of an app that was started again.
func TestSaidBeforeTheInvitation(t *testing.T) {
	t.Parallel()
	for _, again := range []bool{false, true} {
		bubble(t, func(t *testing.T, h *hub) {
			store := new(MemoryStore)
			apps, members := h.group(SessionOptions{}, "alice", "carol")
			bob := h.life("bob", store)
			l := listen(t, bob)
			r := h.records(apps[0])
			var b *Session
			var old [][]byte
			for range 2 {
				if err := members[0].Invite(t.Context(), bob.Name()); err != nil {
					t.Fatal(err)
				}
				b = accept(t, l)
				if old != nil {
					break
				}
				joined := r.of(message.JoinRequest)
				if err := members[0].Remove(t.Context(), bob.Name()); err != nil {
					t.Fatal(err)
				}
				old = [][]byte{joined, r.of(message.LeaveRequest)}
				time.Sleep(5 * time.Second)
			}
			if again {
				h.stop(bob)
				bob = h.life("bob", store)
				b = accept(t, listen(t, bob))
				time.Sleep(time.Second)
			}
			for _, m := range old {
				h.inject(bob, m)
			}
			if err := b.Err(); err != nil {
				t.Errorf("its session is over: %v", err)
			}
			everybodyTalks(t, append(apps, bob), append(members, b))
		})
	}
}

// How much a session remembers is for the app to say, also when it is started again. Rules: P-id-7.
func TestMemoryForReplays(t *testing.T) {
	for _, again := range []bool{false, true} {
		for replays, want := range map[int]uint64{0: 1, 2: 0, -1: 1, 1 << 30: 1} {
			t.Run(fmt.Sprint(replays, " again ", again), func(t *testing.T) {
				memoryForReplays(t, replays, again, want)
			})
		}
	}
}

func memoryForReplays(t *testing.T, replays int, again bool, want uint64) {
	bubble(t, func(t *testing.T, h *hub) {
		kept, remembers := new(MemoryStore), func(o *Options) { o.Replays = replays }
		alice, bob := h.life("alice", kept, remembers), h.app("bob")
		r, l := h.records(bob), listen(t, bob)
		a, err := alice.Open(t.Context(), bob.Name(), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b := accept(t, l)
		if again {
			h.stop(alice)
			alice = h.life("alice", kept, remembers)
			a = only(t, alice)
		}
		for r.of(message.Heartbeat) == nil {
			time.Sleep(time.Second)
		}
		first := r.of(message.Heartbeat)
		time.Sleep(5 * time.Minute)
		before := alice.Stats().Refused
		h.inject(alice, first)
		if n := alice.Stats().Refused - before; n != want {
			t.Errorf("%d refused, want %d", n, want)
		}
		everybodyTalks(t, []*App{alice, bob}, []*Session{a, b})
	})
}
