package process

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed31b3bfd0/slimgo/internal/usage"
)

// TestMain lets the test binary play the node: called with an address it listens there until it is told to end, and lets nobody look
// at it if it is to be hidden. Or it plays one that starts a node, says which, and waits.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "start-node" {
		n, err := Start(context.Background(), Command{Text: os.Args[2]})
		if err != nil {
			os.Exit(5)
		}
		fmt.Println(n.PID())
		select {}
	}
	if len(os.Args) >= 3 && os.Args[1] == "play-node" {
		if len(os.Args) == 4 {
			_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
		}
		play(os.Args[2])
		return
	}
	os.Exit(m.Run())
}

func play(addr string) {
	if addr == "fail" {
		_, _ = os.Stderr.WriteString("no such port\n")
		os.Exit(3)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		_, _ = os.Stderr.WriteString(err.Error() + "\n") // who started it tries again by another port
		os.Exit(4)
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		for {
			if _, err := l.Accept(); err != nil { // its connections stay
				return
			}
		}
	}()
	<-stop
}

func self(t *testing.T, arg string) Command {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Command{Text: "'" + path + "' play-node " + arg}
}

func TestWords(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string // nil: an error
	}{
		{"slim --config x", []string{"slim", "--config", "x"}},
		{"  slim\t-a\n", []string{"slim", "-a"}},
		{`'my slim' "a b"c`, []string{"my slim", "a bc"}},
		{`a\ b '\n' "\""`, []string{"a b", `\n`, `"`}},
		{`a ''`, []string{"a", ""}},
		{"", nil},
		{"   ", nil},
		{`slim "x`, nil},
		{`slim x\`, nil},
		{`slim 'x`, nil},
		{`a"b 'c' \"d"e 'it'\''s'`, []string{`ab 'c' "de`, "it's"}},
		{"'a\nb' c", []string{"a\nb", "c"}},
	} {
		got, err := Words(c.in)
		if (err != nil) != (c.want == nil) || !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, %v; want %q", c.in, got, err, c.want)
		}
	}
}

func TestCommandIsFilledIn(t *testing.T) {
	dir := t.TempDir()
	got, err := Command{Text: "n -l {listen} -a {host} -p={port} -c {config}"}.expand("127.0.0.1:99", dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "node.yaml")
	want := []string{"n", "-l", "127.0.0.1:99", "-a", "127.0.0.1", "-p=99", "-c", path}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(b), `endpoint: "127.0.0.1:99"`) {
		t.Errorf("the configuration does not listen there:\n%s", b)
	}
}

func TestNodeStartsIsMeasuredAndStops(t *testing.T) {
	n, err := Start(t.Context(), self(t, "{listen}"))
	if err != nil {
		t.Fatal(err)
	}
	u, err := usage.Of(n.PID())
	if err != nil {
		t.Error(err)
	}
	if u.CPU <= 0 || u.RSS <= 0 || u.Peak < u.RSS || u.Threads < 1 || u.Files < 3 {
		t.Errorf("usage of a living process: %+v", u)
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
	if c, err := net.DialTimeout("tcp", n.Addr, time.Second); err == nil {
		_ = c.Close()
		t.Error("still listens after Stop")
	}
	if _, err := os.Stat(n.dir); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
}

func TestNodeThatFailsToStartTellsWhy(t *testing.T) {
	_, err := Start(t.Context(), self(t, "fail"))
	if err == nil || !strings.Contains(err.Error(), "no such port") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("got %v, want its exit and its words", err)
	}
}

// Between the choice of a port and its use another process may take it.
func TestPortThatIsTakenMeanwhileIsGivenUp(t *testing.T) {
	tried := filepath.Join(t.TempDir(), "tried")
	script := `echo "$2" >>"$1"; [ $(wc -l <"$1") -ge ` // the number of the try that listens
	refused := ` ] || { echo "Address already in use (os error 98)"; exit 1; }; exec "$3" play-node "$2"`
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	n, err := Start(t.Context(), Command{Text: Quote("sh", "-c", script+"3"+refused, "sh", tried, "{listen}", self)})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
	_ = os.Remove(tried)
	_, err = Start(t.Context(), Command{Text: Quote("sh", "-c", script+"5"+refused, "sh", tried, "{listen}", self)})
	if err == nil || !strings.Contains(err.Error(), "already in use") {
		t.Errorf("got %v, want the reason after four tries", err)
	}
	b, err := os.ReadFile(tried)
	if ports := strings.Fields(string(b)); err != nil || len(ports) != 4 || len(slices.Compact(ports)) < 2 {
		t.Errorf("tried %q, %v: want four ports", b, err)
	}
	// Of a mesh the third node meets such a port: all get others, and none of the first two stays.
	script = `echo "$2 $4" >>"$1"; [ $(wc -l <"$1") -ne 3`
	third := Command{Text: Quote("sh", "-c", script+refused, "sh", tried, "{listen}", self, "{config}")}
	var all []*Node
	var lines []string
	for range 3 { // more tries are those of ports that really were taken
		_ = os.Remove(tried)
		all, err = StartMesh(t.Context(), third, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range all {
			if err := n.Stop(); err != nil {
				t.Error(err)
			}
		}
		b, _ = os.ReadFile(tried)
		if lines = strings.Fields(string(b)); len(lines) <= 12 {
			break
		}
	}
	if len(all) != 3 || len(lines) != 12 {
		t.Errorf("%d nodes of these: %q", len(all), b)
	}
	for i := 1; i < len(lines); i += 2 {
		if _, err := os.Stat(lines[i]); err == nil {
			t.Errorf("%s is left", lines[i])
		}
	}
}

// Two nodes of a mesh never get one port.
func TestPortsOfAMeshDiffer(t *testing.T) {
	for range 20 {
		all, err := freeAddresses(MaxMesh)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Sort(all); len(slices.Compact(all)) != MaxMesh {
			t.Fatal("a port was chosen twice")
		}
	}
}

// A process serves a connection if it, or a child of it, has accepted it.
func TestServesTellsWhoseTheConnectionIs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	other, err := Start(t.Context(), self(t, "{listen}"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := other.Stop(); err != nil {
			t.Error(err)
		}
	}()
	ours, theirs := connected(t, "tcp", l.Addr().String()), connected(t, "tcp", strings.Replace(other.Addr, "127.0.0.1", "localhost", 1))
	var waiting []net.Conn // of which the table has the same but for our port
	for range 8 {
		waiting = append(waiting, connected(t, "tcp", l.Addr().String()))
	}
	accepted, err := l.Accept() // the first
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	_, port, _ := net.SplitHostPort(other.Addr)
	elsewhere, err := net.Listen("tcp", "127.0.0.2:"+port) // as on another machine
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	for _, c := range []struct {
		name string
		pid  int
		c    net.Conn
		want bool
	}{
		{"that of another address with its port", other.PID(), connected(t, "tcp", elsewhere.Addr().String()), false},
		{"its own", os.Getpid(), ours, true},
		{"its child's", os.Getpid(), theirs, true},
		{"its parent's", other.PID(), ours, false},
		{"the wrong end of one", other.PID(), accepted, false},
	} {
		if c.want {
			if err := Serves(t.Context(), c.pid, c.c); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		} else if got, _, _ := serves(c.pid, c.c); got {
			t.Errorf("%s: it is said to be served", c.name)
		}
	}
	for i, c := range waiting {
		if got, taken, _ := serves(os.Getpid(), c); got || taken {
			t.Errorf("connection %d is served, although nobody has accepted it", i)
		}
	}
}

// A user who may not look at a process's descriptors cannot tell whose its connections are.
func TestServesSaysThatNobodyMayLook(t *testing.T) {
	n, err := Start(t.Context(), self(t, "{listen} hidden"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
	}()
	c, told := connected(t, "tcp", n.Addr), make(chan error, 1)
	go func() {
		runtime.LockOSThread()   // and never let go: the thread ends with its goroutine
		_ = unix.Setfsuid(65534) // refused to all but root, who are another user than root anyway
		none := [2]unix.CapUserData{}
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
			t.Error(err)
		}
		told <- Serves(t.Context(), n.PID(), c)
	}()
	if err := <-told; !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "only its user and root can see") {
		t.Errorf("got %v", err)
	}
}

// What a wrapper leaves to somebody else is not measured: it would be found to cost nothing.
func TestNodeThatIsNotTheStartedProcessIsRefused(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	inner := self(t, "{listen}").Text
	c := Command{Text: Quote("sh", "-c", `setsid sh -c "$0 & echo \$! > $1"; exec sleep 600`, inner, pid)}
	_, err := Start(t.Context(), c)
	if err == nil || !strings.Contains(err.Error(), "a wrapper has to end in exec") {
		t.Errorf("got %v", err)
	}
	_ = syscall.Kill(written(t, pid), syscall.SIGKILL)
}

// Children that do not heed SIGTERM are ended with their node.
func TestChildrenEndWithTheirNode(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	inner := self(t, "{listen}").Text
	c := Command{Text: Quote("sh", "-c", `(trap "" TERM; exec sleep 600) & echo $! > $1; eval exec "$0"`, inner, pid)}
	n, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Stop(); err != nil {
		t.Error(err)
	}
	child := written(t, pid)
	err = Until(t.Context(), time.Millisecond, time.Minute, func() bool { _, err := usage.Of(child); return err != nil })
	if err != nil {
		t.Error("a child goes on")
		_ = syscall.Kill(child, syscall.SIGKILL)
	}
}

// Who is killed leaves no node behind.
func TestNodeEndsWithWhoStartedIt(t *testing.T) {
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "start-node", self(t, "{listen}").Text)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir()) // which nobody is left to clear
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Error(err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err := Until(t.Context(), time.Millisecond, time.Minute, func() bool { _, err := usage.Of(pid); return err != nil }); err != nil {
		t.Error("the node goes on")
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// written is the number in a file, a line that somebody writes.
func written(t *testing.T, path string) int {
	t.Helper()
	var b []byte
	var err error
	if Until(t.Context(), time.Millisecond, time.Minute, func() bool {
		b, err = os.ReadFile(path)
		return err == nil && bytes.HasSuffix(b, []byte("\n"))
	}) != nil {
		t.Fatalf("%q, %v", b, err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func connected(t *testing.T, network, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestBusyMachineIsNamed(t *testing.T) {
	begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(after, busy, stolen, ours, clock time.Duration) Reading {
		return Reading{at: begin.Add(after), wall: begin.Add(after + clock), busy: time.Hour + busy, stolen: time.Minute + stolen,
			ours: 30*time.Minute + ours, known: true}
	}
	for _, c := range []struct {
		name string
		end  Reading
		want string
	}{
		{"all ours", at(10*time.Second, 18*time.Second, 0, 18*time.Second, 0), ""},
		{"a little of others'", at(10*time.Second, 3*time.Second, 0, 2*time.Second, 0), ""},
		{"much of others'", at(10*time.Second, 17*time.Second, 0, 2*time.Second, 0), "busy machine: other processes used 1.5 of the 2 processors"},
		{"stolen", at(10*time.Second, 0, time.Second, 0, 0), "busy machine: the host gave 0.10 of the 2 processors to others (steal)"},
		{"the clock was set", at(10*time.Second, 0, 0, 0, -3*time.Second), "busy machine: the clock was set by -3s"},
		{"too short to tell", at(50*time.Millisecond, 100*time.Millisecond, 0, 0, 0), ""},
		{"nothing known", Reading{at: begin.Add(time.Minute), wall: begin.Add(time.Minute)}, ""},
	} {
		if got := at(0, 0, 0, 0, 0).Busy(c.end, 2); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// What goes on at processors to which this process is not let is nothing to its measurements.
func TestOnlyOwnProcessorsAreRead(t *testing.T) {
	all, one := Read(0), make(chan Reading, 1)
	go func() {
		runtime.LockOSThread() // and never let go: the thread ends with its goroutine
		var may, first unix.CPUSet
		if err := unix.SchedGetaffinity(0, &may); err != nil {
			t.Error(err)
		}
		for id := 0; first.Count() == 0; id++ {
			if may.IsSet(id) {
				first.Set(id)
			}
		}
		if err := unix.SchedSetaffinity(0, &first); err != nil {
			t.Error(err)
		}
		one <- Read(0)
	}()
	if got := <-one; !got.known || got.busy <= 0 || runtime.NumCPU() > 1 && got.busy >= all.busy {
		t.Errorf("one processor of %d was busy for %v, all of them for %v", runtime.NumCPU(), got.busy, all.busy)
	}
}

// What the measured process, and those that have ended, used is not of others; of one that is gone nobody knows it.
func TestOwnUseIsOfAllThatIsMeasured(t *testing.T) {
	before := Read(0)
	child := exec.Command("sh", "-c", "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done")
	if err := child.Run(); err != nil {
		t.Fatal(err)
	}
	used := child.ProcessState.UserTime() + child.ProcessState.SystemTime()
	after := Read(0)
	if got := after.ours - before.ours; got < used {
		t.Errorf("%v more with a child that used %v", got, used)
	}
	own, err := usage.Own()
	if with := Read(os.Getpid()); err != nil || with.ours-after.ours < own.CPU || !with.known {
		t.Errorf("with a process that used %v it is %v, without %v; known: %v", own.CPU, with.ours, after.ours, with.known)
	}
	if Read(child.ProcessState.Pid()).known {
		t.Error("of a process that has ended it is known")
	}
}

func TestThisMachineIsRead(t *testing.T) {
	if r := Read(os.Getpid()); !r.known || r.busy <= 0 || r.ours <= 0 {
		t.Errorf("its use: %+v", r)
	}
	if m := ThisMachine(); m.Cores < 1 || m.CPU == "" || m.Kernel == "" {
		t.Errorf("it: %+v", m)
	}
}

// The configuration makes a node listen in the way asked for, and says where clients find it.
func TestTransportsAreConfigured(t *testing.T) {
	dir := t.TempDir()
	for transport, want := range map[string]struct{ address, endpoint, security string }{
		"":     {"127.0.0.1:99", `"127.0.0.1:99"`, "insecure: true"},
		"tls":  {"https://127.0.0.1:99", `"127.0.0.1:99"`, "source: {type: file, cert: "},
		"mtls": {"https://127.0.0.1:99", `"127.0.0.1:99"`, "client_ca: {type: file, path: "},
		"ws":   {"ws://127.0.0.1:99", `"ws://127.0.0.1:99"`, "insecure: true"},
		"wss":  {"wss://127.0.0.1:99", `"wss://127.0.0.1:99"`, "source: {type: file, cert: "},
		"unix": {"unix://" + dir + "/node.sock", `"unix://` + dir + `/node.sock"`, "insecure: true"},
	} {
		c := Command{Text: "n --config {config}", Transport: transport}
		words, err := c.expand("127.0.0.1:99", dir)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(words[2])
		if err != nil {
			t.Fatal(err)
		}
		if got := c.address("127.0.0.1:99", dir); got != want.address {
			t.Errorf("%q: clients go to %s, want %s", transport, got, want.address)
		}
		if s := string(b); !strings.Contains(s, "endpoint: "+want.endpoint) || !strings.Contains(s, want.security) ||
			strings.Contains(s, "insecure") == c.secure() {
			t.Errorf("%q:\n%s", transport, s)
		}
	}
	if _, err := (Command{Text: "n --listen {listen}", Transport: "tls"}).expand("127.0.0.1:99", dir); err == nil ||
		!strings.Contains(err.Error(), "give {config}") {
		t.Errorf("without a configuration: %v", err)
	}
}

// A listener with the files, which demands a certificate, and a client with the configuration trust each other.
func TestCertificatesServeBothSides(t *testing.T) {
	dir := t.TempDir()
	client, err := certificates(dir)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, certificateFile), filepath.Join(dir, keyFile))
	if err != nil {
		t.Fatal(err)
	}
	client.ServerName = "127.0.0.1"
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	served := make(chan error, 1)
	server := tls.Server(b, &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: client.RootCAs, ClientAuth: tls.RequireAndVerifyClientCert})
	go func() { served <- server.HandshakeContext(t.Context()) }()
	if err := tls.Client(a, client).HandshakeContext(t.Context()); err != nil {
		t.Error("client:", err)
	}
	if err := <-served; err != nil {
		t.Error("server:", err)
	}
}

func TestUnixSocketIsServedByItsListener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := connected(t, "unix", path)
	if err := Serves(t.Context(), os.Getpid(), c); err != nil {
		t.Error(err)
	}
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	if served, _, _ := serves(other.Process.Pid, c); served {
		t.Error("served by a process that does not listen")
	}
}
