package session

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/group"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/store"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// Store is where an app keeps its sessions, so that they go on when it is started again. Package session/sqlite opens one in a
// file; a MemoryStore lasts as long as the process. Several apps of one process may use one Store, with one key.
type Store = store.Store

// MemoryStore is a Store in memory. The zero value is empty. It is for tests, and for apps that are started again in one process.
type MemoryStore = store.Memory

// StoreKeySize is the length of Options.StoreKey in bytes.
const StoreKeySize = store.KeySize

// Kinds of records, beside those of package group. The first two are a session's, too.
const (
	recordSession  = 16 + iota // what its machine does not know
	recordReceived             // data that the app has not taken
	recordIdentity             // of the app
	recordRun                  // of the app: which of its processes is the last
	recordCheck                // of nobody: tells one key of the store from others
)

// vault is an app's place in a store. Safe for all.
type vault struct {
	store Store
	seal  *store.Sealer
	app   [16]byte      // owner of the app's own records
	fence store.Change  // in each transaction: fails when another process, or another App, has taken over
	state *mls.StateKey // of MLS groups; nil before the identity is known
}

// openVault takes the app's place in its store, and returns the records of sessions by their owner; nil: it has no store.
// From then on nobody else who has taken it before can write.
func openVault(ctx context.Context, o *Options) (*vault, map[[16]byte][]store.Record, error) {
	if o.Store == nil {
		return nil, nil, nil
	}
	seal, err := store.NewSealer(o.StoreKey)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: StoreKey: %w", ErrConfig, err)
	}
	v := &vault{store: o.Store, seal: seal, app: seal.Owner("app " + o.Name.String())}
	check, err := seal.Derive("check", 32)
	if err != nil {
		return nil, nil, err
	}
	run := make([]byte, 16)
	_, _ = rand.Read(run) // never fails
	v.fence = store.Change{Key: store.Key{Owner: v.app, Kind: recordRun}, Value: run}
	first := []store.Change{{Key: store.Key{Kind: recordCheck}, Value: check, Fresh: true}, v.fence}
	if err := v.write(ctx, first); errors.Is(err, store.ErrConflict) {
		return nil, nil, fmt.Errorf("%w: StoreKey is not the key that the store was made with", ErrStore)
	} else if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	v.fence.Fresh = true
	owners := map[[16]byte][]store.Record{}
	for r, err := range v.store.Read(ctx) {
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", ErrStore, err)
		}
		owners[r.Key.Owner] = append(owners[r.Key.Owner], r)
	}
	return v, owners, nil
}

// write writes and waits.
func (v *vault) write(ctx context.Context, changes []store.Change) error {
	done := make(chan error, 1)
	v.store.Write(changes, func(err error) { done <- err })
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// savedIdentity is who the app is, as it is stored: the id of its name follows from the subject.
type savedIdentity struct {
	Subject string
	Key     []byte // of signatures
}

// identity returns the one that is stored; nil: there is none yet.
func (v *vault) identity(owners map[[16]byte][]store.Record) (*savedIdentity, error) {
	for _, r := range owners[v.app] {
		if r.Key.Kind != recordIdentity {
			continue
		}
		text, err := v.seal.Open(r)
		if err != nil {
			return nil, fmt.Errorf("%w: identity of the app: %w", ErrStore, err)
		}
		id := new(savedIdentity)
		if err := json.Unmarshal(text, id); err != nil {
			return nil, fmt.Errorf("%w: identity of the app: %w", ErrStore, err)
		}
		return id, nil
	}
	return nil, nil
}

// adopt stores the identity, unless it was, and makes the key of MLS groups.
func (v *vault) adopt(ctx context.Context, id *savedIdentity, stored bool) error {
	key, err := v.seal.Derive("mls", mls.StateKeySize)
	if err == nil {
		v.state, err = mls.NewStateKey(key, id.Subject)
	}
	if err != nil || stored {
		return err
	}
	text, err := json.Marshal(id)
	if err != nil {
		return err
	}
	k := store.Key{Owner: v.app, Kind: recordIdentity}
	if err := v.write(ctx, []store.Change{v.fence, {Key: k, Value: v.seal.Seal(k, text)}}); err != nil {
		return fmt.Errorf("%w: identity of the app: %w", ErrStore, err)
	}
	return nil
}

// savedSession is what is stored of a session beside its machine's records.
type savedSession struct {
	App       string // its name
	ID        uint32
	Kind      message.Kind
	Dest      wire.NameText
	Moderator wire.NameText
	Encrypted bool
	Expires   time.Time `json:",omitzero"` // of the token in this member's leaf
	Over      string    `json:",omitzero"` // why it is over, and waits for the app to take what has come; empty: it is not over
}

// open unseals the records of a session. It returns nothing if it is another app's.
func (v *vault) open(app string, records []store.Record) (about *savedSession, machine []group.Record, inbox []store.Record, err error) {
	for _, r := range records {
		k := group.RecordKind(r.Key.Kind)
		if k == group.RecordPart {
			machine = append(machine, group.Record{Kind: k, Number: r.Key.Number, Value: r.Value})
			continue
		}
		text, err := v.seal.Open(r)
		if err != nil {
			return nil, nil, nil, err
		}
		switch r.Key.Kind {
		case recordSession:
			about = new(savedSession)
			if err := json.Unmarshal(text, about); err != nil {
				return nil, nil, nil, fmt.Errorf("record %v: %w", r.Key, err)
			}
			if about.App != app {
				return nil, nil, nil, nil
			}
		case recordReceived:
			inbox = append(inbox, store.Record{Key: r.Key, Value: text})
		default:
			machine = append(machine, group.Record{Kind: k, Number: r.Key.Number, Value: text})
		}
	}
	if about == nil {
		return nil, nil, nil, errors.New("the record that says whose it is is missing")
	}
	return about, machine, inbox, nil
}
