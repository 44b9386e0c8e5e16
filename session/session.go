package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/session/internal/workers"
	"github.com/seed31b3bfd0/slimgo/session/uplink"
)

// Session is a conversation: of two, or of a group. All methods are safe for all.
//
// It ends by Close, by the moderator's doing, or, one of two, because the other one has closed it or was offline for as long as
// Options.PeerTimeout says; then Done is closed, messages that have come can still be received, and everything else says ErrClosed. A
// moderator whose last member has left is alone, and can invite others.
type Session struct {
	app       *App
	id        uint32
	kind      message.Kind
	self      Name // with its id
	dest      Name
	moderator Name
	metadata  map[string]string
	encrypted bool
	reliable  bool
	control   reliable.Options // how long others may take to answer
	slot      *workers.Slot[letter]
	backlog   backlog // the reader's, and the worker's
	task      *member // the worker's
	credit    credit
	said      said
	lanes     lanes
	done      chan struct{}
	mirrored  bool   // it is one of the two ends of a session of the app with itself
	restored  bool   // a Listener gets it although nobody has invited this app; guarded by that of the app
	entering  *place // in the backlog of a listener, until it is open; nil: none, or no more. The worker's
	place     *place // the same, from then on until it is accepted; guarded by the listener's mu

	mu        sync.Mutex
	roster    []Participant // guarded by mu; replaced whole
	epoch     uint64        // guarded by mu
	ended     bool          // guarded by mu
	err       error         // guarded by mu
	closing   bool          // guarded by mu: the app has closed it
	stopping  bool          // guarded by mu: the app is
	forgotten bool          // guarded by mu: what is in the inbox is not stored any more
	inbox     inbox         // guarded by mu
	events    events        // guarded by mu
}

// Participant is a member of a session.
type Participant struct {
	Name            Name
	Online          bool // else it is not there for the time being
	Sends, Receives bool
	Self            bool // it is this app
}

// newSession is a session whose machine is m, which belongs to the session's worker from now on. Its records are those of k; nil:
// it has none yet.
func newSession(a *App, o *group.Options, m group.Machine, dest, moderator Name, k *keeper) *Session {
	s := &Session{
		app: a, id: o.ID, kind: o.Kind, self: Name{o.Self.Name}, encrypted: o.MLS != nil, reliable: o.Data.Interval > 0,
		control: o.Control, dest: dest, moderator: moderator, metadata: o.Metadata, done: make(chan struct{}), epoch: message.NoEpoch,
	}
	s.inbox.messages.Keep = mostInboxKept
	t := &member{s: s, machine: m, keep: k}
	switch {
	case k != nil:
		t.expires = k.about.Expires
	case s.encrypted:
		t.expires = a.who.expires(time.Now())
	}
	if k == nil {
		t.keep = newKeeper(a.vault, savedSession{
			App: a.o.Name.String(), ID: s.id, Kind: s.kind, Dest: dest.t, Moderator: moderator.t, Encrypted: s.encrypted, Expires: t.expires,
		})
	}
	t.showRoster()
	s.task = t
	s.backlog.most = mostBacklog
	s.slot = a.pool.Add(t)
	heard := letter{first: t.hearOfSent}
	s.lanes.open(func() { s.slot.Post(heard) })
	t.doubts = doubts{app: a, slot: s.slot, most: mostDoubts}
	return s
}

func random32() uint32 { return rand.Uint32() }

// Open opens a session with an app: with any instance of it, unless the name has an id. It returns when the other one is in.
//
// Thousands may be opened at a time: of those with the same name 32 are under way, and the others wait for their turn, as long as ctx lets
// them. What is ErrTimeout for one is not waited for by the others.
//
// Under a name of this app it is a session of the app with itself, as a probe of its own health wants: its Listener gets the other end.
// Nothing of it leaves the process, or is stored, and the two ends have ids of their own. Other instances of the same name are reached by
// names with an id.
//
// Errors: *Declined; ErrTimeout, where nobody of that name answers; ErrUnauthorized; ErrClosed; that of ctx.
func (a *App) Open(ctx context.Context, peer Name, o SessionOptions) (*Session, error) {
	if err := cmp.Or(ctx.Err(), o.check(peer)); err != nil {
		return nil, err
	}
	if own, ok := a.itself(peer); ok {
		return a.openMirror(own, o)
	}
	if err := a.openings.begin(ctx, peer.t.Name); err != nil {
		return nil, fmt.Errorf("opening a session with %v: %w", peer, err)
	}
	s, err := a.openTo(ctx, peer, o)
	a.openings.end(peer.t.Name, err)
	return s, err
}

// openTo is Open of a session with another app, when it has its turn.
func (a *App) openTo(ctx context.Context, peer Name, o SessionOptions) (*Session, error) {
	s, err := a.begin(message.PointToPoint, peer, o)
	if err != nil {
		return nil, err
	}
	c := newCall()
	err = s.invite(ctx, c, group.Invite{Name: peer.t, Pin: o.Pin, Handle: c})
	if err != nil {
		s.leave()
		return nil, fmt.Errorf("opening a session with %v: %w", peer, err)
	}
	return s, nil
}

// OpenGroup opens a session for a group, on a channel that is named like an app. This app is its moderator, and alone until it
// has invited others.
func (a *App) OpenGroup(ctx context.Context, channel Name, o SessionOptions) (*Session, error) {
	if err := cmp.Or(ctx.Err(), o.check(channel)); err != nil {
		return nil, err
	}
	if o.Pin != "" {
		return nil, fmt.Errorf("%w: a pin is for a session between two", ErrConfig)
	}
	return a.begin(message.Group, channel.Any(), o)
}

func (a *App) begin(kind message.Kind, dest Name, o SessionOptions) (*Session, error) {
	g := group.Options{
		Kind: kind, Self: a.self, Control: o.timers(), Metadata: maps.Clone(o.Metadata),
		Strict: a.o.Binding == Enforce, Random: random32, Keep: a.vault != nil, Patience: a.o.patience(),
		Verify: a.verify, Replay: a.o.replays(), Strangers: &a.strangers, Early: &a.early, Warn: a.o.Binding == Warn,
	}
	if !o.Unreliable {
		g.Data = g.Control
	}
	s, err := a.draw(o.ID, func(id uint32) (*Session, error) {
		g.ID = id
		if !o.Plain {
			g.MLS = a.mls(time.Now(), nil)
		}
		m, err := group.NewModerator(g, dest.t)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		return newSession(a, &g, m, dest, Name{g.Self.Name}, nil), nil
	})
	if err == nil && a.vault != nil {
		s.slot.Post(letter{}) // so that it is stored
	}
	return s, err
}

// check says what cannot be of a session with dest, or of a group on that channel.
func (o *SessionOptions) check(dest Name) error {
	switch {
	case dest.IsZero() || dest.t.NoStrings:
		return fmt.Errorf("%w: a name is missing", ErrConfig)
	case o.ID >= MaxID:
		return fmt.Errorf("%w: id %d of a session, and the largest is %d", ErrConfig, o.ID, uint32(MaxID-1))
	}
	size := 0
	for k, v := range o.Metadata {
		size += len(k) + len(v)
	}
	if size > MaxContent {
		return fmt.Errorf("%w: metadata of %d bytes, which an invitation carries, and it may have %d", ErrTooLarge, size, MaxContent)
	}
	return checkMetadata(o.Metadata)
}

// draw makes a session of this id, or, if it is 0, of one that is drawn, one of the app's.
func (a *App) draw(id uint32, make func(id uint32) (*Session, error)) (*Session, error) {
	drawn := id == 0
	for range 100 {
		if drawn {
			id = 1 + rand.Uint32N(MaxID-1)
		}
		s, err := make(id)
		if err != nil {
			return nil, err
		}
		if ok, err := a.enter(s); err != nil {
			return nil, err
		} else if ok {
			return s, nil
		}
		if !drawn {
			break
		}
	}
	return nil, fmt.Errorf("%w: id %d is that of another session", ErrConfig, id)
}

// enter makes s one of the app's sessions; false: its id is taken.
func (a *App) enter(s *Session) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closing:
		return false, ErrClosed
	case a.over:
		return false, ErrStopped
	case !s.mirrored && a.ownName(&s.self.t) == nil:
		return false, fmt.Errorf("%w: it has given up its own, by which others answer: Subscribe to it", ErrNoName)
	}
	return a.sessions.add(s), nil
}

// ID is the same for all members, unless both are this app. Two apps may have sessions of the same id that have nothing to do with each other.
func (s *Session) ID() uint32 { return s.id }

// Kind says whether it is of two or of a group.
func (s *Session) Kind() Kind { return Kind(s.kind) }

// Self is the name of this app in the session, with its id.
func (s *Session) Self() Name { return s.self }

// Dest is where messages go: the name of the other one, as it was opened with or with its id, or of the group's channel.
func (s *Session) Dest() Name { return s.dest }

// Moderator is who has opened the session.
func (s *Session) Moderator() Name { return s.moderator }

// IsModerator reports whether this app has opened it.
func (s *Session) IsModerator() bool { return s.moderator == s.self }

// Metadata is what the moderator has given it; not to be changed.
func (s *Session) Metadata() map[string]string { return s.metadata }

// Encrypted reports whether messages are encrypted from end to end.
func (s *Session) Encrypted() bool { return s.encrypted }

// Reliable reports whether messages are repeated until they are acknowledged, and come in order.
func (s *Session) Reliable() bool { return s.reliable }

// Participants returns who is in the session, in the order in which they came, this app included.
func (s *Session) Participants() []Participant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.roster)
}

// Epoch counts changes of the keys of an encrypted session; false: there are none.
func (s *Session) Epoch() (uint64, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.epoch, s.epoch != message.NoEpoch
}

// Done is closed when the session is over.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns why the session is over: an ErrClosed. nil while it is not.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// post sends the session's worker a letter; an error: the session is over.
func (s *Session) post(l letter) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.stopping {
		return ErrClosed
	}
	s.slot.Post(l) // under mu: what is posted is taken before or after the end, but never too late to be resolved
	return nil
}

// do sends a command and waits for its result.
func (s *Session) do(ctx context.Context, c *call, ev group.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.post(letter{ev: ev}); err != nil {
		return err
	}
	select {
	case err := <-c.result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Invite adds a member, of a group by its moderator: any instance of an app, unless the name has an id. It returns when the
// new one is in and can decrypt. When ctx ends before it has answered, the invitation is taken back.
//
// Who is a member already is asked whether it is there. If it answers, that is ErrMember. If it is silent, for four intervals of
// SessionOptions, or is offline, it may have left or have been started anew, unheard: another instance, or it itself, is looked for, and takes
// its place. If nobody comes, it stays a member.
//
// Errors: *Declined; ErrTimeout; ErrMember; ErrNotModerator; ErrPointToPoint; ErrUnauthorized; ErrClosed.
func (s *Session) Invite(ctx context.Context, name Name) error { return s.InvitePinned(ctx, name, "") }

// InvitePinned is Invite of an app whose token must have this subject.
func (s *Session) InvitePinned(ctx context.Context, name Name, subject string) error {
	c := newCall()
	return s.invite(ctx, c, group.Invite{Name: name.t, Pin: subject, Handle: c})
}

func (s *Session) invite(ctx context.Context, c *call, ev group.Invite) error {
	if ev.Name.NoStrings || ev.Name.Name.C == [3]uint64{} {
		return fmt.Errorf("%w: a name is missing", ErrConfig)
	}
	err := s.do(ctx, c, ev)
	if err != nil && ctx.Err() != nil {
		_ = s.post(letter{ev: group.Withdraw{Handle: c}})
	}
	return err
}

// Remove takes a member out, of a group by its moderator: it can read nothing that is said after that. It returns when the others know.
//
// Errors: ErrNotMember; ErrNotModerator; ErrPointToPoint; ErrClosed.
func (s *Session) Remove(ctx context.Context, name Name) error {
	c := newCall()
	return s.do(ctx, c, group.Remove{Name: name.t, Handle: c})
}

// Suspend tells the others of a group that this app will not be there for the time being: nobody waits for it, and it gets nothing.
// It returns when they know. Errors: ErrBusy; ErrPointToPoint; ErrClosed.
func (s *Session) Suspend(ctx context.Context) error {
	c := newCall()
	return s.do(ctx, c, group.Suspend{Handle: c})
}

// Resume ends that. Where the membership has changed meanwhile, the moderator lets this app in anew.
func (s *Session) Resume(ctx context.Context) error {
	c := newCall()
	return s.do(ctx, c, group.Resume{Handle: c})
}

// Close ends the session: the moderator's for all, and that of others for themselves. It waits until what was published is
// acknowledged, and until the others know. When ctx ends before that, so does the session, and its error is returned. What
// was not acknowledged then is not delivered, as its Delivery says. Without an end of ctx that takes as long as the times of
// SessionOptions say for either, and about a minute for either where another app has opened the session. A member that leaves a group
// unheard, since the network is cut, is offline for the others until it is removed, or invited anew. Closing again returns nil.
func (s *Session) Close(ctx context.Context) error {
	s.credit.end()
	s.mu.Lock()
	over, again := s.ended, s.closing
	s.closing = true
	s.mu.Unlock()
	var err error
	if !over {
		s.drain(ctx)
		if err = s.depart(ctx); errors.Is(err, ErrClosed) {
			err = nil
		}
	}
	if err != nil { // ctx
		_ = s.post(letter{ev: group.Abandon{}})
		s.await(storeTime)
	}
	<-s.done
	forgotten := s.forget(ctx)
	if again && ctx.Err() != nil { // it is forgotten all the same
		forgotten = nil
	}
	return cmp.Or(err, forgotten)
}

// depart tells others of the end, and waits for it.
func (s *Session) depart(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c := newCall()
	if err := s.post(letter{ev: group.Leave{Handle: c}}); err != nil {
		return err
	}
	select {
	case err := <-c.result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.app.life.Done():
		return nil
	}
}

// storeTime is how long a session that is to end at once waits for its store.
const storeTime = 10 * time.Second

// await waits that long for the end, which may have to wait for a store, and then has it happen.
func (s *Session) await(d time.Duration) {
	limit := time.NewTimer(d)
	defer limit.Stop()
	select {
	case <-s.done:
	case <-limit.C:
		s.slot.Post(letter{first: func() {
			if !s.task.over {
				s.task.fail(errors.New("it does not answer"))
			}
		}})
	}
}

// stop ends the session in this process, when what was published is stored.
func (s *Session) stop() {
	s.credit.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	s.slot.Post(letter{ev: stop{}})
}

// stop is an event of a session whose app is being stopped.
type stop struct{ group.Tick }

// forget deletes what is stored of a session that is over.
func (s *Session) forget(ctx context.Context) error {
	if s.app.vault == nil || s.mirrored {
		return nil
	}
	c := newCall()
	s.slot.Post(letter{first: func() { s.task.forget(c) }})
	select {
	case err := <-c.result:
		if errors.Is(err, ErrStopped) {
			err = nil
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-s.app.life.Done():
		return nil
	}
}

// drain waits until it is known what has become of everything that was published, as long as something of it leaves. Where nobody is
// there to take it, that would never be.
func (s *Session) drain(ctx context.Context) {
	listens := func(p Participant) bool { return !p.Self && p.Online && p.Receives }
	if !slices.ContainsFunc(s.Participants(), listens) {
		return
	}
	look := time.NewTicker(time.Duration(s.control.Retries+2) * s.control.Interval)
	defer look.Stop()
	for left := s.lanes.left.Load(); ; {
		select {
		case <-s.credit.settled():
			return
		case <-s.done:
			return
		case <-ctx.Done():
			return
		case <-look.C:
		}
		now := s.lanes.left.Load()
		if now == left {
			return
		}
		left = now
	}
}

// leave ends the session without waiting for that.
func (s *Session) leave() {
	s.credit.end()
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	_ = s.post(letter{ev: group.Leave{}})
}

// reservedKeys are metadata that means something to members of sessions.
var reservedKeys = []string{message.KeyPayloadSignature, message.KeyPeerSubject, message.KeyPublishTo, message.KeyLeaving}

func checkMetadata(md map[string]string) error {
	if len(md) > message.MaxMetadata/2 {
		return fmt.Errorf("%w: %d entries of metadata, and no more than %d may be", ErrConfig, len(md), message.MaxMetadata/2)
	}
	for k, v := range md {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return fmt.Errorf("%w: metadata %q: %q is no UTF-8 text, which others need to read the message", ErrConfig, k, v)
		}
	}
	for _, key := range reservedKeys {
		if _, ok := md[key]; ok {
			return fmt.Errorf("%w: metadata %q is reserved", ErrConfig, key)
		}
	}
	return nil
}

// overhead is more than what headers, tokens and encryption add to a message.
const overhead = 64 << 10

// MaxContent is how much Data a message may have, together with its Type and Metadata, in bytes.
const MaxContent = uplink.MaxMessage - overhead
