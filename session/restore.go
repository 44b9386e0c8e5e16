package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/session/internal/store"
)

// Sessions returns the sessions that there are, in no order. After Connect those are what the app has had when it was stopped or
// killed, and its store still has: sessions that go on, and sessions that are over and whose messages were not all received.
// Listener.Accept returns those of them that others have opened, too, once.
func (a *App) Sessions() []*Session {
	var list []*Session
	for _, s := range a.sessions.all() {
		if s.Err() == nil {
			list = append(list, s)
		}
	}
	return append(list, a.pastSessions()...)
}

// pastSessions are those that are over, and whose messages were not all received.
func (a *App) pastSessions() []*Session {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.past = slices.DeleteFunc(a.past, (*Session).drained)
	return slices.Clone(a.past)
}

// keepPast adds one to them.
func (a *App) keepPast(s *Session) {
	a.pastSessions()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.past = append(a.past, s)
}

// drained reports whether everything was received.
func (s *Session) drained() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended && (s.closing || s.inbox.messages.Len()+s.inbox.unhandled == 0)
}

// mls is what a session brings to its MLS group. wait says whether tokens may be waited for; nil: they may not.
func (a *App) mls(now time.Time, wait func() bool) *mls.Config {
	c := a.who.mls(now, wait)
	if a.vault != nil {
		c.StateKey = a.vault.state
	}
	return c
}

// verify judges a token at this time.
func (a *App) verify(token string) (*identity.Claims, error) {
	claims, err, ok := a.who.judged(token, time.Now())
	if !ok {
		return nil, &group.NotJudged{Token: token}
	}
	return claims, err
}

// restore makes the sessions of these records, and returns them; none of them runs yet.
func (a *App) restore(owners map[[16]byte][]store.Record) []*Session {
	var list []*Session
	for owner, records := range owners {
		if slices.ContainsFunc(records, func(r store.Record) bool { return r.Key.Kind == recordRun || r.Key.Kind == recordCheck }) {
			continue // an app's own, or nobody's
		}
		s, err := a.restoreSession(owner, records)
		if err != nil {
			a.n.damaged.Add(1)
			a.log.Error("session not restored: its records stay in the store", "error", err)
		}
		if s != nil {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(s, other *Session) int { return cmp.Compare(s.id, other.id) })
	return list
}

// restoreSession makes one; nil: it is another app's, or does not open.
func (a *App) restoreSession(owner [16]byte, records []store.Record) (*Session, error) {
	about, machine, inbox, err := a.vault.open(a.o.Name.String(), records)
	if err != nil || about == nil {
		return nil, err
	}
	k := &keeper{v: a.vault, owner: owner, about: *about, told: true, keys: map[recordKey]struct{}{}}
	for _, r := range records {
		k.keys[recordKey{r.Key.Kind, r.Key.Number}] = struct{}{}
		if r.Key.Kind == recordReceived {
			k.next = max(k.next, r.Key.Number)
		}
	}
	var s *Session
	if about.Over != "" {
		s = a.restorePast(k)
	} else if s, err = a.restoreLive(k, machine); err != nil {
		return nil, err
	}
	for _, r := range inbox { // in the order of their numbers, as the store gives them
		got, err := decodeReceived(r.Value)
		if err != nil {
			return nil, fmt.Errorf("record %v: %w", r.Key, err)
		}
		s.deliver(got, r.Key.Number)
	}
	if about.Over != "" {
		s.mu.Lock()
		s.ended = true
		s.mu.Unlock()
	}
	return s, nil
}

// restoreLive makes a session that goes on. What it had under way is sent again as soon as it runs.
func (a *App) restoreLive(k *keeper, records []group.Record) (*Session, error) {
	snap, err := group.ReadSnapshot(records)
	if err != nil {
		return nil, err
	}
	o := snap.Options()
	name := o.Self.Name
	o.Self, o.Strict, o.Random, o.Patience = a.self, a.o.Binding == Enforce, random32, a.o.patience()
	o.Self.Name, o.Verify, o.Strangers = name, a.verify, &a.strangers
	o.Early, o.Warn, o.Replay = &a.early, a.o.Binding == Warn, a.o.replays()
	if name.Name.Hi != a.self.Name.Name.Hi || name.Name.Lo != a.self.Name.Name.Lo {
		return nil, errors.New("it is of another identity of the app")
	}
	now, restoring := time.Now(), true
	if snap.Encrypted() {
		o.MLS = a.mls(now, func() bool { return restoring })
	}
	var under []*Delivery
	m, err := snap.Restore(o, func(u *reliable.UnderWay) group.Handle {
		d := &Delivery{size: u.Payload.Size(), id: u.ID}
		under = append(under, d)
		return d
	}, now)
	if err != nil {
		return nil, err
	}
	restoring = false // from here on the worker's, who does not wait
	s := newSession(a, &o, m, Name{k.about.Dest}, Name{snap.Moderator()}, k)
	for _, d := range under {
		d.s = s
		s.credit.n++
		s.credit.bytes += d.size
	}
	return s, nil
}

// restorePast makes a session that is over, with what the app has not received of it.
func (a *App) restorePast(k *keeper) *Session {
	k.over = true
	o := &group.Options{Kind: k.about.Kind, ID: k.about.ID, Self: a.self}
	s := newSession(a, o, pastMachine{}, Name{k.about.Dest}, Name{k.about.Moderator}, k)
	s.encrypted, s.reliable = k.about.Encrypted, true
	s.err = ErrClosed
	if k.about.Over != ErrClosed.Error() {
		s.err = pastError(k.about.Over)
	}
	s.task.over = true
	s.credit.over = true
	close(s.done)
	return s
}

// pastError is why a session was over before the app was started again.
type pastError string

func (e pastError) Error() string        { return string(e) }
func (e pastError) Is(target error) bool { return target == ErrClosed || errors.Is(ErrClosed, target) }

// pastMachine is the machine of a session that is over.
type pastMachine struct{}

func (pastMachine) Step(group.Event, time.Time)                               {}
func (pastMachine) Prepare(*message.Message) *group.Sealed                    { return nil }
func (pastMachine) Screen(*message.Message, time.Time) (why error, take bool) { return nil, false }
func (pastMachine) Take() []group.Output                                      { return nil }
func (pastMachine) Recycle(group.Output)                                      {}
func (pastMachine) Deadline() time.Time                                       { return time.Time{} }
func (pastMachine) Epoch() uint64                                             { return message.NoEpoch }
func (pastMachine) Roster() []message.Participant                             { return nil }
func (pastMachine) Version() uint64                                           { return 0 }
func (pastMachine) Changes() ([]group.Record, error)                          { return nil, nil }
func (pastMachine) Stored() error                                             { return nil }

// resume lets restored sessions run, which may be invited and written to from now on.
func (a *App) resume(ctx context.Context, list []*Session) error {
	for _, s := range list {
		if s.self.Any() == a.o.Name.Any() || s.Err() != nil {
			continue
		}
		if err := a.Subscribe(ctx, s.self); err != nil { // it is under another name of the app, by which others write to it
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, s := range list {
		s.slot.Post(letter{})
		if s.Err() != nil {
			a.past = append(a.past, s)
		}
		if s.restored = !s.IsModerator(); s.restored {
			a.restored = append(a.restored, s)
		}
	}
	return nil
}
