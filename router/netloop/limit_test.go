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
		a.Timeout = 2 * hang
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

// What is to be handed over gets two descriptors where there are none, and leaves two; a duplicate needs one.
func TestSpareDescriptorsAreFreeForOneAtATime(t *testing.T) {
	var s spare
	s.refill()
	defer s.close()
	count := func() (n int) {
		for _, fd := range s.fds {
			if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); fd != 0 && err == nil {
				n++
			}
		}
		return n
	}
	if n := count(); n != 2 {
		t.Fatalf("%d spare descriptors, want 2", n)
	}
	had := s.fds
	err := s.hand(func() error {
		s.refill() // as loops do meanwhile
		if n := count(); n != 0 {
			t.Errorf("%d are kept while they are free for one", n)
		}
		if s.taking.TryLock() {
			t.Error("somebody may accept meanwhile")
		}
		return unix.EMFILE
	})
	if err != unix.EMFILE || count() != 2 {
		t.Errorf("after it: %v, %d spare descriptors of %v", err, count(), had)
	}
}
