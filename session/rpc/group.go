package rpc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/session"
)

// Defaults of GroupOptions.
const (
	DefaultInvite = 3 * time.Second
	DefaultRetry  = 10 * time.Second
)

// GroupOptions are those of a Group.
type GroupOptions struct {
	CallOptions
	// Pins are the subjects that members' tokens must have; who has none here may have any. Ids are not looked at. Two pins of one name
	// are an error of each call.
	Pins map[session.Name]string
	// Invite is how long a call waits for each member that it has to invite, one after the other; 0: DefaultInvite. One that has not come by
	// then has failed that call, with Unavailable, and is not invited again for as long as Retry says; 0: DefaultRetry. Each further time
	// that it does not come doubles that, up to 32 times Retry. A call waits that long for only one that has not come before, and
	// invites nobody any more when half of its time is over: others have failed it, and are left to the next one.
	Invite, Retry time.Duration
}

// Group calls several apps at once, by one session for any number of calls. The members are invited by the first call; those that were
// not there, or have gone, by later ones. All methods are safe for all.
//
// What a member answers is seen, and dropped, by the other members, too (P-rpc-11).
type Group struct {
	app   *session.App
	o     GroupOptions
	own   callOptions
	ch    channel
	start Starter
	err   error
	pins  map[session.Name]string // by names without ids
	turn  chan struct{}           // of one place: who invites

	mu      sync.Mutex
	members []session.Name             // guarded by mu; replaced whole
	refused map[session.Name]*refusals // guarded by mu
}

// refusals are those of a member that does not come.
type refusals struct {
	err   error // the last one
	at    time.Time
	times int // one after the other
}

// mostDoubled is how often the time is doubled for which a member is not invited again.
const mostDoubled = 5

// until is when the member is invited again.
func (r *refusals) until(retry time.Duration) time.Time {
	return r.at.Add(retry << min(r.times-1, mostDoubled))
}

// NewGroup returns a client of these apps, each any instance of its name; ids are not looked at, and a name that comes twice is one member.
// It is to be closed. Options that cannot be are an error of each call.
func NewGroup(app *session.App, members []session.Name, o GroupOptions) *Group {
	g := &Group{app: app, o: o, own: o.own(), err: o.check(), turn: make(chan struct{}, 1), refused: map[session.Name]*refusals{}}
	if g.o.Invite <= 0 {
		g.o.Invite = DefaultInvite
	}
	if g.o.Retry <= 0 {
		g.o.Retry = DefaultRetry
	}
	for _, n := range members {
		g.members = with(g.members, n)
	}
	g.pin(o.Pins)
	channel := app.Name().Parts()
	name, err := session.NewName(channel[0], channel[1], newID())
	if err != nil && g.err == nil {
		g.err = asError(err, "the channel of the group")
	}
	g.ch.open = func(ctx context.Context) (*session.Session, error) {
		s, err := app.OpenGroup(ctx, name, o.Session)
		if err != nil {
			return nil, asError(err, "no session with the group")
		}
		return s, nil
	}
	g.start = o.intercept(g.begin)
	return g
}

// pin notes who must be who.
func (g *Group) pin(pins map[session.Name]string) {
	g.pins = make(map[session.Name]string, len(pins))
	for n, subject := range pins {
		if before, ok := g.pins[n.Any()]; ok && before != subject && g.err == nil {
			g.err = Errorf(InvalidArgument, "%v is pinned to %q and to %q: ids of members are not looked at", n, min(before, subject), max(before, subject))
		}
		g.pins[n.Any()] = subject
	}
}

func with(list []session.Name, n session.Name) []session.Name {
	if slices.Contains(list, n.Any()) {
		return list
	}
	return append(slices.Clone(list), n.Any())
}

// Members are those that calls go to.
func (g *Group) Members() []session.Name {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.members)
}

// Add adds a member, of calls that begin from now on: the first of them invites it.
func (g *Group) Add(n session.Name) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.members = with(g.members, n)
	delete(g.refused, n.Any())
}

// Remove takes a member out of the group and of calls that go on, for which it has failed with Unavailable. It can read nothing that is
// said after that. Nothing happens if it is none.
func (g *Group) Remove(ctx context.Context, n session.Name) error {
	n = n.Any()
	g.mu.Lock()
	g.members = slices.DeleteFunc(slices.Clone(g.members), func(other session.Name) bool { return other == n })
	delete(g.refused, n)
	g.mu.Unlock()
	g.ch.mu.Lock()
	l := g.ch.link
	g.ch.mu.Unlock()
	if l == nil {
		return nil
	}
	err := l.s.Remove(ctx, n)
	if errors.Is(err, session.ErrNotMember) || errors.Is(err, session.ErrClosed) {
		return nil
	}
	return err
}

// NewStream begins a call of all members; generated stubs, Ask and the like do. It waits for members to be invited, as GroupOptions
// say. ctx bounds the whole call. Errors are an *Error.
func (g *Group) NewStream(ctx context.Context, m Method) (ClientStream, error) {
	if g.err != nil {
		return nil, g.err
	}
	return g.start(ctx, m)
}

func (g *Group) begin(ctx context.Context, m Method) (ClientStream, error) {
	names := g.Members()
	if len(names) == 0 {
		return nil, Errorf(InvalidArgument, "calling %v: the group has no members", m)
	}
	return begin(ctx, &g.own, m, g.get, &members{names: names, refusal: g.refusal})
}

// get returns the group's link, when all have been invited that have to be.
func (g *Group) get(ctx context.Context) (*link, error) {
	l, err := g.ch.get(ctx)
	if err != nil || len(g.absent(l)) == 0 {
		return l, err
	}
	select {
	case g.turn <- struct{}{}:
		defer func() { <-g.turn }()
	case <-ctx.Done():
		return nil, errorOf(ctx, "inviting members")
	}
	began := time.Now()
	deadline, bounded := ctx.Deadline()
	for _, n := range g.absent(l) { // another call may have invited some
		if bounded && time.Until(deadline) < time.Since(began) {
			break
		}
		before := g.refusal(n)
		if err := g.invite(ctx, l, n); err != nil {
			return nil, err
		}
		if before != nil && g.refusal(n) != nil {
			break
		}
	}
	return l, nil
}

// absent returns who is to be invited: first those that were not yet, then who has been longest ago.
func (g *Group) absent(l *link) (names []session.Name) {
	here := map[session.Name]bool{}
	for _, p := range l.s.Participants() {
		here[p.Name.Any()] = p.Online
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, n := range g.members {
		if r := g.refused[n]; !here[n] && (r == nil || !time.Now().Before(r.until(g.o.Retry))) {
			names = append(names, n)
		}
	}
	slices.SortStableFunc(names, func(a, b session.Name) int { return g.lastRefusal(a).Compare(g.lastRefusal(b)) })
	return names
}

// lastRefusal is when a member did not come; zero: it was not invited. mu is held.
func (g *Group) lastRefusal(n session.Name) time.Time {
	if r := g.refused[n]; r != nil {
		return r.at
	}
	return time.Time{}
}

// invite invites one member. That it does not come is not an error, but of the member.
func (g *Group) invite(ctx context.Context, l *link, n session.Name) error {
	bound, cancel := context.WithTimeout(ctx, g.o.Invite)
	defer cancel()
	err := l.s.InvitePinned(bound, n, g.pins[n])
	if ctx.Err() != nil {
		return errorOf(ctx, "inviting "+n.String())
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err == nil || errors.Is(err, session.ErrMember) {
		delete(g.refused, n)
		return nil
	}
	if bound.Err() != nil {
		err = fmt.Errorf("it did not answer an invitation within %v: %w", g.o.Invite, err)
	}
	if !errors.Is(err, session.ErrClosed) {
		times := 1
		if r := g.refused[n]; r != nil {
			times += r.times
		}
		g.refused[n] = &refusals{err, time.Now(), times}
	}
	return nil
}

// refusal is why a member did not come.
func (g *Group) refusal(n session.Name) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r := g.refused[n]; r != nil {
		return r.err
	}
	return nil
}

// Close ends the session: calls that go on fail, with Canceled. It returns when nothing of the group is left, or ctx is over. A call that
// comes later makes another session.
func (g *Group) Close(ctx context.Context) error { return g.ch.close(ctx) }
