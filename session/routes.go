package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

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
	// Names are those of apps that are reached there, whatever the instance. Who has said something from there is reached there, too.
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

// subscriber is what an app asks of its connection, or of all of them, apart from messages.
type subscriber interface {
	Subscribe(ctx context.Context, h *wire.PublishHeader) (id uint64, err error)
	Unsubscribe(ctx context.Context, id uint64) error
	Close(ctx context.Context) error
}

// routed is several links of an app; the first one is for everybody for whom there is no other way.
//
//	message ──▶ who or what it is for: by Route.Names, or by where that has been heard from, or invited ──▶ its outlet ──▶ link
//	subscription ──▶ all links
type routed struct {
	links   []Link
	outlets []*outlet // of the links; not changed
	from    Incoming
	names   map[[3]uint64]int // by Route.Names; not changed

	coming sync.Mutex // of what the app is told: by one at a time

	mu     sync.Mutex
	down   []bool              // guarded by mu: links that are lost
	learnt map[wire.Name]int   // guarded by mu: instances and channels, by their links, but for the first
	ids    map[uint64][]uint64 // guarded by mu: subscriptions of the links
	nextID uint64              // guarded by mu
}

const mostLearnt = 4096

// connectAll makes the links of an app with routes; first makes that of the app's own options.
func (a *App) connectAll(ctx context.Context, first linkMaker) error {
	o := &a.o
	if len(o.Routes) > mostRoutes {
		return fmt.Errorf("%w: %d routes, and it may have %d", ErrConfig, len(o.Routes), mostRoutes)
	}
	r := &routed{
		from: Incoming{Messages: a.in.take, Changed: a.changed}, outlets: []*outlet{&a.out},
		names: map[[3]uint64]int{}, learnt: map[wire.Name]int{}, ids: map[uint64][]uint64{}, down: make([]bool, len(o.Routes)+1),
	}
	for i, route := range o.Routes {
		for _, n := range route.Names {
			if other, twice := r.names[n.t.Name.C]; twice && other != i+1 {
				return fmt.Errorf("%w: two routes have the name %v", ErrConfig, n)
			}
			r.names[n.t.Name.C] = i + 1
		}
	}
	for range o.Routes {
		further := new(outlet)
		further.open(a)
		r.outlets = append(r.outlets, further)
	}
	a.routed, a.link = r, r
	for i, out := range r.outlets {
		own, make := *o, first
		if i > 0 {
			route := &o.Routes[i-1]
			own.Nodes, own.Authorization = slices.Clone(route.Nodes), route.Authorization
			own.Uplink.Authorization, own.Uplink.Fields = nil, publicFields(own.Uplink.Fields)
			make = dial
			if route.Link != nil {
				make = func(ctx context.Context, _ *Options, from Incoming) (Link, error) { return route.Link(ctx, from) }
			}
		}
		l, err := make(ctx, &own, Incoming{
			Messages: func(msgs [][]byte) { r.take(i, msgs) },
			Changed: func(err error) {
				out.changed(err)
				r.changed(i, err)
			},
		})
		if err != nil {
			_ = r.Close(ctx)
			return err
		}
		out.link = l
		r.mu.Lock()
		r.links = append(r.links, l)
		r.mu.Unlock()
	}
	return nil
}

// publicFields are those that other nodes than the ones of Options may see, too.
func publicFields(fields []uplink.Field) []uplink.Field {
	return slices.DeleteFunc(slices.Clone(fields), func(f uplink.Field) bool { return strings.EqualFold(f.Name, "authorization") })
}

// changed tells the app that there is no connection when none is left, and that there is one when there is one again.
func (r *routed) changed(i int, err error) {
	r.coming.Lock()
	defer r.coming.Unlock()
	r.mu.Lock()
	r.down[i] = err != nil
	r.mu.Unlock()
	if err == nil || !r.without(i) {
		r.from.Changed(err)
	}
}

// without reports whether there are connections but for link i.
func (r *routed) without(i int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for j, down := range r.down {
		if j != i && !down {
			return true
		}
	}
	return false
}

// take hands the app what has come by a link.
func (r *routed) take(i int, msgs [][]byte) {
	for _, b := range msgs {
		if m, err := message.Decode(b); err == nil {
			r.learn(i, m, m.Source.Name)
		}
	}
	r.coming.Lock()
	defer r.coming.Unlock()
	r.from.Messages(msgs)
}

// learn notes that somebody, and the channel that a message invites to, are reached by a link.
func (r *routed) learn(i int, m *message.Message, who wire.Name) {
	names := []wire.Name{who}
	if j, ok := m.Command.(*message.Join); ok && j.Channel != nil && j.Control != nil {
		names = append(names, j.Channel.Name, j.Control.Name)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range names {
		switch was, known := r.learnt[n]; {
		case i == 0 && known:
			delete(r.learnt, n) // it has moved
		case i == 0 || known && was == i:
		default:
			if len(r.learnt) >= mostLearnt {
				clear(r.learnt)
			}
			r.learnt[n] = i
		}
	}
}

// way is the outlet of a message that is to be sent.
func (r *routed) way(b []byte) (*outlet, error) {
	m, err := message.Decode(b)
	if err != nil {
		return nil, err
	}
	i, named := r.names[m.Dest.Name.C]
	r.mu.Lock()
	if !named {
		i = r.learnt[m.Dest.Name]
	}
	there := i < len(r.links)
	r.mu.Unlock()
	if !there { // it has brought something before it was there
		return nil, uplink.ErrDown
	}
	if m.Type == message.JoinRequest {
		r.learn(i, m, m.Dest.Name)
	}
	return r.outlets[i], nil
}

// Subscribe implements subscriber: all nodes are asked, at the same time.
func (r *routed) Subscribe(ctx context.Context, h *wire.PublishHeader) (uint64, error) {
	ids, errs := make([]uint64, len(r.links)), make([]error, len(r.links))
	var wg sync.WaitGroup
	for i, l := range r.links {
		own := *h
		wg.Go(func() { ids[i], errs[i] = l.Subscribe(ctx, &own) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		for i, l := range r.links {
			if errs[i] == nil {
				_ = l.Unsubscribe(ctx, ids[i])
			}
		}
		return 0, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nextID++
	r.ids[r.nextID] = ids
	return r.nextID, nil
}

// Unsubscribe implements subscriber.
func (r *routed) Unsubscribe(ctx context.Context, id uint64) error {
	r.mu.Lock()
	ids := r.ids[id]
	delete(r.ids, id)
	r.mu.Unlock()
	errs := make([]error, len(ids))
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() { errs[i] = r.links[i].Unsubscribe(ctx, ids[i]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close implements subscriber.
func (r *routed) Close(ctx context.Context) error {
	errs := make([]error, len(r.links))
	var wg sync.WaitGroup
	for i, l := range r.links {
		wg.Go(func() { errs[i] = l.Close(ctx) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, uplink.ErrUnsent) {
			return err
		}
	}
	return errors.Join(errs...)
}
