package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/store"
)

// failing is a store whose disk is full from some write on.
type failing struct {
	MemoryStore
	mu   sync.Mutex
	left int
}

var errFull = errors.New("the disk is full")

func (s *failing) Write(changes []store.Change, done func(error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left--; s.left < 0 {
		go done(errFull)
		return
	}
	s.MemoryStore.Write(changes, done)
}

// When the disk is full at some write, the session ends and says so, nothing is sent that is not stored, and with room it goes on.
func TestStoreThatIsFull(t *testing.T) {
	t.Parallel()
	for _, lead := range []bool{false, true} {
		t.Run(fmt.Sprint("moderator ", lead), func(t *testing.T) {
			for at, full := 3, true; full; at++ {
				bubble(t, func(t *testing.T, h *hub) {
					full = storeIsFull(t, h, lead, at)
				})
				if t.Failed() {
					t.Fatalf("at write %d", at)
				}
			}
		})
	}
}

func storeIsFull(t *testing.T, h *hub, lead bool, at int) (full bool) {
	kept := &failing{left: at}
	whole := new(MemoryStore)
	stores := map[bool]Store{true: kept, false: whole}
	alice, bob := h.life("alice", stores[lead]), h.life("bob", stores[!lead])
	l := listen(t, bob)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a, err := alice.Open(ctx, bob.Name(), SessionOptions{})
	var b *Session
	told := errors.Is(err, ErrStore)
	if err == nil {
		short, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		if b, err = l.Accept(short); err == nil {
			for i := range 5 {
				d, err := a.Publish(ctx, Text(fmt.Sprint("there ", i)))
				if err == nil {
					err = d.Wait(ctx)
				}
				told = told || errors.Is(err, ErrStore)
				if err != nil {
					break
				}
				if _, err = b.Receive(ctx); err != nil {
					told = told || errors.Is(err, ErrStore)
					break
				}
			}
		}
	}
	time.Sleep(time.Second)
	kept.mu.Lock()
	full = kept.left < 0
	kept.left = 1 << 30
	kept.mu.Unlock()
	mine := a
	if !lead {
		mine = b
	}
	if full && mine != nil && !errors.Is(mine.Err(), ErrStore) {
		t.Errorf("the session of the app whose disk is full: %v", mine.Err())
	}
	if full && lead && !told {
		t.Error("the app was not told")
	}
	if full && mine != nil {
		broken := alice
		if !lead {
			broken = bob
		}
		h.stop(broken)
		again := h.life(broken.Name().Parts()[2], kept)
		s := only(t, again)
		if lead {
			a = s
		} else {
			b = s
		}
	}
	if a != nil && b != nil {
		time.Sleep(30 * time.Second)
		publish(t, a, "last")
		for {
			m, err := b.Receive(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if string(m.Data) == "last" {
				break
			}
		}
	}
	return full
}

// An app that is connected a second time takes the place of the first, which can store, and so say, nothing any more.
func TestTheLastProcessHasTheStore(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		kept := new(MemoryStore)
		alice, bob := h.life("alice", kept), h.app("bob")
		l := listen(t, bob)
		a, err := alice.Open(t.Context(), bob.Name(), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b := accept(t, l)
		publish(t, a, "one")
		h.mute(alice)
		second := h.life("alice", kept)
		if d, err := a.Publish(t.Context(), Text("two")); err != nil || !errors.Is(d.Wait(t.Context()), ErrStore) {
			t.Errorf("the first one publishes: %v %v", err, d.Err())
		}
		publish(t, only(t, second), "two")
		receives(t, b, alice, "one", "two")
	})
}

// A store has one key, and what does not open is told of and left.
func TestKeysOfStores(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		kept := new(MemoryStore)
		alice, bob := h.life("alice", kept), h.life("bob", kept) // of one process
		l := listen(t, bob)
		a, err := alice.Open(t.Context(), bob.Name(), SessionOptions{})
		if err != nil {
			t.Fatal(err)
		}
		accept(t, l)
		publish(t, a, "hello")
		h.stop(alice)
		for _, key := range [][]byte{nil, storeKey[1:], bytes.Repeat([]byte{8}, StoreKeySize)} {
			_, err := Connect(t.Context(), Options{Name: MustName("org/ns/alice"), Secret: secret, Link: h.link, Store: kept, StoreKey: key})
			if want := map[bool]error{true: ErrStore, false: ErrConfig}[len(key) == StoreKeySize]; !errors.Is(err, want) {
				t.Errorf("key of %d bytes: %v", len(key), err)
			}
		}
		var damaged store.Record
		for r, err := range kept.Read(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Key.Kind == recordSession && r.Key.Owner == a.task.keep.owner {
				damaged = r
			}
		}
		value := bytes.Clone(damaged.Value)
		value[len(value)-1] ^= 1
		kept.Write([]store.Change{{Key: damaged.Key, Value: value}}, func(error) {})
		alice = h.life("alice", kept)
		if len(alice.Sessions()) != 0 || alice.Stats().Damaged != 1 {
			t.Errorf("%d sessions, %d damaged", len(alice.Sessions()), alice.Stats().Damaged)
		}
		h.stop(alice)
		kept.Write([]store.Change{{Key: damaged.Key, Value: damaged.Value}}, func(error) {})
		alice = h.life("alice", kept)
		publish(t, only(t, alice), "again")
	})
}

// Nothing of a session can be read in its store without the key.
func TestStoresTellNothing(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub) {
		kept := new(MemoryStore)
		alice, bob := h.life("alice", kept), h.app("roberta") // no short name: what is random contains that
		l := listen(t, bob)
		a, err := alice.Open(t.Context(), bob.Name(), SessionOptions{Metadata: map[string]string{"subject": "moonlight"}})
		if err != nil {
			t.Fatal(err)
		}
		b := accept(t, l)
		publish(t, b, "sunshine")
		h.drops(func(m *message.Message) bool { return m.Type == message.Msg })
		if _, err := a.Publish(t.Context(), Text("starlight")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		n := 0
		for r, err := range kept.Read(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			for _, clear := range []string{"alice", "roberta", "moonlight", "sunshine", "starlight", string(secret), string(alice.who.signing.Bytes()), "subject"} {
				if bytes.Contains(r.Value, []byte(clear)) {
					t.Errorf("record %v has %q in the clear", r.Key, clear)
				}
			}
		}
		if n < 8 {
			t.Errorf("%d records", n)
		}
		h.drops(nil)
	})
}
