package group

import (
	"errors"
	"slices"

	"github.com/seed31b3bfd0/slimgo/mls"
	"github.com/seed31b3bfd0/slimgo/session/internal/message"
)

// NotJudged is the error of a Verify that cannot say yet what a token is worth: it has to be judged elsewhere, which takes a while.
type NotJudged struct{ Token string }

func (*NotJudged) Error() string { return "the token has not been judged yet" }

// notJudged says that a handshake cannot be looked at before these tokens are judged. Nothing has changed.
type notJudged struct{ tokens []string }

func (*notJudged) Error() string { return "tokens in it have not been judged yet" }

// Tokens are those that a control message shows, each once: its sender's, and that of a key package.
func Tokens(m *message.Message) []string {
	tokens := []string{m.Identity}
	var kp []byte
	switch c := m.Command.(type) {
	case *message.Joined:
		kp = c.KeyPackage
	case *message.Rejoin:
		kp = c.KeyPackage
	}
	if kp == nil {
		return tokens
	}
	if k, err := mls.ParseKeyPackage(kp); err == nil && string(k.Leaf.Credential.Identity) != m.Identity {
		tokens = append(tokens, string(k.Leaf.Credential.Identity))
	}
	return tokens
}

// ofCommit makes a NotJudged of a commit a notJudged. A commit adds one member, or is looked at as often as it adds some.
func ofCommit(err error) error {
	var one *NotJudged
	if errors.As(err, &one) {
		return &notJudged{[]string{one.Token}}
	}
	return err
}

// ofWelcome makes a NotJudged of a welcome a notJudged with the tokens of all members that have not been judged: it is joined once more,
// with no effect, to find them.
func (c *crypto) ofWelcome(welcome []byte, err error) error {
	var one *NotJudged
	if !errors.As(err, &one) {
		return err
	}
	found := &notJudged{[]string{one.Token}}
	note := func(err error) bool {
		if !errors.As(err, &one) {
			return false
		}
		if !slices.Contains(found.tokens, one.Token) {
			found.tokens = append(found.tokens, one.Token)
		}
		return true
	}
	look := *c.cfg
	look.StateKey, look.KeyPackages = nil, lender{c.cfg.KeyPackages}
	look.Client = func(of mls.Credential) (string, error) {
		name, err := c.cfg.Client(of)
		if note(err) {
			return string(of.Identity), nil // until its subject is known
		}
		return name, err
	}
	look.Credentials = func(p *mls.Presented) error {
		if err := c.cfg.Credentials(p); !note(err) {
			return err
		}
		return nil
	}
	if g, err := mls.Join(&look, welcome, mls.JoinOptions{}); err == nil {
		g.Wipe()
	}
	return found
}

// lender lends key packages: none is used up.
type lender struct{ mls.KeyPackageStore }

var errLent = errors.New("the key package is lent")

func (lender) Delete([]byte) error { return errLent }
