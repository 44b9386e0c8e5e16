// Package watch tells when files change: written in place, replaced by others, or by links to other folders as Kubernetes
// mounts them.
//
//	files ──▶ their folders, and those of the links on the way ──change──▶ settled for a moment ──▶ Watcher.Look
package watch

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	// Stirred has it look at once, as after a change that has settled: for what is no file. nil: nothing does.
	Stirred <-chan struct{}

	said string                    // what Blind has heard last
	seen []sight                   // of the files, at the last look or event
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
	retried := false
	due := time.NewTimer(0) // what has changed since it was loaded
	first := time.Now()     // what due waits for; a busy folder must not put it off for ever
	waits := true           // for due
	defer due.Stop()
	changed := func() {
		if retried = false; !waits {
			waits, first = true, time.Now()
		}
		if time.Since(first) < 4*settle {
			due.Reset(settle)
		}
	}
	follow := func() {
		if w.follow(folders); w.differ() { // nobody may have watched where that was
			changed()
		}
	}
	w.follow(folders)
	polls := time.NewTicker(poll)
	defer polls.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-folders.events:
			if e.Has(fsnotify.Create) && w.missing() { // it may be a folder on the way to one
				w.follow(folders)
			}
			if w.concerned(e) {
				changed()
			}
		case err := <-folders.errors: // events were lost: look
			w.blind(err)
			waits = true
			due.Reset(settle)
		case <-due.C:
			waits = false
			// One fault is forgiven: somebody may be in the middle of writing.
			if w.look(false, retried) && !retried {
				retried, waits, first = true, true, time.Now()
				due.Reset(4 * settle)
			}
			follow()
		case <-polls.C:
			w.look(false, true)
			follow()
		case <-w.Stirred:
			w.look(false, true)
		case <-now:
			w.look(true, true)
			follow()
		}
	}
}

// follow watches the folders of all files, and those of the links by which they are found now. Where one is not there, the
// folder is watched in which it would come to be.
func (w *Watcher) follow(folders *notifier) {
	if folders.add == nil {
		return
	}
	for _, file := range w.Files() {
		for _, folder := range ways(file) {
			if err := folders.addNearest(folder); err != nil {
				w.blind(err)
			}
		}
	}
}

// addNearest adds a folder or, if it is not there, the one in which it or one on the way to it would come to be.
func (n *notifier) addNearest(folder string) error {
	err := n.add(folder)
	for up := folder; errors.Is(err, fs.ErrNotExist) && up != filepath.Dir(up); {
		up = filepath.Dir(up)
		if err = n.add(up); err == nil {
			if err := n.add(folder); !errors.Is(err, fs.ErrNotExist) { // it has come meanwhile
				return err
			}
		}
	}
	return err
}

// ways returns the folder of a file, and those in which something can change that leads to it: links in its path, and in
// theirs.
func ways(file string) []string {
	const mostLinks = 40 // as Linux has it
	all := []string{filepath.Dir(file)}
	done, rest := "", file
	if filepath.IsAbs(file) {
		done = "/"
	}
	for links := 0; rest != ""; {
		var part string
		part, rest, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
		folder := done
		done = filepath.Join(done, part)
		to, err := os.Readlink(done)
		if err != nil {
			continue
		}
		if links++; links > mostLinks {
			break
		}
		all = append(all, filepath.Clean(folder))
		rest, done = to+"/"+rest, folder
		if filepath.IsAbs(to) {
			done = "/"
		}
	}
	all = append(all, filepath.Dir(done))
	slices.Sort(all)
	return slices.Compact(all)
}

// sight is what can be seen of a file without reading it.
type sight struct {
	info fs.FileInfo
	err  string
}

func (s *sight) same(o *sight) bool {
	if s.info == nil || o.info == nil {
		return s.info == nil && o.info == nil && s.err == o.err
	}
	return os.SameFile(s.info, o.info) && s.info.Size() == o.info.Size() && s.info.ModTime().Equal(o.info.ModTime()) &&
		s.info.Mode() == o.info.Mode()
}

// sights looks at all files.
func (w *Watcher) sights() []sight {
	var all []sight
	for _, file := range w.Files() {
		info, err := os.Stat(file)
		if err != nil {
			all = append(all, sight{err: err.Error()})
			continue
		}
		all = append(all, sight{info: info})
	}
	return all
}

// missing reports whether a file could not be seen.
func (w *Watcher) missing() bool {
	return slices.ContainsFunc(w.seen, func(s sight) bool { return s.info == nil })
}

// differ reports whether something else is to be seen of the files than before.
func (w *Watcher) differ() bool {
	before := w.seen
	w.seen = w.sights()
	return !slices.EqualFunc(before, w.seen, func(a, b sight) bool { return a.same(&b) })
}

// concerned reports whether an event is about one of the files: it names one, or something else is to be seen of one. A
// folder may be busy with others.
func (w *Watcher) concerned(e fsnotify.Event) bool {
	return w.differ() || slices.ContainsFunc(w.Files(), func(file string) bool { return filepath.Clean(file) == e.Name })
}

// look has the files read.
func (w *Watcher) look(asked, strict bool) (fault bool) {
	w.seen = w.sights()
	return w.Look(asked, strict)
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
