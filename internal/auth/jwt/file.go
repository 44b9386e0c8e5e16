package jwt

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/auth"
	"github.com/seed31b3bfd0/slimgo/internal/watch"
)

// Notice is something that an operator should read: what was loaded anew, could not be, or is not as it should be. It holds no
// secret.
type Notice struct {
	From    string // what it is about: a path, an issuer, or a key of the configuration
	Changed bool   // something else than before is in use now
	Err     error  // what was loaded is bad, and what was in use stays so; it is tried again. nil: it went well
	Warning string // it went well, but; "": nothing is to be said
}

// Watch is how what comes of a file is kept current. Its zero says nothing to nobody.
type Watch struct {
	// Told hears of it. It is called by several goroutines, and must not wait. nil: nobody does.
	Told func(Notice)
	// Settle and Poll are as in watch.Watcher, whose defaults their zeros are.
	Settle, Poll time.Duration
}

func (w *Watch) tell(n Notice) {
	if w.Told != nil {
		w.Told(n)
	}
}

// file keeps what a file, or a text, holds. Safe for all.
type file[T any] struct {
	Watch
	path  string // "": it is a text, which does not change
	what  string // in errors
	parse func([]byte) (T, []string, error)
	then  func() // after a change; may be nil

	now atomic.Pointer[T]
	was []byte // what it held; of who loads

	mu    sync.Mutex
	loads auth.Loads

	poke   chan struct{}
	cancel context.CancelFunc
	done   chan struct{}
}

// open loads for the first time, and begins to watch.
func (f *file[T]) open(text string) error {
	b := []byte(text)
	if f.path != "" {
		var err error
		if b, err = watch.Read(f.path, maxKeyBytes); err != nil {
			return fmt.Errorf("%s %s: %w", f.what, f.path, err)
		}
	}
	if _, err := f.load(b); err != nil {
		return err
	}
	if f.path == "" {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.poke, f.cancel, f.done = make(chan struct{}, 1), cancel, make(chan struct{})
	w := watch.Watcher{Files: func() []string { return []string{f.path} }, Look: f.look, Settle: f.Settle, Poll: f.Poll,
		Blind: func(err error) { f.tell(Notice{From: f.path, Warning: fmt.Sprintf("changes are seen late: %v", err)}) }}
	go func() {
		defer close(f.done)
		w.Run(ctx, f.poke)
	}()
	return nil
}

// load takes what a file holds, and reports whether that is something else.
func (f *file[T]) load(b []byte) (changed bool, err error) {
	if f.was != nil && bytes.Equal(f.was, b) {
		f.note(nil, false)
		return false, nil
	}
	v, warnings, err := f.parse(b)
	if err != nil {
		if f.path != "" {
			return false, fmt.Errorf("%s %s: %w", f.what, f.path, err)
		}
		return false, fmt.Errorf("%s: %w", f.what, err)
	}
	first := f.was == nil
	f.was = append([]byte{}, b...)
	f.now.Store(&v)
	f.note(nil, true)
	for _, w := range warnings {
		f.tell(Notice{From: f.from(), Warning: w})
	}
	return !first, nil
}

func (f *file[T]) from() string {
	if f.path == "" {
		return f.what
	}
	return f.path
}

// look is Watcher.Look.
func (f *file[T]) look(asked, strict bool) (fault bool) {
	before := f.status().Fault
	b, err := watch.Read(f.path, maxKeyBytes)
	changed := false
	if err != nil {
		err = fmt.Errorf("%s %s: %w", f.what, f.path, err)
	} else {
		changed, err = f.load(b)
	}
	switch {
	case err != nil:
		if !strict {
			return true
		}
		f.note(err, false)
		if asked || before == nil || before.Error() != err.Error() {
			f.tell(Notice{From: f.path, Err: err})
		}
		return true
	case changed:
		if f.then != nil {
			f.then()
		}
		f.tell(Notice{From: f.path, Changed: true})
	case asked, before != nil: // what was bad is as it was
		f.tell(Notice{From: f.path})
	}
	return false
}

// note remembers how a load went, and whether there is something else in use now.
func (f *file[T]) note(err error, loaded bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.loads.Fail(time.Now(), err)
	} else {
		f.loads.Succeed(time.Now(), loaded)
	}
}

func (f *file[T]) get() T { return *f.now.Load() }

// status returns how loads went.
func (f *file[T]) status() auth.Loads {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.loads
}

// reload has the file looked at soon.
func (f *file[T]) reload() {
	if f.poke == nil {
		return
	}
	select {
	case f.poke <- struct{}{}:
	default: // it is about to be
	}
}

// close ends the watching.
func (f *file[T]) close() {
	if f.cancel != nil {
		f.cancel()
		<-f.done
	}
}
