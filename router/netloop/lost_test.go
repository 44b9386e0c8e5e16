package netloop

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// guarded accepts at a unix socket whose file is looked at all the time, and tells what is heard of it.
func (r *rigged) guarded(path string, full *atomic.Bool) (ln *Listener, told chan error) {
	r.t.Helper()
	told = make(chan error, 10)
	ln = listenAt(r.t, unixScheme+path+"?mode=0640")
	over := make(chan struct{})
	go func() {
		defer close(over)
		r.e.Accept(ln, Acceptance{Handler: func(*Loop) Handler { return &greeter{} }, Full: full.Load,
			Lost: func(_ *Listener, err error) { told <- err }})
	}()
	r.t.Cleanup(func() { ln.Close(); <-over })
	return ln, told
}

// greeted connects, and waits for the greeting.
func greeted(t *testing.T, path string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return awaitGreeting(t, c)
}

func awaitGreeting(t *testing.T, c net.Conn) net.Conn {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(hang))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatalf("nobody greets: %v", err)
	}
	return c
}

// A unix socket whose file is removed can be connected to again soon, at a file like the one before. Who has come by the
// old one stays, and who waits there is still served.
func TestUnixSocketWhoseFileIsRemoved(t *testing.T) {
	givesBack(t)
	r := rig(t, Options{Tick: time.Millisecond})
	path := filepath.Join(t.TempDir(), "s")
	var full atomic.Bool
	ln, told := r.guarded(path, &full)
	greeted(t, path)
	for range 3 {
		full.Store(true)
		var waiting []net.Conn
		for range 2 { // the first may be taken: it was waited for before the limit was looked at
			c, err := net.Dial("unix", path)
			if err != nil {
				t.Fatal(err)
			}
			waiting = append(waiting, c)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := <-told; err != nil {
			t.Fatalf("it is not made again: %v", err)
		}
		fi, err := os.Stat(path)
		if err != nil || fi.Mode().Perm() != 0o640 || ln.Lost() != "" {
			t.Errorf("the new file: %v, %v, lost: %q", fi, err, ln.Lost())
		}
		late, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		full.Store(false)
		for _, c := range append(waiting, late) {
			_ = awaitGreeting(t, c).Close()
		}
	}
	if ln.Close(); exists(path) {
		t.Error("the new file is left")
	}
}

// What somebody else has put there is left alone, and told of once; when it is gone, the socket is back.
func TestUnixSocketWhoseFileIsReplaced(t *testing.T) {
	for _, tt := range []struct {
		name, fault string
		put         func(t *testing.T, path string) (gone func())
	}{
		{"by a file", "is no socket", func(t *testing.T, path string) func() {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Remove(path) }
		}},
		{"by somebody's socket", "somebody listens", func(t *testing.T, path string) func() { return listenAt(t, unixScheme+path).Close }},
		{"with its folder", "make the folder first", func(t *testing.T, path string) func() {
			if err := os.Remove(filepath.Dir(path)); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.Mkdir(filepath.Dir(path), 0o700) }
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := rig(t, Options{Tick: time.Hour}) // the test looks
			path := filepath.Join(t.TempDir(), "folder", "s")
			_ = os.Mkdir(filepath.Dir(path), 0o700)
			var full atomic.Bool
			ln, _ := r.guarded(path, &full)
			greeted(t, path)
			_ = os.Remove(path)
			gone := tt.put(t, path)
			for range 2 {
				if anew, err := ln.mend(); anew || err == nil || !strings.Contains(err.Error(), tt.fault) || ln.Lost() != err.Error() {
					t.Fatalf("made again: %v, %v, lost: %q", anew, err, ln.Lost())
				}
			}
			gone()
			if anew, err := ln.mend(); !anew || err != nil || ln.Lost() != "" {
				t.Errorf("made again: %v, %v, lost: %q", anew, err, ln.Lost())
			}
			greeted(t, path)
			if anew, err := ln.mend(); anew || err != nil {
				t.Errorf("it is made again though it is there: %v", err)
			}
		})
	}
}

// A listener that is closed while its file is made leaves none.
func TestUnixSocketIsNotMadeAgainForNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	ln := listenAt(t, unixScheme+path)
	ln.Close()
	if anew, err := ln.mend(); anew || err != nil || exists(path) {
		t.Errorf("made again: %v, %v", anew, err)
	}
	if _, err := net.Dial("unix", path); !errors.Is(err, syscall.ENOENT) {
		t.Error(err)
	}
}
