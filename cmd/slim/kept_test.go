package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The log tells of a listener whose mode or path has changed that it stays: nothing has started, and nobody ends.
func TestReloadSaysThatAListenerStays(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s")
	gone := plain("[::1]:0")
	r := startReloading(t, serviceText([]string{gone, plain("unix://" + path + "?mode=0660"), plain("ws://127.0.0.1:0/a")}, nil))
	who := app(t, "unix", path)
	lines := r.reload(serviceText([]string{plain("ws://127.0.0.1:0/b"), plain("unix://" + path + "?mode=0600")}, nil), loadedAnew)
	// Not from the signal on: the watcher's first look may come before it.
	_, log, _ := strings.Cut(strings.Join(lines, "\n"), "service started")
	for _, want := range []string{"dataplane server changed: those who came by it go on", "?mode=0600 before=unix://" + path + "?mode=0660",
		"/b before=ws://127.0.0.1:"} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in\n%s", want, log)
		}
	}
	if strings.Contains(log, "started") || strings.Count(log, "dataplane server removed: those who came by it end") != 1 {
		t.Errorf("the log says\n%s", log)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 || who.Err() != nil {
		t.Errorf("the socket is %v, %v; who came by it: %v", fi.Mode(), err, who.Err())
	}
}

// A configuration in whose place there is something else is a fault like any other, whether the watcher or a signal
// finds it.
func TestReloadOfWhatIsNoFileAnyMore(t *testing.T) {
	t.Parallel()
	text := serviceText([]string{plain("127.0.0.1:0")}, nil)
	for what, put := range map[string]func(path string) error{
		"a directory": func(path string) error { return os.Mkdir(path, 0o700) },
		"a pipe":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		t.Run(what, func(t *testing.T) {
			r := startReloading(t, text)
			_ = os.Remove(r.file)
			if err := put(r.file); err != nil {
				t.Fatal(err)
			}
			r.hangups <- syscall.SIGHUP
			lines := r.await("configuration is not loaded: everything stays as it is")
			if last := lines[len(lines)-1]; !strings.Contains(last, "is no file any more, but "+what) {
				t.Error(last)
			}
			_ = os.Remove(r.file)
			r.reload(text, "configuration is as before")
		})
	}
}

// A file may become a pipe between two looks at it: nobody waits for its writer.
func TestDigestOfWhatBecomesAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				_ = os.Remove(path)
				_ = os.WriteFile(path, nil, 0o600)
				_ = os.Remove(path)
				_ = syscall.Mkfifo(path, 0o600)
			}
		}
	}()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20_000 {
			digest(path)
		}
	}()
	select {
	case <-done:
	case <-time.After(hang):
		t.Error("it waits for somebody who writes")
	}
	close(stop)
	<-stopped
}
