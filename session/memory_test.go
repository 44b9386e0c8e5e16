package session

import (
	"runtime"
	"testing"
	"weak"
)

// What closed apps had is garbage at once: the next collection takes it. One that kept it until the one after that would let the
// memory of a process that opens and closes apps double from collection to collection, or worse, as GOGC has it.
func TestClosedAppsLeaveNoMemory(t *testing.T) {
	for _, o := range shapes {
		t.Run(o.name(), func(t *testing.T) {
			var apps []weak.Pointer[App]
			var sessions []weak.Pointer[Session]
			for range 5 {
				bubble(t, func(t *testing.T, h *hub) {
					alice, bob := h.app("alice"), h.app("bob")
					l := listen(t, bob)
					a, err := alice.Open(t.Context(), MustName("org/ns/bob"), o)
					if err != nil {
						t.Fatal(err, h.trace)
					}
					b := accept(t, l)
					publish(t, a, "there")
					receives(t, b, alice, "there")
					publish(t, b, "back")
					receives(t, a, bob, "back")
					apps = append(apps, weak.Make(alice), weak.Make(bob))
					sessions = append(sessions, weak.Make(a), weak.Make(b))
				})
			}
			runtime.GC()
			left := 0
			for _, p := range apps {
				if p.Value() != nil {
					left++
				}
			}
			for _, p := range sessions {
				if p.Value() != nil {
					left++
				}
			}
			if left > 0 {
				t.Errorf("%d of %d apps and sessions are left", left, len(apps)+len(sessions))
			}
		})
	}
}
