package oidc

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Whoever wants an attempt gets the one that goes on, or the next; of attempts that have ended nobody waits for any.
func TestAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := 0
		next := make(chan time.Duration)
		a := attempts{do: func(context.Context) time.Duration { made++; return <-next }}
		a.start(-1)
		time.Sleep(time.Hour)
		if made != 0 || a.going() != nil {
			t.Errorf("%d are made, which nobody wants", made)
		}
		first := a.want()
		if a.want() != first || a.going() != first {
			t.Error("there are two at a time")
		}
		next <- time.Minute
		<-first
		synctest.Wait()
		if made != 1 || a.going() != nil {
			t.Errorf("%d are made, want 1", made)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if due := a.going(); made != 2 || due == nil || a.want() != due {
			t.Errorf("%d are made, want the one that is due, too", made)
		}
		next <- -1
		time.Sleep(time.Hour)
		if made != 2 {
			t.Errorf("%d are made, and none is due", made)
		}
		a.stop()
		<-a.ended
		<-a.want()
		if made != 2 {
			t.Error("one is made after the end")
		}
	})
}

// One that is wanted at the moment of the end is made or is not; none goes on after it.
func TestAttemptsThatAreWantedAtTheEnd(t *testing.T) {
	for range 100 { // whether it is made is chance
		synctest.Test(t, func(t *testing.T) {
			a := attempts{do: func(context.Context) time.Duration { return -1 }}
			a.start(-1)
			synctest.Wait()
			a.stop()
			round := a.want()
			<-a.ended
			<-round
			if a.going() != nil {
				t.Fatal("one goes on after the end")
			}
		})
	}
}
