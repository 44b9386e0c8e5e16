package netloop

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// crowdedEnv makes the test binary serve, with what TLS says, in a process that has few descriptors.
const crowdedEnv = "SLIMGO_TEST_CROWDED"

// crowded serves by TLS or without until the standard input ends, and greets whoever a loop has. It tells its address,
// and when it takes nobody any more.
func crowded(t *testing.T, withTLS bool) {
	r := rig(t, Options{})
	a := Acceptance{
		Handler: func(*Loop) Handler { return &greeter{} },
		Failed:  func(_ *Listener, err error) { fmt.Println("full:", err) },
	}
	if withTLS {
		a.TLS, _ = serving(t)
	}
	ln, _ := r.listen(a)
	fmt.Println("at", ln.Addr())
	_, _ = os.Stdin.Read(make([]byte, 1))
}

// greeter is a handler that sends a byte.
type greeter struct{ tape }

func (g *greeter) Opened(k *Socket) {
	g.tape.Opened(k)
	k.Outbox().Add([]byte("!"), nil)
}

// heldBack is a connection whose first write lacks its last byte until it is let go.
type heldBack struct {
	net.Conn
	let  chan struct{}
	once sync.Once
}

func (c *heldBack) Write(p []byte) (n int, err error) {
	first := false
	c.once.Do(func() { first = true })
	if !first {
		return c.Conn.Write(p)
	}
	if n, err = c.Conn.Write(p[:len(p)-1]); err != nil {
		return n, err
	}
	<-c.let
	m, err := c.Conn.Write(p[n:])
	return n + m, err
}

// However many come at once: as many are served as there is room for, others wait until somebody leaves. Handshakes that
// become complete at the same moment do not wait for each other's descriptors.
func TestMoreClientsThanDescriptors(t *testing.T) {
	t.Parallel() // beside those that wait
	if how := os.Getenv(crowdedEnv); how != "" {
		crowded(t, how == "tls")
		return
	}
	for _, how := range []string{"tls", "plain"} {
		t.Run(how, func(t *testing.T) { manyClients(t, how) })
	}
}

func manyClients(t *testing.T, how string) {
	const limit, clients, enough = 64, 80, 32
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("ulimit -n %d; exec %s -test.run=^TestMoreClientsThanDescriptors$", limit, exe))
	cmd.Env = append(os.Environ(), crowdedEnv+"="+how)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	says := bufio.NewScanner(out)
	next := func(prefix string) string {
		t.Helper()
		for says.Scan() {
			if s, ok := strings.CutPrefix(says.Text(), prefix); ok {
				return s
			}
		}
		t.Fatalf("the server ends before it says %q", prefix)
		return ""
	}
	addr := next("at ")

	let := make(chan struct{})
	served, failed := make(chan net.Conn, clients+1), make(chan error, clients+1)
	come := func() {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			failed <- err
			return
		}
		if how == "tls" {
			c = tls.Client(&heldBack{Conn: c, let: let}, &tls.Config{InsecureSkipVerify: true})
		}
		if _, err := c.Read(make([]byte, 1)); err != nil {
			failed <- err
			return
		}
		served <- c
	}
	for range clients {
		go come()
	}
	next("full: ")
	close(let)
	var all []net.Conn
	wait := func(what string) {
		t.Helper()
		select {
		case c := <-served:
			all = append(all, c)
		case err := <-failed:
			t.Fatalf("%s: %v", what, err)
		case <-time.After(hang):
			t.Fatalf("%s: %d of %d were served so far", what, len(all), clients)
		}
	}
	for len(all) < enough {
		wait("there is room")
	}
	for at := 0; len(all) < clients; at++ {
		_ = all[at].Close()
		wait("somebody has left")
	}
	for _, c := range all {
		_ = c.Close()
	}
	go come()
	wait("all have left")
	_ = all[clients].Close()
}

// counted returns how many spare descriptors there are, and fails the test if one of them is not open.
func (s *spare) counted(t *testing.T) int {
	t.Helper()
	for _, fd := range s.fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			t.Errorf("descriptor %d: %v", fd, err)
		}
	}
	return len(s.fds)
}

// What is to be handed over has all spare descriptors to itself.
func TestSpareDescriptorsAreFreeForOneAtATime(t *testing.T) {
	s := spare{most: 5}
	s.look()
	defer s.close()
	err := s.hand(func() error {
		s.refill() // as loops do meanwhile
		s.look()
		if n := s.counted(t); n != 0 {
			t.Errorf("%d are kept while they are free for one", n)
		}
		if s.taking.TryLock() {
			t.Error("somebody may accept meanwhile")
		}
		return unix.EMFILE
	})
	if n := s.counted(t); err != unix.EMFILE || n != 5 {
		t.Errorf("after it: %v, %d spare descriptors", err, n)
	}
}

// The headroom is free for others from when nothing else is until it can be had as a whole.
func TestHeadroomIsForOthers(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	s := spare{most: forHands + 4}
	defer s.close()
	if !s.room() || s.counted(t) != forHands+4 {
		t.Fatalf("at first %d are kept", s.counted(t))
	}
	none := unix.Rlimit{Cur: 0, Max: limit.Max} // what is open stays
	set := func(l *unix.Rlimit) {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, l); err != nil {
			t.Fatal(err)
		}
	}
	set(&none)
	defer set(&limit)
	for range 2 {
		if s.look(); s.counted(t) != forHands {
			t.Errorf("without any other %d are kept, want %d", s.counted(t), forHands)
		}
	}
	if s.room() {
		t.Error("there is room without descriptors")
	}
	set(&limit)
	if s.look(); s.counted(t) != forHands {
		t.Error("somebody who accepts nothing takes the headroom back")
	}
	if !s.room() || s.counted(t) != forHands+4 {
		t.Errorf("later %d are kept", s.counted(t))
	}
}
