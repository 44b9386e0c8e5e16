package session

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// What Publish takes comes, encrypted or not, whatever of it is data and whatever is metadata; and the next one does not wait for it.
func TestLargest(t *testing.T) {
	t.Parallel()
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub) {
				alice, bob := h.app("alice"), h.app("bob")
				l := listen(t, bob)
				s, err := alice.Open(t.Context(), bob.Name().Any(), o)
				if err != nil {
					t.Fatal(err)
				}
				other := accept(t, l)
				text := strings.Repeat("d", MaxContent)
				for _, metadata := range []int{0, 700 << 10, 1 << 20, 2 << 20} {
					c := Content{Data: []byte(text[:MaxContent-len(DefaultType)-len("k")-metadata]), Metadata: map[string]string{"k": text[:metadata]}}
					d, err := s.Publish(t.Context(), c)
					if err != nil {
						t.Fatal(err)
					}
					begin := time.Now()
					if err := d.Wait(t.Context()); err != nil {
						t.Errorf("%d bytes of data and %d of metadata: %v", len(c.Data), metadata, err)
						continue
					}
					if m, err := other.Receive(t.Context()); err != nil || len(m.Data) != len(c.Data) {
						t.Errorf("received: %v", err)
					}
					publish(t, s, "next")
					receives(t, other, alice, "next")
					if took := time.Since(begin); took >= time.Second {
						t.Errorf("the next one has come after %v", took)
					}
				}
				if n := alice.Stats().TooLarge; n != 0 {
					t.Errorf("%d messages were too large for the link", n)
				}
			})
		})
	}
}

// An invitation that no node takes is refused at once, and not given up as unanswered.
func TestLargestInvitation(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, h *hub) {
		alice, bob := h.app("alice"), h.app("bob")
		l := listen(t, bob)
		o := SessionOptions{Metadata: map[string]string{"k": strings.Repeat("v", MaxContent)}}
		if _, err := alice.Open(t.Context(), bob.Name().Any(), o); !errors.Is(err, ErrTooLarge) {
			t.Errorf("Open: %v", err)
		}
		if _, err := alice.OpenGroup(t.Context(), MustName("org/ns/channel"), o); !errors.Is(err, ErrTooLarge) {
			t.Errorf("OpenGroup: %v", err)
		}
		o.Metadata["k"] = o.Metadata["k"][1:]
		if _, err := alice.Open(t.Context(), bob.Name().Any(), o); err != nil {
			t.Error(err)
		}
		if got := accept(t, l).Metadata()["k"]; got != o.Metadata["k"] {
			t.Errorf("%d bytes of metadata", len(got))
		}
	})
}
