package group

import (
	"bytes"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// Sealed is data that was decrypted, and whose signature is to be verified.
type Sealed struct {
	u *mls.Unverified
	v *mls.Verified // nil: not yet
}

// Verify verifies the signature. It is called once, by any goroutine, before the Step of the message.
func (s *Sealed) Verify() { s.v = s.u.Verify() }

// Drop gives up what no Step has taken. It is called after the Step, or in its stead, by who calls Step.
func (s *Sealed) Drop() { s.u.Discard() }

// Prepare decrypts data ahead of its Step, where its header is its own (P-ses-1).
func (c *core) Prepare(m *message.Message) *Sealed {
	if c.mls == nil || c.mls.group == nil || c.over || !c.o.Self.Receives || m.Type != message.Msg && m.Type != message.RtxReply || c.deaf(m.Type) ||
		same(&m.Source, &c.o.Self.Name) || c.roster.find(&m.Source) == nil {
		return nil
	}
	u, err := c.mls.group.Unprotect(m.Blob)
	if err != nil {
		return nil // its Step finds the same, or that something has changed
	}
	c.mls.aad = m.AppendAAD(c.mls.aad[:0])
	if u.Content() != mls.ContentApplication || !bytes.Equal(u.AAD(), c.mls.aad) { // likewise
		u.Discard()
		return nil
	}
	return &Sealed{u: u}
}
