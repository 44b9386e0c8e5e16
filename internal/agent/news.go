package agent

import (
	"maps"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
	"github.com/seed31b3bfd0/slimgo/wire"
	"github.com/seed31b3bfd0/slimgo/wire/pb/controllerpb"
)

// Bounds of news.
const (
	maxMarks  = 1 << 16 // names that have changed: with more all names are compared
	newsPart  = 500     // names of a message
	linksPart = 100     // links of a message
)

// news are what one control plane is to be told. Its methods are safe for all.
type news struct {
	node Node
	wake chan struct{} // has room for one

	mu    sync.Mutex
	on    bool                   // guarded by mu: there is a stream
	marks map[wire.Name]struct{} // guarded by mu: names to look at
	all   bool                   // guarded by mu: all are to be looked at
	links map[string]struct{}    // guarded by mu: ids of links that have come up
	over  uint64                 // guarded by mu: how often there were too many marks
	count int                    // guarded by mu: names that the control plane knows

	// Of the goroutine that sends.
	told     map[wire.Name]wire.NameText // what the control plane knows
	nameless uint64                      // names without strings, which it cannot be told
}

func (w *news) look() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// mark notes that a name has changed.
func (w *news) mark(n wire.Name) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.on || w.all:
		return
	case len(w.marks) == maxMarks:
		w.all, w.marks = true, map[wire.Name]struct{}{}
		w.over++
	default:
		w.marks[n] = struct{}{}
	}
	w.look()
}

// markLink notes that a link has come up.
func (w *news) markLink(l *router.ActiveLink) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.on && l.Kind == table.Remote && l.LinkID != "" && len(l.LinkID) <= maxLinkID {
		w.links[l.LinkID] = struct{}{}
		w.look()
	}
}

// begin has all names told, on a new stream.
func (w *news) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on, w.all, w.marks, w.links = true, true, map[wire.Name]struct{}{}, map[string]struct{}{}
	w.told = map[wire.Name]wire.NameText{}
	w.look()
}

// end notes that there is no stream any more.
func (w *news) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.on, w.marks, w.links, w.told = false, nil, nil, nil
}

// take takes what is to be looked at.
func (w *news) take() (marks map[wire.Name]struct{}, all bool, links map[string]struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	marks, all, links = w.marks, w.all, w.links
	w.marks, w.all, w.links = map[wire.Name]struct{}{}, false, map[string]struct{}{}
	return marks, all, links
}

// tell sends what has changed, in as many messages as it takes. Rules: P-ctl-4.
func (w *news) tell(send func(*controllerpb.ConfigurationCommand) error) error {
	marks, all, links := w.take()
	c := &controllerpb.ConfigurationCommand{}
	var err error
	flush := func(least int) bool {
		if len(c.RoutesToSet)+len(c.RoutesToDelete) >= least && err == nil {
			err = send(c)
			c = &controllerpb.ConfigurationCommand{}
		}
		return err == nil
	}
	look := func(n wire.Name, held bool, t wire.NameText) bool {
		_, told := w.told[n]
		switch {
		case held && t.NoStrings:
			w.nameless++
		case held && !told:
			w.told[n] = t
			c.RoutesToSet = append(c.RoutesToSet, &controllerpb.Route{Name: nameFor(t)})
		case !held && told:
			c.RoutesToDelete = append(c.RoutesToDelete, &controllerpb.Route{Name: nameFor(w.told[n])})
			delete(w.told, n)
		}
		return flush(newsPart)
	}
	if all {
		for n := range maps.Clone(w.told) {
			t, held := w.node.Held(n)
			if !look(n, held, t) {
				return err
			}
		}
		w.node.EachHeld(func(t wire.NameText) bool { return look(t.Name, true, t) })
	}
	for n := range marks {
		if err != nil {
			return err
		}
		t, held := w.node.Held(n)
		look(n, held, t)
	}
	flush(1)
	for id := range links {
		if err != nil {
			return err
		}
		c.ConnectionsReceived = append(c.ConnectionsReceived, &controllerpb.ConnectionEntry{LinkId: proto.String(id),
			ConnectionType: controllerpb.ConnectionType_CONNECTION_TYPE_REMOTE, Direction: controllerpb.ConnectionDirection_CONNECTION_DIRECTION_INCOMING})
		if len(c.ConnectionsReceived) == linksPart {
			err = send(c)
			c = &controllerpb.ConfigurationCommand{}
		}
	}
	if len(c.ConnectionsReceived) > 0 && err == nil {
		err = send(c)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count = len(w.told)
	return err
}
