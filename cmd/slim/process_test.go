package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/bench/client"
	"github.com/seed31b3bfd0/slimgo/bench/load"
	"github.com/seed31b3bfd0/slimgo/internal/cli"
)

// asNode makes the test's program the command itself, so that tests have it in a process of its own, with real pipes
// and signals.
const asNode = "SLIM_TEST_AS_NODE"

// hang is what no wait of these tests takes unless something is broken.
const hang = 2 * time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(asNode) != "" {
		p := newProgram(os.LookupEnv, os.Stdout, os.Stderr)
		p.sink.Bytes = 16 << 10 // soon full
		os.Exit(p.run(context.Background(), os.Args[1:]))
	}
	together()
	os.Exit(m.Run())
}

// together has as many tests that wait for most of their time side by side as gain by that, on any machine.
func together() {
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = f.Value.Set("8")
	}
}

// process is a node in a process of its own.
type process struct {
	*exec.Cmd
	stdout *os.File // the reading end
	lines  *bufio.Reader
	stderr strings.Builder // after wait
	addr   string
}

// pipe makes a pipe of a page, the smallest there is.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asNode+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// spawn starts a node on a free port and returns when it serves.
func spawn(t *testing.T, args ...string) *process {
	t.Helper()
	return launch(t, command(t, append([]string{"--config", "testdata/free-port.yaml"}, args...)...))
}

// launch starts a node and returns when it serves.
func launch(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: cmd}
	var w *os.File
	p.stdout, w = pipe(t)
	p.Stdout, p.Stderr = w, &p.stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill(); p.Wait() })
	w.Close()
	p.lines = bufio.NewReader(p.stdout)
	_, p.addr, _ = strings.Cut(strings.TrimSpace(p.line(t, "dataplane server started")), "endpoint=")
	return p
}

// line reads the log up to a line with text and returns it.
func (p *process) line(t *testing.T, text string) string {
	t.Helper()
	if err := p.stdout.SetReadDeadline(time.Now().Add(hang)); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := p.lines.ReadString('\n')
		if err != nil {
			t.Fatalf("no line %q: %v", text, err)
		}
		if strings.Contains(line, text) {
			return line
		}
	}
}

// stop sends SIGTERM and returns the exit code, -1 for a death by a signal.
func (p *process) stop(t *testing.T) int {
	t.Helper()
	if err := p.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	return p.ended(t)
}

func (p *process) ended(t *testing.T) int {
	t.Helper()
	done := make(chan struct{})
	go func() { p.Wait(); close(done) }()
	select {
	case <-done:
		return p.ProcessState.ExitCode()
	case <-time.After(hang):
		t.Fatal("the node does not end")
		return 0
	}
}

// heedHangups has processes that this one starts not ignore SIGHUP, whoever has ignored it. Neither signal.Stop nor
// signal.Reset would do: they go back to what was there before.
func heedHangups() { signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) }

// A terminal that is closed stops the node in order; one that was started with nohup goes on.
func TestTerminalThatIsClosed(t *testing.T) {
	heedHangups()
	cmd := command(t, "--config", "testdata/free-port.yaml")
	terminal := onTerminal(t, cmd)
	p := launch(t, cmd)
	terminal.Close()
	p.line(t, "signal=SIGHUP")
	if code := p.ended(t); code != cli.ExitOK {
		t.Errorf("exit %d, want %d", code, cli.ExitOK)
	}
	signal.Ignore(syscall.SIGHUP) // a new process inherits that
	defer heedHangups()
	cmd = command(t, "--config", "testdata/free-port.yaml")
	terminal = onTerminal(t, cmd)
	p = launch(t, cmd)
	terminal.Close()
	p.forwards(t)
	if code := p.stop(t); code != cli.ExitOK {
		t.Errorf("ignored: exit %d, want %d", code, cli.ExitOK)
	}
}

// onTerminal gives a command a terminal of its own, and returns the other end of that.
func onTerminal(t *testing.T, cmd *exec.Cmd) (ours *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	var n int
	raw, err := ours.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) {
		if n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN); err == nil {
			err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		}
	}); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	theirs, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	cmd.Stdin = theirs
	cmd.SysProcAttr.Setsid, cmd.SysProcAttr.Setctty, cmd.SysProcAttr.Ctty = true, true, 0
	return ours
}

// arrival is a load.Sink that tells of messages.
type arrival chan string

func (arrival) Begin(int64) {}
func (a arrival) Deliver(msg []byte) {
	select {
	case a <- string(msg):
	default:
	}
}
func (arrival) Flush() {}

func (p *process) dial(t *testing.T, s load.Sink) load.Conn {
	t.Helper()
	c, err := client.Dialer{Limit: hang}.Dial(t.Context(), p.addr, load.DialOptions{Sink: s})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// forwards fails the test unless a message passes through the node.
func (p *process) forwards(t *testing.T) {
	t.Helper()
	got := make(arrival, 1)
	to := load.Address{Parts: [3]string{"org", "ns", "receiver"}, ID: 7}
	receiver, sender := p.dial(t, got), p.dial(t, nil)
	defer receiver.Close()
	defer sender.Close()
	if _, err := receiver.Subscribe(t.Context(), 1, 0, func(int) load.Address { return to }); err != nil {
		t.Fatal(err)
	}
	pub, err := sender.Publisher(load.Message{To: []load.Address{to}, Size: 100})
	if err != nil {
		t.Fatal(err)
	}
	if err := pub.Send(0, 1, 0, 0); err != nil {
		t.Fatal(err)
	}
	select {
	case <-got:
	case <-time.After(hang):
		t.Fatal("no message passes")
	}
}

// A reader of the log that stands still costs log records, and nothing else: not a message, not the end of the process.
// When it reads on, it learns how many records it has missed.
func TestLogReaderThatStandsStill(t *testing.T) {
	t.Parallel()
	for _, readsOn := range []bool{true, false} {
		t.Run(fmt.Sprintf("reads on %t", readsOn), func(t *testing.T) {
			t.Parallel() // it waits for most of its time
			p := spawn(t)
			for range 200 { // of which each is worth two lines
				p.dial(t, nil).Close()
			}
			p.forwards(t)
			if readsOn {
				p.line(t, "log records dropped")
				p.forwards(t)
			}
			if code := p.stop(t); code != cli.ExitOK {
				t.Errorf("exit %d, stderr %s", code, &p.stderr)
			}
		})
	}
}

// A reader that is gone costs the log.
func TestLogReaderThatLeaves(t *testing.T) {
	p := spawn(t)
	p.stdout.Close()
	for range 3 {
		p.forwards(t)
	}
	if code := p.stop(t); code != cli.ExitOK {
		t.Errorf("exit %d, want %d", code, cli.ExitOK)
	}
	if want := "cannot write the log: "; strings.Count(p.stderr.String(), want) != 1 {
		t.Errorf("stderr %q, want one line %q", &p.stderr, want)
	}
}

func TestLogOnAFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	cmd := command(t, "--config", "testdata/nope.yaml")
	cmd.Stderr = full
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != cli.ExitError {
		t.Errorf("%v, want exit %d", err, cli.ExitError)
	}
	p := &process{Cmd: command(t, "--config", "testdata/free-port.yaml")}
	r, w := pipe(t)
	p.Stdout, p.Stderr = full, w
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill(); p.Wait() })
	w.Close()
	p.stdout, p.lines = r, bufio.NewReader(r)
	p.line(t, "no space left on device")
	if code := p.stop(t); code != cli.ExitOK {
		t.Errorf("exit %d, want %d", code, cli.ExitOK)
	}
}

// A node without descriptors for its loops says which call failed and what to do, whichever call meets the limit. Eight
// suffice to read the configuration, and whoever runs the tests may have left us some more.
func TestStartWithoutDescriptors(t *testing.T) {
	t.Parallel() // beside those that wait
	call := regexp.MustCompile(`: (eventfd|epoll_\w+|socketpair|socket|fcntl): too many open files \(raise the limit of open files, or run fewer loops\)`)
	step := 3
	if os.Getenv("SLIMGO_TEST_LONG") != "" {
		step = 1
	}
	for limit := 12; limit < 32; limit += step {
		cmd := command(t, "--config", "testdata/free-port.yaml", "--loops", "8")
		cmd.Args = append([]string{"sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0" "$@"`, limit), cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
		out, err := cmd.CombinedOutput()
		if cmd.ProcessState.ExitCode() != cli.ExitError {
			t.Errorf("%d descriptors: %v, want exit %d", limit, err, cli.ExitError)
		}
		if !call.Match(out) {
			t.Errorf("%d descriptors: the node printed\n%s\nwant the call and what to do", limit, out)
		}
	}
}

// The exit code says what happened, whoever reads why.
func TestErrorsWithoutAReader(t *testing.T) {
	for args, want := range map[string]int{"--config testdata/nope.yaml": cli.ExitError, "--nope": cli.ExitUsage, "--help": cli.ExitOK} {
		r, w := pipe(t)
		cmd := command(t, strings.Fields(args)...)
		cmd.Stdout, cmd.Stderr = w, w
		r.Close()
		if err := cmd.Run(); cmd.ProcessState.ExitCode() != want {
			t.Errorf("slim %s: %v, want exit %d", args, err, want)
		}
	}
}

// A reader of errors that stands still does not keep the process from ending.
func TestErrorsToAReaderThatStandsStill(t *testing.T) {
	t.Parallel() // it waits for most of its time
	_, w := pipe(t)
	name := fmt.Sprintf("/proc/self/fd/%d", w.Fd())
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for err == nil { // until the pipe is full
		_, err = unix.Write(fd, make([]byte, os.Getpagesize()))
	}
	stderr, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	p := &process{Cmd: command(t, "--config", "testdata/nope.yaml")}
	p.Stderr = stderr
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Process.Kill(); p.Wait() })
	if code := p.ended(t); code != cli.ExitError {
		t.Errorf("exit %d, want %d", code, cli.ExitError)
	}
}
