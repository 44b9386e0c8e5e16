package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Route is a further node that an app is connected to at the same time, and who is reached there: of another network than that of
// Options.Nodes. Messages are not carried from one to the other, so all members of a group but this app are in one of them. Networks do not
// wait for one another: what is for one that is lost, or takes nothing, waits for that one as it would where there is no other.
type Route struct {
	// Nodes are as Options.Nodes: one of them at a time.
	Nodes []string
	// Names are those of apps that are reached there, whatever the instance. Who has signed something from there is reached there, too (P-ses-8).
	Names []Name
	// Authorization is what is shown to these nodes; nil: nothing. That of Options is for other nodes.
	Authorization Authorizer
	// Link is as Options.Link.
	Link func(ctx context.Context, from Incoming) (Link, error)
}

// mostRoutes is how many an app may have.
const mostRoutes = 64

// linkMaker makes one link.
type linkMaker func(ctx context.Context, o *Options, from Incoming) (Link, error)

// routed is the links of an app; the first one is for everybody for whom there is no other way.
//
//	message ──▶ who it is for: by Route.Names, or by where its session was heard from, or, to begin one, its peer ──▶ its outlet ──▶ link
//	subscription ──▶ all links
type routed struct {
	app     *App
	several atomic.Bool     // there has been a Route: messages are looked at
	life    context.Context // ends with Close
	stop    context.CancelFunc
	busy    sync.WaitGroup // links that are being made, or removed

	coming  sync.Mutex // of what the app is brought: by one at a time
	telling sync.Mutex // of what it is told of connections

	mu     sync.Mutex
	over   bool                 // guarded by mu
	ways   []*way               // guarded by mu; that of the app's own node is the first
	names  map[[3]uint64]*way   // guarded by mu: by Route.Names
	learnt map[wire.Name]*way   // guarded by mu: instances that have signed what came from there, but for those of the first
	asked  map[uint64]*question // guarded by mu: subscriptions
	nextID uint64               // guarded by mu
	last   uint32               // guarded by mu: id of a way
}

// way is one of the links.
type way struct {
	id   uint32 // not 0
	out  *outlet
	link Link // set once, under routed.mu; nil: it is not there yet
	down bool // guarded by routed.mu: the connection is lost
	gone bool // guarded by routed.mu: it was removed
}

// question is a name that nodes are asked for.
type question struct {
	h   *wire.PublishHeader
	ids map[*way]uint64 // guarded by routed.mu: of the nodes that have it
}

const mostLearnt = 4096

func newRouted(a *App) *routed {
	r := &routed{app: a, names: map[[3]uint64]*way{}, learnt: map[wire.Name]*way{}, asked: map[uint64]*question{}, ways: []*way{{id: 1, out: &a.out}}, last: 1}
	r.life, r.stop = context.WithCancel(a.life)
	return r
}

// AddRoute connects the app to a further node while it runs, as Options.Routes does from the beginning. When it returns, that node has been asked
// for all of the app's names. remove ends that, and may be called again: what waits for the node goes out, within ctx, who was reached there
// is reached by Options.Nodes from then on, and sessions say to those what has not been acknowledged.
func (a *App) AddRoute(ctx context.Context, route Route) (remove func(ctx context.Context) error, err error) {
	w, err := a.routed.reserve(&route)
	if err != nil {
		return nil, err
	}
	defer a.routed.busy.Done()
	ctx, cancel := a.routed.during(ctx)
	defer cancel()
	if err := a.routed.further(ctx, w, &route); err != nil {
		if a.routed.life.Err() != nil {
			err = ErrClosed
		}
		return nil, err
	}
	return func(ctx context.Context) error { return a.routed.remove(ctx, w) }, nil
}

// connectAll makes the links of an app; first makes that of its own node.
func (a *App) connectAll(ctx context.Context, first linkMaker) error {
	o, r := &a.o, a.routed
	routes := make([]*way, len(o.Routes))
	for i := range o.Routes {
		w, err := r.reserve(&o.Routes[i])
		if err != nil {
			return err
		}
		defer r.busy.Done()
		routes[i] = w
	}
	if err := r.connect(ctx, r.ways[0], o, first); err != nil {
		return err
	}
	for i, w := range routes {
		if err := r.further(ctx, w, &o.Routes[i]); err != nil {
			_ = r.closeLinks(ctx)
			return err
		}
	}
	return nil
}

// reserve makes a way of a route, which has no link yet, and notes its names. busy is to be told when it has one, or will have none.
func (r *routed) reserve(route *Route) (*way, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return nil, ErrClosed
	}
	if len(r.ways) > mostRoutes {
		return nil, fmt.Errorf("%w: an app may have %d routes", ErrConfig, mostRoutes)
	}
	for _, n := range route.Names {
		if r.names[n.t.Name.C] != nil {
			return nil, fmt.Errorf("%w: two routes have the name %v", ErrConfig, n)
		}
	}
	r.last++
	w := &way{id: r.last, out: new(outlet)}
	w.out.open(r.app)
	for _, n := range route.Names {
		r.names[n.t.Name.C] = w
	}
	r.ways = append(r.ways, w)
	r.busy.Add(1)
	r.several.Store(true)
	return w, nil
}

// further makes the link of a route. Where it fails nothing is left of the route.
func (r *routed) further(ctx context.Context, w *way, route *Route) error {
	own, make := r.app.o, dial
	own.Nodes, own.Authorization = slices.Clone(route.Nodes), route.Authorization
	own.Uplink.Authorization, own.Uplink.Fields = nil, publicFields(own.Uplink.Fields)
	if route.Link != nil {
		make = func(ctx context.Context, _ *Options, from Incoming) (Link, error) { return route.Link(ctx, from) }
	}
	err := r.connect(ctx, w, &own, make)
	if err != nil {
		r.mu.Lock()
		r.forget(w)
		r.mu.Unlock()
		w.out.end()
		if w.link != nil {
			_ = w.link.Close(ctx)
		}
	}
	return err
}

// connect makes the link of w, and asks its node for the names that others have been asked for.
func (r *routed) connect(ctx context.Context, w *way, o *Options, make linkMaker) error {
	l, err := make(ctx, o, Incoming{
		Messages: func(msgs [][]byte) { r.take(w, msgs) },
		Changed: func(err error) {
			w.out.changed(err)
			r.changed(w, err)
		},
	})
	if err != nil {
		return err
	}
	w.out.link = l
	r.mu.Lock()
	w.link = l
	asked := slices.Sorted(maps.Keys(r.asked))
	r.mu.Unlock()
	for _, key := range asked {
		r.mu.Lock()
		q := r.asked[key]
		r.mu.Unlock()
		if q == nil { // it has been given up
			continue
		}
		if err := r.ask(ctx, key, q, w); err != nil {
			return fmt.Errorf("asking a further node for the names of the app: %w", err)
		}
	}
	return nil
}

// ask asks the node of w for a name.
func (r *routed) ask(ctx context.Context, key uint64, q *question, w *way) error {
	h := *q.h
	id, err := w.link.Subscribe(ctx, &h)
	r.mu.Lock()
	wanted := r.asked[key] == q && !w.gone
	if err == nil && wanted {
		q.ids[w] = id
	}
	r.mu.Unlock()
	if err == nil && !wanted { // meanwhile it has been given up
		return w.link.Unsubscribe(ctx, id)
	}
	return err
}

// during is ctx until the app is closed.
func (r *routed) during(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(r.life, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// remove ends a way.
func (r *routed) remove(ctx context.Context, w *way) error {
	r.mu.Lock()
	if w.gone || r.over { // somebody ends it
		r.mu.Unlock()
		return nil
	}
	r.forget(w)
	r.busy.Add(1)
	r.mu.Unlock()
	defer r.busy.Done()
	ctx, cancel := r.during(ctx)
	defer cancel()
	w.out.flush(ctx)
	err := w.link.Close(ctx)
	w.out.end()
	r.changed(w, uplink.ErrDown)
	r.app.again()
	if errors.Is(err, uplink.ErrUnsent) {
		err = nil // it is said by the other way
	}
	return err
}

// forget takes a way away from those by which messages go. mu is held.
func (r *routed) forget(w *way) {
	w.gone = true
	r.ways = slices.DeleteFunc(r.ways, func(other *way) bool { return other == w })
	maps.DeleteFunc(r.names, func(_ [3]uint64, other *way) bool { return other == w })
	maps.DeleteFunc(r.learnt, func(_ wire.Name, other *way) bool { return other == w })
	for _, q := range r.asked {
		delete(q.ids, w)
	}
}

// publicFields are those that other nodes than the ones of Options may see, too.
func publicFields(fields []uplink.Field) []uplink.Field {
	return slices.DeleteFunc(slices.Clone(fields), func(f uplink.Field) bool { return strings.EqualFold(f.Name, "authorization") })
}

// changed tells the app that there is no connection when none is left, and that there is one when there is one again.
func (r *routed) changed(w *way, err error) {
	r.telling.Lock()
	defer r.telling.Unlock()
	r.mu.Lock()
	w.down = err != nil
	others := slices.ContainsFunc(r.ways, func(other *way) bool { return other != w && other.link != nil && !other.down })
	r.mu.Unlock()
	if err == nil || !others {
		r.app.changed(err)
	}
}

// take hands the app what has come by a way.
func (r *routed) take(w *way, msgs [][]byte) {
	r.coming.Lock()
	defer r.coming.Unlock()
	r.app.in.take(w.id, msgs)
}

// heard notes by which way a control message has come that is believed: its sender, and who else is in its session, are reached by it. What
// is not believed moves nobody (P-ses-8).
func (l *lanes) heard(a *App, e *entry) {
	if e.l.by == 0 {
		return
	}
	l.by = e.l.by
	if a.routed.several.Load() {
		a.routed.learn(e.l.by, e.m.Source.Name)
	}
}

// learn notes that somebody is reached by a way.
func (r *routed) learn(by uint32, who wire.Name) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.find(by)
	switch was := r.learnt[who]; {
	case w == nil: // it is gone
	case w == r.ways[0]:
		delete(r.learnt, who) // it may have moved
	case was != w:
		if len(r.learnt) >= mostLearnt {
			clear(r.learnt)
		}
		r.learnt[who] = w
	}
}

// find returns the way of this id; nil: it is gone. mu is held.
func (r *routed) find(id uint32) *way {
	for _, w := range r.ways {
		if w.id == id {
			return w
		}
	}
	return nil
}

// way is the outlet of a message that is to be sent by one whose peers are reached by the way of this id, if that is known.
func (r *routed) way(b []byte, by uint32) (*outlet, error) {
	if !r.several.Load() {
		return &r.app.out, nil
	}
	m, err := message.Decode(b)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	w := r.names[m.Dest.Name.C]
	if w == nil && m.Type != message.DiscoveryRequest {
		w = r.find(by)
	}
	if w == nil {
		w = r.learnt[m.Dest.Name]
	}
	if w == nil {
		w = r.ways[0]
	}
	there := w.link != nil
	r.mu.Unlock()
	if !there { // it has brought something before it was there
		return nil, uplink.ErrDown
	}
	return w.out, nil
}

// there returns the ways that have a link. mu is held.
func (r *routed) there() []*way {
	return slices.DeleteFunc(slices.Clone(r.ways), func(w *way) bool { return w.link == nil })
}

// Subscribe asks all nodes for a name, at the same time.
func (r *routed) Subscribe(ctx context.Context, h *wire.PublishHeader) (uint64, error) {
	q := &question{h: h, ids: map[*way]uint64{}}
	r.mu.Lock()
	ways := r.there()
	r.nextID++
	key := r.nextID
	r.asked[key] = q
	r.mu.Unlock()
	errs := make([]error, len(ways))
	var wg sync.WaitGroup
	for i, w := range ways {
		wg.Go(func() { errs[i] = r.ask(ctx, key, q, w) })
	}
	wg.Wait()
	r.mu.Lock()
	for i, w := range ways {
		if w.gone { // whatever it said
			errs[i] = nil
		}
	}
	r.mu.Unlock()
	err := errors.Join(errs...)
	switch {
	case err == nil:
		return key, nil
	case ctx.Err() == nil:
		_ = r.Unsubscribe(ctx, key)
	default: // those that have it do not keep it, and nobody waits for them
		r.app.running.Go(func() {
			ctx, cancel := context.WithTimeout(r.app.life, nameTime)
			defer cancel()
			_ = r.Unsubscribe(ctx, key)
		})
	}
	return 0, err
}

// Unsubscribe takes back Subscribe.
func (r *routed) Unsubscribe(ctx context.Context, id uint64) error {
	r.mu.Lock()
	q := r.asked[id]
	delete(r.asked, id)
	ids := map[*way]uint64{}
	if q != nil {
		ids = maps.Clone(q.ids)
	}
	r.mu.Unlock()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for w, id := range ids {
		wg.Go(func() {
			err := w.link.Unsubscribe(ctx, id)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// outlets are those that have something to send.
func (r *routed) outlets() (all []*outlet) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.there() {
		all = append(all, w.out)
	}
	return all
}

// Close ends all links, those that are being made, too.
func (r *routed) Close(ctx context.Context) error {
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	r.stop()
	r.busy.Wait()
	return r.closeLinks(ctx)
}

func (r *routed) closeLinks(ctx context.Context) error {
	r.mu.Lock()
	ways := r.there()
	r.mu.Unlock()
	errs := make([]error, len(ways))
	var wg sync.WaitGroup
	for i, w := range ways {
		wg.Go(func() { errs[i] = w.link.Close(ctx) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, uplink.ErrUnsent) {
			return err
		}
	}
	return errors.Join(errs...)
}
