package mls

import (
	"io"

	"github.com/seed31b3bfd0/slimgo/mls/internal/suite"
)

// epoch is all that a member knows in one epoch. But for the ratchets of its messages it does not change: a commit
// makes a new one, and until that is put in its place nothing has happened.
type epoch struct {
	suite    *suite.Suite
	context  groupContext
	raw      []byte // of context
	tree     *tree
	own      LeafIndex
	keys     keyring
	signer   *SigningKey // of the own leaf
	secrets  epochSecrets
	messages *epochKeys
	tag      []byte // confirmation tag
	interim  []byte // transcript hash
}

// wipe deletes its secrets. What protects messages is not touched: it may be kept for late ones.
func (e *epoch) wipe() {
	e.secrets.wipe()
	e.keys.wipe()
	e.signer = nil // it is the configuration's
}

// drop deletes all secrets of an epoch that no group came to.
func (e *epoch) drop() {
	e.wipe()
	if e.messages != nil {
		e.messages.wipe()
	}
}

// start spreads the epoch secret over e, whose context, tree and keys are set, and computes its confirmation tag and
// interim hash.
func (e *epoch) start(epochSecret *suite.Secret) {
	e.raw = e.context.append(nil)
	e.messages = &epochKeys{epoch: e.context.epoch, context: e.raw, tree: e.tree}
	var encryption suite.Secret
	e.secrets.derive(e.suite, epochSecret, &e.messages.senderData, &encryption)
	e.messages.secrets = newSecretTree(e.suite, e.tree.size(), &encryption)
	e.tag = e.suite.MAC(nil, e.secrets.confirmation.Bytes(), e.context.confirmedHash)
	e.interim = interimHash(e.suite, e.context.confirmedHash, e.tag)
}

// next is how a commit leads from one epoch to another (RFC 9420, section 8).
type next struct {
	epoch   *epoch
	joiner  suite.Secret
	welcome suite.Secret
}

func (n *next) wipe() {
	n.joiner.Wipe()
	n.welcome.Wipe()
}

// advance completes the epoch that a commit leads to. The context of to lacks only the transcript hash, which commit
// extends. interim is the interim transcript hash of the epoch before, and so is init its init secret, unless the
// commit is external.
func advance(s *suite.Suite, interim []byte, init *suite.Secret, to *epoch, commit *authenticated, commitSecret, psk *suite.Secret) *next {
	n := &next{epoch: to}
	to.suite = s
	to.context.confirmedHash = confirmedHash(s, interim, commit)
	raw := to.context.append(nil)
	deriveJoiner(s, &n.joiner, init, commitSecret, raw)
	var j joined
	defer j.wipe()
	j.derive(s, &n.joiner, psk, raw)
	to.start(&j.epoch)
	n.welcome.Take(&j.welcome)
	return n
}

// newGroupInfo makes the group info of e (section 12.4.3): with the tree, and with what an external commit needs.
func (e *epoch) newGroupInfo(rand io.Reader, withTree, forExternal bool, more Extensions) (*groupInfo, error) {
	g := &groupInfo{context: e.context, confirmationTag: e.tag, signer: e.own}
	if withTree {
		g.extensions = append(g.extensions, Extension{ExtensionRatchetTree, e.tree.append(nil)})
	}
	if forExternal {
		key, err := e.suite.DeriveKeyPair(&e.secrets.external)
		if err != nil {
			return nil, err
		}
		defer key.Wipe()
		g.extensions = append(g.extensions, externalPubExtension(key.Public()))
	}
	g.extensions = append(g.extensions, more...)
	if err := g.extensions.check(); err != nil { // more may hold the tree as well
		return nil, within(err, "group info")
	}
	return g, g.sign(e.suite, rand, e.signer)
}
