package netloop

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Rules: P-conf-23.
func TestSplitUnix(t *testing.T) {
	for _, tc := range []struct {
		endpoint, path string
		mode           fs.FileMode
		fault          string
	}{
		{"unix:///run/slim.sock", "/run/slim.sock", 0, ""},
		{"unix://slim.sock", "slim.sock", 0, ""},
		{"unix:///run/slim.sock?mode=0660", "/run/slim.sock", 0o660, ""},
		{"unix:///run/slim.sock?x=1&mode=600#part", "/run/slim.sock", 0o600, ""},
		{"unix:///run/slim.sock#part?mode=0660", "/run/slim.sock", 0, ""},
		{"unix:///run/slim.sock?mod=1", "/run/slim.sock", 0, ""},
		{"unix://", "", 0, "is missing"},
		{"unix://?mode=0660", "", 0, "is missing"},
		{"unix:///x?mode=rw", "", 0, "octal"},
		{"unix:///x?mode=1777", "", 0, "octal"},
		{"unix:///x?mode=0", "", 0, "octal"},
		{"unix:///x?mode=", "", 0, "octal"},
		{"unix:///" + strings.Repeat("x", 107), "", 0, "108 bytes"},
		{"unix:///a\x00b", "", 0, "zero byte"},
	} {
		path, mode, err := SplitUnix(tc.endpoint)
		if tc.fault != "" {
			if err == nil || !strings.Contains(err.Error(), tc.fault) {
				t.Errorf("%q: %v, want %q", tc.endpoint, err, tc.fault)
			}
			continue
		}
		if err != nil || path != tc.path || mode != tc.mode {
			t.Errorf("%q: %q, %o, %v", tc.endpoint, path, mode, err)
		}
	}
}

// listenAt listens on the unix socket of an endpoint until the test ends.
func listenAt(t *testing.T, endpoint string) *Listener {
	t.Helper()
	lns, err := Listen(t.Context(), []string{endpoint})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lns[0].Close)
	return lns[0]
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestUnixSocketHasItsModeAndGoesWithItsListener(t *testing.T) {
	dir := t.TempDir()
	for _, mode := range []fs.FileMode{0o600, 0o666, 0o777} {
		path := filepath.Join(dir, "s")
		ln := listenAt(t, unixScheme+path+"?mode="+octal(mode))
		fi, err := os.Stat(path)
		if err != nil || fi.Mode().Type() != fs.ModeSocket || fi.Mode().Perm() != mode {
			t.Errorf("%v, %v; want mode %o", fi.Mode(), err, mode)
		}
		if a := ln.Addr(); a.Network() != "unix" || a.String() != path {
			t.Errorf("address %v", a)
		}
		if ln.Close(); exists(path) {
			t.Error("the file is left")
		}
	}
	t.Chdir(dir)
	listenAt(t, "unix://@rel") // a file, and no abstract name
	c, err := net.Dial("unix", filepath.Join(dir, "@rel"))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

func octal(m fs.FileMode) string {
	return string([]byte{'0', '0' + byte(m>>6&7), '0' + byte(m>>3&7), '0' + byte(m&7)})
}

// stale leaves the file of a unix socket behind, as a process does that is killed.
func stale(t *testing.T, path string) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
}

func TestSocketFileThatWasLeftBehindIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	stale(t, path)
	listenAt(t, unixScheme+path)
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

func TestPathThatIsInUseIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	refused := func(want error, texts ...string) {
		t.Helper()
		_, err := Listen(t.Context(), []string{"127.0.0.1:0", unixScheme + path})
		var le *ListenError
		if !errors.As(err, &le) || le.Index != 1 || want != nil && !errors.Is(err, want) {
			t.Errorf("err = %v", err)
			return
		}
		for _, text := range texts {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%q does not say %q", err, text)
			}
		}
	}
	listenAt(t, unixScheme+path)
	refused(syscall.EADDRINUSE, path, "somebody listens on this unix socket", "choose another path")
	if c, err := net.Dial("unix", path); err != nil {
		t.Error("the first listener is lost:", err)
	} else {
		_ = c.Close()
	}
	path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(nil, "is no socket", "not replaced")
	if b, err := os.ReadFile(path); err != nil || string(b) != "precious" {
		t.Errorf("the file: %q, %v", b, err)
	}
	path = filepath.Join(t.TempDir(), "none", "s")
	refused(fs.ErrNotExist, "make the folder first")
	path = filepath.Join(t.TempDir(), "twice")
	_, err := Listen(t.Context(), []string{unixScheme + path, unixScheme + path})
	if err == nil || !strings.Contains(err.Error(), "listed twice") || exists(path) {
		t.Errorf("twice: %v, the file exists %v", err, exists(path))
	}
}

// A file that somebody has put in the place of ours is not ours to remove.
func TestFileOfAnotherIsNotRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln := listenAt(t, unixScheme+path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other := listenAt(t, unixScheme+path)
	if ln.Close(); !exists(path) {
		t.Error("the file of the other is gone")
	}
	if other.Close(); exists(path) {
		t.Error("its own is left")
	}
}

// Of many that find a file that was left behind, one gets the socket, and it has it.
func TestOneOfManyGetsTheSocket(t *testing.T) {
	t.Parallel() // beside those that wait
	for range 50 {
		path := filepath.Join(t.TempDir(), "s")
		stale(t, path)
		var all sync.WaitGroup
		got := make([]*Listener, 8)
		for i := range got {
			all.Go(func() {
				if lns, err := Listen(t.Context(), []string{unixScheme + path}); err == nil {
					got[i] = lns[0]
				} else if !errors.Is(err, syscall.EADDRINUSE) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		n := 0
		for _, ln := range got {
			if ln != nil {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("%d listeners on one path", n)
		}
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		for _, ln := range got {
			if ln != nil {
				ln.Close()
			}
		}
	}
}

// A socket of a unix listener carries bytes, says who its peer is, and sees its end.
func TestUnixConnection(t *testing.T) {
	r := rig(t, Options{})
	path := filepath.Join(t.TempDir(), "s")
	lns, err := Listen(t.Context(), []string{unixScheme + path})
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	h := &tape{}
	go func() {
		defer close(over)
		r.e.Accept(lns[0], Acceptance{Handler: func(*Loop) Handler { return h }})
	}()
	t.Cleanup(func() { lns[0].Close(); <-over })
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	in := pattern(1 << 20)
	if _, err := c.Write(in); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is read", func() bool { return h.heard() == len(in) })
	if want := peerOf(h.k.fd); h.k.Remote() != want || !strings.Contains(want, "pid=") {
		t.Errorf("the peer is %s, want %s", h.k.Remote(), want)
	}
	_ = c.Close()
	eventually(t, "it is closed", func() bool { return h.has("closed") })
}

// unixPair returns the ends of a unix connection, of which the first is a socket's.
func unixPair(t *testing.T) (k *Socket, far int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fds[0]); _ = unix.Close(fds[1]) })
	return &Socket{fd: fds[0], backlog: new(backlog)}, fds[1]
}

// The kernel counts memory, and the memory of short writes is ten times their bytes. What the peer has read shows all
// the same, to within a buffer or two: while it reads, and when that which it reads came in short writes as well as in
// long ones.
func TestUnacknowledgedBytesOfAUnixSocket(t *testing.T) {
	for _, tc := range []struct {
		name   string
		writes []int // sizes, in turn
	}{
		{"short writes", []int{100}},
		{"long writes", []int{100_000}},
		{"short, then long", append(make100(400), 100_000)},
		{"mixed", []int{50, 3000, 70_000, 200, 200, 9000}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k, far := unixPair(t)
			p := make([]byte, 100_000)
			read, i := 0, 0
			fill := func() {
				for {
					n, err := unix.Write(k.fd, p[:tc.writes[min(i, len(tc.writes)-1)%len(tc.writes)]])
					if n <= 0 || err != nil {
						return
					}
					k.written += uint64(n)
					if i++; i%len(tc.writes) == 0 && tc.name == "mixed" {
						i = 0
					}
				}
			}
			const slack = 48 << 10 // a buffer that is half read, and one of another kind
			for round := range 400 {
				if round%5 == 0 {
					fill()
				}
				left, got := int(k.written)-read, k.Unacknowledged()
				if got < left-slack || got > left+slack {
					t.Fatalf("round %d: %d bytes are unread, said to be %d", round, left, got)
				}
				n, err := unix.Read(far, p[:7000])
				if err == nil {
					read += n
				}
			}
			for read < int(k.written) {
				n, err := unix.Read(far, p)
				if err != nil {
					t.Fatal(err)
				}
				read += n
			}
			if n := k.Unacknowledged(); n != 0 {
				t.Errorf("%d bytes of nothing", n)
			}
		})
	}
}

func make100(n int) []int {
	s := make([]int, n)
	for i := range s {
		s[i] = 100
	}
	return s
}
