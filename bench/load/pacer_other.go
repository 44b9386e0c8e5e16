//go:build !linux

package load

import "time"

// pacer sleeps with the precision of the Go runtime.
type pacer struct{}

func newPacer() pacer { return pacer{} }
func (pacer) done()   {}

func (pacer) until(due int64) {
	if d := due - Now(); d > 0 {
		time.Sleep(time.Duration(d))
	}
}
