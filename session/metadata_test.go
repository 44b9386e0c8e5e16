package session

import (
	"maps"
	"testing"
	"testing/synctest"
)

// What messages say of themselves is that of each alone, whatever senders and receivers do with their maps, though those that say the same are
// copied once. ReceiveMany returns all that has come, in order.
func TestMetadataOfMessages(t *testing.T) {
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				alice, bob := h.app("alice"), h.app("bob")
				l := listen(t, bob)
				a, err := alice.Open(t.Context(), MustName("org/ns/bob"), o)
				if err != nil {
					t.Fatal(err)
				}
				b := accept(t, l)
				said := map[string]string{}
				var want []map[string]string
				for _, id := range []string{"one", "one", "one", "two", "one", "one", "two", "two"} {
					said["id"] = id
					want = append(want, maps.Clone(said))
					if _, err := a.Publish(t.Context(), Content{Metadata: said}); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := a.Publish(t.Context(), Text("nothing")); err != nil {
					t.Fatal(err)
				}
				want = append(want, nil)
				for n := range 3 {
					m, err := b.Receive(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					if !maps.Equal(m.Metadata, want[n]) {
						t.Errorf("message %d says %v, want %v", n, m.Metadata, want[n])
					}
					m.Metadata["id"] = "changed"
				}
				synctest.Wait()
				var many [4]*Message
				for n := 3; n < len(want); {
					got, err := b.ReceiveMany(t.Context(), many[:])
					if err != nil {
						t.Fatal(err)
					}
					for _, m := range many[:got] {
						if !maps.Equal(m.Metadata, want[n]) {
							t.Errorf("message %d says %v, want %v", n, m.Metadata, want[n])
						}
						n++
					}
				}
				if n, err := b.ReceiveMany(t.Context(), nil); n != 0 || err != nil {
					t.Errorf("room for none: %d, %v", n, err)
				}
				if err := a.Close(t.Context()); err != nil {
					t.Error(err)
				}
				<-b.Done()
				if n, err := b.ReceiveMany(t.Context(), many[:]); n != 0 || err != ErrClosed {
					t.Errorf("after the end: %d, %v", n, err)
				}
			})
		})
	}
}
