package session

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// notarized are credentials whose tokens live for an hour, and how many were made.
func notarized(t *testing.T) (*credentials, *atomic.Int64) {
	t.Helper()
	n := &notary{subject: "alice@tests", life: time.Hour, made: new(atomic.Int64)}
	c, err := newCredentials(t.Context(), &Options{
		Name: MustName("org/ns/alice"), Tokens: n, Verifier: n, Logger: slog.New(slog.DiscardHandler),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c, n.made
}

// A token that has expired before another one was due, since the machine has slept or its clock was set, is renewed at once, and once.
func TestTokenExpiresUnseen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, made := notarized(t)
		defer c.close()
		first := c.token(time.Now())
		synctest.Wait()
		if c.token(time.Now()) != first || made.Load() != 1 {
			t.Fatalf("%d tokens were made", made.Load())
		}
		later := time.Now().Add(2 * time.Hour)
		for range 3 {
			c.token(later)
		}
		synctest.Wait()
		if c.token(time.Now()) == first || made.Load() != 2 {
			t.Errorf("%d tokens were made, want another one", made.Load())
		}
		time.Sleep(31 * time.Minute) // and the next ones are, as ever
		if made.Load() != 3 {
			t.Errorf("%d tokens were made, want a third one in half of the life of the second", made.Load())
		}
	})
}

// A token that was made before the clock was set back is renewed at once, and once: its maker's clock was wrong, and others refuse what is from
// the future.
func TestTokenFromTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, made := notarized(t)
		defer c.close()
		c.token(time.Now().Add(-time.Second))
		synctest.Wait()
		if made.Load() != 1 {
			t.Errorf("%d tokens were made when the clock went back a little, want one", made.Load())
		}
		for range 3 {
			c.token(time.Now().Add(-2 * time.Hour))
		}
		synctest.Wait()
		if made.Load() != 2 {
			t.Errorf("%d tokens were made, want another one", made.Load())
		}
	})
}

// What is due when a token expires is in one order with all other deadlines, whatever becomes of the clock that tokens tell: it has the
// reading of the other one.
func TestExpiryInTheOrderOfDeadlines(t *testing.T) {
	now := time.Now()
	at := (&member{expires: now.Add(time.Hour).Round(0)}).warning(now)
	if d := at.Sub(now); d != time.Hour-warnBefore || !strings.Contains(at.String(), " m=+") {
		t.Errorf("the warning is due in %v, at %v", d, at)
	}
}
