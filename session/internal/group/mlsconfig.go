package group

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/identity"
)

// Suite is the cipher suite of all SLIM sessions.
const Suite = mls.P256AES128SHA256P256

// clockSlack is how far the clocks of joiners may be off.
const clockSlack = 2 * time.Minute

// Verify judges a token. ErrExpired comes with claims, as may what says that a token is from the future. It does not wait: NotJudged says
// that it would have to.
type Verify func(token string) (*identity.Claims, error)

var (
	errOutsider = errors.New("nobody outside the group takes part")
	errOtherKey = errors.New("the token is for another key")
	errProposal = errors.New("sessions have no use for such a proposal")
)

// NewMLS returns what a session's member brings to its MLS group: a token for key, and the judgement of those of others.
//
// A token that has expired is good enough for a member that is in: its key has not changed, and peers do not renew what is
// in their leaves. So is one from the future, of a member whose clock was set back since. Who is added needs one that holds.
func NewMLS(token string, key *mls.SigningKey, verify Verify) *mls.Config {
	return &mls.Config{
		CipherSuite: Suite, Credential: mls.BasicCredential([]byte(token)), Key: key, KeyPackages: new(mls.MemoryStore),
		Now: time.Now, ClockSlack: clockSlack,
		Client: func(c mls.Credential) (string, error) {
			claims, err := verify(string(c.Identity))
			if claims == nil {
				return "", err
			}
			return claims.Subject, nil
		},
		Credentials: func(p *mls.Presented) error {
			if p.Place == mls.PlaceExternal || p.Place == mls.PlaceProposer {
				return errOutsider
			}
			claims, err := verify(string(p.Credential.Identity))
			switch {
			case claims == nil:
				return err
			case err != nil && p.Place == mls.PlaceAdd && p.Stage == mls.StageCommit:
				return err
			case !bytes.Equal(claims.PublicKey, p.SignatureKey):
				return errOtherKey
			}
			return nil
		},
		Proposals: func(p *mls.Proposed) error {
			for _, c := range p.List {
				if t := c.Proposal.Type(); c.ByReference || t != mls.ProposalAdd && t != mls.ProposalRemove {
					return fmt.Errorf("%w: %v", errProposal, t)
				}
			}
			return nil
		},
	}
}
