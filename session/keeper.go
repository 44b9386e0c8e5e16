package session

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/session/internal/store"
)

// keeper stores what changes of a session, before anything of it is sent or handed over. It is the worker's, who never waits for
// it: meanwhile the machine goes on, and all that it does then goes into the next transaction.
//
//	machine ── outputs ──▶ todo ── Changes: none ──▶ done, in order
//	                        └── some ──▶ held ── Write ──▶ store ── it is there ──▶ done, in order; then the next todo
//	                                                         └── it is not ──▶ nothing of it is done; the session ends here
type keeper struct {
	v     *vault
	owner [16]byte
	about savedSession
	told  bool // about is stored as it is
	keys  map[recordKey]struct{}

	held                []group.Output // to be done when what is written is stored
	view                *view          // for the app when that is stored; nil: nothing of it has changed
	busy                *writing       // nil: nothing is being written
	coming, comingBytes int            // messages in held and todo

	next uint64   // number of the next record of data
	gone []uint64 // records of data to be deleted
	over bool     // the session is, for its machine
	dead bool     // nothing is written any more
	stop bool     // the app is being stopped: it ends when all is stored
}

type recordKey struct {
	kind   uint8
	number uint64
}

// writing is a transaction that is on its way.
type writing struct {
	done chan struct{}
	err  error // after done
}

// mostBehind is how many outputs may wait while a transaction is on its way: what comes then waits its turn.
const mostBehind = 512

func newKeeper(v *vault, about savedSession) *keeper {
	if v == nil {
		return nil
	}
	k := &keeper{v: v, about: about, keys: map[recordKey]struct{}{}}
	_, _ = rand.Read(k.owner[:]) // never fails; two sessions of one id, one after the other, have nothing in common
	return k
}

// storedDeliver is a Deliver whose data is stored.
type storedDeliver struct {
	group.Deliver
	number uint64
}

// put notes that a record is to be written; nil: deleted.
func (k *keeper) put(changes []store.Change, kind uint8, number uint64, text []byte) []store.Change {
	key := store.Key{Owner: k.owner, Kind: kind, Number: number}
	id := recordKey{kind, number}
	if text == nil {
		if _, there := k.keys[id]; !there {
			return changes
		}
		delete(k.keys, id)
		return append(changes, store.Change{Key: key})
	}
	k.keys[id] = struct{}{}
	if group.RecordKind(kind) == group.RecordPart { // is sealed, and says who it is of
		return append(changes, store.Change{Key: key, Value: text, Fresh: true})
	}
	return append(changes, store.Change{Key: key, Value: k.v.seal.Seal(key, text)})
}

// changes is what has to be stored before t.todo is done; none: nothing.
func (k *keeper) changes(t *member) ([]store.Change, error) {
	records, err := t.machine.Changes()
	if err != nil {
		return nil, err
	}
	var changes []store.Change
	for _, n := range k.gone {
		changes = k.put(changes, recordReceived, n, nil)
	}
	k.gone = nil
	for i, o := range t.todo {
		switch o := o.(type) {
		case group.Deliver:
			if t.s.reliable {
				k.next++
				changes = k.put(changes, recordReceived, k.next, t.s.encode(o.Received))
				t.todo[i] = storedDeliver{o, k.next}
			}
		case group.Notify:
			if n, ok := o.Notice.(group.Renewed); ok {
				k.about.Expires, k.told = n.Expires, false
			}
		case group.End:
			k.end(t, o.Err)
		}
	}
	for _, r := range records {
		changes = k.put(changes, uint8(r.Kind), r.Number, r.Value)
	}
	if k.over {
		changes = k.remains(changes)
	} else if len(records) > 0 && !k.told {
		if changes, err = k.tell(changes); err != nil {
			return nil, err
		}
	}
	return changes, nil
}

// tell stores what the keeper itself knows.
func (k *keeper) tell(changes []store.Change) ([]store.Change, error) {
	k.told = true
	text, err := json.Marshal(&k.about)
	return k.put(changes, recordSession, 0, text), err
}

// came notes that a message has left held or todo.
func (k *keeper) came(r *group.Received) {
	if k != nil {
		k.coming--
		k.comingBytes -= r.Size
	}
}

// end notes that the machine's session is over: its records go. Data that the app has not taken stays until it has, unless the
// app has closed the session itself.
func (k *keeper) end(t *member, err error) {
	k.over, k.told = true, false
	if err == nil {
		err = ErrClosed
	}
	k.about.Over = err.Error()
	t.s.mu.Lock()
	own := t.s.closing
	t.s.mu.Unlock()
	if own {
		k.forget()
	}
}

// forget has everything deleted.
func (k *keeper) forget() {
	for id := range k.keys {
		if id.kind == recordReceived {
			k.gone = append(k.gone, id.number)
		}
	}
}

// unreceived reports whether the session is over and data of it is stored that the app has not taken.
func (k *keeper) unreceived() bool {
	if k == nil || !k.over {
		return false
	}
	for id := range k.keys {
		if id.kind == recordReceived {
			return true
		}
	}
	return false
}

// remains deletes what a session that is over has no use for.
func (k *keeper) remains(changes []store.Change) []store.Change {
	for _, n := range k.gone {
		changes = k.put(changes, recordReceived, n, nil)
	}
	k.gone = nil
	received := k.unreceived()
	for id := range maps.Clone(k.keys) {
		if id.kind != recordReceived && (id.kind != recordSession || !received) {
			changes = k.put(changes, id.kind, id.number, nil)
		}
	}
	if received && !k.told {
		changes, _ = k.tell(changes) // of strings and a time
	}
	return changes
}

// write hands changes over.
func (k *keeper) write(t *member, changes []store.Change) {
	w := &writing{done: make(chan struct{})}
	k.busy = w
	k.held, t.todo = t.todo, nil
	if k.view = nil; t.changed {
		t.changed = false
		k.view = t.changedView()
	}
	k.v.store.Write(append([]store.Change{k.v.fence}, changes...), func(err error) {
		w.err = err
		close(w.done)
		t.s.slot.Post(letter{first: func() { t.stored(w) }})
	})
}

// apply does what the machine wants done, in order, and after what that stands on is stored, until it wants nothing.
func (t *member) apply() {
	for t.applyOnce(); t.tellSent(); t.applyOnce() {
		continue
	}
}

func (t *member) applyOnce() {
	taken := t.machine.Take()
	t.todo = append(t.todo, taken...)
	k := t.keep
	if k == nil {
		t.doAll()
		return
	}
	for _, o := range taken {
		if d, ok := o.(group.Deliver); ok {
			k.coming++
			k.comingBytes += d.Received.Size
		}
	}
	switch {
	case k.busy != nil:
		return
	case k.dead:
		t.doDead()
		return
	}
	changes, err := k.changes(t)
	switch {
	case err != nil:
		t.fail(err)
	case len(changes) > 0:
		k.write(t, changes)
	default:
		if t.doAll(); k.stop {
			t.halt(ErrStopped)
		}
	}
}

// doAll does everything that is to be done.
func (t *member) doAll() {
	for i := 0; i < len(t.todo); i++ {
		t.do(t.todo[i])
		t.machine.Recycle(t.todo[i])
		t.todo[i] = nil
	}
	t.todo = t.todo[:0]
}

// stored goes on when a transaction is over.
func (t *member) stored(w *writing) {
	k := t.keep
	if k.busy != w { // the session was halted meanwhile
		return
	}
	err := w.err
	if err == nil {
		err = t.machine.Stored()
	}
	if err != nil {
		t.fail(err)
		return
	}
	k.busy = nil
	next := t.todo
	t.todo, k.held = k.held, nil
	t.showView(k.view)
	t.doAll()
	t.todo = next
	t.apply()
}

// fail ends the session here, since the store does not take what it has to keep.
func (t *member) fail(err error) {
	t.s.app.log.Error("session not stored", "session", t.s.id, "error", err)
	t.halt(fmt.Errorf("%w: %w", ErrStore, err))
}

// stop halts the session when all is stored.
func (t *member) stop() {
	if t.keep == nil || t.keep.dead {
		t.halt(ErrStopped)
		return
	}
	t.keep.stop = true
	t.apply()
}

// finish is for a session that was not halted when the workers ended: it is halted now, and what was posted to it comes to nothing.
func (t *member) finish() {
	for _, l := range t.s.slot.Left() {
		t.Take(l)
	}
	if !t.over {
		t.halt(ErrStopped)
	}
	for t.first.Len() > 0 {
		t.first.Pop()()
	}
	for now := time.Now(); t.step(now); {
		continue
	}
}

// halt ends the session as the end of the process would: nobody is told but the app, and what is stored stays.
func (t *member) halt(err error) {
	if k := t.keep; k != nil {
		t.todo = append(k.held, t.todo...)
		k.held, k.busy, k.dead = nil, nil, true
	}
	t.machine.Step(group.Abandon{}, time.Now())
	t.todo = append(t.todo, t.machine.Take()...)
	for i, o := range t.todo {
		switch o := o.(type) {
		case group.Unsubscribe:
			t.do(o)
		case group.Resolve:
			o.Handle.(handle).resolve(err)
		case group.Delivered:
			for _, h := range *o.Messages {
				h.(handle).resolve(err)
			}
		case group.End:
			t.end(err)
		}
		t.todo[i] = nil
	}
	t.todo = t.todo[:0]
}

// doDead is doAll of a session that was halted: its commands fail.
func (t *member) doDead() {
	for i, o := range t.todo {
		switch o := o.(type) {
		case group.Resolve:
			o.Handle.(handle).resolve(cmp.Or(o.Err, t.s.Err()))
		case group.Delivered:
			for _, h := range *o.Messages {
				h.(handle).resolve(t.s.Err())
			}
		}
		t.todo[i] = nil
	}
	t.todo = t.todo[:0]
}

// took has a record of data deleted, and then h resolved.
func (t *member) took(number uint64, h handle) {
	k := t.keep
	k.gone = append(k.gone, number)
	if h != nil {
		t.todo = append(t.todo, group.Resolve{Handle: h})
	}
	t.apply()
}

// forget deletes what is left of a session that is over.
func (t *member) forget(h handle) {
	if t.keep.over {
		t.keep.forget()
	}
	t.todo = append(t.todo, group.Resolve{Handle: h})
	t.apply()
}

// encode is r as it is stored.
func (s *Session) encode(r *group.Received) []byte {
	m := message.Message{
		Source: r.Source, Dest: r.Dest, Identity: r.Identity, Kind: s.kind, Type: message.Msg, Session: s.id, ID: r.ID,
		PayloadType: r.Payload.Type, Blob: r.Payload.Blob, Metadata: r.Payload.Metadata,
	}
	if r.Subject != "" {
		m.Metadata = maps.Clone(m.Metadata)
		if m.Metadata == nil {
			m.Metadata = map[string]string{}
		}
		m.Metadata[message.KeyPeerSubject] = r.Subject
	}
	return m.Append(nil)
}

// decodeReceived is the counterpart of encode. It lends parts of b.
func decodeReceived(b []byte) (*group.Received, error) {
	m, err := message.Decode(b)
	if err != nil {
		return nil, err
	}
	r := &group.Received{
		Source: m.Source, Dest: m.Dest, ID: m.ID, Direct: m.ID >= 1<<31, Identity: m.Identity, Subject: m.Metadata[message.KeyPeerSubject],
		Payload: reliable.Payload{Type: m.PayloadType, Blob: m.Blob, Metadata: m.Metadata},
		Size:    len(b),
	}
	delete(m.Metadata, message.KeyPeerSubject)
	return r, nil
}
