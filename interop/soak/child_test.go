//go:build interop

package soak

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/h2"
)

// share is what a child may use of one processor.
const share = 0.5

// child is the state of a process that attacks or loads the node. Its methods are safe for all goroutines.
type child struct {
	node   string // address
	number uint64
	budget budget

	mu sync.Mutex
	r  report // guarded by mu
}

func newChild(node, number string) *child {
	n, _ := strconv.ParseUint(number, 10, 64)
	c := &child{node: node, number: n, r: report{Ends: map[string]uint64{}}}
	c.budget.begin()
	return c
}

func (c *child) report() report {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.r
	r.CPU, r.Ends, r.Faults = usedCPU(), maps.Clone(r.Ends), slices.Clone(r.Faults)
	return r
}

// fault notes what must not be; the first few are kept.
func (c *child) fault(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.r.Faults) < 5 {
		c.r.Faults = append(c.r.Faults, fmt.Sprintf(format, args...))
	}
}

func (c *child) requested(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.r.Requests += uint64(n)
}

// ended counts how something ended.
func (c *child) ended(err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.r.Ends[endText(err)]++
}

// endText sorts errors into few kinds.
func endText(err error) string {
	var status *uplink.StatusError
	var name *uplink.NameError
	var broken *h2.ConnError
	switch {
	case errors.As(err, &status):
		return "status " + strconv.Itoa(status.GRPC)
	case errors.As(err, &name):
		return "name refused"
	case errors.As(err, &broken):
		return "HTTP/2 " + broken.Code.String()
	case errors.Is(err, uplink.ErrEnded):
		return "channel ended"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled), errors.Is(err, net.ErrClosed):
		return "left"
	}
	return err.Error()[:min(40, len(err.Error()))]
}

// pay waits until this process has used no more than its share. It reports false when ctx has ended.
func (c *child) pay(ctx context.Context) bool {
	return pause(ctx, c.budget.debt())
}

// pause waits for d, and reports false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// budget compares the processor time of this process with what its share allows. Safe for all goroutines.
type budget struct {
	mu    sync.Mutex
	since time.Time     // from then on the share counts
	used  time.Duration // processor time then
}

// credit is how much of its share a process may save up, slack how much it may owe before it waits.
const (
	credit = 50 * time.Millisecond
	slack  = 5 * time.Millisecond
)

func (b *budget) begin() { b.since, b.used = time.Now(), usedCPU() }

// debt returns how long the process must do nothing to be within its share again.
func (b *budget) debt() time.Duration { return b.debtAt(time.Now(), usedCPU()) }

func (b *budget) debtAt(now time.Time, used time.Duration) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	allowed := time.Duration(float64(now.Sub(b.since)) * share)
	over := used - b.used - allowed
	if over < -credit {
		b.since, b.used = now.Add(-time.Duration(float64(credit)/share)), used
		return 0
	}
	if over < slack {
		return 0
	}
	return time.Duration(float64(over) / share)
}

// usedCPU is the processor time of this process, the kernel's part included.
func usedCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0 // cannot fail with these arguments
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// name returns a name that no other child and no honest client has.
func (c *child) name(what string, id uint64) wire.NameText {
	return wire.Text("soak", what, strconv.FormatUint(c.number, 10)).WithID(1, id)
}

// running is a child as its parent sees it.
type running struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	done  chan struct{} // closed when it has ended and last is complete
	errs  bytes.Buffer  // its standard error; read after done

	mu   sync.Mutex
	last report // guarded by mu
}

// launch starts one child for each program.
func launch(t *testing.T, node string, programs []program) []*running {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var all []*running
	for i, p := range programs {
		r := &running{name: p.name, cmd: exec.Command(self), done: make(chan struct{})}
		r.cmd.Env = append(os.Environ(), envProgram+"="+p.name, envNode+"="+node, envNumber+"="+strconv.Itoa(i), "GOMAXPROCS=1")
		r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		r.cmd.Stderr = &r.errs
		stdin, err := r.cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		r.stdin = stdin
		stdout, err := r.cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.cmd.Start(); err != nil {
			t.Fatalf("%s: %v", p.name, err)
		}
		go r.read(stdout)
		all = append(all, r)
	}
	t.Cleanup(func() { stop(t, all) })
	return all
}

func (r *running) read(stdout io.Reader) {
	defer close(r.done)
	for in := bufio.NewScanner(stdout); in.Scan(); {
		var got report
		if json.Unmarshal(in.Bytes(), &got) == nil {
			r.mu.Lock()
			r.last = got
			r.mu.Unlock()
		}
	}
	_ = r.cmd.Wait() // what it has to say stands in last and errs
}

func (r *running) report() report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

// stop ends children and waits for them.
func stop(t *testing.T, all []*running) {
	t.Helper()
	for _, r := range all {
		r.stdin.Close()
	}
	guard := time.After(limit)
	for _, r := range all {
		select {
		case <-r.done:
			continue
		case <-guard:
		}
		_ = r.cmd.Process.Kill()
		<-r.done
		t.Errorf("%s: still running %v after it was told to end", r.name, limit)
	}
}
