package watch

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watched is a watcher in a bubble of time, whose notifier is the test.
type watched struct {
	Watcher
	events chan fsnotify.Event
	errors chan error
	now    chan struct{}

	mu    sync.Mutex
	looks []string // when, since the begin, and how
	fault bool
}

// faulty sets whether something is wrong with the files.
func (w *watched) faulty(fault bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault = fault
}

// looked returns when there was a look, and forgets it.
func (w *watched) looked() []string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	looks := w.looks
	w.looks = nil
	return looks
}

func newWatched(t *testing.T) *watched {
	w := &watched{events: make(chan fsnotify.Event), errors: make(chan error), now: make(chan struct{})}
	began := time.Now()
	w.Files = func() []string { return []string{"/none/file"} }
	w.Look = func(asked, strict bool) bool {
		how := time.Since(began).String()
		if asked {
			how += " asked"
		}
		if strict {
			how += " strict"
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.looks = append(w.looks, how)
		return w.fault
	}
	w.open = func() (*notifier, error) {
		return &notifier{w.events, w.errors, func(string) error { return nil }, func() error { return nil }}, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { defer close(over); w.Run(ctx, w.now) }()
	t.Cleanup(func() { cancel(); <-over })
	w.looked()
	return w
}

func (w *watched) want(t *testing.T, want ...string) {
	t.Helper()
	if looks := w.looked(); !slices.Equal(looks, want) {
		t.Errorf("looks %q, want %q", looks, want)
	}
}

func TestChangesAreReadOnceTheyHaveSettled(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(w *watched)
		want []string
	}{
		"one change": {func(w *watched) {
			w.events <- fsnotify.Event{Name: "/none/file"}
			time.Sleep(time.Second)
		}, []string{"250ms"}},
		"several in a row": {func(w *watched) {
			for range 3 {
				w.events <- fsnotify.Event{Name: "/none/file"}
				time.Sleep(200 * time.Millisecond)
			}
			time.Sleep(time.Second)
		}, []string{"650ms"}},
		"a folder that never rests": {func(w *watched) {
			for range 12 {
				w.events <- fsnotify.Event{Name: "/none/file"}
				time.Sleep(200 * time.Millisecond)
			}
		}, []string{"1.05s", "2.25s"}},
		"something else changes": {func(w *watched) {
			w.events <- fsnotify.Event{Name: "/none/log"}
			time.Sleep(time.Second)
		}, nil},
		"a fault, while something else changes all the time": {func(w *watched) {
			w.faulty(true)
			w.events <- fsnotify.Event{Name: "/none/file"}
			for range 100 {
				time.Sleep(50 * time.Millisecond)
				w.events <- fsnotify.Event{Name: "/none/log"}
			}
		}, []string{"250ms", "1.25s strict"}},
		"a fault is forgiven once": {func(w *watched) {
			w.faulty(true)
			w.events <- fsnotify.Event{Name: "/none/file"}
			time.Sleep(10 * time.Second)
		}, []string{"250ms", "1.25s strict"}},
		"another fault after one that was told": {func(w *watched) {
			w.faulty(true)
			for range 2 {
				w.events <- fsnotify.Event{Name: "/none/file"}
				time.Sleep(10 * time.Second)
			}
		}, []string{"250ms", "1.25s strict", "10.25s", "11.25s strict"}},
		"a fault that ends in time": {func(w *watched) {
			w.faulty(true)
			w.events <- fsnotify.Event{Name: "/none/file"}
			time.Sleep(300 * time.Millisecond)
			w.faulty(false)
			time.Sleep(10 * time.Second)
		}, []string{"250ms", "1.25s strict"}},
		"events were lost": {func(w *watched) {
			w.errors <- errors.New("overflow")
			time.Sleep(time.Second)
		}, []string{"250ms"}},
		"nobody announces anything": {func(w *watched) {
			time.Sleep(2*time.Minute + time.Second)
		}, []string{"1m0s strict", "2m0s strict"}},
		"it is asked for": {func(w *watched) { w.now <- struct{}{} }, []string{"0s asked strict"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWatched(t)
				tt.do(w)
				w.want(t, tt.want...)
			})
		})
	}
}

// Files are seen to change however that is done; what is done within the time to settle is one change.
func TestWaysToReplaceAFile(t *testing.T) {
	write := func(t *testing.T, path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rename := func(t *testing.T, from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	link := func(t *testing.T, to, at string) {
		t.Helper()
		if err := os.Symlink(to, at); err != nil {
			t.Fatal(err)
		}
	}
	var await func(t *testing.T, want string) // until that is read; "": until the file is not there
	for name, tt := range map[string]struct {
		prepare, replace func(t *testing.T, dir, file string)
		at               string // of the file, in dir; "": file
	}{
		"written in place": {replace: func(t *testing.T, _, file string) { write(t, file, "new") }},
		"another is renamed": {replace: func(t *testing.T, dir, file string) {
			write(t, filepath.Join(dir, ".file.swp"), "new")
			rename(t, filepath.Join(dir, ".file.swp"), file)
		}},
		"moved away, and written anew": {replace: func(t *testing.T, dir, file string) {
			rename(t, file, filepath.Join(dir, "file~"))
			write(t, file, "new")
		}},
		"removed and made": {replace: func(t *testing.T, _, file string) {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			write(t, file, "new")
		}},
		"a link of Kubernetes is replaced": {prepare: func(t *testing.T, dir, file string) {
			for _, n := range []string{"..1", "..2"} {
				if err := os.Mkdir(filepath.Join(dir, n), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			write(t, filepath.Join(dir, "..1", "file"), "old")
			link(t, "..1", filepath.Join(dir, "..data"))
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			link(t, filepath.Join("..data", "file"), file)
		}, replace: func(t *testing.T, dir, _ string) {
			write(t, filepath.Join(dir, "..2", "file"), "new")
			link(t, "..2", filepath.Join(dir, "..tmp"))
			rename(t, filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data"))
		}},
		"a link above its folder is replaced": {prepare: func(t *testing.T, dir, _ string) {
			for _, n := range []string{"1", "2"} {
				if err := os.MkdirAll(filepath.Join(dir, n, "etc"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			write(t, filepath.Join(dir, "1", "etc", "file"), "old")
			link(t, "1", filepath.Join(dir, "current"))
		}, replace: func(t *testing.T, dir, _ string) {
			write(t, filepath.Join(dir, "2", "etc", "file"), "new")
			link(t, filepath.Join(dir, "2"), filepath.Join(dir, "tmp"))
			rename(t, filepath.Join(dir, "tmp"), filepath.Join(dir, "current"))
		}, at: "current/etc/file"},
		"its folder is moved away, and another comes": {prepare: func(t *testing.T, dir, file string) {
			if err := os.Mkdir(filepath.Join(dir, "etc"), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, file, "old")
		}, replace: func(t *testing.T, dir, file string) {
			rename(t, filepath.Join(dir, "etc"), filepath.Join(dir, "before"))
			if err := os.Mkdir(filepath.Join(dir, "etc"), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, file, "new")
		}, at: "etc/file"},
		"its folder is moved away, and another comes later": {prepare: func(t *testing.T, dir, file string) {
			if err := os.Mkdir(filepath.Join(dir, "etc"), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, file, "old")
		}, replace: func(t *testing.T, dir, _ string) {
			rename(t, filepath.Join(dir, "etc"), filepath.Join(dir, "before"))
			await(t, "")
			if err := os.Mkdir(filepath.Join(dir, "after"), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "after", "file"), "new")
			rename(t, filepath.Join(dir, "after"), filepath.Join(dir, "etc"))
		}, at: "etc/file"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, cmp.Or(tt.at, "file"))
			if tt.at == "" {
				write(t, file, "old")
			}
			if tt.prepare != nil {
				tt.prepare(t, dir, file)
			}
			read := make(chan string, 100)
			w := &Watcher{Files: func() []string { return []string{file} }, Settle: 5 * time.Millisecond, Poll: time.Hour,
				Blind: func(err error) { t.Error(err) },
				Look: func(bool, bool) bool {
					b, err := os.ReadFile(file)
					read <- string(b)
					return err != nil
				}}
			ctx, cancel := context.WithCancel(t.Context())
			over := make(chan struct{})
			go func() { defer close(over); w.Run(ctx, nil) }()
			defer func() { cancel(); <-over }()
			if got := <-read; got != "old" {
				t.Fatalf("read %q at first", got)
			}
			await = func(t *testing.T, want string) {
				t.Helper()
				for limit := time.After(2 * time.Minute); ; {
					select {
					case got := <-read:
						if got == want {
							return
						}
					case <-limit:
						t.Fatalf("%q is not seen", want)
					}
				}
			}
			tt.replace(t, dir, file)
			await(t, "new")
		})
	}
}
