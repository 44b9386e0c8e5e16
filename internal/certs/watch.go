package certs

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Event is what Watcher tells: that a keeper has loaded something new, or why it keeps the old.
type Event struct {
	Keeper  *Keeper
	Changed bool
	Asked   bool  // it was asked for, not seen
	Err     error // an *Error; nil: it went well
}

// Watcher reloads keepers when their files change. The zero values of the times mean their defaults.
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

	said string // what Blind has heard last
}

// Run watches until ctx ends. Whatever is sent on now has everything loaded at once.
func (w *Watcher) Run(ctx context.Context, now <-chan struct{}) {
	settle, poll := w.Settle, w.Poll
	if settle == 0 {
		settle = 250 * time.Millisecond
	}
	if poll == 0 {
		poll = time.Minute
	}
	var events chan fsnotify.Event
	var failed chan error
	var folders *fsnotify.Watcher
	if len(w.files()) > 0 {
		var err error
		if folders, err = fsnotify.NewWatcher(); err != nil {
			w.blind(err)
		} else {
			defer func() { _ = folders.Close() }()
			events, failed = folders.Events, folders.Errors
			w.follow(folders)
		}
	}
	told := make([]string, len(w.Keepers)) // the fault of each that was told last
	retried := false
	due := time.NewTimer(0) // what has changed since it was loaded
	first := time.Now()     // what due waits for; a busy folder must not put it off for ever
	waits := true           // for due
	defer due.Stop()
	polls := time.NewTicker(poll)
	defer polls.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-events:
			if retried = false; !waits {
				waits, first = true, time.Now()
			}
			if time.Since(first) < 4*settle {
				due.Reset(settle)
			}
		case err := <-failed: // events were lost: look
			w.blind(err)
			waits = true
			due.Reset(settle)
		case <-due.C:
			waits = false
			// One fault is forgiven: somebody may be in the middle of writing.
			if w.reload(told, false, retried) && !retried {
				retried, waits, first = true, true, time.Now()
				due.Reset(4 * settle)
			}
			w.follow(folders)
		case <-polls.C:
			w.reload(told, false, true)
			w.follow(folders)
		case <-now:
			w.reload(told, true, true)
			w.follow(folders)
		}
	}
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

// follow watches the folders of all files, and those that links lead to now.
func (w *Watcher) follow(folders *fsnotify.Watcher) {
	if folders == nil {
		return
	}
	for _, file := range w.files() {
		if err := folders.Add(filepath.Dir(file)); err != nil {
			w.blind(err)
		}
		if target, err := filepath.EvalSymlinks(file); err == nil && filepath.Dir(target) != filepath.Dir(file) {
			if err := folders.Add(filepath.Dir(target)); err != nil {
				w.blind(err)
			}
		}
	}
}

func (w *Watcher) files() (all []string) {
	for _, k := range w.Keepers {
		all = append(all, k.Files()...)
	}
	return all
}

func (w *Watcher) blind(err error) {
	if errors.Is(err, fs.ErrNotExist) { // a folder has just gone: whoever needs its files says so
		return
	}
	if w.Blind != nil && w.said != err.Error() {
		w.said = err.Error()
		w.Blind(err)
	}
}
