package load

import "time"

// Pacer sleeps for an open loop. One goroutine uses it.
type Pacer interface {
	Until(due int64) // returns at the time due on the clock of Now, or a little earlier
	Done()           // ends its use
}

// Timers is a Pacer with the precision of Go's timers. These round to a millisecond while a process is idle, too coarse for
// what is measured here, but in a bubble of testing/synctest they are exact.
type Timers struct{}

// Until implements Pacer.
func (Timers) Until(due int64) {
	if d := due - Now(); d > 0 {
		time.Sleep(time.Duration(d))
	}
}

// Done implements Pacer.
func (Timers) Done() {}
