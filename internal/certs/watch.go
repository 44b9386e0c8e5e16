package certs

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/watch"
)

// Event is what Watcher tells: that a keeper has loaded something new, or why it keeps the old.
type Event struct {
	Keeper  *Keeper
	Changed bool
	Asked   bool  // it was asked for, not seen
	Err     error // an *Error; nil: it went well
}

// Watcher reloads keepers when their files or what is Live change. The zero values of the times mean their defaults.
type Watcher struct {
	// Keepers are watched. Immutable.
	Keepers []*Keeper
	// Told hears of what was loaded or could not be; of each fault once. What was asked for is always told.
	Told func(Event)
	// Blind hears why changes cannot be seen at once; they still are every Poll.
	Blind func(error)
	// Settle is how long the files must not change before they are read: a certificate and its key are written one
	// after the other. 0: 250 ms.
	Settle time.Duration
	// Poll is how often files are looked at that nobody has announced a change of: folders may have been replaced, and
	// some file systems tell nothing. 0: a minute.
	Poll time.Duration
}

// Run watches until ctx ends. Whatever is sent on now has everything loaded at once.
func (w *Watcher) Run(ctx context.Context, now <-chan struct{}) {
	told := make([]string, len(w.Keepers)) // the fault of each that was told last
	for i, k := range w.Keepers {
		var e *Error
		if s := k.Status(); errors.As(s.Fault, &e) && e.Waits {
			told[i] = e.Error() // by who has made it
		}
	}
	stirred, done := w.stirred(ctx)
	defer done()
	files := watch.Watcher{Files: w.files, Blind: w.Blind, Settle: w.Settle, Poll: w.Poll, Stirred: stirred,
		Look: func(asked, strict bool) bool { return w.reload(told, asked, strict) }}
	files.Run(ctx, now)
}

// stirred returns what receives when a Live of a keeper has changed, until ctx ends, and done, which waits for its end then.
func (w *Watcher) stirred(ctx context.Context) (on <-chan struct{}, done func()) {
	c := make(chan struct{}, 1)
	var running sync.WaitGroup
	for _, k := range w.Keepers {
		for _, l := range k.lives() {
			changed := l.Changed() // before Run looks: what changes from now on is seen
			running.Go(func() {
				for {
					select {
					case <-ctx.Done():
						return
					case <-changed:
					}
					changed = l.Changed()
					select {
					case c <- struct{}{}:
					default: // it is to look already
					}
				}
			})
		}
	}
	return c, running.Wait
}

// reload has every keeper load, and reports whether one could not. A fault is told if strict, and if it is another than
// before.
func (w *Watcher) reload(told []string, asked, strict bool) (fault bool) {
	for i, k := range w.Keepers {
		changed, err := k.Reload()
		e := Event{Keeper: k, Changed: changed, Asked: asked, Err: err}
		switch {
		case err != nil:
			fault = true
			if strict {
				k.failed(err)
			}
			if strict && (asked || told[i] != err.Error()) {
				told[i] = err.Error()
				w.Told(e)
			}
		case changed || asked || told[i] != "": // also: what was broken is as it was
			told[i] = ""
			w.Told(e)
		}
	}
	return fault
}

func (w *Watcher) files() (all []string) {
	for _, k := range w.Keepers {
		all = append(all, k.Files()...)
	}
	return all
}
