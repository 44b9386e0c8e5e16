package group

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
	"github.com/seed31b3bfd0/slimgo/session/internal/reliable"
	"github.com/seed31b3bfd0/slimgo/wire"
)

// crypto is a session's MLS group, with the numbers that SLIM gives its commits. A nil crypto is that of a session
// without MLS.
type crypto struct {
	cfg    *mls.Config
	group  *mls.Group // nil: not created, or not joined yet
	commit uint32     // number of the last one that was applied
	out    bool       // a commit has taken this member out
	held   []early
	quota  *Quota                  // of what is held
	saved  *mls.Saved              // what is being stored; nil: nothing
	fresh  func(old string) string // a token for this member's leaf, in the stead of the old one; empty: none. nil: it commits nothing
	aad    []byte                  // room for what is authenticated of a message
	most   int                     // that the content of the message that is protected may be padded to
}

// mostContent is what the content of a message may have, encrypted, together with its type and metadata: the largest message that nodes
// take (P-tr-5), less what is around that.
const mostContent = 4<<20 - 60<<10

// pad is mls.PadStep for messages that are not too large for that: what has room without padding has room with it.
func (c *crypto) pad(n int) int { return max(n, min(mls.PadStep(n), c.most)) }

// create begins the group of a moderator.
func (c *crypto) create() (err error) {
	if c == nil || c.group != nil {
		return nil
	}
	c.group, err = mls.Create(c.cfg, nil)
	return err
}

// epoch is what heartbeats tell.
func (c *crypto) epoch() uint64 {
	if c == nil || c.group == nil {
		return message.NoEpoch
	}
	return c.group.Epoch()
}

// isIn reports whether a member that tells this epoch is in that of this member. Without MLS all are, whatever they tell: there
// are no epochs, and upstream's apps tell another number in their states than in their heartbeats.
func (c *crypto) isIn(epoch uint64) bool { return c == nil || epoch == c.epoch() }

// add takes the client of a key package in, in exchange for its old leaf if it has one. It returns the commit for the
// others and the welcome for it.
func (c *crypto) add(keyPackage []byte, subject string) (commit, welcome *message.Handshake, err error) {
	k, err := mls.ParseKeyPackage(keyPackage)
	if err != nil {
		return nil, nil, err
	}
	if got, err := c.cfg.Client(k.Leaf.Credential); err != nil || got != subject {
		return nil, nil, fmt.Errorf("key package is of %q, and came from %q", got, subject)
	}
	proposals := []mls.Proposal{&mls.Add{KeyPackage: k}}
	if old, ok := c.group.FindClient(subject); ok {
		proposals = append(proposals, &mls.Remove{Leaf: old})
	}
	change, err := c.apply(proposals)
	if err != nil {
		return nil, nil, err
	}
	return &message.Handshake{Commit: c.commit, Content: change.Commit}, &message.Handshake{Commit: c.commit, Content: change.Welcomes[0]}, nil
}

// removeNamed takes out the client whose subject gives this name its id. It returns the commit for the others.
func (c *crypto) removeNamed(n *wire.NameText) (*message.Handshake, error) {
	leaf, ok := c.group.Find(func(_ mls.LeafIndex, l *mls.LeafNode) bool { return identity.IsOf(n, l.Client()) })
	if !ok {
		return nil, ErrNotMember
	}
	change, err := c.apply([]mls.Proposal{&mls.Remove{Leaf: leaf}})
	if err != nil {
		return nil, err
	}
	return &message.Handshake{Commit: c.commit, Content: change.Commit}, nil
}

// apply commits. Nobody else does, so it holds at once.
func (c *crypto) apply(p []mls.Proposal) (*mls.Change, error) {
	o := mls.CommitOptions{Proposals: p}
	if c.fresh != nil {
		if token := c.fresh(string(c.group.Member(c.group.Own()).Credential.Identity)); token != "" {
			o.Identity.Credential = mls.BasicCredential([]byte(token))
		}
	}
	change, err := c.group.Commit(o)
	if err != nil {
		return nil, err
	}
	if err := change.Apply(); err != nil {
		return nil, err
	}
	c.commit++
	return change, nil
}

// keyPackage makes one for an answer, with this token; nil without MLS.
func (c *crypto) keyPackage(token string) ([]byte, error) {
	if c == nil {
		return nil, nil
	}
	c.cfg.Credential = mls.BasicCredential([]byte(token))
	k, err := c.cfg.NewKeyPackage()
	if err != nil {
		return nil, err
	}
	return k.Marshal(), nil
}

// welcomed enters the group.
func (c *crypto) welcomed(h *message.Handshake) error {
	if c == nil {
		return nil
	}
	if h == nil {
		return errNoMLS
	}
	g, err := mls.Join(c.cfg, h.Content, mls.JoinOptions{})
	if err != nil {
		return c.ofWelcome(h.Content, err)
	}
	if c.group != nil {
		if c.cfg.StateKey != nil {
			if err := g.Replace(c.group); err != nil {
				g.Wipe()
				return err
			}
		}
		c.group.Wipe()
	}
	c.group, c.commit = g, h.Commit
	return nil
}

// Why a commit is not applied.
var (
	errOldCommit = errors.New("the commit has been applied before")
	errGap       = errors.New("a commit before this one is missing")
)

// follow applies a commit of the moderator. removed says that this member is out.
func (c *crypto) follow(h *message.Handshake) (removed bool, err error) {
	switch {
	case c == nil:
		return false, nil
	case h == nil:
		return false, errNoMLS
	case c.group == nil || h.Commit > c.commit+1:
		return false, errGap
	case h.Commit <= c.commit:
		return false, errOldCommit
	}
	r, err := c.group.Process(h.Content)
	if err != nil {
		return false, ofCommit(err)
	}
	if r.Change == nil {
		return false, errUnexpected
	}
	if err := r.Change.Apply(); err != nil {
		return false, err
	}
	c.commit, c.out = h.Commit, r.Change.SelfRemoved
	return c.out, nil
}

// protect encrypts the Blob of m, whose header is as it will be sent.
func (c *crypto) protect(m *message.Message) ([]byte, error) {
	if c.group == nil {
		return nil, errNoMLS
	}
	c.aad = m.AppendAAD(c.aad[:0])
	p := reliable.Payload{Type: m.PayloadType, Metadata: m.Metadata}
	c.most = mostContent - p.Size()
	return c.group.Protect(nil, m.Blob, c.aad)
}

// unprotect decrypts the Blob of m, which may have been prepared: s. subject is whose it is. A header that is not the one that was
// encrypted uses no key up (P-ses-1).
func (c *crypto) unprotect(m *message.Message, s *Sealed) (data []byte, subject string, err error) {
	if c.group == nil {
		return nil, "", errNoMLS
	}
	var r *mls.Received
	if s != nil && s.v != nil {
		r, err = s.v.Accept()
	} else {
		c.aad = m.AppendAAD(c.aad[:0])
		r, err = c.group.ProcessData(m.Blob, c.aad)
	}
	switch {
	case err != nil:
		return nil, "", err
	case !identity.IsOf(&m.Source, r.Leaf.Client()):
		return nil, "", errWrongLeaf
	}
	return r.Application, r.Leaf.Client(), nil
}

// keep keeps a message of an epoch to come, for when its commit is here.
func (c *crypto) keep(m early, err error) bool {
	c.expire(m.at)
	size := m.size
	for _, other := range c.held {
		size += other.size
	}
	if mls.KindOf(err) != mls.FutureEpoch || len(c.held) == mostHeld || size > mostHeldBytes || !c.quota.take(m.size) {
		return false
	}
	own := *m.message // which is lent
	m.message = &own
	c.held = append(c.held, m)
	return true
}

// expire forgets what was kept for too long.
func (c *crypto) expire(now time.Time) {
	if c == nil {
		return
	}
	c.held = slices.DeleteFunc(c.held, func(m early) bool {
		old := now.Sub(m.at) >= mostHeldTime
		if old {
			c.quota.giveBack(m.size)
		}
		return old
	})
}

// release returns what was kept.
func (c *crypto) release() []early {
	if c == nil {
		return nil
	}
	held := c.held
	c.held = nil
	for i := range held {
		c.quota.giveBack(held[i].size)
	}
	return held
}

func (c *crypto) wipe() {
	c.release()
	if c != nil && c.group != nil {
		c.group.Wipe()
	}
}
