// Package leak has the tests of a package fail when goroutines are left after them. It is for tests.
package leak

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience is how long goroutines have to end: on a busy machine they may not have had the processor for that.
const patience = time.Minute

// Main runs the tests of TestMain and ends the process, by exit if there is one, and os.Exit otherwise. Its code is not 0
// if a test has failed, or if goroutines are left: those of gnet's pools do not count, which live as long as the process.
func Main(m *testing.M, exit ...func(code int)) {
	code := m.Run()
	if code == 0 {
		if err := wait(patience); err != nil {
			fmt.Fprintln(os.Stderr, "after the tests:", err)
			code = 1
		}
	}
	for _, f := range exit {
		f(code)
	}
	os.Exit(code)
}

// wait waits until no goroutine is left. It says which are left after the time is over.
func wait(d time.Duration) error {
	for until := time.Now().Add(d); ; {
		err := goleak.Find(
			goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).purgeStaleWorkers"),
			goleak.IgnoreAnyFunction("github.com/panjf2000/ants/v2.(*poolCommon).ticktock"))
		if err == nil || time.Now().After(until) {
			return err
		}
	}
}
