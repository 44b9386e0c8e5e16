package spire

import (
	"context"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth/spire/spiretest"
	"github.com/seed31b3bfd0/slimgo/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// hang guards against a test that would never end.
const hang = 2 * time.Minute

// story is what Agents tell, an error or nil at a time.
type story chan error

// heard waits for what is told next.
func (s story) heard(t *testing.T) error {
	t.Helper()
	select {
	case err := <-s:
		return err
	case <-time.After(hang):
		t.Fatal("nothing is told")
		return nil
	}
}

// quick asks soon again for what has failed.
var quick = pace{start: hang, first: 5 * time.Millisecond, last: 20 * time.Millisecond}

// agentOf returns the Agent of an API, and what is told of it.
func agentOf(t *testing.T, api *spiretest.API) (*Agent, story) {
	t.Helper()
	return agentAt(t, api, quick)
}

// agentAt is agentOf, of one that waits so long.
func agentAt(t *testing.T, api *spiretest.API, p pace) (*Agent, story) {
	t.Helper()
	told := make(story, 64)
	all := NewAgents(Options{Told: func(_ string, err error) { told <- err }, pace: p})
	t.Cleanup(all.Close)
	address, err := Address(api.Path(), none)
	if err != nil {
		t.Fatal(err)
	}
	a, err := all.At(address)
	if err != nil {
		t.Fatal(err)
	}
	return a, told
}

// none is an environment without anything.
func none(string) (string, bool) { return "", false }

// wait waits until a channel is closed.
func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(hang):
		t.Fatalf("%s: nothing happens", what)
	}
}

// until waits until something holds, looking again whenever changed says so.
func until(t *testing.T, what string, changed func() <-chan struct{}, holds func() bool) {
	t.Helper()
	for {
		c := changed()
		if holds() {
			return
		}
		wait(t, what, c)
	}
}

// soon is a context for what takes no time.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	t.Cleanup(cancel)
	return ctx
}
