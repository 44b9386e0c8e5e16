// Package watch tells when files change: written in place, replaced by others, or by links to other folders as Kubernetes
// mounts them.
//
//	files ──▶ their folders, and those that links lead to ──change──▶ settled for a moment ──▶ Watcher.Look
package watch

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Watcher has files looked at when they may have changed. The zero values of the times mean their defaults.
type Watcher struct {
	// Files returns the paths to watch. It is asked before each wait. On the goroutine of Run.
	Files func() []string
	// Look reads the files, and reports whether something is wrong with them. asked: whatever has changed. A fault may
	// be that somebody is in the middle of writing: unless strict is set, Look is called again soon, and had better say
	// nothing. On the goroutine of Run.
	Look func(asked, strict bool) (fault bool)
	// Blind hears why changes cannot be seen at once; they still are every Poll. nil: nobody does.
	Blind func(error)
	// Settle is how long the files must not change before they are read: what belongs together is written one after the
	// other. Files that go on changing are read after four times that. 0: 250 ms.
	Settle time.Duration
	// Poll is how often files are looked at that nobody has announced a change of: folders may have been replaced, and
	// some file systems tell nothing. 0: a minute.
	Poll time.Duration

	said string                    // what Blind has heard last
	open func() (*notifier, error) // in place of openNotifier, by tests
}

// notifier is what tells of changes in folders.
type notifier struct {
	events chan fsnotify.Event
	errors chan error
	add    func(folder string) error
	close  func() error
}

func openNotifier() (*notifier, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	return &notifier{w.Events, w.Errors, w.Add, w.Close}, nil
}

// Run watches until ctx ends. It looks once at the beginning; whatever is sent on now has it look at once.
func (w *Watcher) Run(ctx context.Context, now <-chan struct{}) {
	settle, poll := w.Settle, w.Poll
	if settle == 0 {
		settle = 250 * time.Millisecond
	}
	if poll == 0 {
		poll = time.Minute
	}
	open := w.open
	if open == nil {
		open = openNotifier
	}
	folders := &notifier{}
	if len(w.Files()) > 0 {
		if n, err := open(); err != nil {
			w.blind(err)
		} else {
			folders = n
			defer func() { _ = folders.close() }()
		}
	}
	w.follow(folders)
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
		case <-folders.events:
			if retried = false; !waits {
				waits, first = true, time.Now()
			}
			if time.Since(first) < 4*settle {
				due.Reset(settle)
			}
		case err := <-folders.errors: // events were lost: look
			w.blind(err)
			waits = true
			due.Reset(settle)
		case <-due.C:
			waits = false
			// One fault is forgiven: somebody may be in the middle of writing.
			if w.Look(false, retried) && !retried {
				retried, waits, first = true, true, time.Now()
				due.Reset(4 * settle)
			}
			w.follow(folders)
		case <-polls.C:
			w.Look(false, true)
			w.follow(folders)
		case <-now:
			w.Look(true, true)
			w.follow(folders)
		}
	}
}

// follow watches the folders of all files, and those that links lead to now.
func (w *Watcher) follow(folders *notifier) {
	if folders.add == nil {
		return
	}
	for _, file := range w.Files() {
		if err := folders.add(filepath.Dir(file)); err != nil {
			w.blind(err)
		}
		if target, err := filepath.EvalSymlinks(file); err == nil && filepath.Dir(target) != filepath.Dir(file) {
			if err := folders.add(filepath.Dir(target)); err != nil {
				w.blind(err)
			}
		}
	}
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
