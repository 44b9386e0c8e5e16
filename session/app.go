package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"

	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/session/internal/store"
	"github.com/seed31b3bfd0/slimgo/session/internal/workers"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// App is one end of sessions: a name, an identity, and a connection to a node. All methods are safe for all.
//
// An app has a few goroutines, however many sessions it has: its workers, and those of its connection.
type App struct {
	o        Options
	log      *slog.Logger
	who      *credentials
	vault    *vault     // nil: sessions are not stored
	self     group.Self // of the app's own name
	pool     *workers.Pool[letter]
	sessions sessions
	ended    ended
	in       inbound
	out      outlet      // of messages to the app's own node
	routed   *routed     // its connections
	down     atomic.Bool // there is no connection at all
	reached  atomic.Bool // there was one
	front    *front
	n        counters

	strangers identity.Pace // of what is verified in sessions of those who are no members
	early     group.Quota   // of messages of epochs to come
	openings  openings      // invitations of Open under way
	disbelief seldom        // records of invitations that are not believed
	unbound   seldom        // records of messages without signatures of their payloads

	life    context.Context // ends with the app
	stop    context.CancelFunc
	running sync.WaitGroup // goroutines that wait for the link

	mu       sync.Mutex
	closing  bool
	over     bool       // guarded by mu: the node in this process is
	names    []*ownName // guarded by mu
	restored []*Session // guarded by mu: by Connect, for a Listener
	past     []*Session // guarded by mu: over, with messages that were not received
	listener *Listener  // guarded by mu; nil: none
	closed   chan struct{}
	failure  error  // of Close; before closed is
	hurry    func() // guarded by mu: has the Close or Stop that runs end what is left
}

// ownName is a name under which the app can be invited.
type ownName struct {
	name     wire.NameText // with the app's id
	id       uint64        // of the subscription
	busy     bool          // a request for it is under way
	given    bool          // up: it is the app's as long as sessions hear by it
	answered chan struct{} // closed when it is not any more
}

// Connect connects an app to a node and returns when it can be reached under its name. ctx bounds that, and nothing after:
// a connection that is lost comes back by itself, until Close. Sessions that the app's Store has go on: App.Sessions.
//
// Errors: ErrConfig; ErrStore, also where StoreKey is not the store's; ErrUnauthorized, where the node does not accept who calls; the error of ctx, with that of the last attempt.
func Connect(ctx context.Context, o Options) (*App, error) {
	if o.Name.IsZero() || o.Name.t.NoStrings {
		return nil, fmt.Errorf("%w: the app has no name", ErrConfig)
	}
	if text := o.Name.String(); o.Tokens == nil && strings.ContainsFunc(text, func(r rune) bool { return r == ':' || unicode.IsSpace(r) }) {
		return nil, fmt.Errorf("%w: name %q has a colon or a space, which tokens of a shared secret cannot name: choose another name, or Tokens", ErrConfig, text)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Nodes, o.Routes = slices.Clone(o.Nodes), slices.Clone(o.Routes)
	a := &App{o: o, log: o.Logger, closed: make(chan struct{})}
	owners, err := a.identify(ctx)
	if err != nil {
		return nil, err
	}
	who := a.who
	a.life, a.stop = context.WithCancel(context.WithoutCancel(ctx))
	a.self = group.Self{
		Name: identity.Name(o.Name.t, who.subject), Subject: who.subject, Token: who.token, Key: who.key,
		Version: group.Product + "/" + uplink.Version, Sends: !o.Mute, Receives: !o.Deaf,
	}
	a.pool = workers.New[letter](o.workers())
	a.front = newFront(a)
	a.strangers.Rate, a.strangers.Burst = strangerRate, strangerBurst
	a.early.Most = mostEarly
	a.in.open(a)
	a.out.open(a)
	var restored []*Session
	if a.vault != nil {
		restored = a.restore(owners)
	}
	if err := a.connect(ctx, restored); err != nil {
		a.end()
		return nil, err
	}
	return a, nil
}

// identify makes the app's identity, or takes the one that its store has, whose records it returns. The id of the app's name is
// the same then, which members that bind names to identities expect.
func (a *App) identify(ctx context.Context) (owners map[[16]byte][]store.Record, err error) {
	if a.vault, owners, err = openVault(ctx, &a.o); err != nil {
		return nil, err
	}
	var known *savedIdentity
	if a.vault != nil {
		if known, err = a.vault.identity(owners); err != nil {
			return nil, err
		}
	}
	if a.who, err = newCredentials(ctx, &a.o, known); err != nil || a.vault == nil {
		return owners, err
	}
	id := savedIdentity{a.who.subject, a.who.signing.Bytes()}
	if err := a.vault.adopt(ctx, &id, known != nil); err != nil {
		a.who.close()
		return nil, err
	}
	return owners, nil
}

// connect makes the link, takes the app's name, and lets restored sessions go on.
func (a *App) connect(ctx context.Context, restored []*Session) error {
	make := dial
	switch {
	case a.o.Link != nil:
		make = func(ctx context.Context, _ *Options, from Incoming) (Link, error) { return a.o.Link(ctx, from) }
	case a.o.InProcess != nil:
		make = attach
	}
	a.routed = newRouted(a)
	if err := a.connectAll(ctx, make); err != nil {
		return err
	}
	for _, s := range restored {
		if s.Err() == nil {
			a.sessions.add(s)
		}
	}
	err := a.Subscribe(ctx, a.o.Name)
	if err == nil {
		err = a.resume(ctx, restored)
	}
	if err != nil {
		_ = a.routed.Close(ctx)
	}
	return err
}

// send sends an encoded message by its way, as outlet.send does.
func (a *App) send(from *lanes, p parcel) (fate reliable.Fate, waits bool) {
	o, err := a.routed.way(p.b, from.by)
	if err != nil {
		return a.out.lost(err), false
	}
	p.lane = from.to(o)
	return o.send(p)
}

// changed is told by the link that the connection is lost, or back.
func (a *App) changed(err error) {
	was := a.down.Swap(err != nil)
	if err != nil {
		if !was {
			if a.reached.Load() {
				a.log.Warn("connection to the node lost", "error", err)
			} else {
				a.log.Warn("no node can be reached, and it is tried again: is one running, and its address right?", "error", err)
			}
			a.all(group.Disconnected{})
		}
		if errors.Is(err, uplink.ErrOver) {
			a.cut()
		}
		return
	}
	text := "connection to the node is back"
	if !a.reached.Swap(true) {
		text = "a node has been reached"
	}
	if !was {
		return // the first one, or there were others
	}
	a.log.Info(text)
	a.again()
}

// again has all sessions say once more what has not been answered, which may not have left.
func (a *App) again() { a.all(group.Reconnected{}) }

// all has all sessions take an event.
func (a *App) all(ev group.Event) {
	for _, s := range a.sessions.all() {
		s.slot.Post(letter{ev: ev})
	}
}

// cut is told that there will be no connection any more, as the node in this process has been shut down: sessions end as App.Stop has
// them end, and none is opened.
func (a *App) cut() {
	a.mu.Lock()
	a.over = true
	listener := a.listener
	a.mu.Unlock()
	if listener != nil {
		listener.stop()
	}
	for _, s := range a.sessions.all() {
		s.stop()
	}
}

// Name returns the app's name, with its id.
func (a *App) Name() Name { return Name{a.self.Name} }

// Subject is whom the app's tokens name.
func (a *App) Subject() string { return a.who.subject }

// Subscribe lets the app be invited under a further name. It returns when the node has taken it. An id in it is not looked at.
func (a *App) Subscribe(ctx context.Context, name Name) error {
	if name.IsZero() || name.t.NoStrings {
		return fmt.Errorf("%w: a name is missing", ErrConfig)
	}
	own := &ownName{name: name.t.WithID(a.self.Name.Name.Hi, a.self.Name.Name.Lo), busy: true, answered: make(chan struct{})}
	for {
		other, err := a.take(own)
		switch {
		case err != nil:
			return err
		case other == nil:
			return a.subscribe(ctx, own)
		}
		select {
		case <-other.answered:
		case <-ctx.Done():
			return ctx.Err()
		}
		a.mu.Lock()
		taken := !other.busy
		a.mu.Unlock()
		if taken {
			return nil
		}
	}
}

// take makes own one of the app's names, unless there is one of the same service, which it returns.
func (a *App) take(own *ownName) (other *ownName, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing {
		return nil, ErrClosed
	}
	if other = a.ownName(&own.name); other == nil {
		a.names = append(a.names, own)
	} else {
		other.given = false
	}
	return other, nil
}

// subscribe asks the node for a name. One that it does not take stays busy, and is none of the app's any more.
func (a *App) subscribe(ctx context.Context, own *ownName) error {
	id, err := a.routed.Subscribe(ctx, a.header(own.name, a.who.token(time.Now())))
	a.mu.Lock()
	defer a.mu.Unlock()
	defer close(own.answered)
	own.id = id
	if own.busy = err != nil; err != nil {
		a.names = slices.DeleteFunc(a.names, func(n *ownName) bool { return n == own })
		return fmt.Errorf("subscribing to %v: %w", Name{own.name}.Any(), err)
	}
	return nil
}

// Unsubscribe takes back Subscribe: nobody can invite the app under that name any more. Its sessions go on. Where some are under that name
// the node has it until they are over, so that they hear; whoever looks for another instance may have to ask twice meanwhile. The
// app's own name can be given up, too; without it, it can open no session: ErrNoName. ErrNoName: it has no such name.
func (a *App) Unsubscribe(ctx context.Context, name Name) error {
	a.mu.Lock()
	n := a.ownName(&name.t)
	if n == nil || n.busy || n.given {
		a.mu.Unlock()
		return fmt.Errorf("unsubscribing from %v: %w", name, ErrNoName)
	}
	n.given = true
	unused := a.unused(n)
	a.mu.Unlock()
	if !unused {
		return nil
	}
	return a.routed.Unsubscribe(ctx, n.id)
}

// unused takes a name that was given up from the app's, unless a session is under it. mu is held.
func (a *App) unused(n *ownName) bool {
	if a.sessions.use(n.name.Name) {
		return false
	}
	a.names = slices.DeleteFunc(a.names, func(other *ownName) bool { return other == n })
	return true
}

// left gives a name back that was given up, and that the session which has ended was the last one to hear by (P-ses-7).
func (a *App) left(s *Session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.ownName(&s.self.t)
	if n == nil || !n.given || !a.unused(n) {
		return
	}
	a.running.Go(func() {
		ctx, cancel := context.WithTimeout(a.life, nameTime)
		defer cancel()
		if err := a.routed.Unsubscribe(ctx, n.id); err != nil && ctx.Err() == nil {
			a.log.Debug("name not given back", "name", Name{n.name}.String(), "error", err)
		}
	})
}

// ownName returns the app's name that is of the service of n. mu is held.
func (a *App) ownName(n *wire.NameText) *ownName {
	for _, own := range a.names {
		if own.name.Name.C == n.Name.C {
			return own
		}
	}
	return nil
}

// called returns the app's name that is of the service of n.
func (a *App) called(n *wire.NameText) (wire.NameText, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if own := a.ownName(n); own != nil && !own.given && (n.Name.IsNull() || n.Name == own.name.Name) {
		return own.name, true
	}
	return wire.NameText{}, false
}

// header is that of a request for a name.
func (a *App) header(n wire.NameText, token string) *wire.PublishHeader {
	return &wire.PublishHeader{Source: a.self.Name, Dest: n, Identity: token, Fanout: 1, TTL: 8, Version: a.self.Version}
}

// Close ends all sessions as their Close does, and the connection. When ctx ends, what is left ends at once. What is to be sent
// while there is no connection is waited for ten seconds. Closing again waits until that is done; where its ctx ends first, what is left
// ends then, and it returns the error of ctx.
func (a *App) Close(ctx context.Context) error {
	ctx, listener, first := a.beginEnd(ctx)
	if !first {
		return a.ending(ctx)
	}
	if listener != nil {
		listener.Close()
	}
	var wg sync.WaitGroup
	for _, s := range append(a.sessions.all(), a.pastSessions()...) {
		wg.Go(func() { _ = s.Close(ctx) })
	}
	wg.Wait()
	for _, s := range a.pastSessions() { // that were ended by others meanwhile
		_ = s.Close(ctx)
	}
	return a.disconnect(ctx)
}

// Stop ends the app and leaves its sessions as they are: nobody is told, and the next Connect with the same Name and Store goes on with
// them. What Publish has accepted is stored before that, and is sent then; here its Delivery says ErrStopped. When ctx ends what
// is stored until then is what is there. Without a Store the sessions are gone, and others find that out in time.
func (a *App) Stop(ctx context.Context) error {
	ctx, listener, first := a.beginEnd(ctx)
	if !first {
		return a.ending(ctx)
	}
	if listener != nil {
		listener.stop()
	}
	all := a.sessions.all()
	for _, s := range all {
		s.stop()
	}
	for _, s := range all {
		select {
		case <-s.done:
		case <-ctx.Done():
		}
	}
	err := a.disconnect(ctx)
	for _, s := range all {
		s.task.finish()
	}
	return err
}

// beginEnd begins to end the app, within a context that another who wants the same can end, too; first is false: another one has begun.
func (a *App) beginEnd(ctx context.Context) (within context.Context, l *Listener, first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closing {
		return ctx, nil, false
	}
	a.closing = true
	within, a.hurry = context.WithCancel(ctx)
	return within, a.listener, true
}

// ending waits for who has begun to end the app.
func (a *App) ending(ctx context.Context) error {
	select {
	case <-a.closed:
		return a.failure
	default:
	}
	select {
	case <-a.closed:
		return a.failure
	case <-ctx.Done():
		a.hurry()
		<-a.closed
		return ctx.Err()
	}
}

// disconnect ends the connection, and everything that runs.
func (a *App) disconnect(ctx context.Context) error {
	var flushing sync.WaitGroup
	for _, o := range a.routed.outlets() {
		flushing.Go(func() { o.flush(ctx) })
	}
	flushing.Wait()
	err := a.routed.Close(ctx)
	if errors.Is(err, uplink.ErrUnsent) && ctx.Err() == nil {
		err = nil // there was no connection that could have taken it
	}
	a.end()
	a.failure = err
	a.hurry()
	close(a.closed)
	return err
}

// end ends everything that runs: the workers first, who begin the rest.
func (a *App) end() {
	a.pool.Close()
	a.stop()
	a.running.Wait()
	a.who.close()
}

// counters of what was not taken, or not sent.
type counters struct {
	unreadable, stray, refused, unbelieved, unsigned, noListener, overflow, behind, hasty, down, noRoom, tooLarge, damaged atomic.Uint64
}

// Stats are counts since Connect.
type Stats struct {
	Sessions int // that there are now, those included that have just ended

	Unreadable uint64 // messages that are none of a session
	Stray      uint64 // for sessions that this app has not
	Unbelieved uint64 // invitations that were not signed as they must be
	Unsigned   uint64 // looked at with Binding Warn, of who does not sign payloads: the event Unsigned says who
	Unheard    uint64 // invitations while nobody listened, or too many waited for Accept
	Refused    uint64 // not acceptable where a session was: the event Refused says why
	Overflow   uint64 // data for sessions whose app does not take it: it is repeated, or the event Overflow tells
	Behind     uint64 // not looked at, as too much for the same session, or of invitations, had come and waited: repeated, or Overflow tells
	Hasty      uint64 // discoveries and invitations, beyond as many as are looked at in a second: repeated
	Down       uint64 // not sent, as there was no connection: repeated later
	NoRoom     uint64 // not sent, as too much waited, or nothing had left for ten seconds: repeated later
	TooLarge   uint64 // not sent, as no node takes so much
	Damaged    uint64 // sessions that the store has, and that Connect could not restore: the log says why
}

// Stats returns the counts.
func (a *App) Stats() Stats {
	return Stats{
		Sessions: int(a.sessions.n.Load()), Unreadable: a.n.unreadable.Load(), Stray: a.n.stray.Load(), Unbelieved: a.n.unbelieved.Load(),
		Unsigned: a.n.unsigned.Load(),
		Unheard:  a.n.noListener.Load(), Refused: a.n.refused.Load(), Overflow: a.n.overflow.Load(),
		Behind: a.n.behind.Load(), Hasty: a.n.hasty.Load(), Down: a.n.down.Load(),
		NoRoom: a.n.noRoom.Load(), TooLarge: a.n.tooLarge.Load(), Damaged: a.n.damaged.Load(),
	}
}
