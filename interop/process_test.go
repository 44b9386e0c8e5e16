//go:build interop

package interop

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limit bounds every single wait for another process; the scenarios' own limits follow from it.
const limit = 25 * time.Second

// keptLines is how much output of a process is printed when its test fails.
const keptLines = 30

// event is one JSON line of a peer; its name stands under "event".
type event map[string]any

func (e event) kind() string           { return e.text("event") }
func (e event) text(key string) string { s, _ := e[key].(string); return s }
func (e event) flag(key string) bool   { b, _ := e[key].(bool); return b }
func (e event) number(key string) int  { f, _ := e[key].(float64); return int(f) }

// process is a program under test in a process group of its own, with everything it printed. Safe for
// concurrent use.
type process struct {
	label string
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{} // closed when the program has ended and all its output is in

	mu      sync.Mutex
	lines   []string      // guarded by mu; standard output and error as they came
	events  []event       // guarded by mu; not yet taken, in order of arrival
	changed chan struct{} // guarded by mu; closed and replaced with each line
}

// spawn starts a program that is killed with its whole process group when the test ends.
func spawn(t *testing.T, label string, env []string, argv ...string) *process {
	t.Helper()
	return spawnIn(t, "", label, env, argv...)
}

// spawnIn is spawn in a working directory.
func spawnIn(t *testing.T, dir, label string, env []string, argv ...string) *process {
	t.Helper()
	p := &process{label: label, done: make(chan struct{}), changed: make(chan struct{})}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatalf("%s: %v", label, err)
	}
	p.stdin = stdin
	// A pipe for each stream: a line of the log may be longer than what goes into a pipe at once, and would tear events of
	// the other apart. A writer that outlives the program must not hold Wait up, see WaitDelay.
	out, outEnd := io.Pipe()
	log, logEnd := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = outEnd, logEnd
	p.cmd.WaitDelay = 10 * time.Second
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("%s: %v", label, err)
	}
	var read sync.WaitGroup
	read.Go(func() { p.read(out) })
	read.Go(func() { p.read(log) })
	go func() {
		p.cmd.Wait() // the status is read from ProcessState
		outEnd.Close()
		logEnd.Close()
		read.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("output of %s:\n%s", p.label, p.tail())
		}
	})
	return p
}

// colours are the escape sequences with which upstream paints its log.
var colours = regexp.MustCompile("\x1b\\[[0-9;]*m")

func (p *process) read(r io.Reader) {
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := in.ReadString('\n')
		line = colours.ReplaceAllString(line, "")
		// Upstream logs every message as two metrics.
		if line = strings.TrimRight(line, "\n"); line != "" && !strings.Contains(line, "telemetry=true") {
			p.add(line)
		}
		if err != nil {
			return
		}
	}
}

func (p *process) add(line string) {
	var e event
	if strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &e) != nil {
		e = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, line)
	if e.kind() != "" {
		p.events = append(p.events, e)
	}
	close(p.changed)
	p.changed = make(chan struct{})
}

// await returns once check, called under p.mu, holds. It reports false if the program ended or time ran out.
func (p *process) await(d time.Duration, check func() bool) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for over := false; ; {
		p.mu.Lock()
		ok, changed := check(), p.changed
		p.mu.Unlock()
		if ok || over {
			return ok
		}
		select {
		case <-changed:
		case <-p.done:
			over = true // look once more at what came last
		case <-timer.C:
			over = true
		}
	}
}

// take removes and returns the first event, in order of arrival, that match holds for; nil if none comes
// within d or before the program ends.
func (p *process) take(d time.Duration, match func(event) bool) event {
	var found event
	p.await(d, func() bool {
		for i, e := range p.events {
			if match(e) {
				found = e
				p.events = slices.Delete(p.events, i, i+1)
				return true
			}
		}
		return false
	})
	return found
}

// expect returns the next event of that name, or fails the test.
func (p *process) expect(t *testing.T, name string) event {
	t.Helper()
	e := p.take(limit, func(e event) bool { return e.kind() == name })
	if e == nil {
		t.Fatalf("%s: no %q event", p.label, name)
	}
	return e
}

// expectLine waits for a line of output, log lines included, that contains text after the first skip such lines.
func (p *process) expectLine(t *testing.T, text string, skip int) {
	t.Helper()
	if !p.await(limit, func() bool { return countLines(p.lines, text) > skip }) {
		t.Fatalf("%s: no line %q (after %d of them)", p.label, text, skip)
	}
}

// count tells how many lines so far contain text.
func (p *process) count(text string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return countLines(p.lines, text)
}

func countLines(lines []string, text string) (n int) {
	for _, l := range lines {
		if strings.Contains(l, text) {
			n++
		}
	}
	return n
}

func (p *process) tail() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	lines := p.lines
	cut := ""
	if n := len(lines) - keptLines; n > 0 {
		cut, lines = fmt.Sprintf("  (%d lines before)\n", n), lines[n:]
	}
	var b strings.Builder
	b.WriteString(cut)
	for _, l := range lines {
		if len(l) > 300 {
			l = l[:150] + " … " + l[len(l)-150:]
		}
		b.WriteString("  " + l + "\n")
	}
	return b.String()
}

// write sends one command line.
func (p *process) write(t *testing.T, command event) {
	t.Helper()
	line, err := json.Marshal(command)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		t.Fatalf("%s: %s: %v", p.label, line, err)
	}
}

// signal goes to the whole process group; one that has ended already is no error.
func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(-p.cmd.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatalf("%s: %v: %v", p.label, s, err)
	}
}

// freeze stops the program, by SIGSTOP, and returns when all its threads stand.
func (p *process) freeze(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGSTOP)
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WSTOPPED, nil)
		if err == nil {
			return
		}
		if !errors.Is(err, unix.EINTR) {
			t.Fatalf("%s: freeze: %v", p.label, err)
		}
	}
}

// kill ends the process group abruptly and waits.
func (p *process) kill() {
	select {
	case <-p.done:
	default:
		syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
	}
}

// exit waits for the program's end and returns its status, -1 after a signal.
func (p *process) exit(t *testing.T, d time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(d):
		t.Fatalf("%s: still running after %v", p.label, d)
	}
	return p.cmd.ProcessState.ExitCode()
}

// quit asks the program to end, by SIGTERM, and wants status 0.
func (p *process) quit(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGTERM)
	if code := p.exit(t, limit); code != 0 {
		t.Fatalf("%s: status %d after SIGTERM, want 0", p.label, code)
	}
}
