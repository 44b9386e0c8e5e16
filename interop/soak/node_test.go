//go:build interop

package soak

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/usage"
)

const (
	// limit bounds every single wait for something that comes at once on an idle machine.
	limit = 60 * time.Second

	addressSpace = 3 << 20 // KiB of ulimit -v
	descriptors  = 1000    // of ulimit -n; the attacks without the one on descriptors need some 600

	// keptLog is how much of the log is printed when a test fails, in lines.
	keptLog = 40
)

// node is a process of cmd/slim with its log.
type node struct {
	cmd  *exec.Cmd
	addr string
	log  nodeLog
	done chan struct{} // closed when it has ended and its log is in
	peak resources     // most of each that was seen
}

// startNode starts a node of a policy and waits until it listens.
func startNode(t *testing.T, policy string) *node {
	t.Helper()
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "node.yaml")
	if err := os.WriteFile(config, []byte(nodeConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	n := &node{done: make(chan struct{})}
	limits := fmt.Sprintf("ulimit -v %d && ulimit -n %d && exec \"$0\" \"$@\"", addressSpace, descriptors)
	n.cmd = exec.Command("sh", "-c", limits, program, "--config", config, "--slow-consumer", policy,
		"--log-level", "debug", "--loops", "2") // the default of two processors is one loop, which has no other
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	// A pipe of our own: whoever copies it into something else would read on while nobody should.
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	n.cmd.Stdout, n.cmd.Stderr = w, w
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	n.log.init()
	go func() {
		n.log.read(r)
		r.Close()
		_ = n.cmd.Wait() // the status is read from ProcessState
		close(n.done)
	}()
	t.Cleanup(func() {
		n.log.resume()
		_ = syscall.Kill(-n.cmd.Process.Pid, syscall.SIGKILL) // what has ended is none
		<-n.done
		if t.Failed() {
			t.Logf("the node's log:\n%s", n.log.tail())
		}
	})
	n.addr = n.log.endpoint(t)
	return n
}

const nodeConfig = `runtime:
  drain_timeout: 30s
services:
  slim/0:
    node_id: soaked
    dataplane:
      servers:
        - endpoint: 127.0.0.1:0
          tls:
            insecure: true
`

// counters are the numbers of a line "counters" by their names.
type counters map[string]int64

// counters asks the node for its counters. The line may be dropped while the log has no room, so it is asked again.
func (n *node) counters(t *testing.T) counters {
	t.Helper()
	for guard := time.Now().Add(limit); time.Now().Before(guard); {
		seen := n.log.seenCounters()
		if err := n.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
			t.Fatalf("the node has ended: %v", err)
		}
		if c := n.log.countersAfter(seen, time.Second); c != nil {
			return c
		}
	}
	t.Fatal("the node does not tell its counters")
	return nil
}

// drops returns how many messages died for one of these reasons.
func (c counters) drops(reasons ...string) (sum int64) {
	for _, r := range reasons {
		sum += c["dropped."+r]
	}
	return sum
}

// stop ends the node by SIGTERM and returns its status, -1 after a signal.
func (n *node) stop(t *testing.T) int {
	t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Errorf("the node had ended before it was told to: %v", err)
	}
	select {
	case <-n.done:
	case <-time.After(limit):
		t.Errorf("the node runs on %v after SIGTERM", limit)
	}
	return n.cmd.ProcessState.ExitCode()
}

// resources are what a process holds.
type resources struct {
	rss, size   uint64 // VmRSS and VmSize, bytes
	descriptors int
	threads     int
	ran, waited time.Duration // on a processor, and for one, of all threads that live
}

// resources looks at the process. Zero: it has ended.
func (n *node) resources() (r resources) {
	u, err := usage.Of(n.cmd.Process.Pid)
	if err != nil {
		return r
	}
	r.rss, r.threads, r.descriptors, r.ran = uint64(u.RSS), u.Threads, u.Files, u.CPU
	dir := "/proc/" + strconv.Itoa(n.cmd.Process.Pid)
	if b, err := os.ReadFile(dir + "/statm"); err == nil {
		pages, _ := strconv.ParseUint(strings.Fields(string(b) + " 0")[0], 10, 64)
		r.size = pages * uint64(os.Getpagesize())
	}
	tasks, _ := filepath.Glob(dir + "/task/*/schedstat")
	for _, task := range tasks {
		if b, err := os.ReadFile(task); err == nil {
			f := strings.Fields(string(b) + " 0 0")
			waited, _ := strconv.ParseInt(f[1], 10, 64)
			r.waited += time.Duration(waited)
		}
	}
	p := &n.peak
	p.rss, p.size = max(p.rss, r.rss), max(p.size, r.size)
	p.descriptors, p.threads = max(p.descriptors, r.descriptors), max(p.threads, r.threads)
	p.ran, p.waited = max(p.ran, r.ran), max(p.waited, r.waited)
	return r
}

// nodeLog reads what a node prints, or stands still. Safe for all goroutines.
type nodeLog struct {
	mu      sync.Mutex
	change  sync.Cond
	blocked bool // nobody reads
	over    bool
	lines   []string // the last ones
	count   uint64   // lines
	bytes   uint64
	levels  map[string]uint64 // lines by level
	full    int               // lines that say that there are no descriptors
	bad     []string          // errors that a node does not have
	where   string            // endpoint
	last    counters
	told    int // lines of counters
}

func (l *nodeLog) init() {
	l.change.L = &l.mu
	l.levels = map[string]uint64{}
}

// block stops reading after the line at hand, resume goes on.
func (l *nodeLog) block() { l.set(true) }

func (l *nodeLog) resume() { l.set(false) }

func (l *nodeLog) set(blocked bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocked = blocked
	l.change.Broadcast()
}

func (l *nodeLog) read(r io.Reader) {
	in := bufio.NewReaderSize(r, 4<<10)
	for {
		line, err := in.ReadString('\n')
		l.mu.Lock()
		l.take(strings.TrimRight(line, "\n"))
		l.over = err != nil
		l.change.Broadcast()
		for l.blocked && err == nil {
			l.change.Wait()
		}
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// take looks at a line. mu is held.
func (l *nodeLog) take(line string) {
	if line == "" {
		return
	}
	l.count++
	l.bytes += uint64(len(line)) + 1
	if fields := strings.Fields(line); len(fields) > 1 {
		l.levels[fields[1]]++
	}
	if _, rest, ok := strings.Cut(line, "dataplane server started endpoint="); ok {
		l.where, _, _ = strings.Cut(rest, " ")
	}
	if strings.Contains(line, "cannot accept a connection") {
		l.full++
	}
	for _, sign := range []string{"internal error", "panic:", "fatal error:", "goroutine "} {
		if strings.Contains(line, sign) && len(l.bad) < keptLog && !strings.Contains(line, " counters ") {
			l.bad = append(l.bad, line)
		}
	}
	if _, rest, ok := strings.Cut(line, ": counters "); ok {
		l.last = parseCounters(rest)
		l.told++
		return // there are many
	}
	if l.lines = append(l.lines, line); len(l.lines) > 2*keptLog {
		l.lines = append(l.lines[:0], l.lines[keptLog:]...)
	}
}

func parseCounters(text string) counters {
	c := counters{}
	for word := range strings.FieldsSeq(text) {
		key, value, _ := strings.Cut(word, "=")
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			c[key] = n
		}
	}
	return c
}

func (l *nodeLog) endpoint(t *testing.T) string {
	t.Helper()
	stop := time.AfterFunc(limit, func() { l.set(false) }) // wakes
	defer stop.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for begin := time.Now(); l.where == ""; l.change.Wait() {
		if l.over || time.Since(begin) >= limit {
			t.Fatalf("the node does not start:\n%s", strings.Join(l.lines, "\n"))
		}
	}
	if _, _, err := net.SplitHostPort(l.where); err != nil {
		t.Fatalf("endpoint %q: %v", l.where, err)
	}
	return l.where
}

func (l *nodeLog) seenCounters() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.told
}

// countersAfter returns the counters told after the first n times, or nil if d has passed or the log has ended.
func (l *nodeLog) countersAfter(n int, d time.Duration) counters {
	begin := time.Now()
	stop := time.AfterFunc(d, l.change.Broadcast)
	defer stop.Stop()
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.told <= n {
		if l.over || time.Since(begin) >= d {
			return nil
		}
		l.change.Wait()
	}
	return maps.Clone(l.last)
}

// faults are lines that a node must not print.
func (l *nodeLog) faults() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.bad...)
}

func (l *nodeLog) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b bytes.Buffer
	for _, line := range l.lines {
		b.WriteString(line[:min(len(line), 400)] + "\n")
	}
	return b.String()
}

// summary tells how much was printed.
func (l *nodeLog) summary() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%d lines, %d KiB, by level %v; no descriptors: said %d times", l.count, l.bytes>>10, l.levels, l.full)
}
